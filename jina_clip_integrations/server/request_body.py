"""Request bodies: read up to a limit, parsed as strict JSON, and given up when the client disconnects."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

from starlette.requests import ClientDisconnect, Request

from .errors import BadFieldsError, RequestError, bad_field

LARGE_BODY = 256 * 1024
"""From this size on, in bytes, JSON is parsed in a thread."""

T = TypeVar("T")


class ClientGoneError(Exception):
    """The client has disconnected; nobody reads a response."""


async def read_body(request: Request, *, limit: int, count_bytes: Callable[[int], None]) -> bytes:
    """The body, at most `limit` bytes; `count_bytes` is called with the size of every chunk.

    Raises `RequestError` 413 and 415.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestError(
            415, "UNSUPPORTED_CONTENT_ENCODING", "Compressed request bodies are not supported", nested=False
        )
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    body = bytearray()
    try:
        async for chunk in request.stream():
            count_bytes(len(chunk))
            body += chunk
            if len(body) > limit:
                raise _too_large(limit)
    except ClientDisconnect as error:
        raise ClientGoneError from error
    return bytes(body)


def check_is_json(request: Request) -> None:
    """Raise `RequestError` 415 for another kind of content. A missing type is fine."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise RequestError(415, "UNSUPPORTED_MEDIA_TYPE", "Send the body as application/json", nested=False)


async def parse_json(body: bytes) -> Any:
    """The body as JSON. Raises `RequestError` 422."""
    return await asyncio.to_thread(_parse, body) if len(body) > LARGE_BODY else _parse(body)


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8-sig"), parse_constant=_not_finite)
    except (ValueError, RecursionError):
        raise _not_json() from None


def _not_finite(_name: str) -> NoReturn:
    raise ValueError("NaN and infinity are not JSON")


def _not_json() -> BadFieldsError:
    return bad_field(message="Input should be valid JSON in UTF-8", type="json_invalid")


def _too_large(limit: int) -> RequestError:
    return RequestError(
        413, "REQUEST_TOO_LARGE", f"The request is larger than {limit:,} bytes; send fewer items at a time"
    )


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client disconnects. The body must have been read.

    Raises `ClientGoneError`.
    """
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGoneError
        return working.result()
    finally:
        for task in (working, watching):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
