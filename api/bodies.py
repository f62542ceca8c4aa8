"""The body of a request to the API, within its limits."""

from __future__ import annotations

import asyncio

from aiohttp import web

from transport.functions import JSON, Limits, Turned


async def read_body(request: web.Request, limits: Limits) -> bytes:
    """The body within its limits of form, size and time. Raises Turned."""
    if request.content_type != JSON:
        raise Turned(status=415, text=f"Send Content-Type: {JSON}.")
    if (request.content_length or 0) > limits.body_bytes:
        raise limits.too_large()
    chunks = bytearray()
    try:
        async with asyncio.timeout(limits.seconds):
            async for chunk in request.content.iter_any():
                chunks += chunk
                if len(chunks) > limits.body_bytes:
                    raise limits.too_large()
    except TimeoutError:
        raise Turned(status=408, text=f"The body did not arrive within {limits.seconds:g} seconds.") from None
    except (ConnectionError, web.RequestPayloadError):
        raise Turned(status=400, text="The body could not be read to its end.") from None
    return bytes(chunks)
