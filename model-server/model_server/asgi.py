"""The handlers as an ASGI application: reads bodies within their limits, notices clients that leave."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, TypeAlias

from model_server.connection import LINGER_SECONDS
from model_server.errors import RequestError
from model_server.exchange import Request, Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from model_server.connection import Connection, Terms
    from model_server.exchange import Handler, Pending
    from model_server.limits import Limits

    Message: TypeAlias = MutableMapping[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[Message]]
    Send: TypeAlias = Callable[[Message], Awaitable[None]]
    Application: TypeAlias = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_CLOSE = (b"connection", b"close")


class ClientGoneError(Exception):
    """The client left before its request was complete."""


def application(terms: Terms) -> Application:
    """Wrap the handlers; the scope's state has the connection, and why the rest of a body cannot be read."""
    handle, limits, clock = terms.handle, terms.limits, terms.clock

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        arrived = clock()
        state = scope["state"]
        connection: Connection = state["connection"]
        body = b""
        stranger = terms.door.refusal(scope["path"], scope["headers"])
        try:
            if stranger is not None and _expects_continue(scope["headers"]):
                raise stranger
            body = await _read_body(scope["headers"], receive, limits, terms.most_body_bytes(known=stranger is None))
        except RequestError as error:
            state["problem"] = error
        except ClientGoneError:
            return
        problem: RequestError | None = state.get("problem")
        request = Request(scope["method"], scope["path"], scope["headers"], body, arrived, stranger or problem)
        response = await _exchange(handle, request, receive)
        if problem is None:
            await _send(response, send, close=connection.should_close())
        else:  # what is left of a body that was not read cannot be told from a next request
            await _send(response, send, close=True, hear_out=receive)

    return app


def _expects_continue(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(name == b"expect" and value.lower() == b"100-continue" for name, value in headers)


async def _read_body(headers: list[tuple[bytes, bytes]], receive: Receive, limits: Limits, most: int) -> bytes:
    for name, value in headers:
        if name == b"content-length" and int(value) > most:  # the parser has seen that it is a number
            raise _too_large(limits)
    try:
        async with asyncio.timeout(limits.request_timeout_seconds):
            return await _joined_body(receive, limits, most)
    except TimeoutError:
        message = f"The request's body did not arrive within {limits.request_timeout_seconds:g} seconds."
        raise RequestError(408, message) from None


async def _joined_body(receive: Receive, limits: Limits, most: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > most:
            raise _too_large(limits)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(limits: Limits) -> RequestError:
    return RequestError(413, f"The request's body is larger than the {limits.max_body_bytes} bytes that are let in.")


async def _exchange(handle: Handler, request: Request, receive: Receive) -> Response:
    answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

    def reply(response: Response) -> None:
        if not answer.done():
            answer.set_result(response)

    pending = handle(request, reply)
    if pending is None:
        return await answer
    # `receive` returns when the client leaves, and by itself once the answer is out
    watch = asyncio.ensure_future(_cancel_when_gone(receive, pending))
    try:
        return await answer
    finally:
        watch.cancel()


async def _cancel_when_gone(receive: Receive, pending: Pending) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    pending.cancel()


async def _send(response: Response, send: Send, *, close: bool, hear_out: Receive | None = None) -> None:
    headers = [*response.headers, (b"content-length", b"%d" % len(response.body))]
    if close:
        headers.append(_CLOSE)
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": hear_out is not None})
    if hear_out is not None:
        await _hear_out(hear_out)
        await send({"type": "http.response.body", "body": b""})


async def _hear_out(receive: Receive) -> None:
    """Read on for a while before closing: a reset would destroy the answer that the client has not read yet."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while (await receive()).get("more_body", False):
                pass
