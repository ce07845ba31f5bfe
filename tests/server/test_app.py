"""Routes: the published requests over a real server, probes, the list of models, wrong addresses."""

from __future__ import annotations

import asyncio
import base64
import functools
import http.server
import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

import numpy as np
import PIL.Image
import pytest
import requests

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.catalog import JINA_CLIP_V1, JINA_CLIP_V2, ModelSpec
from jina_clip_integrations.errors import ConfigurationError
from jina_clip_integrations.server import ServerSettings, create_app
from jina_clip_integrations.vectors import truncate_and_normalize
from tests.server.bodies import OFFICIAL_GIF, ask, b64, check_flat, check_nested, open_image, rows_of


@pytest.fixture
def gallery(tmp_path: Path, png) -> Iterator[str]:
    """A folder of images behind the standard library's own file server."""
    (tmp_path / "beach.png").write_bytes(png(80, 60, seed=3))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_announcements_request(serve, backend, gallery, png) -> None:
    """Mixed text and image URL, `dimensions` as a string, the old name of the encoding, a bearer key."""
    serving = serve(backend, allow_private_addresses=True, api_keys=("jina_key",))
    body = {
        "model": "jina-clip-v2",
        "dimensions": "768",
        "encoding_type": "float",
        "input": [{"text": "A beautiful sunset over the beach"}, {"image": f"{gallery}/beach.png"}],
    }
    headers = {"Content-Type": "application/json", "Authorization": "Bearer jina_key"}
    response = requests.post(f"{serving.url}/v1/embeddings", headers=headers, data=json.dumps(body), timeout=10)
    assert response.status_code == 200, response.text
    image = PIL.Image.open(io.BytesIO(png(80, 60, seed=3)))
    raw = np.stack([backend.text_row("A beautiful sunset over the beach"), backend.image_row(image)])
    rows = np.array([row["embedding"] for row in response.json()["data"]], np.float32)
    np.testing.assert_array_equal(rows, truncate_and_normalize(raw, dimensions=768, normalized=True))
    assert requests.post(f"{serving.url}/v1/embeddings", json=body, timeout=10).status_code == 401


@pytest.mark.parametrize("strict", [False, True], ids=["lenient", "strict"])
@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        (JINA_CLIP_V1, {"normalized": True, "embedding_type": "float"}),
        (JINA_CLIP_V2, {"normalized": True, "embedding_type": "float", "dimensions": 1024, "task": "retrieval.query"}),
        (JINA_CLIP_V2, {"embedding_type": "base64", "truncate": True}),
    ],
    ids=["v1", "v2", "v2 in base64"],
)
def test_the_published_schemas_requests(serve, content_backend, spec: ModelSpec, fields: dict, strict: bool) -> None:
    """Objects, an image in bare base64 and a plain string, with every field that the schema of the model declares."""
    backend = content_backend(spec)
    serving = serve(backend, strict=strict)
    items = [{"text": "A blue cat"}, {"image": OFFICIAL_GIF}, "A red cat"]
    body = {"model": spec.name, "input": items, **fields}
    response = requests.post(f"{serving.url}/v1/embeddings", json=body, timeout=10)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert (answer["model"], answer["object"], list(answer)[:2]) == (spec.name, "list", ["model", "object"])
    assert answer["usage"]["image_tokens"] == spec.tokens_per_tile
    task = fields.get("task")
    image = open_image(base64.b64decode(OFFICIAL_GIF))
    raw = [backend.text_row("A blue cat", task), backend.image_row(image), backend.text_row("A red cat", task)]
    rows = rows_of(answer, fields["embedding_type"])
    np.testing.assert_array_equal(rows, truncate_and_normalize(np.stack(raw), dimensions=None, normalized=True))


def test_thirty_two_threads_get_their_own_rows(serve, backend) -> None:
    backend.delay_s = 0.01
    serving = serve(backend)

    def one(number: int) -> bool:
        with requests.Session() as session:
            for round in range(3):
                text = f"thread {number} round {round}"
                body = ask([text], embedding_type="base64")
                row = session.post(f"{serving.url}/v1/embeddings", json=body, timeout=20).json()["data"][0]["embedding"]
                vector = np.frombuffer(base64.b64decode(row), "<f4")
                expected = truncate_and_normalize(backend.text_row(text)[None], dimensions=None, normalized=True)[0]
                if not np.array_equal(vector, expected):
                    return False
        return True

    with ThreadPoolExecutor(32) as pool:
        assert all(pool.map(one, range(32)))
    assert len(backend.calls) < 96


async def test_the_published_example(client_of, backend) -> None:
    texts = ["غروب جميل على الشاطئ", "海滩上美丽的日落", "A beautiful sunset over the beach"]
    body = {
        "model": "jina-clip-v2",
        "dimensions": 1024,
        "task": "retrieval.query",
        "normalized": True,
        "embedding_type": "float",
        "input": [*({"text": text} for text in texts), {"image": OFFICIAL_GIF}],
    }
    async with client_of(backend) as client:
        answer = (await client.post("/v1/embeddings", json=body)).json()
    assert list(answer) == ["model", "object", "usage", "data"]
    assert answer["model"] == "jina-clip-v2"
    assert answer["object"] == "list"
    assert {row["object"] for row in answer["data"]} == {"embedding"}
    raw = [backend.text_row(text, "retrieval.query") for text in texts]
    raw.append(backend.image_row(open_image(base64.b64decode(OFFICIAL_GIF))))
    np.testing.assert_array_equal(
        rows_of(answer), truncate_and_normalize(np.stack(raw), dimensions=None, normalized=True)
    )


async def test_a_request_that_takes_too_long(client_of, backend) -> None:
    backend.held = True
    async with client_of(backend, request_timeout_s=0.1) as client:
        response = await client.post("/v1/embeddings", json=ask())
        assert client.app.state.service.admission.inputs == 0
        assert client.app.state.service.batcher.waiting == 0
        backend.held = False
    assert response.status_code == 504
    check_nested(response.json(), "SERVICE_TIMEOUT")
    assert "0.1 seconds" in response.json()["detail"]["message"]


class TestProbes:
    def test_live_at_once_and_ready_when_loaded(self, serve, backend, eventually) -> None:
        serving = serve(backend)
        for path in ("/health", "/live"):
            assert requests.get(f"{serving.url}{path}", timeout=10).json() == {"status": "ok"}
        for path in ("/ready", "/ping"):
            assert requests.get(f"{serving.url}{path}", timeout=10).json() == {"status": "ready"}
        assert backend.calls[0].texts == ["ready"]  # the warm-up

    async def test_a_request_waits_while_the_model_loads(self, client_of, backend) -> None:
        async with client_of(backend) as client:
            client.app.state.service.state = "loading"
            ready = await client.get("/ready")
            answer = await client.post("/v1/embeddings", json=ask("x"))
        assert (ready.status_code, ready.json()) == (503, {"status": "loading"})
        assert answer.status_code == 200

    def test_the_model_list(self, serve, backend) -> None:
        serving = serve(backend, model_names=("ours",))
        listed = requests.get(f"{serving.url}/v1/models", timeout=10).json()
        assert listed["object"] == "list"
        assert listed["data"][0]["id"] == "jina-ai/ours"
        assert listed["data"][0]["dimensions"] == 1024
        for name in listed["data"][0]["names"]:
            body = {"model": name, "input": "x"}
            assert requests.post(f"{serving.url}/v1/embeddings", json=body, timeout=10).status_code == 200

    async def test_a_quick_look_is_another_model(self, client_of, backend) -> None:
        backend.reduced_image_size = 336
        async with client_of(backend, model_names=("quick",)) as client:
            [listed] = (await client.get("/v1/models")).json()["data"]
            refused = await client.post("/v1/embeddings", json={"model": "jina-clip-v2", "input": "x"})
            answers = [await client.post("/v1/embeddings", json={"model": n, "input": "x"}) for n in listed["names"]]
        assert {"quick", "jina-clip-v2@336", "jina-ai/jina-clip-v2@336"} <= set(listed["names"])
        assert not {"jina-clip-v2", "jina-ai/jina-clip-v2", "jinaai/jina-clip-v2"} & set(listed["names"])
        assert refused.status_code >= 400
        assert "jina-clip-v2@336" in refused.text
        assert {answer.status_code for answer in answers} == {200}
        with pytest.raises(ConfigurationError, match="a quick look at images of 336 pixels"):
            create_app(backend, ServerSettings(model_names=("jina-clip-v2",)))

    def test_probes_by_their_head_alone(self, serve, backend) -> None:
        serving = serve(backend)
        for path in ("/health", "/live", "/ready", "/ping", "/metrics"):
            response = requests.head(f"{serving.url}{path}", timeout=10)
            assert (response.status_code, response.content) == (200, b""), path
        serving.service.state = "draining"
        assert requests.head(f"{serving.url}/ready", timeout=10).status_code == 503

    def test_one_model_by_each_of_its_names(self, serve, backend) -> None:
        serving = serve(backend, model_names=("ours",))
        [listed] = requests.get(f"{serving.url}/v1/models", timeout=10).json()["data"]
        for name in listed["names"]:  # with slashes in some, written as they are and quoted
            for written in (name, quote(name, safe="")):
                response = requests.get(f"{serving.url}/v1/models/{written}", timeout=10)
                assert response.json() == {**listed, "id": name}
        assert isinstance(listed["created"], int)

    async def test_another_model_is_not_found(self, client_of, backend) -> None:
        async with client_of(backend, api_keys=("key",)) as client:
            refused = await client.get("/v1/models/jina-clip-v2")
            client.headers["Authorization"] = "Bearer key"
            unknown = await client.get("/v1/models/gpt-4")
        assert refused.status_code == 401
        assert unknown.status_code == 404
        check_nested(unknown.json(), "INPUT_MODEL_NOT_FOUND")
        assert "jina-clip-v2" in unknown.json()["detail"]["message"]


class TestOtherOrigins:
    """Pages of other origins: what a browser asks first, and what it has to read in the response."""

    ORIGIN = "http://localhost:3000"
    PREFLIGHT = MappingProxyType(
        {
            "Origin": ORIGIN,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }
    )

    @pytest.mark.parametrize("allowed", [(ORIGIN,), ("https://example.org", ORIGIN), ("*",)])
    async def test_a_page_may_ask(self, client_of, backend, allowed) -> None:
        async with client_of(backend, cors_origins=allowed, api_keys=("key",)) as client:
            preflight = await client.options("/v1/embeddings", headers=self.PREFLIGHT)
            headers = {"Origin": self.ORIGIN, "Authorization": "Bearer key"}
            response = await client.post("/v1/embeddings", json=ask("x"), headers=headers)
            refused = await client.post("/v1/embeddings", json=ask("x"), headers={"Origin": self.ORIGIN})
        assert preflight.status_code == 200  # no key: a browser sends none with this
        assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
        assert (response.status_code, refused.status_code) == (200, 401)
        for answer in (preflight, response, refused):  # errors too, or the page would not be told
            assert answer.headers["access-control-allow-origin"] in (self.ORIGIN, "*")
        assert "x-request-id" in response.headers["access-control-expose-headers"].lower()
        assert "access-control-allow-credentials" not in response.headers

    @pytest.mark.parametrize("allowed", [(), ("https://example.org",)])
    async def test_another_page_may_not(self, client_of, backend, allowed) -> None:
        async with client_of(backend, cors_origins=allowed) as client:
            preflight = await client.options("/v1/embeddings", headers=self.PREFLIGHT)
            response = await client.get("/v1/models", headers={"Origin": self.ORIGIN})
        assert preflight.status_code in (400, 405)
        assert "access-control-allow-origin" not in response.headers


class TestOurOwnClient:
    @pytest.mark.parametrize("face", ["sync", "async"])
    @pytest.mark.parametrize("dialect", ["jina", "jina-onprem", "openai", "invocations"])
    async def test_every_dialect_that_this_server_speaks(self, serve, backend, png, face, dialect) -> None:
        """Where images are bare strings (openai) no image is taken for a text, and no text for an image."""
        data = png()
        uri = f"data:image/png;base64,{b64(data)}"
        serving = serve(backend)
        base = serving.url if dialect == "invocations" else f"{serving.url}/v1"
        given = [{"image": data}, {"text": uri}, {"image": uri}, {"text": "a cat"}]
        encoder = JinaClipEncoder("jina-clip-v2", base_url=base, dialect=dialect, resize_images=False)
        async with encoder:
            rows = await encoder.aencode(given) if face == "async" else await asyncio.to_thread(encoder.encode, given)
        image = backend.image_row(open_image(data))
        # Where strings are guessed at, the client puts a space before such a text, which the models' tokenizers drop.
        text = backend.text_row(f" {uri}" if dialect == "openai" else uri)
        expected = np.stack([image, text, image, backend.text_row("a cat")])
        np.testing.assert_allclose(rows, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)


class TestRoutes:
    @pytest.mark.parametrize(
        ("method", "path", "status", "code"),
        [
            ("GET", "/", 404, "RESOURCE_NOT_FOUND"),
            ("POST", "/embeddings", 404, "RESOURCE_NOT_FOUND"),
            ("GET", "/v1/embeddings", 405, "METHOD_NOT_ALLOWED"),
            ("GET", "/docs", 404, "RESOURCE_NOT_FOUND"),
        ],
    )
    async def test_wrong_addresses(self, client_of, backend, method, path, status, code) -> None:
        async with client_of(backend) as client:
            response = await client.request(method, path)
        assert response.status_code == status
        check_flat(response.json(), code)
