"""Preprocessing: limits of texts, where images may come from, and what strangers may try with them."""

from __future__ import annotations

import asyncio
import io
import json
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import PIL.features
import PIL.Image
import pytest

from jina_clip_integrations import SourcePolicy
from jina_clip_integrations.errors import ConfigurationError
from jina_clip_integrations.vectors import truncate_and_normalize
from tests.server.bodies import ask, b64, rows_of


class TestTexts:
    @pytest.mark.parametrize("truncate", [None, False])
    async def test_a_text_that_is_too_long(self, client_of, counting_backend, truncate) -> None:
        async with client_of(counting_backend) as client:
            response = await client.post("/v1/embeddings", json=ask(["x", "word " * 40], truncate=truncate))
        assert response.status_code == 400
        body = response.json()
        assert body["detail"]["code"] == "INPUT_TOKEN_LIMIT_EXCEEDED"
        assert body["errors"][0]["field"] == "body -> input -> 1"
        assert "122 tokens, more than the model's 50" in body["detail"]["message"]

    async def test_a_text_of_too_many_characters(self, client_of, backend) -> None:
        async with client_of(backend, max_text_characters=100) as client:
            response = await client.post("/v1/embeddings", json=ask(["x" * 101], truncate=True))
        assert (response.status_code, response.json()["detail"]["code"]) == (413, "INPUT_TEXT_TOO_LONG")

    async def test_half_a_surrogate_pair(self, client_of, backend) -> None:
        async with client_of(backend) as client:
            response = await client.post("/v1/embeddings", content=json.dumps(ask(["x", "a\ud800"])))
        assert (response.status_code, response.json()["detail"]["code"]) == (400, "INPUT_INVALID_TEXT")


@dataclass
class ImageHost:
    """An HTTP server on loopback. A path is answered with its bytes, a status, or a redirect."""

    answers: dict[str, bytes | int | str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    delay_s: float = 0.0
    url: str = ""


@pytest.fixture
def host() -> Iterator[ImageHost]:
    state = ImageHost()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            time.sleep(state.delay_s)
            answer = state.answers.get(self.path, 404)
            if isinstance(answer, bytes):
                self.send_response(200)
                self.send_header("Content-Type", "image/png")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)
            elif isinstance(answer, str):
                self.send_response(302)
                self.send_header("Location", answer)
                self.end_headers()
            else:
                self.send_error(answer)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def expected(backend, *images: bytes) -> np.ndarray:
    rows = [backend.image_row(PIL.Image.open(io.BytesIO(data)).convert("RGB")) for data in images]
    return truncate_and_normalize(np.stack(rows), dimensions=None, normalized=True)


def png_bomb(side: int) -> bytes:
    """A few kilobytes that claim to be `side` x `side` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 1_000_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


class TestAddresses:
    @pytest.mark.obligation("20")
    @pytest.mark.parametrize(
        "url",
        [
            "http://127.0.0.1:{port}/a.png",
            "https://127.0.0.1:{port}/a.png",
            "https://localhost:{port}/a.png",
            "https://[::1]:{port}/a.png",
            "https://0.0.0.0:{port}/a.png",
            "https://2130706433:{port}/a.png",
            "https://[::ffff:127.0.0.1]:{port}/a.png",
            "https://169.254.169.254/latest/meta-data/",
            "https://10.0.0.1/a.png",
            "HTTPS://LOCALHOST:{port}/a.png",
            "https://user:pass@localhost:{port}/a.png",
        ],
    )
    @pytest.mark.parametrize("key", ["image", "url", "image_url"])
    async def test_private_ones_are_refused_and_not_asked(self, client_of, backend, host, png, url, key) -> None:
        host.answers["/a.png"] = png()
        url = url.format(port=host.url.rpartition(":")[2])
        async with client_of(backend) as client:
            response = await client.post("/v1/embeddings", json=ask(["x", {key: url}]))
        assert response.status_code == 400
        assert response.json()["detail"]["code"] == "INPUT_IMAGE_FETCH_FAILED"
        assert response.json()["errors"][0]["field"] == "body -> input -> 1"
        assert host.asked == []
        assert backend.calls == []

    async def test_a_setting_allows_them(self, client_of, backend, host, png) -> None:
        host.answers = {"/a.png": png(seed=1), "/b.png": "/a.png", "/c.png": png(seed=2)}
        items = [{"image": f"{host.url}/b.png"}, {"url": f"{host.url}/c.png"}]
        async with client_of(backend, allow_private_addresses=True) as client:
            answer = (await client.post("/v1/embeddings", json=ask(items))).json()
        np.testing.assert_array_equal(rows_of(answer), expected(backend, png(seed=1), png(seed=2)))

    async def test_a_policy_of_ones_own_never_opens_files(self, client_of, backend, host, png, tmp_path) -> None:
        (tmp_path / "a.png").write_bytes(png())
        host.answers = {"/a.png": png(seed=1), "/b.png": f"file://{tmp_path}/a.png"}
        policy = SourcePolicy.trusted()
        async with client_of(backend, sources=policy) as client:
            for good in (f"{host.url}/a.png",):
                assert (await client.post("/v1/embeddings", json=ask([{"image": good}]))).status_code == 200
            for bad in (f"{host.url}/b.png", str(tmp_path / "a.png"), f"file://{tmp_path}/a.png", "a.png"):
                assert (await client.post("/v1/embeddings", json=ask([{"image": bad}]))).status_code == 400

    def test_a_policy_and_a_permission_at_once_are_refused(self, client_of, backend) -> None:
        with pytest.raises(ConfigurationError, match="either sources or allow_private_addresses"):
            client_of(backend, sources=SourcePolicy.trusted(), allow_private_addresses=True)


class TestFetching:
    @pytest.mark.parametrize(
        "answer",
        [404, 500, b"no image", b"", "/loop.png", "https://[::1]:1/x"],
        ids=["404", "500", "words", "empty", "loop", "unreachable"],
    )
    async def test_what_is_no_image(self, client_of, backend, host, answer) -> None:
        host.answers["/loop.png"] = answer
        async with client_of(backend, allow_private_addresses=True, fetch_timeout_s=0.3) as client:
            response = await client.post("/v1/embeddings", json=ask([{"image": f"{host.url}/loop.png"}]))
        assert response.status_code == 400
        assert response.json()["detail"]["code"] == "INPUT_IMAGE_FETCH_FAILED"
        assert "127.0.0.1" not in response.text
        assert "::1" not in response.text

    async def test_an_image_larger_than_allowed(self, client_of, backend, host, png) -> None:
        host.answers["/a.png"] = png(100, 100)
        async with client_of(backend, allow_private_addresses=True, max_image_bytes=5000) as client:
            response = await client.post("/v1/embeddings", json=ask([{"image": f"{host.url}/a.png"}]))
        assert response.status_code == 400
        assert "more than 5,000 bytes" in response.json()["detail"]["message"]

    async def test_a_slow_host_delays_nobody_else(self, client_of, backend, host, png, until) -> None:
        host.answers["/slow.png"] = png()
        host.delay_s = 0.5
        async with client_of(backend, allow_private_addresses=True) as client:
            slow = [
                asyncio.ensure_future(client.post("/v1/embeddings", json=ask([{"image": f"{host.url}/slow.png"}])))
                for _ in range(4)
            ]
            await until(lambda: host.asked)
            response = await client.post("/v1/embeddings", json=ask(["x", {"image": b64(png())}]))
            assert response.status_code == 200
            assert not any(task.done() for task in slow)
            assert [(await task).status_code for task in slow] == [200] * 4

    async def test_a_host_that_is_too_slow(self, client_of, backend, host, png) -> None:
        host.answers["/slow.png"] = png()
        host.delay_s = 0.4
        async with client_of(backend, allow_private_addresses=True, fetch_timeout_s=0.1) as client:
            response = await client.post("/v1/embeddings", json=ask([{"image": f"{host.url}/slow.png"}]))
        assert response.status_code == 400
        assert "not fetched within" in response.json()["detail"]["message"]


class TestFormats:
    @pytest.mark.parametrize(
        "format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO"], ids=str.lower
    )
    async def test_what_the_message_names_is_accepted(self, client_of, backend, png, format) -> None:
        if format == "AVIF" and not PIL.features.check("avif"):
            pytest.skip("this Pillow has no AVIF")
        async with client_of(backend) as client:
            response = await client.post("/v1/embeddings", json=ask([{"image": b64(encode(png(32, 32), format))}]))
        assert response.status_code == 200, response.text

    @pytest.mark.parametrize("format", ["TGA", "PCX", "SGI"], ids=str.lower)
    async def test_what_only_plug_ins_read_is_refused(self, client_of, backend, png, format) -> None:
        async with client_of(backend) as client:
            response = await client.post("/v1/embeddings", json=ask([{"image": b64(encode(png(32, 32), format))}]))
        assert response.status_code == 400
        assert response.json()["detail"]["code"] == "INPUT_INVALID_IMAGE"
        assert backend.calls == []


def encode(data: bytes, format: str) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.open(io.BytesIO(data)).save(buffer, format=format)
    return buffer.getvalue()


class TestMaliciousImages:
    async def test_the_first_of_several_bad_images_is_named(self, client_of, backend, png) -> None:
        items = [{"image": b64(png())}, {"image": b64(b"no")}, "x", {"image": "!!"}]
        async with client_of(backend) as client:
            for _ in range(3):
                body = (await client.post("/v1/embeddings", json=ask(items))).json()
                assert body["errors"][0]["field"] == "body -> input -> 1"

    @pytest.mark.parametrize(
        "image",
        [
            pytest.param("/etc/passwd", id="path"),
            pytest.param("../../etc/passwd", id="relative path"),
            pytest.param("file:///etc/passwd", id="file URL"),
            pytest.param("C:\\Windows\\win.ini", id="Windows path"),
            pytest.param("ftp://example.org/a.png", id="ftp"),
            pytest.param("gopher://x", id="gopher"),
            pytest.param("data:", id="data URI without comma"),
            pytest.param("data:,", id="empty data URI"),
            pytest.param("data:image/png;base64", id="data URI without payload comma"),
            pytest.param("data:image/png;base64,", id="data URI without payload"),
            pytest.param("data:image/png;base64,====", id="data URI of padding"),
            pytest.param("not base64 at all!", id="words"),
            pytest.param("AAA", id="odd base64"),
            pytest.param("\x00", id="null character"),
            pytest.param("é" * 10, id="accents"),
            pytest.param(b64(b"GIF89a"), id="head of a GIF"),
            pytest.param(b64(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), id="SVG"),
            pytest.param(b64(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n"), id="PostScript"),
        ],
    )
    async def test_strings_that_are_no_image(self, client_of, backend, image) -> None:
        async with client_of(backend) as client:
            response = await client.post("/v1/embeddings", json=ask([{"image": image}]))
        assert response.status_code == 400
        assert response.json()["detail"]["code"] == "INPUT_INVALID_IMAGE"
        assert backend.calls == []

    async def test_a_path_in_base64_is_not_opened(self, client_of, backend, png, tmp_path) -> None:
        file = tmp_path / "a.png"
        file.write_bytes(png())
        async with client_of(backend) as client:
            for image in (str(file), b64(str(file).encode())):
                assert (await client.post("/v1/embeddings", json=ask([{"image": image}]))).status_code == 400

    @pytest.mark.parametrize("side", [8000, 60_000, 2_000_000_000])
    async def test_bombs_are_refused_by_their_header(self, client_of, backend, side) -> None:
        async with client_of(backend) as client:
            response = await client.post("/v1/embeddings", json=ask([{"image": b64(png_bomb(side))}]))
        assert response.status_code == 400
        assert backend.calls == []

    async def test_pixels_have_a_limit_of_their_own(self, client_of, backend, png) -> None:
        async with client_of(backend, max_image_pixels=100) as client:
            response = await client.post("/v1/embeddings", json=ask([{"image": b64(png(20, 10))}]))
        assert response.status_code == 400
        assert "20 x 10 pixels are more than the 100" in response.json()["detail"]["message"]

    @pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
    async def test_an_image_that_is_too_large(self, client_of, backend, png, prefix) -> None:
        async with client_of(backend, max_image_bytes=1000) as client:
            response = await client.post("/v1/embeddings", json=ask(["x", {"image": prefix + b64(png(100, 100))}]))
        assert response.status_code == 413
        assert response.json()["detail"]["code"] == "INPUT_IMAGE_TOO_LARGE"
        assert response.json()["errors"][0]["field"] == "body -> input -> 1"
