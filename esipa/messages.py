"""ESipa on the wire: path and headers of the ASN.1 binding (SGP.32 6.1, 6.3)."""

from __future__ import annotations

from transport.functions import Binding

PREFIX = "/gsma/rsp2"
PATH = "asn1"
"""The ASN.1 binding has one path; the tag of a message says which function it calls."""

MEDIA_TYPE = "application/x-gsma-rsp-asn1"
BINDING = Binding(media_type=MEDIA_TYPE, answer_type=MEDIA_TYPE, protocol="gsma/rsp/v2.1.0")

GET_EIM_PACKAGE = 0xBF4F
PROVIDE_EIM_PACKAGE_RESULT = 0xBF50
HANDLE_NOTIFICATION = 0xBF3D
