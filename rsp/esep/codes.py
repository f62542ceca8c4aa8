"""Result and error codes of eUICC packages and of ESipa, by name (SGP.32 v1.2, 2.11 and 6.3).

Values read from a card stay plain numbers, so that a code of a later version is no reason to refuse its result.
"""

from __future__ import annotations

from enum import IntEnum


class EnableCode(IntEnum):
    """EnableProfileResult."""

    OK = 0
    ICCID_OR_AID_NOT_FOUND = 1
    PROFILE_NOT_IN_DISABLED_STATE = 2
    DISALLOWED_BY_POLICY = 3
    CAT_BUSY = 5
    ROLLBACK_NOT_AVAILABLE = 20
    UNDEFINED_ERROR = 127


class DisableCode(IntEnum):
    """DisableProfileResult."""

    OK = 0
    ICCID_OR_AID_NOT_FOUND = 1
    PROFILE_NOT_IN_ENABLED_STATE = 2
    DISALLOWED_BY_POLICY = 3
    CAT_BUSY = 5
    UNDEFINED_ERROR = 127


class DeleteCode(IntEnum):
    """DeleteProfileResult."""

    OK = 0
    ICCID_OR_AID_NOT_FOUND = 1
    PROFILE_NOT_IN_DISABLED_STATE = 2
    DISALLOWED_BY_POLICY = 3
    ROLLBACK_NOT_AVAILABLE = 20
    RETURN_FALLBACK_PROFILE = 21
    UNDEFINED_ERROR = 127


class ProfileListCode(IntEnum):
    """ProfileInfoListError."""

    INCORRECT_INPUT_VALUES = 1
    PROFILE_CHANGE_ONGOING = 11
    UNDEFINED_ERROR = 127


class RollbackCode(IntEnum):
    """RollbackProfileResult."""

    OK = 0
    UNDEFINED_ERROR = 127


class TerminationCode(IntEnum):
    """processingTerminated: why the commands after the last result were not executed."""

    RESULT_SIZE_OVERFLOW = 1
    UNKNOWN_OR_DAMAGED_COMMAND = 2
    INTERRUPTION = 3
    UNDEFINED_ERROR = 127


class PackageErrorCode(IntEnum):
    """EuiccPackageErrorCode: why the card refused a package as a whole, under its signature."""

    INVALID_EID = 3
    REPLAY_ERROR = 4
    COUNTER_VALUE_OUT_OF_RANGE = 6
    SIZE_OVERFLOW = 15
    ECALL_ACTIVE = 104
    UNDEFINED_ERROR = 127


class DataErrorCode(IntEnum):
    """IpaEuiccDataErrorCode."""

    INCORRECT_TAG_LIST = 1
    EUICC_CI_PKID_NOT_FOUND = 5
    ECALL_ACTIVE = 104
    UNDEFINED_ERROR = 127


class TriggerErrorCode(IntEnum):
    """profileDownloadErrorReason."""

    ECALL_ACTIVE = 104
    UNDEFINED_ERROR = 127


class ResponseErrorCode(IntEnum):
    """EimPackageResultErrorCode: the IPA could not do anything with what it was given."""

    INVALID_PACKAGE_FORMAT = 1
    UNKNOWN_PACKAGE = 2
    UNDEFINED_ERROR = 127


class EimPackageError(IntEnum):
    """eimPackageError: our answer to a poll that gets no package."""

    NO_EIM_PACKAGE_AVAILABLE = 1
    EID_NOT_FOUND = 2
    INVALID_EID = 3
    MISSING_EID = 4
    UNDEFINED_ERROR = 127


class ResultError(IntEnum):
    """provideEimPackageResultError: our answer to a result that was not taken. It makes a device roll back."""

    EID_NOT_FOUND = 2
    INVALID_EID = 3
    MISSING_EID = 4
    UNDEFINED_ERROR = 127


class StateChangeCause(IntEnum):
    """Why a device says that its profiles changed without a package of ours."""

    OTHER_EIM = 0
    FALLBACK = 1
    EMERGENCY_PROFILE = 2
    LOCAL = 3
    RESET = 4
    IMMEDIATE_ENABLE_PROFILE = 5
    DEVICE_CHANGE = 6
    UNDEFINED = 127
