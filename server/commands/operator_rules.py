"""Options of `smdp operator add` and `change` for an operator's limits and rules, and how they are shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from tenancy.operator import Operator

Attempts = Annotated[
    int | None, typer.Option("--download-attempts", min=1, help="Downloads begun before an order fails.")
]
Codes = Annotated[int | None, typer.Option("--confirmation-attempts", min=1, help="Wrong codes before an order fails.")]
OrderDays = Annotated[int | None, typer.Option(min=1, max=3650, help="Days a released order may be downloaded.")]
AfterDeletion = Annotated[
    str | None,
    typer.Option(help="When its card deletes a profile: retire it, reuse the code, or return it to stock."),
]
Redownloads = Annotated[int | None, typer.Option(min=0, max=1000, help="How often a code is used again (reuse).")]
Rebinding = Annotated[
    bool | None, typer.Option("--rebinding/--no-rebinding", help="Whether a package is bound to another one-time key.")
]
BindImei = Annotated[
    bool | None, typer.Option("--bind-imei/--no-bind-imei", help="Whether an order stays with its first device's IMEI.")
]
IotEuiccs = Annotated[
    bool | None, typer.Option("--iot-euiccs/--no-iot-euiccs", help="Whether IoT eUICCs (SGP.32) get its profiles.")
]
MinimumSaip = Annotated[str | None, typer.Option(help="Profile package version eUICCs must read, such as 2.3.")]
_LIST = "separated by commas; @FILE reads them from a file"
TacsAllowed = Annotated[str | None, typer.Option(help=f"Only devices of these TACs, {_LIST}.")]
TacsDenied = Annotated[str | None, typer.Option(help=f"No devices of these TACs, {_LIST}.")]
EumsAllowed = Annotated[str | None, typer.Option(help=f"Only eUICCs whose EID begins so, {_LIST}.")]
EumsDenied = Annotated[str | None, typer.Option(help=f"No eUICCs whose EID begins so, {_LIST}.")]
Points = Annotated[
    str | None,
    typer.Option(
        "--notification-points", help="Its own numbers of what it is told: 'deleted=5 enabled=101 disabled=102'."
    ),
]
Reset = Annotated[
    list[str] | None, typer.Option(help="Back to the server's default: the name of an option, repeatable.")
]

_OPTIONS = {
    "download-attempts": "download_attempts",
    "confirmation-attempts": "confirmation_attempts",
    "order-days": "order_days",
    "after-deletion": "after_deletion",
    "redownloads": "redownloads",
    "rebinding": "rebinding",
    "bind-imei": "bind_imei",
    "iot-euiccs": "iot_euiccs",
    "minimum-saip": "minimum_saip",
    "tacs-allowed": "tacs_allowed",
    "tacs-denied": "tacs_denied",
    "eums-allowed": "eums_allowed",
    "eums-denied": "eums_denied",
    "notification-points": "notification_points",
}


def chosen(given: Mapping[str, Any], reset: list[str] | None = None) -> dict[str, Any]:
    """The members of an Operator that the options `given` (None: not given) and `reset` change. Raises Malformed."""
    from rsp.errors import Malformed
    from tenancy import rules
    from tenancy.operator import Operator

    readers: dict[str, Callable[[str], Any]] = {
        "after_deletion": rules.after_deletion,
        "minimum_saip": rules.saip_version,
        "tacs_allowed": rules.tacs,
        "tacs_denied": rules.tacs,
        "eums_allowed": rules.eums,
        "eums_denied": rules.eums,
        "notification_points": rules.notification_points,
    }
    found = {
        name: readers[name](_text(value)) if name in readers else value
        for name, value in given.items()
        if value is not None
    }
    default = Operator(id=0, name="", requester_id="")
    for option in reset or ():
        if option not in _OPTIONS:
            raise Malformed(f"--reset takes one of {', '.join(_OPTIONS)}")
        found[_OPTIONS[option]] = getattr(default, _OPTIONS[option])
    return found


def shown(operator: Operator) -> dict[str, Any]:
    """An operator's limits and rules as JSON; what is null is the server's, or not limited."""
    return {
        "downloadAttempts": operator.download_attempts,
        "confirmationAttempts": operator.confirmation_attempts,
        "orderDays": operator.order_days,
        "afterDeletion": operator.after_deletion,
        "redownloads": operator.redownloads,
        "rebinding": operator.rebinding,
        "bindImei": operator.bind_imei,
        "iotEuiccs": operator.iot_euiccs,
        "minimumSaip": operator.minimum_saip,
        "tacsAllowed": _listed(operator.tacs_allowed),
        "tacsDenied": _listed(operator.tacs_denied),
        "eumsAllowed": _listed(operator.eums_allowed),
        "eumsDenied": _listed(operator.eums_denied),
        "notificationPoints": dict(operator.notification_points),
    }


def _listed(entries: tuple[str, ...] | None) -> list[str] | None:
    return None if entries is None else list(entries)


def _text(value: str) -> str:
    """What an option says, or the file that it names after @."""
    from rsp.errors import Malformed

    if not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Malformed(f"{value[1:]} cannot be read: {error}") from None
