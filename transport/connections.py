"""HTTP/1.1 for the functions of GSMA interfaces: the connections of one listener, and what they may hold open.

A connection has one request at a time: its header, its body, its function, its answer. What a client sends in the
meantime waits, first here, then in its own socket. A function whose client goes away runs on to its end.
"""

from __future__ import annotations

import asyncio
import math
from contextvars import Context
from typing import cast

from transport.answers import CONTINUE, Answer
from transport.functions import Route, Service, Turned
from transport.patience import Patience
from transport.reading import Bounds, Request, RequestReader, TooLarge, Unreadable

BOUNDS = Bounds(lines=64, line_bytes=4096)
LINGER_SECONDS = 2.0
"""How long the rest of a refused body is read and dropped, so that the client gets to see its answer."""
_NEVER = math.inf


class Connections:
    """All connections of one listener. One timer looks after them, so a bound may be overrun by half a second."""

    def __init__(self, service: Service, patience: Patience) -> None:
        self.service = service
        self.patience = patience
        self.loop = asyncio.get_running_loop()
        self.draining = False
        self._open: set[Connection] = set()
        bounds = (patience.idle_seconds, patience.stall_seconds, service.limits.seconds, LINGER_SECONDS)
        self._tick = min(bounds) / 4
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    @property
    def is_looking(self) -> bool:
        """Whether the timer runs: while anything is connected, and until the next look."""
        return self._timer is not None

    def __call__(self) -> Connection:
        """One more, for the loop's server."""
        return Connection(self)

    def add(self, connection: Connection) -> None:
        """It is connected."""
        self._open.add(connection)
        if self._timer is None:
            self._timer = self.loop.call_later(self._tick, self.look)

    def discard(self, connection: Connection) -> None:
        """It is lost, and its function has ended."""
        self._open.discard(connection)

    def look(self) -> None:
        """Let those go whose time is up, and look again later while there are any."""
        self._timer = self.loop.call_later(self._tick, self.look) if self._open else None
        now = self.loop.time()
        for connection in [one for one in self._open if one.deadline <= now]:
            connection.overdue()

    async def drain(self) -> None:
        """Close what is idle, let running requests end within the time for it, and cancel those that do not."""
        self.draining = True
        running = [one.ended() for one in list(self._open) if one.stop()]
        if running:
            await asyncio.wait(running, timeout=self.patience.drain_seconds)
        cancelled = [task for one in list(self._open) if (task := one.drop()) is not None]
        await asyncio.gather(*cancelled, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()


class Connection(asyncio.Protocol):
    """One connection. `deadline` is when it is overdue, by the clock of the loop."""

    __slots__ = (
        "_ended",
        "_ending",
        "_held",
        "_home",
        "_loop",
        "_reader",
        "_remote",
        "_request",
        "_route",
        "_task",
        "_transport",
        "_untaken",
        "deadline",
    )

    def __init__(self, home: Connections) -> None:
        self._home = home
        self._loop = home.loop
        self._reader = RequestReader(home.loop, BOUNDS)
        self._transport: asyncio.Transport | None = None
        self._remote = ""
        self._request: Request | None = None
        self._route: Route | None = None
        self._task: asyncio.Task[None] | None = None
        self._held = b""
        """What came while it was not its turn."""
        self._untaken = False
        """Whether the client leaves its answers lying."""
        self._ending = False
        self._ended: asyncio.Future[None] | None = None
        self.deadline = _NEVER

    # What the loop tells ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client is there: over TLS, when the handshake is done."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._remote = str(peer[0]) if peer else ""
        self._home.add(self)
        self._expect(self._home.patience.idle_seconds)
        if self._home.draining:
            self._close()

    def data_received(self, data: bytes) -> None:
        """Some bytes of requests."""
        if self._ending:
            return
        if self._task is not None or self._untaken:
            self._held += data
            if self._transport is not None:
                self._transport.pause_reading()
            return
        self._take(data)

    def pause_writing(self) -> None:
        """The client takes its answers more slowly than they come: no request is begun until it has."""
        self._untaken = True

    def resume_writing(self) -> None:
        """It has."""
        self._untaken = False
        self._go_on()

    def connection_lost(self, _: Exception | None) -> None:
        """The client has gone, or was let go."""
        if self._request is not None and self._task is None and self._route is not None:
            self._route.turn_away(Turned(status=400, text="The body broke off."))
        self._transport, self._ending, self.deadline = None, True, _NEVER
        self._reader.close()
        if self._task is None:
            self._gone()

    # What the listener asks -------------------------------------------------------------------------------------------

    def overdue(self) -> None:
        """Its time is up: for a header or between requests, for a body, for the client to see how it ends."""
        self.deadline = _NEVER
        if self._request is not None and self._route is not None:
            seconds = self._route.interface.limits.seconds
            self._turn_away(Turned(status=408, text=f"The body did not arrive within {seconds:g} seconds."))
        elif self._untaken or self._transport is None or self._transport.is_closing():
            self._abort()
        else:
            self._close()

    def stop(self) -> bool:
        """Close it if it is idle; whether it has a request, after whose answer it will close."""
        if self._request is not None:
            return True
        self._close()
        return False

    def ended(self) -> asyncio.Future[None]:
        """Done when the request it has now is."""
        self._ended = self._loop.create_future()
        return self._ended

    def drop(self) -> asyncio.Task[None] | None:
        """Give up a request that is not answered yet; its function, which is cancelled, if it has begun."""
        if self._request is not None:
            self._abort()
        if self._task is not None:
            self._task.cancel()
        return self._task

    # Requests ---------------------------------------------------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        """Read on, up to one whole request at most, and begin its function."""
        try:
            begins = self._request is None
            if not begins:
                self._reader.more(data)
            elif not self._begin(data):
                return
            self._call(begins=begins)
        except Turned as turned:
            self._turn_away(turned)
        except Unreadable:
            if self._request is None:
                self._write(self._home.service.unreadable())
            else:
                self._turn_away(Turned(status=400, text="The body could not be read to its end.", last=True))

    def _begin(self, data: bytes) -> bool:
        """Whether the header of a request is there whose body may come. Raises Turned, and Unreadable."""
        message = self._reader.head(data)
        if message is None:
            return False
        assert self._transport is not None
        request = self._request = Request(message, self._transport, self._remote)
        self._route = self._home.service.route_of(request)
        if self._route is None:
            self._answer(self._home.service.lost(request))
            return False
        self._route.admit(request)
        return True

    def _call(self, *, begins: bool) -> None:
        """Call the function once the body is there; until then it has its time. Raises Turned, and Unreadable."""
        route, request, transport = self._route, self._request, self._transport
        assert route is not None
        assert request is not None
        assert transport is not None
        limits = route.interface.limits
        try:
            body = self._reader.body(limits.body_bytes)
        except TooLarge:
            raise limits.too_large() from None
        if body is not None:
            self.deadline = _NEVER
            # A context of its own: what a function binds to its log lines is nobody else's.
            self._task = self._loop.create_task(self._run(route, request, body), context=Context())
        elif begins:
            if request.announced_bytes > limits.body_bytes:
                raise limits.too_large()
            self._expect(limits.seconds)
            if request.waits:
                transport.write(CONTINUE)

    async def _run(self, route: Route, request: Request, body: bytes) -> None:
        try:
            answer = await route.answer(request, body)
        except BaseException:
            self._task = None
            self._abort()
            raise
        self._task = None
        self._write(answer)
        self._go_on()

    # Answers ----------------------------------------------------------------------------------------------------------

    def _turn_away(self, turned: Turned) -> None:
        assert self._route is not None
        self._answer(self._route.turn_away(turned))

    def _answer(self, answer: Answer) -> None:
        """Answer what came to no function, and let others have their turn before the next one."""
        self._write(answer)
        if not self._ending:
            self._loop.call_soon(self._go_on)

    def _write(self, answer: Answer) -> None:
        """Send the one answer of the request; an answer without a request is the end."""
        request, self._request, transport = self._request, None, self._transport
        last = answer.last or request is None or request.is_last or self._home.draining or not self._reader.is_whole
        if transport is None:
            self._gone()
            return
        connection = "close" if last else "keep-alive" if request is not None and request.is_old else ""
        if not transport.is_closing():
            transport.write(answer.written(connection, to_head=request is not None and request.method == "HEAD"))
        self._tell_ended()
        if not last:
            self._expect(self._home.patience.idle_seconds)
        elif self._reader.is_whole:
            self._close()
        else:
            self._ending = True
            self._expect(LINGER_SECONDS)

    def _go_on(self) -> None:
        """Take what has come meanwhile, and what the parser has kept for itself."""
        transport = self._transport
        if self._task is not None or self._untaken or self._ending or transport is None or transport.is_closing():
            return
        held, self._held = self._held, b""
        if held:
            transport.resume_reading()
        self._take(held)

    # Ends -------------------------------------------------------------------------------------------------------------

    def _expect(self, seconds: float) -> None:
        self.deadline = self._loop.time() + seconds

    def _close(self) -> None:
        """Send what is not sent yet, and end."""
        self._ending = True
        if self._transport is not None:
            self._expect(self._home.patience.stall_seconds)
            self._transport.close()

    def _abort(self) -> None:
        """End at once."""
        self._ending, self._request = True, None
        if self._transport is not None:
            self._transport.abort()
        else:
            self._gone()

    def _gone(self) -> None:
        self._home.discard(self)
        self._tell_ended()

    def _tell_ended(self) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)
