"""One PKI folder, as other packages use it: load, init, import_set, check. Layout and recipe: certs/README.md."""

from certs.checking import Finding, Severity, check, vault_keys
from certs.creation import add_eim, init, issue_operator_certificate
from certs.errors import BadPki
from certs.importing import SetFiles, import_eim, import_set, import_tls
from certs.layout import DeviceFiles, DpCredentials, EimCredentials, PkiFolder, load
from certs.listing import Entry, entries
from certs.revocation import import_lists

__all__ = [
    "BadPki",
    "DeviceFiles",
    "DpCredentials",
    "EimCredentials",
    "Entry",
    "Finding",
    "PkiFolder",
    "SetFiles",
    "Severity",
    "add_eim",
    "check",
    "entries",
    "import_eim",
    "import_lists",
    "import_set",
    "import_tls",
    "init",
    "issue_operator_certificate",
    "load",
    "vault_keys",
]
