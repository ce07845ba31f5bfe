"""Downloading an image under a source policy: every hop is checked, and the checked address is connected to."""

from __future__ import annotations

import logging
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from .. import network
from .._version import CONTACT_USER_AGENT
from ..concurrency.retry import read_retry_after, retry_wait
from ..errors import ImageError
from ..settings import RetryPolicy
from .addresses import is_public, literal_address, resolve
from .formats import media_type
from .sources import SourcePolicy, show_url
from .unpack import Unpacker, UnpackError

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger("jina_clip_integrations")

_REDIRECTS = (301, 302, 303, 307, 308)
_TEMPORARY = (408, 425, 429, 500, 502, 503, 504)
_HEADERS = {"User-Agent": CONTACT_USER_AGENT, "Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity"}
_WAITS = RetryPolicy()
_MAX_ADDRESSES = 4
"""Addresses of a host that are tried, one after the other."""

sleep: Callable[[float], None] = time.sleep


class TemporaryFailure(Exception):  # noqa: N818  # not an error yet: another attempt may do
    """An attempt failed in a way that may pass."""

    def __init__(self, error: ImageError, *, kind: str = "server", retry_after_s: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.kind = kind
        self.retry_after_s = retry_after_s


def fetch(url: str, *, policy: SourcePolicy) -> bytes:
    """The body of `url`, redirects followed, with further attempts if the host is overloaded or cannot be reached.

    Raises:
        ImageError: it cannot be had; names the URL without user name and query.
        ConfigurationError: the environment names a proxy or certificates that cannot be used.
    """
    attempt = 1
    while True:
        try:
            return _attempt(url, policy)
        except TemporaryFailure as failure:  # noqa: PERF203
            asked_s = failure.retry_after_s
            if attempt > policy.max_retries or (asked_s is not None and asked_s > policy.timeout):
                raise _given_up(failure, attempt, policy) from failure.__cause__
            wait_s = retry_wait(_WAITS, failure.kind, attempt, asked_s, random.random())  # noqa: S311  # no secret
            wait_s = min(wait_s, policy.timeout)
            logger.info("%s; trying again in %.1f s", failure.error.message, wait_s)
            sleep(wait_s)
            attempt += 1


def _given_up(failure: TemporaryFailure, attempts: int, policy: SourcePolicy) -> ImageError:
    if attempts <= policy.max_retries:
        asked = f"; it asks to wait {failure.retry_after_s:.0f} s"
        failure.error.message += f"{asked}, longer than timeout={policy.timeout:g} of the policy allows"
    elif attempts > 1:
        failure.error.message += f" (given up after {attempts} attempts)"
    return failure.error


def _attempt(url: str, policy: SourcePolicy) -> bytes:
    given = url
    with _Download(policy) as download:
        for _ in range(policy.max_redirects + 1):  # by hand, since httpx would follow without asking the policy
            policy.check_url(url)
            with download.naming_failures(url):
                body, onward = download.get(url)
            if onward is None:
                return body
            url = _join(url, onward)
    raise ImageError(f"{show_url(given)}: more than {policy.max_redirects} redirects")


def _join(url: str, onward: str) -> str:
    try:
        return urljoin(url, onward)
    except ValueError as error:
        raise ImageError(f"{show_url(url)}: redirects to a URL that cannot be parsed") from error


class _Download:
    """One attempt: its connections, and the time by which it has to end."""

    def __init__(self, policy: SourcePolicy) -> None:
        self.policy = policy
        self.deadline = time.monotonic() + policy.timeout
        self._clients: dict[str | None, httpx.Client] = {}
        self._resources = ExitStack()

    def __enter__(self) -> _Download:
        self._resources.enter_context(network.reading_until(self.deadline))
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    @property
    def seconds_left(self) -> float:
        """Never 0, with which a socket does not wait and fails with another error than a timeout."""
        return max(0.001, self.deadline - time.monotonic())

    def get(self, url: str) -> tuple[bytes, str | None]:
        """Body of an image, or the location that the server redirects to."""
        response = self._send(url)
        try:
            if response.status_code in _REDIRECTS and "location" in response.headers:
                return b"", response.headers["location"]
            _check_response(response, url, self.policy)
            return self._read_body(response, url), None
        finally:
            response.close()

    # Sending

    def _send(self, url: str) -> httpx.Response:
        import httpx

        # Whoever connects resolves the name, so a policy that checks addresses strictly goes without a proxy.
        proxy = None if self.policy.direct_only else network.proxy_for(url)
        client = self._client(proxy)
        request = client.build_request("GET", url, headers=self.policy.request_headers(url))
        addresses = self._addresses(request, url, proxied=proxy is not None)
        for at, address in enumerate(addresses, start=1):
            seconds = self.seconds_left
            timeout = httpx.Timeout(seconds, connect=seconds / (len(addresses) - at + 1))
            request.extensions.update(timeout=timeout.as_dict(), trace=_note_connection)
            if address is not None:
                _pin(request, address)
            try:
                return client.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                if at == len(addresses) or network.certificate_failure(error):
                    raise
        raise AssertionError("a host has at least one address")

    def _client(self, proxy: httpx.Proxy | None) -> httpx.Client:
        """One for each way out, so that a redirect on the same host takes the same connection."""
        import httpx

        key = None if proxy is None else str(proxy.url)
        if key not in self._clients:
            client = httpx.Client(verify=network.tls_context(), proxy=proxy, trust_env=False, headers=_HEADERS)
            # By host they would be kept, and to a pinned request the host is an address, which others share.
            client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            self._clients[key] = self._resources.enter_context(client)
        return self._clients[key]

    def _addresses(self, request: httpx.Request, url: str, *, proxied: bool) -> list[str | None]:
        """The addresses to connect to, checked; None = leave the host's name to whoever connects."""
        if not self.policy.public_only:
            return [None]
        host = request.url.raw_host.decode("ascii")
        try:
            found = _look_up(host, request.url.port or {"http": 80}.get(request.url.scheme, 443))
        except (OSError, UnicodeError):
            if not proxied:
                raise
            return [None]  # behind a proxy, a machine often cannot look up the names of the outside
        if not found or not all(is_public(address) for address in found):
            raise self.policy.not_public(url)
        return [None] if proxied else list(found[:_MAX_ADDRESSES])

    # Failing

    @contextmanager
    def naming_failures(self, url: str) -> Iterator[None]:
        """Raise what a network or host may do as `ImageError`, or as `TemporaryFailure` if it may pass."""
        import httpx

        try:
            yield
        except UnpackError as error:
            raise ImageError(f"{show_url(url)}: {error}") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            failure = self._failure(error, url)
            raise failure from error

    def _failure(self, error: Exception, url: str) -> ImageError | TemporaryFailure:
        import httpx

        late = isinstance(error, httpx.TimeoutException) or time.monotonic() >= self.deadline
        if late:
            reason = f"not fetched within {self.policy.timeout:g} s (timeout of the policy)"
            return TemporaryFailure(ImageError(f"{show_url(url)}: {reason}"))
        certificate = network.certificate_failure(error)
        # Other errors than of the transport quote the URL with its query.
        quotable = isinstance(error, (httpx.TransportError, OSError))
        reason = certificate or (str(error).partition("\n")[0] if quotable else "") or type(error).__name__
        found = ImageError(f"{show_url(url)}: cannot be fetched ({reason})")
        passes = certificate is None and _may_pass(error)
        return TemporaryFailure(found) if passes else found

    # Receiving

    def _check_time(self) -> None:
        if time.monotonic() >= self.deadline:
            raise TimeoutError

    def _read_body(self, response: httpx.Response, url: str) -> bytes:
        # Block by block: a body may be longer than its announced length, have none, or unpack to a multiple of it.
        body = bytearray()
        unpacker = Unpacker(response.headers.get("content-encoding", ""))
        for received in response.iter_raw():
            for block in unpacker.blocks(received):
                body += block
                if len(body) > self.policy.max_bytes:
                    raise ImageError(_too_large(url, self.policy))
            self._check_time()
        _check_kind(response, bytes(body[:64]), url)
        return bytes(body)


def _note_connection(event: str, info: Any) -> None:
    if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
        network.bound_reads(info["return_value"])


def _look_up(host: str, port: int) -> list[str]:
    try:
        literal = literal_address(host)
    except ValueError as error:
        raise OSError("no address") from error
    return [literal] if literal is not None else resolve(host, port)


def _pin(request: httpx.Request, address: str) -> None:
    """Send the request to an address that was checked, with the host's name in TLS and the `Host` header.

    Resolving the name once more to connect would let it point elsewhere by then (DNS rebinding).
    """
    request.extensions.setdefault("sni_hostname", request.url.raw_host.decode("ascii"))
    request.url = request.url.copy_with(host=address)


def _may_pass(error: Exception) -> bool:
    import httpx

    if isinstance(error, httpx.ProxyError):  # its text begins with the status by which the proxy refused
        return str(error)[:3] in map(str, _TEMPORARY)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return cause.errno == socket.EAI_AGAIN
        cause = cause.__cause__ or cause.__context__
    return isinstance(error, (httpx.NetworkError, httpx.RemoteProtocolError))


def _check_response(response: httpx.Response, url: str, policy: SourcePolicy) -> None:
    status = response.status_code
    if status != 200:
        error = ImageError(f"{show_url(url)}: the server answered {status} {response.reason_phrase}".strip())
        if status in _TEMPORARY:
            kind = "requests" if status == 429 else "server"
            raise TemporaryFailure(error, kind=kind, retry_after_s=read_retry_after(response.headers, time.time()))
        if status in (401, 403):
            error.message += _REFUSED
        raise error
    length = response.headers.get("content-length", "")
    if length.isdecimal() and int(length) > policy.max_bytes:
        raise ImageError(_too_large(url, policy))


_REFUSED = "; a SourcePolicy can have headers for this host, and a user_agent with a contact, as some hosts ask for"


def _check_kind(response: httpx.Response, head: bytes, url: str) -> None:
    """Refuse pages and messages in place of an image. Hosts send images under any label, so the bytes decide."""
    label = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if (label.startswith("text/") or label == "application/json") and media_type(head) is None:
        raise ImageError(f"{show_url(url)}: the server answered with {label}, not with an image")


def _too_large(url: str, policy: SourcePolicy) -> str:
    return f"{show_url(url)}: more than {policy.max_bytes:,} bytes, the limit of the source policy (max_bytes)"
