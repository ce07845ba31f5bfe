"""What each kind of server is sent, word for word, and that all of them give the same vectors."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest

from jina_clip_integrations import ApiBackend, Dialect, errors
from jina_clip_integrations.backends.base import Batch
from jina_clip_integrations.backends.remote.dialects import DIALECTS, fill, find_dialect
from jina_clip_integrations.catalog import JINA_CLIP_V2
from tests.backends.remote.faces import FACES, FAST, embed, images, photo, texts
from tests.faulty_server import KEY, vector_of

INSTRUCTION = JINA_CLIP_V2.tasks["retrieval.query"]
LINK = "https://example.org/a.png"
SMALL = photo(4, 3)


def content_of(item: Any) -> Any:
    """The text, or the bytes or URL of the image, in whatever form it came."""
    value = item if isinstance(item, str) else next(value for key, value in item.items() if key != "type")
    if isinstance(item, dict) and "text" in item:
        return value
    if value.startswith("data:image/"):
        return base64.b64decode(value.partition(",")[2])
    if value.startswith("http"):
        return value.encode()
    if isinstance(item, dict):
        return base64.b64decode(value, validate=True)
    return value


class Server:
    """Understands any dialect, and is as unhelpful as the one that it plays."""

    def __init__(self, dialect: Dialect, *, cuts: bool = True, unit: bool = True) -> None:
        self.dialect, self.cuts, self.unit = dialect, cuts, unit
        self.bodies: list[dict[str, Any]] = []
        self.urls: list[str] = []
        self.headers: list[httpx.Headers] = []

    def handle(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        self.bodies.append(body)
        self.urls.append(str(request.url))
        self.headers.append(request.headers)
        rows = [self.row(item, body) for item in body[self.dialect.items_field]]
        if self.dialect.items_field == "data":
            nameless = [{"id": "0" * 32, "embedding": row, "usage": {"total_tokens": 8}} for row in rows]
            return httpx.Response(200, json={"data": nameless, "parameters": {}})
        data = [{"index": at, "object": "embedding", "embedding": row} for at, row in enumerate(rows)]
        return httpx.Response(200, json={"data": data[::-1], "model": body["model"]})

    def row(self, item: Any, body: dict[str, Any]) -> Any:
        options = body.get("parameters", body)
        content = content_of(item)
        task = options.get("task")
        if isinstance(content, str):
            content = (INSTRUCTION if task else "") + content
        row = vector_of(content.strip() if isinstance(content, str) else content)
        row = row[: options["dimensions"]] if self.cuts and "dimensions" in options else row  # and not re-normalised
        row = row if self.unit else row * np.float32(13)
        if body.get("encoding_format", body.get("embedding_type")) == "base64":
            return base64.b64encode(row.tobytes()).decode()
        return row.tolist()


def backend_of(server: Server, dialect: Any, **options: Any) -> ApiBackend:
    transport = httpx.MockTransport(server.handle)
    return ApiBackend(
        "jina-clip-v2",
        dialect=dialect,
        retry=FAST,
        http_client=httpx.Client(transport=transport),
        async_http_client=httpx.AsyncClient(transport=transport),
        **({"base_url": "http://localhost:8080"} | options),
    )


def sent(dialect: str, batch: Batch, **options: Any) -> dict[str, Any]:
    """The one request body for a batch."""
    server = Server(DIALECTS[dialect])
    backend_of(server, dialect, **options).embed(batch)
    assert server.urls == [f"http://localhost:8080{DIALECTS[dialect].path}"]
    return server.bodies[0]


QUERY = texts("a fox", task="retrieval.query", dimensions=64)
BASE64 = "embedding_type", "base64"
BODIES: dict[str, dict[str, Any]] = {
    "jina": {
        "model": "jina-clip-v2", "embedding_type": "base64", "task": "retrieval.query", "dimensions": 64,
        "truncate": True, "input": [{"text": "a fox"}],
    },
    "jina-onprem": {
        "model": "jina-clip-v2", "embedding_type": "base64", "task": "retrieval.query", "dimensions": 64,
        "truncate": True, "input": [{"text": "a fox"}],
    },
    "infinity": {
        "model": "jina-clip-v2", "modality": "text", "encoding_format": "base64", "dimensions": 64,
        "input": [INSTRUCTION + "a fox"],
    },
    "xinference": {"model": "jina-clip-v2", "input": [{"text": INSTRUCTION + "a fox"}]},
    "openai": {
        "model": "jina-clip-v2", "encoding_format": "base64", "dimensions": 64, "input": [INSTRUCTION + "a fox"],
    },
    "invocations": {"parameters": {"task": "retrieval.query", "dimensions": 64}, "data": [{"text": "a fox"}]},
}  # fmt: skip


def test_every_row_of_the_table_is_tested() -> None:
    assert set(BODIES) == set(DIALECTS)


@pytest.mark.obligation("1")
@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_body_of_a_query(dialect: str) -> None:
    assert sent(dialect, QUERY) == BODIES[dialect]


@pytest.mark.obligation("3")
@pytest.mark.parametrize("dialect", DIALECTS)
def test_without_options_nothing_is_said_about_them(dialect: str) -> None:
    body = sent(dialect, texts("a fox"))
    assert not {"task", "dimensions", "normalized", "parameters", "normalize_embeddings"} & set(body)
    assert None not in body.values()


@pytest.mark.obligation("1", "2")
@pytest.mark.parametrize(
    ("dialect", "inline", "by_url"),
    [
        ("jina", {"image": "{}"}, {"image": LINK}),
        ("jina-onprem", {"image_base64": "{}"}, {"type": "image_url", "image_url": LINK}),
        ("infinity", "data:image/png;base64,{}", LINK),
        ("xinference", {"image": "data:image/png;base64,{}"}, {"image": LINK}),
        ("openai", "data:image/png;base64,{}", None),
        ("invocations", {"bytes": "{}"}, {"url": LINK}),
    ],
)
def test_the_forms_of_an_image(dialect: str, inline: Any, by_url: Any) -> None:
    items = sent(dialect, images(SMALL))[DIALECTS[dialect].items_field]
    data = base64.b64encode(_png(items[0])).decode()
    assert json.dumps(items[0]) == json.dumps(inline).replace("{}", data)
    linked = photo(4, 3, url=LINK, data=b"\x89PNG as it is")
    raw = sent(dialect, images(linked), resize_images=False)[DIALECTS[dialect].items_field]
    assert raw == [by_url] if by_url else content_of(raw[0]) == linked.data


def _png(item: Any) -> bytes:
    content = content_of(item)
    assert content.startswith(b"\x89PNG")
    return bytes(content)


def test_a_url_that_the_server_cannot_fetch_is_fetched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    linked = photo(40, 30, url=LINK)
    monkeypatch.setattr(linked, "size", None)
    server = Server(DIALECTS["openai"])
    backend = backend_of(server, "openai", resize_images=False)
    backend.embed(images(linked))
    assert content_of(server.bodies[0]["input"][0]) == linked.read()
    assert not backend.sends_urls


@pytest.mark.obligation("9")
@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("helpful", [True, False])
def test_every_server_gives_the_same_vectors(face: str, dialect: str, helpful: bool) -> None:
    row = DIALECTS[dialect]
    server = Server(row, cuts=helpful, unit=row.unit_vectors and helpful)
    backend = backend_of(server, dialect)
    full = embed(face, backend, texts("a fox", "two foxes")).vectors
    np.testing.assert_allclose(full, [vector_of("a fox"), vector_of("two foxes")], atol=1e-6)
    cut = embed(face, backend_of(server, dialect), QUERY).vectors
    np.testing.assert_allclose(cut, [vector_of(INSTRUCTION + "a fox", dimensions=64)], atol=1e-6)
    if helpful and row.unit_vectors:
        np.testing.assert_array_equal(full[0], vector_of("a fox"))  # unit vectors stay bit-identical


@pytest.mark.parametrize("dialect", DIALECTS)
def test_packed_bits_from_servers_that_have_none(dialect: str) -> None:
    server = Server(DIALECTS[dialect])
    bits = backend_of(server, dialect, embedding_type="binary").embed(texts("a fox", dimensions=60)).vectors
    np.testing.assert_array_equal(bits, np.packbits(vector_of("a fox")[None, :60] > 0, axis=1))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_raw_vectors_where_the_server_can(dialect: str) -> None:
    server = Server(DIALECTS[dialect], unit=False)
    backend = backend_of(server, dialect)
    if dialect in ("infinity", "openai"):
        with pytest.raises(errors.ConfigurationError, match="normalize"):
            backend.embed(texts("a fox", normalize=False))
        return
    raw = backend.embed(texts("a fox", normalize=False)).vectors
    np.testing.assert_allclose(raw[0], vector_of("a fox") * 13, rtol=1e-5)
    field = {"invocations": None, "xinference": "normalize_embeddings"}.get(dialect, "normalized")
    assert field is None or server.bodies[0][field] is False


@pytest.mark.obligation("1")
@pytest.mark.parametrize("text", ["data:image/png;base64,AAAA", "DATA:x", "https://example.org", "http://x"])
def test_a_server_that_guesses_is_not_let(text: str) -> None:
    assert sent("openai", texts(text))["input"] == [" " + text]
    assert sent("infinity", texts(text))["input"] == [text]  # it is told the modality


def test_caps_of_a_server_are_kept() -> None:
    server = Server(DIALECTS["infinity"])
    backend_of(server, "infinity", batch_size=64, max_request_tokens=10**9).embed(images(*[SMALL] * 70))
    assert sorted(len(body["input"]) for body in server.bodies) == [6, 32, 32]


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name != "jina"])
def test_the_environments_key_is_for_jina_only(dialect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JINA_API_KEY", KEY)
    server = Server(DIALECTS[dialect])
    backend_of(server, dialect).embed(texts("a"))
    backend_of(server, dialect, api_key="mine").embed(texts("a"))
    assert [headers.get("authorization") for headers in server.headers] == [None, "Bearer mine"]


@pytest.mark.obligation("40")
def test_a_dialect_of_ones_own() -> None:
    form = '{"content": {"type": "text", "value": $}}'
    mine = Dialect(name="mine", path="", items_field="docs", text=form, image=None)
    server = Server(mine)
    server.row = lambda item, body: vector_of(item["content"]["value"]).tolist()
    backend = backend_of(server, mine)
    np.testing.assert_array_equal(backend.embed(texts('quo"ted $')).vectors, [vector_of('quo"ted $')])
    assert server.urls == ["http://localhost:8080/"] or server.urls == ["http://localhost:8080"]
    with pytest.raises(errors.ConfigurationError, match="texts only"):
        backend.embed(images(SMALL))


@pytest.mark.obligation("40")
@pytest.mark.parametrize(
    "host",
    [
        "api.jina.ai",
        "my-endpoint.westeurope.inference.ml.azure.com",
        "europe-west4-aiplatform.googleapis.com",
        "runtime.sagemaker.eu-central-1.amazonaws.com",
        "infinity.example.org",
    ],
)
@pytest.mark.parametrize("dialect", ["jina", "openai", "invocations"])
def test_the_host_decides_nothing(host: str, dialect: str) -> None:
    """How a server is spoken to is the caller's choice, whatever its address looks like."""
    server = Server(DIALECTS[dialect], unit=DIALECTS[dialect].unit_vectors)
    backend_of(server, dialect, base_url=f"https://{host}/some/prefix", api_key="token").embed(QUERY)
    assert server.urls == [f"https://{host}/some/prefix{DIALECTS[dialect].path}"]
    assert server.bodies == [BODIES[dialect]]
    assert server.headers[0]["authorization"] == "Bearer token"


CLOUDS: dict[str, tuple[dict[str, Any], str, dict[str, str]]] = {
    "a virtual machine": (
        {"base_url": "http://10.0.0.5:8080", "dialect": "invocations"},
        "http://10.0.0.5:8080/invocations",
        {},
    ),
    "azure api management": (
        {
            "base_url": "https://my-company.azure-api.net/clip",
            "dialect": "invocations",
            "headers": {"Ocp-Apim-Subscription-Key": "a-subscription-key"},
        },
        "https://my-company.azure-api.net/clip/invocations",
        {"ocp-apim-subscription-key": "a-subscription-key"},
    ),
    "azure ml": (
        {
            "base_url": "https://my-endpoint.westeurope.inference.ml.azure.com",
            "dialect": replace(DIALECTS["invocations"], name="azure-ml", path="/score"),
            "api_key": "an-endpoint-key",
            "headers": {"azureml-model-deployment": "blue"},
        },
        "https://my-endpoint.westeurope.inference.ml.azure.com/score",
        {"authorization": "Bearer an-endpoint-key", "azureml-model-deployment": "blue"},
    ),
    "vertex": (
        {
            "base_url": "https://x-aiplatform.googleapis.com/v1/projects/p/locations/x/endpoints/1:rawPredict",
            "dialect": replace(DIALECTS["invocations"], name="vertex", path=""),
            "api_key": lambda: "a-token-that-expires",
        },
        "https://x-aiplatform.googleapis.com/v1/projects/p/locations/x/endpoints/1:rawPredict",
        {"authorization": "Bearer a-token-that-expires"},
    ),
}


@pytest.mark.obligation("40")
@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_examples_of_the_guide_for_other_clouds(face: str, cloud: str) -> None:
    """Address, credentials and body as the guide says, and unit vectors of what comes back raw."""
    options, url, headers = CLOUDS[cloud]
    server = Server(DIALECTS["invocations"], unit=False)
    rows = embed(face, backend_of(server, **options), QUERY).vectors
    np.testing.assert_allclose(rows, [vector_of(INSTRUCTION + "a fox", dimensions=64)], atol=1e-6)
    assert server.urls == [url]
    assert server.bodies == [BODIES["invocations"]]
    sent = server.headers[0]
    assert {name: sent.get(name) for name in headers} == headers
    assert "authorization" in headers or "authorization" not in sent


@pytest.mark.parametrize(
    "broken",
    [{"text": "none"}, {"text": '{"a": $, "b": $}'}, {"image": "{$}"}, {"path": "x"}, {"encodings": ()}, {"text": 3}],
)
def test_a_dialect_that_cannot_work(broken: dict[str, Any]) -> None:
    with pytest.raises(errors.ConfigurationError, match="mine"):
        replace(DIALECTS["jina"], name="mine", **broken)


def test_a_task_whose_instruction_nobody_knows() -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(500))
    backend = ApiBackend(
        "mine", base_url="http://localhost", dialect="infinity", http_client=httpx.Client(transport=transport)
    )
    with pytest.raises(errors.ConfigurationError, match="put it in front of the text yourself"):
        backend.embed(texts("a", task="retrieval.query"))


def test_dialects_can_be_compared_hashed_and_found() -> None:
    assert find_dialect("jina") is DIALECTS["jina"]
    assert len({*DIALECTS.values(), replace(DIALECTS["jina"])}) == len(DIALECTS)
    assert fill("$", "a") == '"a"'
