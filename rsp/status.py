"""Every status code by name: subject, reason, message, and the integer of the ES9+ ASN.1 binding (SGP.22 5.2.6, 5.6).

The only file in which the digits of a code stand. A message is ASCII, shorter than 128 characters (a common LPA keeps
it in a buffer of that size), says what to do next, and stays as it is: some clients match on it.
"""

from __future__ import annotations

from enum import Enum


class Status(Enum):
    """A refusal: `subject` and `reason` as dotted text (3.10 is not 3.1), `message` for the person at the other end."""

    def __init__(self, subject: str, reason: str, message: str) -> None:
        self.subject = subject
        self.reason = reason
        self.message = message

    # Any function
    REQUESTER_UNKNOWN = (
        "1.1",
        "1.1",
        "This function requester is not known here. Ask the SM-DP+ operator to register it.",
    )
    REQUESTER_NOT_ALLOWED = "1.1", "1.2", "functionRequesterIdentifier does not belong to this client certificate."
    CALL_ID_REUSED = (
        "1.6",
        "2.1",
        "functionCallIdentifier was used before with other content. Use a fresh one per call.",
    )
    MALFORMED = "1.3.1", "2.1", "The request does not have the form of SGP.22. Check members and encodings."
    EXECUTION_ERROR = "8", "4.2", "The function could not be carried out."
    # ES9+ InitiateAuthentication
    ADDRESS_REFUSED = "8.8.1", "3.8", "smdpAddress is not an address of this SM-DP+. Check the activation code."
    SVN_UNSUPPORTED = (
        "8.8.3",
        "3.1",
        "The specification version of this eUICC is not supported. SGP.22 v2 or later is needed.",
    )
    CI_FOR_SIGNING_UNSUPPORTED = "8.8.2", "3.1", "This SM-DP+ trusts none of the CIs under which the eUICC signs."
    CI_FOR_VERIFICATION_UNAVAILABLE = (
        "8.8.4",
        "3.7",
        "This SM-DP+ has no certificate under a CI that the eUICC verifies.",
    )
    # ES9+ AuthenticateClient
    TRANSACTION_UNKNOWN = (
        "8.10.1",
        "3.9",
        "The transactionId is unknown, expired or not at this step. Start a new session.",
    )
    CI_UNKNOWN = "8.11.1", "3.9", "The EUM certificate was issued by a CI that is not trusted here."
    EUM_CERTIFICATE_INVALID = "8.1.2", "6.1", "The EUM certificate is not valid."
    EUM_CERTIFICATE_EXPIRED = "8.1.2", "6.3", "The EUM certificate has expired."
    EUICC_CERTIFICATE_INVALID = "8.1.3", "6.1", "The eUICC certificate is not valid under its EUM certificate."
    EUICC_CERTIFICATE_EXPIRED = "8.1.3", "6.3", "The eUICC certificate has expired."
    EUICC_SIGNATURE_INVALID = "8.1", "6.1", "The signature or the signed challenge of the eUICC is wrong."
    MATCHING_ID_REFUSED = "8.2.6", "3.8", "No order has this MatchingID. Check the activation code with the operator."
    EID_MISMATCH = (
        "8.1.1",
        "3.8",
        "This order belongs to another eUICC. Ask the operator for an activation code of your own.",
    )
    NOT_RELEASED = "8.2", "1.2", "The profile is not released for download. Ask the operator to release it."
    ORDER_EXPIRED = "8.8.5", "4.10", "The download order has expired. Ask the operator for a new one."
    DOWNLOAD_ATTEMPTS_EXCEEDED = "8.8.5", "6.4", "Too many download attempts. Ask the operator to recover the order."
    NOT_ELIGIBLE = "8.2.5", "4.3", "No profile of this type suits this eUICC or device."
    INSUFFICIENT_MEMORY = "8.1", "4.8", "The eUICC has too little free memory. Delete a profile and try again."
    # ES9+ GetBoundProfilePackage
    CONFIRMATION_CODE_MISSING = "8.2.7", "2.2", "A confirmation code is required. Enter the code from the operator."
    CONFIRMATION_CODE_REFUSED = "8.2.7", "3.8", "The confirmation code is wrong. Try again."
    CONFIRMATION_CODE_RETRIES_EXCEEDED = (
        "8.2.7",
        "6.4",
        "Too many wrong confirmation codes. Ask the operator for a new order.",
    )
    REBINDING_REFUSED = "8.2", "3.7", "The profile is bound to another one-time key and cannot be bound again."
    # ES9+ CancelSession
    SMDP_OID_MISMATCH = "8.8", "3.10", "smdpOid is not the OID of this SM-DP+."
    # ES2+
    ICCID_UNKNOWN = "8.2.1", "3.9", "No profile has this ICCID."
    ICCID_IN_USE = (
        "8.2.1",
        "3.3",
        "The profile with this ICCID is not available: it is ordered, downloaded or out of stock.",
    )
    ICCID_NOT_ALLOWED = "8.2.1", "1.2", "This profile may not be used for this function."
    PROFILE_TYPE_NOT_ALLOWED = "8.2.5", "1.2", "This profile type is closed for ordering."
    ICCID_INVALID_TRANSITION = "8.2.1", "3.5", "The order is not in a state that allows this function."
    ICCID_MISSING = "8.2.1", "2.2", "iccid or finalProfileStatusIndicator is missing."
    PROFILE_TYPE_UNKNOWN = "8.2.5", "3.9", "No profile type has this name."
    PROFILE_TYPE_UNAVAILABLE = "8.2.5", "3.7", "No more profile of this type is in stock."
    PROFILE_TYPE_MISMATCH = "8.2.5", "3.8", "The profile with this ICCID is of another type."
    EID_MISSING = "8.1.1", "2.2", "eid is needed here: send the EID of the order."
    EID_ASSOCIATED_OTHERWISE = "8.1.1", "3.10", "The order is tied to another EID."
    MATCHING_ID_IN_USE = "8.2.6", "3.3", "matchingId is in use. Choose another or leave it out."
    MATCHING_ID_MALFORMED = "8.2.6", "2.1", "matchingId may hold upper-case letters, digits and hyphens only."
    MATCHING_ID_ASSOCIATED_OTHERWISE = "8.2.6", "3.10", "The order has another MatchingID."
    SMDS_UNREACHABLE = (
        "8.9",
        "5.1",
        "smdsAddress is not usable here, or that SM-DS does not answer. Check it, or try again.",
    )
    SMDS_ERROR = "8.9", "4.2", "The SM-DS raised an error. Try again, or confirm the order without smdsAddress."
    # ES11 and ES12: what an SM-DS answers
    EVENT_REGISTERED_ALREADY = "8.9.5", "3.3", "An event with this EventID is registered for this EID already."
    EVENT_UNKNOWN = "8.9.5", "3.9", "No event with this EventID is registered for this EID."
    SMDS_ADDRESS_REFUSED = "8.9.1", "3.8", "This is not an address of this SM-DS."
    SMDS_CI_FOR_SIGNING_UNSUPPORTED = "8.9.2", "3.1", "This SM-DS trusts none of the CIs under which the eUICC signs."
    SMDS_SVN_UNSUPPORTED = "8.9.3", "3.1", "The specification version of this eUICC is not supported by this SM-DS."
    SMDS_CI_FOR_VERIFICATION_UNAVAILABLE = (
        "8.9.4",
        "3.7",
        "This SM-DS has no certificate under a CI that the eUICC verifies.",
    )
    # Told to the operator in notificationPointStatus
    END_USER_REJECTED = "8.8.5", "3.8", "The end user rejected the download."
    PPR_NOT_ALLOWED = "8.2.8", "1.2", "The profile policy rules are not allowed on this eUICC."
    METADATA_MISMATCH = "8.2.9", "3.11", "The profile metadata differs from what was shown."
    BPP_EXECUTION_ERROR = "8.2.10", "4.2", "The eUICC could not install the bound profile package."
    ENTERPRISE_UNSUPPORTED = "8.2.13", "3.1", "The eUICC or device does not take enterprise profiles."
    ENTERPRISE_RULES_NOT_ALLOWED = "8.2.13", "1.2", "The enterprise rules of the profile are not allowed here."
    ENTERPRISE_PROFILE_REFUSED = "8.2.13", "3.8", "Enterprise rules of the eUICC refuse this profile."
    ENTERPRISE_OID_MISMATCH = "8.2.13", "3.12", "The eUICC belongs to another enterprise."
    LPA_PROXY_UNSUPPORTED = "8.2.14", "3.1", "The eUICC or device does not support the LPA proxy of the profile."
    METADATA_REFUSED = "8.2.9", "3.8", "The device refuses the profile metadata: a name is empty."
    RPM_REFUSED = "8.8.6", "3.8", "The device or its user does not allow this remote management."
    RPM_PACKAGE_INVALID = "8.8.6", "2.1", "The device cannot read the RPM package."
    RPM_EXECUTION_ERROR = "8.8.6", "4.2", "The eUICC could not load the RPM package."
    DEVICE_CHANGE_STOPPED = "8.10.3", "4.3", "The user gave the device change up."


ES9_INTEGERS: dict[str, dict[Status, int]] = {
    "initiateAuthentication": {
        Status.ADDRESS_REFUSED: 1,
        Status.SVN_UNSUPPORTED: 2,
        Status.CI_FOR_SIGNING_UNSUPPORTED: 3,
        Status.CI_FOR_VERIFICATION_UNAVAILABLE: 3,
    },
    "authenticateClient": {
        Status.EUM_CERTIFICATE_INVALID: 1,
        Status.EUM_CERTIFICATE_EXPIRED: 2,
        Status.EUICC_CERTIFICATE_INVALID: 3,
        Status.EUICC_CERTIFICATE_EXPIRED: 4,
        Status.EUICC_SIGNATURE_INVALID: 5,
        Status.MATCHING_ID_REFUSED: 6,
        Status.EID_MISMATCH: 7,
        Status.NOT_RELEASED: 8,
        Status.ORDER_EXPIRED: 8,
        Status.DOWNLOAD_ATTEMPTS_EXCEEDED: 8,
        Status.NOT_ELIGIBLE: 8,
        Status.CI_UNKNOWN: 9,
        Status.TRANSACTION_UNKNOWN: 10,
        Status.INSUFFICIENT_MEMORY: 11,
    },
    "getBoundProfilePackage": {
        Status.EUICC_SIGNATURE_INVALID: 1,
        Status.CONFIRMATION_CODE_MISSING: 2,
        Status.CONFIRMATION_CODE_REFUSED: 3,
        Status.CONFIRMATION_CODE_RETRIES_EXCEEDED: 4,
        Status.REBINDING_REFUSED: 5,
        Status.ORDER_EXPIRED: 6,
        Status.TRANSACTION_UNKNOWN: 95,
    },
    "cancelSession": {
        Status.TRANSACTION_UNKNOWN: 1,
        Status.EUICC_SIGNATURE_INVALID: 2,
        Status.SMDP_OID_MISMATCH: 127,
    },
}


def es9_integer(function: str, status: Status) -> int:
    """The error integer of `status` in the answer of an ES9+ function; 127 (undefinedError) when none is defined."""
    return ES9_INTEGERS[function].get(status, 127)
