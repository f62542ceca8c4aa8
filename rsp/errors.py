"""The three answers a caller must tell apart: refused, not reachable, malformed. Anything else is our bug."""

from __future__ import annotations

from rsp.status import Status


class Malformed(ValueError):  # noqa: N818 -- the name is the outcome, as its siblings below
    """Bytes or text that do not have the form the standard asks for; the text says what to send instead."""


class Refused(Exception):  # noqa: N818 -- the name is the outcome, as in the standard's "Failed"
    """Asked, and the answer is no: carries the one status code that says why."""

    def __init__(self, status: Status, detail: str = "", subject_identifier: str = "") -> None:
        super().__init__(f"{status.name}: {detail or status.message}")
        self.status = status
        self.detail = detail
        self.subject_identifier = subject_identifier


class Unreachable(Exception):  # noqa: N818 -- the name is the outcome
    """The other side did not answer, so what it did is not known: ask again, never assume."""


class NothingSent(Unreachable):
    """No connection came about (the name did not resolve, nobody listens, TLS failed): the other side did nothing."""


class Unavailable(Exception):  # noqa: N818 -- the name is the outcome
    """Our own database or vault is away: nothing was decided; answer 503 and let the caller come back."""
