"""HTTP: one exchange, and httpx clients that belong to their process and event loop.

No decisions are taken here: an exchange gives a `Response`, or a `TransportFailure` that says how it was lost. Every
byte goes through httpx's own transports, so that proxies, tracing and test doubles for httpx see all of it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
import weakref
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from ... import network
from ...concurrency.loops import running_loop
from ...concurrency.threads import in_thread, is_ending
from ...errors import ApiConnectionError, ApiError, ApiTimeoutError, BackendError, InvalidResponseError
from .messages import clean_text
from .responses import Response

if TYPE_CHECKING:
    import httpx

LONGEST_CONNECT_S = 15.0
"""Upper bound of the time to connect: `timeout` allows for a cold start, which a connection does not need."""

_ENCODINGS = {"Accept-Encoding": "gzip, deflate"}

KEPT_ALIVE = 32
"""Idle connections that are kept for the next requests."""


@dataclass(frozen=True)
class TransportFailure:
    """There was no complete response."""

    error: ApiError
    sent: bool = True
    """Whether the service may have seen, and billed, the request."""
    stale: bool = False
    """Whether a kept-alive connection turned out closed before any response."""
    lasting: bool = False
    """Whether another attempt would fail in the same way."""


Reply: TypeAlias = "Response | TransportFailure | None"
"""The result of an exchange; None if nobody performed it."""


class Transport(Protocol):
    """Carries requests to a service and responses back."""

    def send(self, step: Send) -> Reply:
        """One exchange, blocking."""

    async def asend(self, step: Send) -> Reply:
        """One exchange, without blocking the event loop."""

    def close(self) -> None:
        """Close the connections of blocking calls."""

    async def aclose(self) -> None:
        """Close the connections, including those of the running event loop."""


@dataclass(frozen=True)
class Send:
    """A step of a flow: one exchange."""

    body: Callable[[], bytes]
    """Builds the body; for large ones this takes a while, so async code calls it in a thread."""
    limit: int
    """Largest response to read, in bytes."""
    transport: Transport | None = field(default=None, compare=False, repr=False)

    def perform(self) -> Reply:
        """Exchange, blocking."""
        return None if self.transport is None else self.transport.send(self)

    async def aperform(self) -> Reply:
        """Exchange, awaiting."""
        return None if self.transport is None else await self.transport.asend(self)


@dataclass(kw_only=True)
class HttpTransport:
    """Sends requests to one address."""

    url: str = field(repr=False)
    host: str
    headers: Mapping[str, str] | Callable[[], Mapping[str, str]] = field(repr=False)
    """Headers of every request; a function is asked each time, since its token may expire, and may block."""
    timeout: Any
    """Seconds from connecting to the last byte, or an `httpx.Timeout`."""
    client: httpx.Client | None = None
    """A client of the caller's, never closed here."""
    async_client: httpx.AsyncClient | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _own: httpx.Client | None = field(default=None, repr=False)
    _closing: Any = field(default=None, repr=False)
    _sockets: weakref.WeakSet[socket.socket] = field(default_factory=weakref.WeakSet, repr=False)
    """Connections of our own blocking client."""
    _by_loop: dict[asyncio.AbstractEventLoop, _LoopClient] = field(default_factory=dict, repr=False)
    _process: int = field(default_factory=os.getpid, repr=False)

    def send(self, step: Send) -> Reply:
        """One exchange, blocking."""
        return _Exchange(self, step).run(self._client())

    async def asend(self, step: Send) -> Reply:
        """One exchange; bodies are built and parsed in a thread, so that the event loop goes on."""
        return await _Exchange(self, step).arun(await self._async_client())

    def close(self) -> None:
        """Close the connections of blocking calls, even while a thread still waits for a response on one.

        Supplied clients are left alone.
        """
        self._leave_parent()
        with self._lock:
            closing, self._own, self._closing = self._closing, None, None
            sockets, self._sockets = list(self._sockets), weakref.WeakSet()
        # Closing a socket does not wake a thread that reads from it; shutting it down does. The method of the bare
        # socket, since that of an SSL socket takes away the TLS state which the other thread is using.
        for connection in sockets:
            with suppress(OSError):  # closed already
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        if closing is not None:
            closing()

    async def aclose(self) -> None:
        """`close`, and close the client of the running loop; those of other loops end with them."""
        self.close()
        with self._lock:
            loop_client = self._by_loop.pop(running_loop(), None)
        if loop_client is not None:
            await loop_client.lifetime.aclose()

    def watch(self, connection: Any) -> None:
        """Have `close` end this connection too."""
        if isinstance(connection, socket.socket):
            with self._lock:
                self._sockets.add(connection)

    def _client(self) -> httpx.Client:
        if self.client is not None:
            return self.client
        self._leave_parent()
        with self._lock:
            if self._own is None:
                import httpx

                self._own = httpx.Client(limits=_pool_limits(), **network.client_options(self.url))
                # Not `__del__`: a finalizer also runs at exit, once only, and can be detached in a forked child.
                self._closing = weakref.finalize(self, self._own.close)
            return self._own

    async def _async_client(self) -> httpx.AsyncClient:
        if self.async_client is not None:
            return self.async_client
        self._leave_parent()
        loop = running_loop()
        with self._lock:
            known = self._by_loop.get(loop)
            if known is not None:
                return known.client
            import httpx

            client = httpx.AsyncClient(limits=_pool_limits(), **network.client_options(self.url))
            # A loop that was closed without ending its generators has left its client behind.
            closed = [other for other in self._by_loop if other.is_closed()]
            for other in closed:
                del self._by_loop[other]
            self._by_loop[loop] = known = _LoopClient(client, self._lifetime(loop, client))
        await known.lifetime.__anext__()  # begins it, so that the loop knows of it; not under the lock, which blocks
        return client

    async def _lifetime(self, loop: asyncio.AbstractEventLoop, client: httpx.AsyncClient) -> AsyncGenerator[None, None]:
        """Close `client` at the end of its loop: `asyncio.run` closes the async generators that were begun in it."""
        try:
            yield
        finally:
            with self._lock:
                self._by_loop.pop(loop, None)
            await client.aclose()

    def _leave_parent(self) -> None:
        """In a forked child, forget the parent's connections without touching them."""
        if self._process == os.getpid():
            return
        self._process = os.getpid()
        self._lock = threading.Lock()  # the old one may be held by a thread that the child does not have
        if self._closing is not None:
            self._closing.detach()
        _ABANDONED.append((self._own, self._by_loop))
        self._own, self._closing, self._by_loop, self._sockets = None, None, {}, weakref.WeakSet()


_ABANDONED: list[Any] = []
"""Clients of a parent process: kept, so that no destructor touches sockets that the parent still uses."""


@dataclass(eq=False)
class _LoopClient:
    client: httpx.AsyncClient
    lifetime: AsyncGenerator[None, None]


def _pool_limits() -> httpx.Limits:
    """No cap of httpx's own: how many requests are in flight is for `ConcurrencyLimiter` to say."""
    import httpx

    return httpx.Limits(max_connections=None, max_keepalive_connections=KEPT_ALIVE)


class _Exchange:
    """One request and what came back."""

    def __init__(self, transport: HttpTransport, step: Send) -> None:
        import httpx

        self.transport = transport
        self.step = step
        self.httpx = httpx
        self.fresh = False
        """Whether a new connection was made for it."""
        self.was_sent = False
        """Whether it went out on a connection."""
        self.responded = False
        """Whether the head of a response came."""
        self.status = 0
        self.blocks: list[bytes] = []
        """The body so far."""
        self.size = 0
        whole = transport.timeout
        self.seconds: float | None = float(whole) if isinstance(whole, (int, float)) else None
        timeout = httpx.Timeout(self.seconds, connect=min(self.seconds, LONGEST_CONNECT_S)) if self.seconds else whole
        # httpx has no timeout for an exchange as a whole. But it hands this very dict down to its connections, which
        # look into it at the beginning of each phase, and `_note` lowers its values as time goes by.
        self.timeouts: dict[str, float | None] = timeout.as_dict()
        self.deadline = None if self.seconds is None else time.monotonic() + self.seconds

    def run(self, client: httpx.Client) -> Reply:
        """The exchange, blocking. Never raises for what a network or server may do."""
        if client.is_closed:  # httpx would raise a bare `RuntimeError`
            return _fail_closed("http_client")
        try:
            request = self._request(client, self._prepare(), self._note_socket)
            with network.reading_until(self.deadline):
                # Whatever a supplied client is set to: a redirect could take the key to another host.
                response = client.send(request, stream=True, follow_redirects=False)
                self.status = response.status_code
                try:
                    self._check_encoding(response)
                    for block in response.iter_bytes():
                        self._take(block)
                finally:
                    response.close()
            return self._finish(response)
        except (self.httpx.HTTPError, self.httpx.InvalidURL, OSError, ApiError) as error:
            return self._failure(error)

    async def arun(self, client: httpx.AsyncClient) -> Reply:
        """The exchange, awaiting."""
        if client.is_closed:
            return _fail_closed("async_http_client")
        try:
            return await asyncio.wait_for(self._arun(client), self.seconds)
        except asyncio.TimeoutError:  # not the built-in `TimeoutError` before Python 3.11
            return self._failure(TimeoutError("deadline"))
        except RuntimeError as error:
            if not is_ending():
                raise
            reason = "the program is ending, and asyncio resolves no host names any more; call the blocking method"
            raise BackendError(f"{self.transport.host}: {reason}") from error
        except (self.httpx.HTTPError, self.httpx.InvalidURL, OSError, ApiError) as error:
            return self._failure(error)

    async def _arun(self, client: httpx.AsyncClient) -> Reply:
        request = self._request(client, await in_thread(self._prepare), self._anote)
        response = await client.send(request, stream=True, follow_redirects=False)
        self.status = response.status_code
        try:
            self._check_encoding(response)
            async for block in response.aiter_bytes():
                self._take(block)
        finally:
            await response.aclose()
        return await in_thread(self._finish, response)

    def _prepare(self) -> tuple[Mapping[str, str], bytes]:
        headers = self.transport.headers
        return headers() if callable(headers) else headers, self.step.body()

    def _request(self, client: Any, prepared: tuple[Mapping[str, str], bytes], trace: Any) -> httpx.Request:
        headers, body = prepared
        extensions = {"trace": trace, "timeout": self.timeouts}
        given: dict[str, Any] = {"headers": {**_ENCODINGS, **headers}, "content": body, "extensions": extensions}
        try:
            request: httpx.Request = client.build_request("POST", self.transport.url, **given)
        except UnicodeError:  # a cookie that a server set and no header can carry, which would end every request
            client.cookies.clear()
            request = client.build_request("POST", self.transport.url, **given)
        return request

    def _check_encoding(self, response: httpx.Response) -> None:
        """Refuse what was not asked for: unpacked twice over, kilobytes fill the memory before they are counted."""
        encoding = response.headers.get("content-encoding", "").strip().lower()
        if encoding not in ("", "identity", "gzip", "deflate"):
            raise InvalidResponseError(
                f"{self.transport.host}: the answer is compressed in a way that was not asked for"
            )

    def _take(self, block: bytes) -> None:
        self.blocks.append(block)
        self.size += len(block)
        # Decoded bytes: a small compressed response may unpack to anything.
        if self.size > self.step.limit:
            raise InvalidResponseError(
                f"{self.transport.host}: the answer is longer than max_response_bytes={self.step.limit:,}; "
                "lower batch_size or raise it"
            )
        # A server that sends a byte now and then would satisfy every read timeout for ever.
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise TimeoutError("deadline")

    def _finish(self, response: httpx.Response) -> Response:
        headers = {name.lower(): value for name, value in response.headers.items()}
        finished = Response(response.status_code, headers, b"".join(self.blocks))
        self.blocks.clear()
        finished.document  # noqa: B018  # parsed here, in a thread where the event loop must go on
        return finished

    def _note(self, event: str, _info: Any) -> None:
        self.fresh |= event.startswith("connection.connect")
        self.was_sent |= event.endswith("send_request_headers.started")
        self.responded |= event.endswith("receive_response_headers.complete")
        if self.deadline is not None and event.endswith(".started"):  # each phase gets what the others left
            # Not 0, with which a socket does not wait and fails with another error than a timeout.
            self.timeouts["read"] = self.timeouts["write"] = max(0.001, self.deadline - time.monotonic())

    def _note_socket(self, event: str, info: Any) -> None:
        self._note(event, info)
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            network.bound_reads(info["return_value"])
            if self.transport.client is None:
                self.transport.watch(info["return_value"].get_extra_info("socket"))

    async def _anote(self, event: str, info: Any) -> None:
        self._note(event, info)

    def _failure(self, error: Exception) -> TransportFailure | Response:
        host, httpx = self.transport.host, self.httpx
        if isinstance(error, ApiError):
            return TransportFailure(error)
        if isinstance(error, httpx.DecodingError):  # it did respond, so the status decides what follows
            return Response(self.status, {}, b"a body that is not compressed as its Content-Encoding says")
        if isinstance(error, (TimeoutError, httpx.TimeoutException)):
            connecting = isinstance(error, (httpx.ConnectTimeout, httpx.PoolTimeout))
            waited = f" within {self.seconds:g} s" if self.seconds else ""
            what = "no connection" if connecting else "no complete answer"
            timeout = ApiTimeoutError(f"{host}: {what}{waited}; raise timeout or lower batch_size")
            return TransportFailure(_from(timeout, error), sent=not connecting)
        if isinstance(error, (httpx.InvalidURL, httpx.UnsupportedProtocol)):
            return TransportFailure(
                ApiError(f"{host}: base_url is no address that can be reached over http or https"), sent=False
            )
        certificate = network.certificate_failure(error)
        if certificate is not None:
            refused = ApiConnectionError(f"{host}: {certificate}")
            return TransportFailure(_from(refused, error), sent=False, lasting=True)
        found = ApiConnectionError(f"{host}: {_reason(error)}; check the network, base_url and proxy settings")
        connecting = isinstance(error, (httpx.ConnectError, httpx.ProxyError))  # the service saw nothing of it
        return TransportFailure(_from(found, error), sent=not connecting, stale=self._is_stale(error))

    def _is_stale(self, error: Exception) -> bool:
        """Whether a connection that had been kept was closed by the other side before it saw this request."""
        broken = isinstance(error, (self.httpx.RemoteProtocolError, self.httpx.ReadError, self.httpx.WriteError))
        return broken and self.was_sent and not self.fresh and not self.responded


def _from(error: ApiError, cause: Exception) -> ApiError:
    """`error` with a cause of the same text, without the request and the frames, which hold the key."""
    bare = TimeoutError if isinstance(error, ApiTimeoutError) else ConnectionError
    error.__cause__ = bare(_reason(cause))
    return error


def _fail_closed(name: str) -> TransportFailure:
    return TransportFailure(ApiError(f"{name} is closed; pass one that is open, or none"), sent=False)


def _reason(error: Exception) -> str:
    text = clean_text(str(error), 150)  # it may quote what the other side sent
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
