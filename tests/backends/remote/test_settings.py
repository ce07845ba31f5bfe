"""What `ApiBackend` takes, what it refuses, and what it passes on."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import httpx
import pytest

from jina_clip_integrations import ApiBackend, errors
from jina_clip_integrations.settings import ApiSettings, option_names
from tests.backends.remote.faces import (
    FACES,
    embed,
    images,
    photo,
    stream,
    texts,
)
from tests.faulty_server import (
    KEY,
    FaultyServer,
    Refuse,
    vector_of,
)

both = pytest.mark.parametrize("face", FACES)


# Settings


@pytest.mark.obligation("40")
def test_the_signature_and_the_settings_agree() -> None:
    parameters = dict(inspect.signature(ApiBackend).parameters)
    parameters.pop("model")
    assert tuple(parameters) == option_names(ApiSettings)
    for name, parameter in parameters.items():
        assert parameter.default == getattr(ApiSettings, name), name
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.obligation("3")
@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0}, {"batch_size": 1.5}, {"batch_size": True}, {"max_concurrency": 0}, {"timeout": 0},
        {"timeout": "10"}, {"timeout": float("inf")}, {"max_retries": -1}, {"dialect": "smoke"}, {"dialect": 3},
        {"embedding_type": "int8"}, {"embedding_type": ["float"]}, {"resize_images": "stretch"}, {"resize_images": 1},
        {"requests_per_minute": 0}, {"tokens_per_minute": -5}, {"token_budget": -1}, {"max_image_bytes": 0},
        {"base_url": "api.jina.ai/v1"}, {"base_url": "ftp://x/v1"}, {"base_url": 3}, {"base_url": "https://"},
        {"base_url": "https://me:secret@host/v1"}, {"base_url": "http://host:port/v1"}, {"headers": {"x": 1}},
        {"headers": {"x": "a\nb"}}, {"http_client": object.__new__(httpx.AsyncClient)},
        {"async_http_client": object.__new__(httpx.Client)}, {"api_key": "ключ"}, {"api_key": "a b"},
        {"api_key": "a\x00b"}, {"api_key": 5},
        {"base_url": "http://example.org/v1"},
    ],
)  # fmt: skip
def test_impossible_settings(options: dict[str, Any]) -> None:
    with pytest.raises(errors.ConfigurationError) as caught:
        ApiBackend("jina-clip-v2", **({"api_key": KEY} | options))
    assert "me:secret" not in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.obligation("4")
@pytest.mark.parametrize("name", ["demo", "jina-clip-v9", "", None])
def test_models_that_the_service_does_not_have(name: Any) -> None:
    with pytest.raises(errors.ConfigurationError, match='backend="local"' if name == "demo" else "model"):
        ApiBackend(name, api_key=KEY)


@pytest.mark.obligation("4")
def test_a_checkpoint_folder(tmp_path: Any) -> None:
    with pytest.raises(errors.ConfigurationError, match='backend="local"'):
        ApiBackend(str(tmp_path), api_key=KEY)


@pytest.mark.obligation("3", "4")
@both
@pytest.mark.parametrize(
    ("model", "how"),
    [
        ("jina-clip-v2", {"dimensions": 0}),
        ("jina-clip-v2", {"dimensions": 1025}),
        ("jina-clip-v2", {"dimensions": True}),
        ("jina-clip-v1", {"dimensions": 512}),
        ("jina-clip-v2", {"task": "text-matching"}),
        ("jina-clip-v1", {"task": "retrieval.query"}),
    ],
)
def test_impossible_requests_are_not_sent(
    face: str, server: FaultyServer, make: Any, model: str, how: dict[str, Any]
) -> None:
    with pytest.raises(errors.ConfigurationError):
        embed(face, make(model), texts("a", **how))
    assert server.received == []


def test_none_means_the_default() -> None:
    backend = ApiBackend("jina-clip-v2", api_key=KEY, batch_size=None, timeout=None, max_retries=None)
    assert backend.batch_size == ApiSettings.batch_size


@pytest.mark.obligation("16")
@both
@pytest.mark.parametrize("options", [{}, {"timeout": 7.0}, {"timeout": 200}, {"timeout": httpx.Timeout(30.0)}])
def test_times_are_finite_and_allow_a_cold_start(face: str, options: dict[str, Any]) -> None:
    seen: list[dict[str, float]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(dict(request.extensions["timeout"]))
        return httpx.Response(404)

    stream(face, mocked(handle, **options), texts("a"))
    [times] = seen
    assert set(times) == {"connect", "read", "write", "pool"}
    assert all(0 < seconds <= 200 for seconds in times.values())
    wanted = options.get("timeout", ApiSettings.timeout)
    if isinstance(wanted, httpx.Timeout):
        assert times == wanted.as_dict()
    else:
        assert times["connect"] == min(wanted, 15.0)
        assert times["read"] == wanted
    if not options:
        assert times["read"] >= 60


def mocked(handle: Any, **options: Any) -> ApiBackend:
    """A backend whose requests `handle` answers, in either face."""
    transport = httpx.MockTransport(handle)
    clients = {
        "http_client": httpx.Client(transport=transport),
        "async_http_client": httpx.AsyncClient(transport=transport),
    }
    return ApiBackend("jina-clip-v2", **({"api_key": KEY} | clients | options))


@pytest.mark.obligation("40")
@both
@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://api.jina.ai/v1", "https://api.jina.ai/v1/embeddings"),
        ("https://host/proxy/v1/", "https://host/proxy/v1/embeddings"),
        ("https://host/v1/embeddings", "https://host/v1/embeddings"),
        ("https://host", "https://host/embeddings"),
        ("https://host/v1?api-version=3", "https://host/v1/embeddings?api-version=3"),
        ("http://[::1]:8080/v1", "http://[::1]:8080/v1/embeddings"),
    ],
)
def test_a_prefix_in_the_address_is_kept(face: str, base_url: str, url: str) -> None:
    seen: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(404)

    _, error = stream(face, mocked(handle, base_url=base_url), texts("a"))
    assert isinstance(error, errors.InvalidRequestError)
    assert "base_url" in str(error)
    assert seen == [url]


@both
def test_redirects_are_not_followed(face: str, server: FaultyServer, make: Any) -> None:
    server.faults.append(Refuse(307, b"", {"Location": "http://127.0.0.1:9/elsewhere"}))
    clients = {"http_client": httpx.Client(follow_redirects=True)} if face == "sync" else {}
    _, error = stream(face, make(**clients), texts("a"))
    assert type(error) is errors.ApiError
    assert error.status_code == 307
    assert "base_url" in str(error)
    for client in clients.values():
        client.close()


@pytest.mark.obligation("40")
@both
def test_own_headers_are_sent_and_win(face: str, server: FaultyServer, make: Any) -> None:
    server.key = None
    embed(face, make(headers={"authorization": "Basic abc", "X-Team": "search"}), texts("a"))
    assert server.received[0]["authorization"] == "Basic abc"
    assert server.received[0]["x-team"] == "search"


@pytest.mark.obligation("34")
@both
def test_supplied_clients_are_used_and_left_open(face: str, server: FaultyServer, make: Any) -> None:
    def mark(request: httpx.Request) -> None:
        request.headers["X-Mine"] = "yes"

    async def amark(request: httpx.Request) -> None:
        mark(request)

    async def run() -> None:
        async with httpx.AsyncClient(event_hooks={"request": [amark]}) as client:
            async with make(async_http_client=client) as backend:
                await backend.aembed(texts("a"))
            assert not client.is_closed

    if face == "async":
        asyncio.run(run())
    else:
        with httpx.Client(event_hooks={"request": [mark]}) as client:
            make(http_client=client).embed(texts("a"))
            assert not client.is_closed
    assert server.received[0]["x-mine"] == "yes"


@both
def test_a_closed_client_is_named(face: str, make: Any) -> None:
    client, async_client = httpx.Client(), httpx.AsyncClient()
    client.close()
    asyncio.run(async_client.aclose())
    _, error = stream(face, make(http_client=client, async_http_client=async_client), texts("a"))
    assert type(error) is errors.ApiError
    assert "http_client is closed" in str(error)


@pytest.mark.obligation("40")
@both
def test_unknown_models_at_a_server_of_ones_own(face: str, server: FaultyServer, make: Any) -> None:
    from tests.faulty_server import FIELDS, WIDTHS

    WIDTHS["mine"], FIELDS["mine"] = 48, {"model", "input", "embedding_type", "dimensions"}
    try:
        backend = make("mine")
        assert (backend.spec, backend.dimensions) == (None, 0)
        result = embed(face, backend, texts("a", "b"))
        assert result.vectors.shape == (2, 48)
        assert backend.dimensions == 48
        assert embed(face, backend, texts("a", dimensions=8)).vectors.shape == (1, 8)
        assert embed(face, backend, images(photo(700, 30))).vectors.shape == (1, 48)
    finally:
        del WIDTHS["mine"], FIELDS["mine"]


@pytest.mark.obligation("33")
@both
def test_another_model_in_the_answer_is_reported_once(face: str, make: Any) -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        rows = [{"index": 0, "embedding": vector_of("a").tolist()}]
        return httpx.Response(200, json={"model": "jina-clip-v1", "data": rows})

    transport = httpx.MockTransport(handle)
    backend = make(
        http_client=httpx.Client(transport=transport), async_http_client=httpx.AsyncClient(transport=transport)
    )
    with pytest.warns(UserWarning, match="says it used 'jina-clip-v1'"):
        embed(face, backend, texts("a"))
    embed(face, backend, texts("a"))


@both
def test_texts_that_are_cut_are_counted_in_one_warning(face: str, server: FaultyServer, make: Any) -> None:
    long = "word " * 9000
    with pytest.warns(UserWarning, match="2 text") as warned:
        embed(face, make(), texts(long, "short", long + "."))
    assert len(warned) == 1
    assert all(body["truncate"] for body in server.requests)


@pytest.mark.obligation("37")
@both
def test_records_for_metrics(face: str, server: FaultyServer, make: Any) -> None:
    records: list[Any] = []
    server.faults.append(Refuse(503))
    embed(face, make(on_request=records.append), texts("a", "b"))
    assert [(record.status, record.attempt, record.items) for record in records] == [(503, 1, 2), (200, 2, 2)]
    assert records[1].total_tokens == 6
    assert records[1].bytes_received > 1000
