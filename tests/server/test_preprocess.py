"""Images of a request: where they may come from, and what strangers may try with them."""

from __future__ import annotations

import asyncio
import base64
import io
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from jina_clip_integrations import JinaClipEncoder, SourcePolicy
from jina_clip_integrations.errors import ConfigurationError
from jina_clip_integrations.vectors import truncate_and_normalize


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


def ask(items: object) -> dict:
    return {"model": "jina-clip-v2", "input": items, "embedding_type": "base64"}


def rows_of(answer: dict) -> np.ndarray:
    return np.stack([np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in answer["data"]])


def expected(backend, *images: bytes) -> np.ndarray:
    rows = [backend.image_row(PIL.Image.open(io.BytesIO(data)).convert("RGB")) for data in images]
    return truncate_and_normalize(np.stack(rows), dimensions=None, normalized=True)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


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


class TestMalice:
    async def test_the_first_of_several_bad_images_is_named(self, client_of, backend, png) -> None:
        items = [{"image": b64(png())}, {"image": b64(b"no")}, "x", {"image": "!!"}]
        async with client_of(backend) as client:
            for _ in range(3):
                body = (await client.post("/v1/embeddings", json=ask(items))).json()
                assert body["errors"][0]["field"] == "body -> input -> 1"

    @pytest.mark.parametrize(
        "image",
        [
            "/etc/passwd",
            "../../etc/passwd",
            "file:///etc/passwd",
            "C:\\Windows\\win.ini",
            "ftp://example.org/a.png",
            "gopher://x",
            "data:",
            "data:,",
            "data:image/png;base64",
            "data:image/png;base64,",
            "data:image/png;base64,====",
            "not base64 at all!",
            "AAA",
            "\x00",
            "é" * 10,
            b64(b"GIF89a"),
            b64(b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
            b64(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n"),
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


class TestOrientation:
    @pytest.mark.parametrize("upright", [True, False])
    async def test_the_encoders_setting_decides(self, client_of, backend, png, upright) -> None:
        image = PIL.Image.open(io.BytesIO(png(30, 20)))
        exif = PIL.Image.Exif()
        exif[0x0112] = 6
        buffer = io.BytesIO()
        image.save(buffer, format="PNG", exif=exif)
        turned = image.transpose(PIL.Image.Transpose.ROTATE_270) if upright else image
        encoder = JinaClipEncoder(backend=backend, exif_orientation=upright, dimensions=64)
        async with client_of(encoder) as client:
            answer = (await client.post("/v1/embeddings", json=ask([{"image": b64(buffer.getvalue())}]))).json()
        np.testing.assert_array_equal(
            rows_of(answer), truncate_and_normalize(backend.image_row(turned)[None], dimensions=None, normalized=True)
        )


async def test_an_encoders_cache_is_used(client_of, backend, png, tmp_path: Path) -> None:
    encoder = JinaClipEncoder(backend=backend, cache=tmp_path / "cache", dimensions=256)
    items = ["a", {"image": b64(png())}, "b"]
    async with client_of(encoder) as client:
        first = (await client.post("/v1/embeddings", json=ask(items))).json()
        calls = len(backend.calls)
        second = (await client.post("/v1/embeddings", json=ask(items) | {"dimensions": 64})).json()
    assert len(backend.calls) == calls
    raw = [backend.text_row("a"), backend.image_row(PIL.Image.open(io.BytesIO(png()))), backend.text_row("b")]
    np.testing.assert_array_equal(
        rows_of(first), truncate_and_normalize(np.stack(raw), dimensions=None, normalized=True)
    )
    np.testing.assert_array_equal(
        rows_of(second), truncate_and_normalize(np.stack(raw), dimensions=64, normalized=True)
    )
