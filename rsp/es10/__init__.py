"""What an eUICC says and what it is told: ES10 structures as they travel over ES9+ (SGP.22 v2.5, 2.5.6, 4.2, 5.7).

Readers cut the received bytes and keep as they came whatever was signed. Members are found by tag, unknown ones are
skipped; bytes that do not fit raise `rsp.errors.Malformed` and nothing else.
"""

from rsp.es10.answers import (
    AuthenticateServerError,
    AuthenticateServerOk,
    CancelReason,
    CancelSessionError,
    CancelSessionOk,
    PrepareDownloadError,
    PrepareDownloadOk,
    parse_authenticate_server_response,
    parse_cancel_session_response,
    parse_prepare_download_response,
)
from rsp.es10.infos import DeviceInfo, EuiccInfo1, EuiccInfo2, parse_euicc_info1, parse_euicc_info2
from rsp.es10.members import Version
from rsp.es10.notifications import (
    BppCommand,
    InstallationError,
    InstallationReason,
    Installed,
    NotificationEvent,
    OtherSignedNotification,
    ProfileInstallationResult,
    parse_pending_notification,
)
from rsp.es10.signed import (
    euicc_signature2_input,
    server_signed1,
    signature_object,
    smdp_signature2_input,
    smdp_signed2,
)

__all__ = [
    "AuthenticateServerError",
    "AuthenticateServerOk",
    "BppCommand",
    "CancelReason",
    "CancelSessionError",
    "CancelSessionOk",
    "DeviceInfo",
    "EuiccInfo1",
    "EuiccInfo2",
    "InstallationError",
    "InstallationReason",
    "Installed",
    "NotificationEvent",
    "OtherSignedNotification",
    "PrepareDownloadError",
    "PrepareDownloadOk",
    "ProfileInstallationResult",
    "Version",
    "euicc_signature2_input",
    "parse_authenticate_server_response",
    "parse_cancel_session_response",
    "parse_euicc_info1",
    "parse_euicc_info2",
    "parse_pending_notification",
    "parse_prepare_download_response",
    "server_signed1",
    "signature_object",
    "smdp_signature2_input",
    "smdp_signed2",
]
