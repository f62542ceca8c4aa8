"""Looks over certificates and vault before a server starts, and says what would go wrong later."""

from __future__ import annotations

from datetime import datetime

from certs import checking, layout
from hsm_mock import MockVault
from server.settings import Settings, SettingsError

VAULT_LOOK_SECONDS = 0.05
"""A download uses keys five times, all within moments."""


async def examine(settings: Settings, now: datetime) -> list[checking.Finding]:
    """All findings about the PKI folder and the vault, the worst first; from Severity.ERROR on a start is useless.

    Raises BadPki, SettingsError, WrongPassphrase, BadVaultFile or VaultUnavailable when they cannot be read at all.
    """
    pki = layout.load(settings.pki_dir)
    vault = open_vault(settings)
    keys = await checking.vault_keys(pki, vault)
    found = checking.check(pki, keys, now, settings.server_names, settings.eim_names if pki.eim else ())
    if pki.eim is None:
        text = "there is none, so nothing answers ESipa: see `smdp pki eim` and `smdp pki import --eim-tls`"
        found.append(checking.Finding(severity=checking.Severity.NOTICE, subject="eIM", text=text))
    found.append(
        checking.Finding(
            severity=checking.Severity.WARNING,
            subject="vault",
            text="THE SOFTWARE VAULT IS IN USE: keys are as safe as a file and a passphrase; not for production keys",
        )
    )
    return sorted(found, key=lambda finding: -finding.severity)


def open_vault(settings: Settings) -> MockVault:
    """The vault of these settings; SettingsError when it has no passphrase."""
    if not settings.vault_passphrase:
        raise SettingsError("the vault needs its passphrase: set vault_passphrase_file or vault_passphrase")
    passphrase = settings.vault_passphrase.reveal()
    return MockVault.open(settings.vault_file, passphrase, look_seconds=VAULT_LOOK_SECONDS)
