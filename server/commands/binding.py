"""The bindings of ES9+ as the command line names them."""

from __future__ import annotations

from enum import StrEnum


class Binding(StrEnum):
    """How simulated devices spell ES9+."""

    JSON = "json"
    ASN1 = "asn1"
