"""Request bodies: read up to a limit and parsed as strict JSON; work is cancelled when the client disconnects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

from starlette.requests import ClientDisconnect, Request

from .errors import InvalidFieldsError, RequestError, invalid_field

LARGE_BODY = 256 * 1024
"""Bytes from which JSON is parsed in a thread, so that other requests are not held up."""

T = TypeVar("T")


class ClientDisconnectedError(Exception):
    """The client has disconnected, so no response is sent."""


async def read_body(request: Request, *, limit: int, count_bytes: Callable[[int], None]) -> bytes:
    """The body, at most `limit` bytes; `count_bytes` is called with the size of every chunk.

    Raises `RequestError` 413 and 415.
    """
    # Decompression is not offered: a small body could then unpack to any size.
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestError(
            415, "UNSUPPORTED_CONTENT_ENCODING", "Compressed request bodies are not supported", nested=False
        )
    # The declared length saves the transfer; the actual one is checked below, since chunked bodies declare none.
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _body_size_error(limit)
    body = bytearray()
    try:
        async for chunk in request.stream():
            count_bytes(len(chunk))
            body += chunk
            if len(body) > limit:
                raise _body_size_error(limit)
    except ClientDisconnect as error:
        raise ClientDisconnectedError from error
    return bytes(body)


def check_is_json(request: Request) -> None:
    """Raise `RequestError` 415 for another media type. A missing header is accepted."""
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise RequestError(415, "UNSUPPORTED_MEDIA_TYPE", "Send the body as application/json", nested=False)


async def parse_json(body: bytes) -> Any:
    """The body as JSON. Raises `RequestError` 422."""
    return await asyncio.to_thread(_parse, body) if len(body) > LARGE_BODY else _parse(body)


def _parse(body: bytes) -> Any:
    try:
        # Some Windows clients send a byte order mark.
        return json.loads(body.decode("utf-8-sig"), parse_constant=_reject_constant)
    except (ValueError, RecursionError):  # deep nesting exhausts the parser's stack
        raise _json_error() from None


def _reject_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and infinity are not JSON")


def _json_error() -> InvalidFieldsError:
    return invalid_field(message="Input should be valid JSON in UTF-8", type="json_invalid")


def _body_size_error(limit: int) -> RequestError:
    return RequestError(
        413, "REQUEST_TOO_LARGE", f"The request is larger than {limit:,} bytes; send fewer items at a time"
    )


async def cancel_on_disconnect(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client disconnects. Call after the body has been read.

    Raises `ClientDisconnectedError`.
    """
    task = asyncio.ensure_future(work)
    disconnect = asyncio.ensure_future(_wait_for_disconnect(request))
    try:
        await asyncio.wait({task, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnectedError
        return task.result()
    finally:
        for future in (task, disconnect):
            future.cancel()
            # Awaited, so that cancelled work has released its places before the request ends.
            with suppress(asyncio.CancelledError, Exception):
                await future


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
