"""The transport of our own blocking client, against a server that says exactly what it is told to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest

from jina_clip_integrations.backends.remote import direct
from jina_clip_integrations.backends.remote.direct import DirectTransport, goes_direct

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Scripted:
    """Answers the n-th request with the n-th script; `None` closes the connection without a word."""

    def __init__(self) -> None:
        self.scripts: list[bytes | None] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1/embeddings?a=b"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            received = b""
            while block := connection.recv(65536):
                received += block
                head, end, body = received.partition(b"\r\n\r\n")
                if not end or len(body) < int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]):
                    continue
                self.requests.append(received)
                received, script = b"", self.scripts.pop(0)
                connection.sendall(script or b"")
                if script is None or b"\r\nConnection: close\r\n" in script or not script.endswith((b"ok", b"\r\n")):
                    return


@pytest.fixture
def server() -> Iterator[Scripted]:
    scripted = Scripted()
    yield scripted
    scripted.close()


class Caller:
    """One client, and what it told of its last exchange."""

    def __init__(self) -> None:
        self.watched: list[socket.socket] = []
        self.events: list[str] = []
        self.client = httpx.Client(
            transport=DirectTransport(certificates=pytest.fail, keep=2, watch=self.watched.append)  # type: ignore[arg-type]
        )

    def ask(self, url: str, body: bytes = b"{}", **timeouts: float) -> httpx.Response:
        self.events.clear()
        request = self.client.build_request("POST", url, content=body, headers={"X-Mine": "yes"})
        request.extensions["trace"] = lambda event, info: self.events.append(event)
        request.extensions["timeout"] = {"connect": 5.0, "read": 5.0, "write": 5.0} | timeouts
        return self.client.send(request)


@pytest.fixture
def caller() -> Iterator[Caller]:
    calling = Caller()
    with calling.client:
        yield calling


def test_what_is_sent(server: Scripted, caller: Caller) -> None:
    server.scripts = [OK]
    assert caller.ask(server.url, b'{"a": 1}').text == "ok"
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    line, *headers = head.split(b"\r\n")
    assert (line, body) == (b"POST /v1/embeddings?a=b HTTP/1.1", b'{"a": 1}')
    names = [header.partition(b":")[0].lower() for header in headers]
    assert sorted(names) == sorted(set(names))
    assert {b"host", b"x-mine", b"content-length", b"user-agent"} <= set(names)


ANSWERS = {
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\nTrailer: x\r\n\r\n",
    "until it closes": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
    "after a 100": b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    "headers of any bytes": b"HTTP/1.1 200 Gr\xfc\xdfe\r\nX-A: \xfc\r\nX-A: b\r\nContent-Length: 2\r\n\r\nok",
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers(server: Scripted, caller: Caller, name: str) -> None:
    server.scripts = [ANSWERS[name], OK]
    assert caller.ask(server.url).text == "ok"
    assert caller.ask(server.url).text == "ok"
    assert server.connections == (2 if b"Connection: close" in ANSWERS[name] else 1)


def test_headers_that_occur_twice(server: Scripted, caller: Caller) -> None:
    server.scripts = [ANSWERS["headers of any bytes"]]
    assert caller.ask(server.url).headers.get_list("x-a") == ["ü", "b"]


def test_an_answer_without_a_body(server: Scripted, caller: Caller) -> None:
    server.scripts = [b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", OK]
    answer = caller.ask(server.url)
    assert (answer.status_code, answer.content) == (503, b"")
    assert caller.ask(server.url).text == "ok"
    assert server.connections == 1


BROKEN = {
    "nothing": None,
    "no HTTP": b"SSH-2.0-OpenSSH\r\n",
    "half a body": b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nnot everything",
    "half a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nnot everything",
    "chunks without an end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_answers_are_errors_of_httpx(server: Scripted, caller: Caller, name: str) -> None:
    script = BROKEN[name]
    server.scripts = [script if script is None else script + b"!"[: name.endswith("end")], OK]
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        caller.ask(server.url)
    assert caller.ask(server.url).text == "ok"
    assert server.connections == 2


def test_only_a_new_connection_is_announced(server: Scripted, caller: Caller) -> None:
    server.scripts = [OK, OK]
    for new in (True, False):
        caller.ask(server.url)
        assert any(event.startswith("connection.connect") for event in caller.events) is new
        assert caller.events[-3:] == [
            "http11.send_request_headers.started",
            "http11.receive_response_headers.started",
            "http11.receive_response_headers.complete",
        ]
    assert len(caller.watched) == 1


def test_a_connection_that_was_closed_meanwhile_is_not_used(server: Scripted, caller: Caller) -> None:
    server.scripts = [OK, OK]
    caller.ask(server.url)
    caller.watched[0].shutdown(socket.SHUT_RD)  # as it looks when the server has closed it
    caller.ask(server.url)
    assert server.connections == 2


def test_an_old_connection_is_not_used(server: Scripted, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "KEPT_S", -1.0)
    server.scripts = [OK, OK]
    caller.ask(server.url)
    caller.ask(server.url)
    assert server.connections == 2


def test_no_more_connections_are_kept_than_wanted(server: Scripted, caller: Caller) -> None:
    server.scripts = [OK] * 6
    for _ in range(2):
        answers = [caller.client.stream("POST", server.url, **said()) for _ in range(3)]
        for entered in [answer.__enter__() for answer in answers]:
            entered.read()
    assert server.connections == 4


def said() -> dict[str, Any]:
    timeouts = {"connect": 5.0, "read": 5.0, "write": 5.0}
    return {"content": b"{}", "extensions": {"trace": lambda event, info: None, "timeout": timeouts}}


def test_a_body_that_is_left_unread_takes_the_connection_along(server: Scripted, caller: Caller) -> None:
    server.scripts = [OK, OK]
    with caller.client.stream("POST", server.url, **said()):
        pass
    caller.ask(server.url)
    assert server.connections == 2


def test_after_closing_nothing_is_kept(server: Scripted, caller: Caller) -> None:
    server.scripts = [OK]
    with caller.client.stream("POST", server.url, **said()) as answer:
        caller.client._transport.close()
        answer.read()
    assert caller.watched[0].fileno() == -1


def test_waits_that_end(server: Scripted, caller: Caller) -> None:
    server.scripts = [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"]
    for _ in range(2):
        with pytest.raises(httpx.ReadTimeout):
            caller.ask(server.url, read=0.05)


def test_an_answer_that_comes_before_everything_was_sent(caller: Caller) -> None:
    refusal = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            connection, _ = listener.accept()
            connection.recv(100)
            connection.sendall(refusal)
            connection.shutdown(socket.SHUT_WR)
            with suppress(OSError):
                while connection.recv(2**16):
                    pass
            connection.close()

        threading.Thread(target=refuse, daemon=True).start()
        answer = caller.ask(f"http://127.0.0.1:{listener.getsockname()[1]}/", b" " * 2**22)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("variables", "url", "direct"),
    [
        ({}, "http://embedder.internal/v1", True),
        ({"http_proxy": "http://proxy:1"}, "http://embedder.internal/v1", False),
        ({"http_proxy": "http://proxy:1"}, "https://api.jina.ai/v1", True),
        ({"HTTPS_PROXY": "http://proxy:1"}, "https://api.jina.ai/v1", False),
        ({"all_proxy": "http://proxy:1"}, "https://api.jina.ai/v1", False),
        ({"all_proxy": "http://proxy:1", "no_proxy": "localhost,127.0.0.1"}, "http://127.0.0.1:80/v1", True),
        ({"all_proxy": "http://proxy:1", "no_proxy": "*"}, "https://api.jina.ai/v1", True),
    ],
)
def test_where_the_environment_names_a_proxy(
    variables: dict[str, str], url: str, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert goes_direct(url) is direct
