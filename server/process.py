"""One child process of the server: answers HTTP or works in the background until SIGTERM, then drains and ends."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys

import uvloop

from carriers.control_center_rest import Timing
from server import hints, logs, settings
from server.answering import answer
from server.background import work
from server.wiring import opened

_RARE_COLLECTION = 50_000


async def run(role: str, index: int, hinting: socket.socket) -> None:
    """Serve until a stop signal. `role` is `http` or `worker`; `index` counts the processes of a role.

    `hinting` is this process's end of the pair through which the worker is told of work.
    """
    loaded = settings.load()
    logs.configure(loaded.log_level, loaded.log_format)
    sys.excepthook = logs.report_crash
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    bells = hints.Bells()
    # The worker is patient with platforms; who answers people is not.
    mine = opened(loaded, bells, Timing()) if role == "worker" else opened(loaded, hints.Messenger(hinting))
    async with mine as services:
        # What lives as long as the process need not be looked at by the collector again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(_RARE_COLLECTION, 20, 50)
        logs.get("server.process").info("ready", role=role, index=index)
        if role != "worker":
            await answer(services, stop, speaks=index == 0)
            return
        with bells.listening(hinting):
            await work(services, bells, stop)


def main() -> None:
    """`python -m server.process ROLE INDEX DESCRIPTOR`, started by the supervisor."""
    role, index, descriptor = sys.argv[1:]
    with socket.socket(fileno=int(descriptor)) as hinting:
        uvloop.run(run(role, int(index), hinting))


if __name__ == "__main__":
    main()
