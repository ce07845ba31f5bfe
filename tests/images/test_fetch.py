"""Fetching images under both policies, from a server on this machine."""

from __future__ import annotations

import gzip
import io
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jina_clip_integrations import ImageError, JinaClipEncoder, SourcePolicy
from jina_clip_integrations.images import fetch as fetching
from jina_clip_integrations.images.fetch import fetch, is_public
from jina_clip_integrations.inputs import InputParser
from tests.faces import both_faces
from tests.fakes import BlockingBackend, content_vector, unit

PIXELS = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(4, 5, 3)
_buffer = io.BytesIO()
Image.fromarray(PIXELS).save(_buffer, "PNG")
PNG = _buffer.getvalue()


class Handler(BaseHTTPRequestHandler):
    """Images and everything that may come instead."""

    protocol_version = "HTTP/1.1"
    server: Any

    def do_GET(self) -> None:
        self.server.seen.append((self.path, dict(self.headers)))
        page = self.path.partition("?")[0].strip("/").partition("/")[0]
        getattr(self, f"page_{page}", self.page_missing)()

    def answer(self, status: int = 200, body: bytes = PNG, **headers: str) -> None:
        self.send_response(status)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in {"content-type": "image/png", "content-length": str(len(body)), **named}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def page_image(self) -> None:
        self.answer()

    def page_binary(self) -> None:
        self.answer(content_type="application/octet-stream")

    def page_zipped(self) -> None:
        self.answer(body=gzip.compress(PNG), content_encoding="gzip")

    def page_bomb(self) -> None:
        self.answer(body=gzip.compress(bytes(5_000_000)), content_encoding="gzip")

    def page_html(self) -> None:
        self.answer(body=b"<html>log in first</html>", content_type="text/html; charset=utf-8")

    def page_rubbish(self) -> None:
        self.answer(body=b"rubbish")

    def page_redirect(self) -> None:
        self.answer(302, b"", location="../image")

    def page_loop(self) -> None:
        self.answer(301, b"", location="/loop")

    def page_elsewhere(self) -> None:
        self.answer(307, b"", location=self.server.elsewhere)

    def page_large(self) -> None:
        self.answer(body=bytes(100_000))

    def page_endless(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "image/png")
        self.send_header("connection", "close")
        self.end_headers()
        for _ in range(1000):
            self.wfile.write(bytes(10_000))

    def page_slow(self) -> None:
        time.sleep(0.7)
        self.answer()

    def page_drip(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "image/png")
        self.send_header("content-length", "1000")
        self.end_headers()
        for _ in range(20):
            self.wfile.write(b"x")
            time.sleep(0.1)

    def page_missing(self) -> None:
        self.answer(404, b"gone")

    def log_message(self, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    """`seen` holds path and headers of every request."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.elsewhere = ""
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def handle_error(self, *args: Any) -> None:
        pass  # a client that hangs up is part of the tests


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running
        running.shutdown()


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "sleep", lambda seconds: None)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def fetch_trusting(url: str, **changes: Any) -> bytes:
    return fetch(url, policy=SourcePolicy.trusted(**changes))


class TestFetching:
    @pytest.mark.parametrize("page", ["image", "image?token=1", "binary", "zipped", "redirect/"])
    def test_images(self, server: Server, page: str) -> None:
        assert fetch_trusting(f"{server.url}/{page}") == PNG

    def test_says_who_we_are(self, server: Server) -> None:
        fetch_trusting(f"{server.url}/image")
        agent = server.seen[0][1]["User-Agent"]
        assert agent.startswith("jina-clip-integrations/")

    @pytest.mark.framework("llama-index/error-page")
    @pytest.mark.parametrize(
        ("page", "changes", "said"),
        [
            ("nowhere", {}, "answered 404 Not Found"),
            ("html", {}, "answered with text/html, not with an image"),
            ("loop", {}, "more than 3 redirects"),
            ("loop", {"max_redirects": 1}, "more than 1 redirects"),
            ("redirect/", {"max_redirects": 0}, "more than 0 redirects"),
            ("large", {"max_bytes": 50_000}, "more than 50,000 bytes"),
            ("endless", {"max_bytes": 50_000}, "more than 50,000 bytes"),
            ("bomb", {"max_bytes": 50_000}, "more than 50,000 bytes"),
            ("slow", {"timeout": 0.2}, "not fetched within 0.2 s"),
            ("drip", {"timeout": 0.4}, "not fetched within 0.4 s"),
        ],
    )
    def test_anything_else_says_why(self, server: Server, page: str, changes: dict[str, Any], said: str) -> None:
        with pytest.raises(ImageError, match=said) as caught:
            fetch_trusting(f"{server.url}/{page}?token=secret", **changes)
        assert "secret" not in str(caught.value)
        assert f"{server.url}/{page.rstrip('/')}" in str(caught.value)

    def test_nobody_there(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
        with pytest.raises(ImageError, match="cannot be fetched"):
            fetch_trusting(f"http://127.0.0.1:{port}/a.png")

    def test_no_such_host(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def unknown(*args: Any, **options: Any) -> Any:
            raise socket.gaierror(-2, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        for policy in (SourcePolicy.trusted(), SourcePolicy.agent()):
            with pytest.raises(ImageError, match=r"nowhere.*cannot be fetched"):
                fetch("https://images.nowhere/a.png", policy=policy)

    @pytest.mark.parametrize(
        "url", ["https://", "http:///a.png", "https://[::1/a.png", "http://a b/", "https://\udcff/"]
    )
    def test_malformed_urls(self, url: str) -> None:
        with pytest.raises(ImageError):
            InputParser().image(url).open()

    def test_credentials_stay_with_their_host(self, server: Server) -> None:
        with Server() as other:
            server.elsewhere = f"{other.url}/image"
            host = server.url.removeprefix("http://")
            assert fetch_trusting(f"http://user:pass@{host}/elsewhere") == PNG
            assert "Authorization" in server.seen[0][1]
            assert not {"Authorization", "Cookie", "Referer"} & other.seen[0][1].keys()
            other.shutdown()

    @pytest.mark.obligation("20")
    def test_redirects_do_not_lead_to_files(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "a.png").write_bytes(PNG)
        server.elsewhere = f"file://{tmp_path}/a.png"
        with pytest.raises(ImageError, match="does not allow this URL"):
            fetch_trusting(f"{server.url}/elsewhere")


@both_faces
class TestEncoder:
    def test_urls_are_fetched_once_and_embedded(self, server: Server, face: Any) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend(), sources=SourcePolicy.trusted())
        url = f"{server.url}/image"
        rows = face(encoder).encode_image([url, url, PNG])
        expected = unit(content_vector(b"image/5/4/" + PIXELS.tobytes()))
        np.testing.assert_allclose(rows, [expected] * 3, atol=1e-6)
        assert len(encoder.backend.embedded) == 1
        assert len(server.seen) == 1

    def test_one_url_is_fetched_once(self, server: Server, face: Any) -> None:
        face(JinaClipEncoder(backend=BlockingBackend(), sources=SourcePolicy.trusted())).encode_image(
            f"{server.url}/image"
        )
        assert len(server.seen) == 1

    def test_a_bad_url_is_named(self, server: Server, face: Any) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend(), sources=SourcePolicy.trusted())
        urls = [f"{server.url}/{page}" for page in ("image", "nowhere", "rubbish", "html")]
        rows = face(encoder).encode_image(urls, on_error="skip")
        assert np.isnan(rows[1:]).all()
        assert "404" in str(encoder.last_errors[1])
        assert "/rubbish: not an image" in str(encoder.last_errors[2])
        with pytest.raises(ImageError) as caught:
            face(encoder).encode_image(urls)
        assert caught.value.index == 1

    def test_the_policy_is_the_encoders(self, server: Server, face: Any) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend(), sources=SourcePolicy.agent())
        for image in (f"{server.url}/image", "/etc/passwd", Path("/etc/passwd")):
            with pytest.raises(ImageError, match="source policy"):
                face(encoder).encode_image(image)
        assert server.seen == []
        assert face(encoder).encode_image(PNG).shape == (8,)


class TestPinning:
    @pytest.fixture
    def names(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
        """Addresses by host name. The server's address counts as public here, others as they are."""
        names: dict[str, list[str]] = {}
        monkeypatch.setattr(fetching, "resolve", lambda host, port: names[host])
        monkeypatch.setattr(fetching, "is_public", lambda address: address == "127.0.0.1" or is_public(address))
        return names

    def test_the_checked_address_is_connected_to_under_the_hosts_name(
        self, server: Server, names: dict[str, list[str]]
    ) -> None:
        names["images.test"] = ["127.0.0.1"]
        policy = SourcePolicy.agent(schemes=("http",))
        assert fetch(f"http://images.test:{server.server_port}/image", policy=policy) == PNG
        assert server.seen[0][1]["Host"] == f"images.test:{server.server_port}"

    def test_one_private_address_of_several_is_enough_to_refuse(
        self, server: Server, names: dict[str, list[str]]
    ) -> None:
        names["images.test"] = ["127.0.0.1", "10.0.0.1"]
        with pytest.raises(ImageError, match="public addresses only"):
            fetch(f"http://images.test:{server.server_port}/image", policy=SourcePolicy.agent(schemes=("http",)))
        assert server.seen == []

    def test_every_hop_is_checked(self, server: Server, names: dict[str, list[str]]) -> None:
        names.update({"images.test": ["127.0.0.1"], "inner.test": ["192.168.0.1"]})
        server.elsewhere = f"http://inner.test:{server.server_port}/image"
        with pytest.raises(ImageError, match=r"http://inner\.test.*public addresses only"):
            fetch(f"http://images.test:{server.server_port}/elsewhere", policy=SourcePolicy.agent(schemes=("http",)))
        assert [path for path, _ in server.seen] == ["/elsewhere"]

    def test_the_next_address_is_tried(self, server: Server, names: dict[str, list[str]]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
        names["images.test"] = ["127.0.0.2", "127.0.0.1"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fetching, "is_public", lambda address: True)
            connected: list[str] = []
            real = socket.create_connection

            def connect(address: Any, *args: Any, **options: Any) -> Any:
                connected.append(address[0])
                # Where nobody listens, in place of an address that cannot be reached from here.
                return real(("127.0.0.1", port if address[0] == "127.0.0.2" else address[1]), *args, **options)

            patch.setattr(socket, "create_connection", connect)
            url = f"http://images.test:{server.server_port}/image"
            assert fetch(url, policy=SourcePolicy.agent(schemes=("http",))) == PNG
        assert connected == ["127.0.0.2", "127.0.0.1"]

    def test_proxies_of_the_environment_are_not_used(
        self, server: Server, names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        names["images.test"] = ["127.0.0.1"]
        policy = SourcePolicy.agent(schemes=("http",))
        assert fetch(f"http://images.test:{server.server_port}/image", policy=policy) == PNG
