"""Connections with nothing in between, by the standard library, for our own blocking client.

httpx's own transport passes every block of an answer through a state machine in Python, which costs the client about a
fifth of its time. This one reads HTTP/1.1 with `http.client` and is else the same: it keeps connections, reports what
it does to `trace`, follows `timeout`, and raises httpx's errors. It knows no proxies.
"""

from __future__ import annotations

import http.client
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias
from urllib.request import getproxies, proxy_bypass

import httpx

Origin: TypeAlias = "tuple[str, str, int | None]"

KEPT_S = 5.0
"""How long an idle connection is kept: a router in between may have forgotten an older one without saying so."""

BLOCK = 2**18
"""Most bytes that are read at a time."""


def goes_direct(url: str) -> bool:
    """Whether the environment names no proxy for `url`."""
    parts, proxies = httpx.URL(url), getproxies()
    return not (proxies.get(parts.scheme) or proxies.get("all")) or bool(proxy_bypass(parts.host))


class DirectTransport(httpx.BaseTransport):
    """HTTP/1.1 over connections that are kept. Safe to use from several threads."""

    def __init__(
        self, *, certificates: Callable[[], ssl.SSLContext], keep: int, watch: Callable[[socket.socket], None]
    ) -> None:
        """`certificates` is asked for https only; `keep` idle connections stay; `watch` is told of every new one."""
        self._certificates = certificates
        self._keep = keep
        self._watch = watch
        self._idle: list[tuple[Origin, http.client.HTTPConnection, float]] = []
        self._closed = False
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send, and read the head of the answer; its body is read as it is asked for."""
        trace, timeouts = request.extensions["trace"], request.extensions["timeout"]
        origin = request.url.scheme, request.url.host, request.url.port
        connection = self._kept(origin) or self._connected(origin, trace, timeouts)
        wire = connection.sock  # the connection lets go of it where the answer says that it will be closed
        try:
            trace("http11.send_request_headers.started", {})
            wire.settimeout(timeouts["write"])
            with _as_httpx(httpx.WriteTimeout, httpx.WriteError), suppress(ConnectionError):  # it may have answered
                _send(connection, request)
            trace("http11.receive_response_headers.started", {})
            wire.settimeout(timeouts["read"])
            with _as_httpx(httpx.ReadTimeout, httpx.ReadError):
                answer = connection.getresponse()
            trace("http11.receive_response_headers.complete", {})
        except BaseException:
            connection.close()
            raise
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.getheaders()]
        body = _Body(
            answer,
            wait=lambda: wire.settimeout(timeouts["read"]),
            keep=lambda: self._give_back(origin, connection),
            drop=connection.close,
        )
        return httpx.Response(answer.status, headers=headers, stream=body)

    def close(self) -> None:
        """Close idle connections now, and the others when they are given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for _, connection, _ in idle:
            connection.close()

    def _kept(self, origin: Origin) -> http.client.HTTPConnection | None:
        """The connection that was used last, if it is fit to be used again."""
        while True:
            with self._lock:
                place = next((at for at in reversed(range(len(self._idle))) if self._idle[at][0] == origin), None)
                if place is None:
                    return None
                _, connection, since = self._idle.pop(place)
            if time.monotonic() - since < KEPT_S and not _has_something_to_say(connection.sock):
                return connection
            connection.close()

    def _connected(self, origin: Origin, trace: Any, timeouts: Any) -> http.client.HTTPConnection:
        scheme, host, port = origin
        trace("connection.connect.started", {})
        connection: http.client.HTTPConnection
        if scheme == "https":
            context = self._certificates()
            connection = http.client.HTTPSConnection(host, port, timeout=timeouts["connect"], context=context)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=timeouts["connect"])
        with _as_httpx(httpx.ConnectTimeout, httpx.ConnectError):
            connection.connect()
        self._watch(connection.sock)
        return connection

    def _give_back(self, origin: Origin, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < self._keep:
                self._idle.append((origin, connection, time.monotonic()))
                return
        connection.close()


class _Body(httpx.SyncByteStream):
    """The body of an answer. Closed before its end it takes the connection along."""

    def __init__(
        self,
        answer: http.client.HTTPResponse,
        *,
        wait: Callable[[], None],
        keep: Callable[[], None],
        drop: Callable[[], None],
    ) -> None:
        """`wait` is called before every block; `keep` or `drop` in the end, for the connection."""
        self._answer = answer
        self._wait, self._keep, self._drop = wait, keep, drop
        self._left: int | None = None if answer.chunked else answer.length
        """Bytes that must still come; None where the end is marked otherwise."""
        self._ended = self._left == 0

    def __iter__(self) -> Iterator[bytes]:
        while not self._ended:
            self._wait()
            with _as_httpx(httpx.ReadTimeout, httpx.ReadError):
                block = self._answer.read1(BLOCK if self._left is None else min(BLOCK, self._left))
            if self._left is None:
                self._ended = not block
            elif not block:
                raise httpx.RemoteProtocolError(f"the connection was closed {self._left} bytes before the end")
            else:
                self._left -= len(block)
                self._ended = self._left == 0
            yield block

    def close(self) -> None:
        """Give the connection back, or close it if it cannot be used again."""
        self._answer.close()
        end = self._keep if self._ended and not self._answer.will_close else self._drop
        self._keep = self._drop  # once only
        end()


def _send(connection: http.client.HTTPConnection, request: httpx.Request) -> None:
    connection.putrequest(
        request.method, request.url.raw_path.decode("ascii"), skip_host=True, skip_accept_encoding=True
    )
    for name, value in request.headers.raw:
        connection.putheader(name, value)
    connection.endheaders(request.content)


def _has_something_to_say(connection: Any) -> bool:
    """Whether an idle connection can be read from: it was closed, or the other side has lost count."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([connection], [], [], 0)[0])


@contextmanager
def _as_httpx(timed_out: type[Exception], broken: type[Exception]) -> Iterator[None]:
    try:
        yield
    except http.client.HTTPException as error:
        raise httpx.RemoteProtocolError(str(error) or type(error).__name__) from error
    except TimeoutError as error:
        raise timed_out(str(error)) from error
    except OSError as error:
        raise broken(str(error)) from error
