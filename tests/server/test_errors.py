"""What a request is answered with when it cannot be served: statuses, codes, the three shapes, and no payloads."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re

import pytest

from jina_clip_integrations import SourcePolicy
from jina_clip_integrations.catalog import JINA_CLIP_V1
from jina_clip_integrations.errors import CheckpointError, ConfigurationError, RateLimitError
from jina_clip_integrations.server import ServerSettings, create_app

REQUEST_ID = re.compile(r"[0-9a-f]{32}")
MARKER = "sEcReTpAyLoAd"
"""Stands in everything that is sent and must stand in nothing that comes back."""


def ask(items: object = "x", **fields: object) -> dict:
    return {"model": "jina-clip-v2", "input": items, **fields}


def check_nested(body: dict, code: str) -> None:
    assert set(body["detail"]) == {"message", "request_id", "code"}
    assert body["detail"]["code"] == code
    assert REQUEST_ID.fullmatch(body["detail"]["request_id"])


def check_flat(body: dict, code: str) -> None:
    assert set(body) == {"detail", "request_id", "code"}
    assert isinstance(body["detail"], str)
    assert body["code"] == code


def check_fields(body: dict, *expected: tuple[str, str]) -> None:
    assert set(body) == {"detail", "request_id", "errors"}
    assert body["detail"].startswith("Validation error: ")
    assert all(set(error) == {"field", "message", "type"} for error in body["errors"])
    assert [(error["field"], error["type"]) for error in body["errors"]] == list(expected)


class TestFields:
    """422: the field, by its path through the model's branch of the schema, and pydantic's name for what is wrong."""

    @pytest.mark.parametrize(
        ("fields", "name", "type"),
        [
            ({"dimensions": 0}, "dimensions", "greater_than"),
            ({"dimensions": -5}, "dimensions", "greater_than"),
            ({"dimensions": 1025}, "dimensions", "less_than_equal"),
            ({"dimensions": "many"}, "dimensions", "int_parsing"),
            ({"dimensions": True}, "dimensions", "int_type"),
            ({"dimensions": [64]}, "dimensions", "int_type"),
            ({"dimensions": 64.5}, "dimensions", "int_from_float"),
            ({"embedding_type": "int8"}, "embedding_type", "literal_error"),
            ({"embedding_type": ["float", "base64"]}, "embedding_type", "literal_error"),
            ({"embedding_type": "\ud800"}, "embedding_type", "string_unicode"),
            ({"normalized": "perhaps"}, "normalized", "bool_parsing"),
            ({"truncate": []}, "truncate", "bool_type"),
            ({"task": "text-matching"}, "task", "literal_error"),
            ({"input": None}, "input", "list_type"),
            ({"input": []}, "input", "too_short"),
            ({"input": 7}, "input", "list_type"),
            ({"input": [15339]}, "input -> 0", "model_type"),
            ({"input": [["x"]]}, "input -> 0", "model_type"),
            ({"input": ["x", {}]}, "input -> 1", "missing"),
            ({"input": {}}, "input", "missing"),
            ({"input": [{"text": 5}]}, "input -> 0", "string_type"),
            ({"input": [{"image": ""}]}, "input -> 0", "string_type"),
            ({"input": [{"image": 5}]}, "input -> 0", "string_type"),
            ({"input": [{"text": "x", "image": "AAAA"}]}, "input -> 0", "value_error"),
            ({"input": [{"image": "AAAA", "url": "https://x/"}]}, "input -> 0", "value_error"),
            ({"input": [{"url": "file:///etc/passwd"}]}, "input -> 0", "url_parsing"),
            ({"input": [{"url": "https://x/" + "a" * 65_536}]}, "input -> 0", "string_too_long"),
            ({"input": {"pdf": "AAAA"}}, "input", "value_error"),
            ({"input": [{"content": ["a", "b"]}]}, "input -> 0", "value_error"),
            ({"modality": "image"}, "modality", "value_error"),
        ],
        ids=str,
    )
    async def test_a_field_that_does_not_fit(self, client_of, backend, fields, name, type) -> None:
        async with client_of(backend) as client:
            response = await client.post("/v1/embeddings", content=json.dumps(ask() | fields))
        assert response.status_code == 422
        check_fields(response.json(), (f"body -> jina-clip-v2 -> {name}", type))
        assert backend.calls == []

    async def test_every_bad_item_is_named(self, client_of, backend) -> None:
        async with client_of(backend) as client:
            body = (await client.post("/v1/embeddings", json=ask(["fine", 5, {"text": "fine"}, {}]))).json()
        check_fields(
            body,
            ("body -> jina-clip-v2 -> input -> 1", "model_type"),
            ("body -> jina-clip-v2 -> input -> 3", "missing"),
        )

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"no json",
            b"[1]",
            b'"text"',
            b'{"model": NaN}',
            b"\xff\xfe",
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b"9" * 9999,
        ],
        ids=["empty", "words", "list", "string", "nan", "bytes", "deep", "deep objects", "number"],
    )
    async def test_a_body_that_is_no_json_object(self, client_of, backend, content) -> None:
        async with client_of(backend) as client:
            response = await client.post("/v1/embeddings", content=content)
        assert response.status_code == 422
        check_fields(response.json(), ("body", response.json()["errors"][0]["type"]))

    @pytest.mark.parametrize("dimensions", [512, 769, 1])
    async def test_v1_cannot_be_cut(self, client_of, content_backend, dimensions) -> None:
        async with client_of(content_backend(JINA_CLIP_V1)) as client:
            response = await client.post(
                "/v1/embeddings", json={"model": "jina-clip-v1", "input": "x", "dimensions": dimensions}
            )
        assert response.status_code == 422
        assert response.json()["errors"][0]["field"] == "body -> jina-clip-v1 -> dimensions"

    async def test_too_many_items_says_how_many_would_do(self, client_of, backend) -> None:
        async with client_of(backend, max_items=3) as client:
            response = await client.post("/v1/embeddings", json=ask(["x"] * 4))
        check_fields(response.json(), ("body -> jina-clip-v2 -> input", "too_long"))
        assert "at most 3 items" in response.json()["detail"]


class TestStrictMode:
    @pytest.mark.parametrize("name", ["encoding_type", "encoding_format", "late_chunking", "user"])
    async def test_extra_fields_are_forbidden(self, client_of, backend, name) -> None:
        async with client_of(backend, strict=True) as client:
            response = await client.post("/v1/embeddings", json=ask(**{name: "float"}))
        check_fields(response.json(), (f"body -> jina-clip-v2 -> {name}", "extra_forbidden"))

    async def test_a_field_that_is_no_unicode(self, client_of, backend) -> None:
        async with client_of(backend, strict=True) as client:
            response = await client.post("/v1/embeddings", content=json.dumps(ask() | {"\ud800": 1}))
        check_fields(response.json(), ("body -> jina-clip-v2", "string_unicode"))

    @pytest.mark.parametrize("field", [{"task": "retrieval.query"}, {"dimensions": 768}])
    async def test_v1_has_neither_task_nor_dimensions(self, client_of, content_backend, field) -> None:
        async with client_of(content_backend(JINA_CLIP_V1), strict=True) as client:
            response = await client.post("/v1/embeddings", json={"model": "jina-clip-v1", "input": "x", **field})
        check_fields(response.json(), (f"body -> jina-clip-v1 -> {next(iter(field))}", "extra_forbidden"))

    @pytest.mark.parametrize("item", [{"url": "https://x/"}, {"bytes": "AAAA"}, {"text": "x", "id": "1"}])
    async def test_older_items_are_forbidden(self, client_of, backend, item) -> None:
        async with client_of(backend, strict=True) as client:
            response = await client.post("/v1/embeddings", json=ask([item]))
        check_fields(response.json(), ("body -> jina-clip-v2 -> input -> 0", "extra_forbidden"))

    async def test_what_the_schema_has_is_served(self, client_of, backend, png) -> None:
        items = ["x", {"text": "y"}, {"image": base64.b64encode(png()).decode()}]
        body = ask(items, embedding_type="float", normalized=True, truncate=None, dimensions=64, task="retrieval.query")
        async with client_of(backend, strict=True) as client:
            assert (await client.post("/v1/embeddings", json=body)).status_code == 200


class TestModels:
    @pytest.mark.parametrize(
        "body", [{}, {"model": None}, {"model": 5}, {"model": "jina-clip-v1"}, {"model": "\ud800"}]
    )
    async def test_an_unknown_model_lists_the_known_ones(self, client_of, backend, body) -> None:
        async with client_of(backend) as client:
            response = await client.post("/v1/embeddings", content=json.dumps({"input": "x"} | body))
        assert response.status_code == 400
        check_nested(response.json(), "INPUT_MODEL_NOT_FOUND")
        assert "Available models: jina-clip-v2, " in response.json()["detail"]["message"]

    async def test_a_long_name_is_not_repeated(self, client_of, backend) -> None:
        async with client_of(backend) as client:
            response = await client.post("/v1/embeddings", json={"model": "m" * 5000, "input": "x"})
        assert len(response.text) < 500


class TestItems:
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


class TestKeys:
    @pytest.mark.parametrize(
        ("header", "code"),
        [
            (None, "AUTH_MISSING_API_KEY"),
            ("", "AUTH_MISSING_API_KEY"),
            ("Basic abc", "AUTH_INVALID_FORMAT"),
            ("key-one", "AUTH_INVALID_FORMAT"),
            ("Bearer ", "AUTH_INVALID_FORMAT"),
            ("Bearer wrong", "AUTH_INVALID_API_KEY"),
            ("Bearer key-on", "AUTH_INVALID_API_KEY"),
            ("Bearer key-one-more", "AUTH_INVALID_API_KEY"),
        ],
    )
    @pytest.mark.parametrize("path", ["/v1/embeddings", "/invocations", "/v1/models"])
    async def test_without_a_good_key(self, client_of, backend, header, code, path) -> None:
        headers = {} if header is None else {"Authorization": header}
        async with client_of(backend, api_keys=("key-one", "key-two")) as client:
            method = "GET" if path == "/v1/models" else "POST"
            response = await client.request(method, path, headers=headers, json=ask() if method == "POST" else None)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        check_flat(response.json(), code)
        assert backend.calls == []

    @pytest.mark.parametrize("header", ["Bearer key-one", "Bearer key-two", "bearer  key-two "])
    async def test_with_a_good_key(self, client_of, backend, header) -> None:
        async with client_of(backend, api_keys=("key-one", "key-two"), headers={"Authorization": header}) as client:
            assert (await client.post("/v1/embeddings", json=ask())).status_code == 200
            assert (await client.get("/v1/models")).status_code == 200

    @pytest.mark.parametrize("path", ["/health", "/live", "/ready", "/ping", "/metrics"])
    async def test_probes_need_none(self, client_of, backend, path) -> None:
        async with client_of(backend, api_keys=("key-one",)) as client:
            assert (await client.get(path)).status_code == 200

    def test_keys_do_not_show(self) -> None:
        assert "key-one" not in repr(ServerSettings(api_keys=("key-one",)))


class TestLimits:
    async def test_a_declared_body_that_is_too_large(self, client_of, backend) -> None:
        async with client_of(backend, max_body_bytes=1000) as client:
            response = await client.post("/v1/embeddings", json=ask("x" * 1000))
        assert response.status_code == 413
        check_nested(response.json(), "REQUEST_TOO_LARGE")

    async def test_a_body_that_turns_out_too_large(self, client_of, backend) -> None:
        async def pieces():
            yield b'{"model": "'
            for _ in range(100):
                yield b"x" * 100

        async with client_of(backend, max_body_bytes=1000) as client:
            response = await client.post("/v1/embeddings", content=pieces())
            assert client.app.state.service.admission.bytes == 0
        assert response.status_code == 413

    async def test_the_queue_is_full(self, client_of, backend, until) -> None:
        backend.held = True
        async with client_of(backend, max_queue=10, max_items=10) as client:
            waiting = [asyncio.ensure_future(client.post("/v1/embeddings", json=ask(["x"] * 4))) for _ in range(2)]
            await until(lambda: client.app.state.service.admission.inputs == 8)
            count_error = await client.post("/v1/embeddings", json=ask(["x"] * 3))
            fits = asyncio.ensure_future(client.post("/v1/embeddings", json=ask(["x"] * 2)))
            await asyncio.sleep(0.01)
            backend.held = False
            answered = await asyncio.gather(*waiting, fits)
            after = await client.post("/v1/embeddings", json=ask(["x"] * 10))
        assert count_error.status_code == 429
        check_flat(count_error.json(), "RATE_CONCURRENCY_LIMIT_EXCEEDED")
        assert int(count_error.headers["Retry-After"]) >= 1
        assert [answer.status_code for answer in [*answered, after]] == [200] * 4

    async def test_too_many_requests_are_refused_before_their_bodies_are_read(self, client_of, backend, until) -> None:
        backend.held = True
        async with client_of(backend, max_requests=1) as client:
            waiting = asyncio.ensure_future(client.post("/v1/embeddings", json=ask()))
            await until(lambda: backend.calls)
            count_error = await client.post("/v1/embeddings", content=never_read())
            backend.held = False
            assert (await waiting).status_code == 200
        assert count_error.status_code == 429
        assert "1/1 concurrent requests" in count_error.json()["detail"]

    async def test_bodies_together_are_bounded(self, client_of, backend, until) -> None:
        backend.held = True
        async with client_of(backend, max_buffered_bytes=3000) as client:
            waiting = asyncio.ensure_future(client.post("/v1/embeddings", json=ask("x" * 2000)))
            await until(lambda: backend.calls)
            count_error = await client.post("/v1/embeddings", json=ask("x" * 2000))
            backend.held = False
            assert (await waiting).status_code == 200
            assert (await client.post("/v1/embeddings", json=ask("x" * 2000))).status_code == 200
        assert count_error.status_code == 429

    async def test_a_request_that_takes_too_long(self, client_of, backend) -> None:
        backend.held = True
        async with client_of(backend, request_timeout_s=0.1) as client:
            response = await client.post("/v1/embeddings", json=ask())
            assert client.app.state.service.admission.inputs == 0
            assert client.app.state.service.batcher.waiting == 0
            backend.held = False
        assert response.status_code == 504
        check_nested(response.json(), "SERVICE_TIMEOUT")
        assert "0.1 seconds" in response.json()["detail"]["message"]

    @pytest.mark.parametrize(
        ("headers", "code"),
        [
            ({"Content-Type": "text/plain"}, "UNSUPPORTED_MEDIA_TYPE"),
            ({"Content-Type": "application/x-www-form-urlencoded"}, "UNSUPPORTED_MEDIA_TYPE"),
            ({"Content-Encoding": "gzip", "Content-Type": "application/json"}, "UNSUPPORTED_CONTENT_ENCODING"),
        ],
    )
    async def test_other_kinds_of_content(self, client_of, backend, headers, code) -> None:
        async with client_of(backend) as client:
            response = await client.post("/v1/embeddings", content=json.dumps(ask()), headers=headers)
        assert response.status_code == 415
        check_flat(response.json(), code)


async def never_read():
    raise AssertionError("the body was read")
    yield b""


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


class TestFailures:
    async def test_a_failure_of_the_backend_tells_nothing(self, client_of, backend, caplog) -> None:
        async with client_of(backend) as client:
            response = await client.post("/v1/embeddings", json=ask(f"explode {MARKER}"))
        assert response.status_code == 500
        check_nested(response.json(), "INTERNAL_ERROR")
        assert "RuntimeError" in caplog.text
        assert MARKER not in response.text + caplog.text

    async def test_a_busy_backend_passes_its_wait_on(self, client_of, backend, monkeypatch) -> None:
        async def busy(_batch: object) -> None:
            raise RateLimitError("slow down", retry_after_s=7)

        monkeypatch.setattr(backend, "aembed", busy)
        async with client_of(backend) as client:
            response = await client.post("/v1/embeddings", json=ask())
        assert (response.status_code, response.headers["Retry-After"]) == (429, "7")

    async def test_a_mistake_of_ours_is_a_500_too(self, client_of, backend, monkeypatch, caplog) -> None:
        async with client_of(backend) as client:
            monkeypatch.setattr(client.app.state.service, "embed", None)
            response = await client.post("/v1/embeddings", json=ask(MARKER))
        assert response.status_code == 500
        check_nested(response.json(), "INTERNAL_ERROR")
        assert "TypeError" in caplog.text
        assert MARKER not in caplog.text

    async def test_weights_that_cannot_be_loaded(self, client_of, backend, monkeypatch, caplog, until) -> None:
        async def damaged(_batch: object) -> None:
            raise CheckpointError("3 tensors are missing")

        monkeypatch.setattr(backend, "aembed", damaged)
        async with client_of(backend) as client:
            service = client.app.state.service
            service.start()
            await until(lambda: service.state != "loading")
            ready, answer = await client.get("/ready"), await client.post("/v1/embeddings", json=ask())
            live = await client.get("/live")
        assert (ready.status_code, ready.json()) == (503, {"status": "failed"})
        assert (answer.status_code, answer.json()["detail"]["code"]) == (503, "SERVICE_UNAVAILABLE")
        assert (live.status_code, live.json()) == (503, {"status": "failed"})
        assert "3 tensors are missing" in caplog.text


class TestSilence:
    """Nothing that a client sent comes back in an error or stands in a log."""

    @pytest.mark.parametrize(
        "body",
        [
            ask(f"bad {MARKER}"),
            ask({"image": f"https://localhost/{MARKER}.png?key={MARKER}"}),
            ask({"image": f"http://{MARKER}/"}),
            ask({"image": MARKER}),
            ask({"image": f"data:image/png;base64,{MARKER}!!"}),
            ask({"image": "data:text/plain," + MARKER}),
            ask({"image": base64.b64encode(MARKER.encode()).decode()}),
            ask({"url": f"{MARKER}://x"}),
            ask({MARKER: MARKER}),
            ask(dimensions=MARKER),
            ask(embedding_type=MARKER),
            ask(normalized=MARKER),
            ask(task=MARKER),
            ask({"text": [MARKER]}),
            {"model": "jina-clip-v2", "text": MARKER},
        ],
        ids=lambda body: str(sorted(body)),
    )
    async def test_of_errors_and_logs(self, client_of, backend, caplog, body) -> None:
        caplog.set_level(logging.DEBUG)
        async with client_of(backend) as client:
            response = await client.post("/v1/embeddings", json=body, params={"q": MARKER})
        assert response.status_code in (400, 422), response.text
        assert MARKER.lower() not in response.text.lower()
        assert MARKER.lower() not in ours(caplog).lower()

    async def test_of_the_access_log(self, client_of, backend, caplog) -> None:
        caplog.set_level(logging.INFO)
        async with client_of(backend, api_keys=(MARKER,), headers={"Authorization": f"Bearer {MARKER}"}) as client:
            response = await client.post("/v1/embeddings", json=ask(MARKER), params={"q": MARKER})
            await client.get(f"/{MARKER}")
        lines = [record.getMessage() for record in caplog.records if record.name.endswith("server.access")]
        assert re.fullmatch(rf"POST /v1/embeddings 200 [\d.]+ ms {response.headers['x-request-id']} -", lines[0])
        assert re.fullmatch(r"GET other 404 [\d.]+ ms [0-9a-f]{32} RESOURCE_NOT_FOUND", lines[1])
        assert MARKER not in ours(caplog)


def ours(caplog: pytest.LogCaptureFixture) -> str:
    """What this package logged; the test's own HTTP client logs its requests."""
    return "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("jina_clip"))


class TestSettings:
    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"max_batch": 0}, "max_batch=0"),
            ({"max_items": 5000}, "max_queue=2048 is smaller than max_items=5000"),
            ({"request_timeout_s": float("nan")}, "request_timeout_s"),
            ({"api_keys": ("",)}, "api_keys"),
            ({"api_keys": "key"}, "api_keys"),
            ({"max_bach": 5}, "Did you mean 'max_batch'"),
        ],
    )
    def test_settings_that_cannot_work(self, backend, changes, message) -> None:
        with pytest.raises(ConfigurationError, match=message):
            create_app(backend, **changes)

    @pytest.mark.obligation("20")
    def test_no_policy_lets_requests_name_files(self, tmp_path) -> None:
        for policy in (SourcePolicy.trusted(), SourcePolicy.agent(roots=tmp_path), SourcePolicy.agent()):
            allowed = ServerSettings(sources=policy, max_image_bytes=1000, max_image_pixels=500).source_policy
            assert (allowed.paths, allowed.roots) == (False, None)
            assert (allowed.max_bytes, allowed.max_pixels) == (1000, 500)
            assert (allowed.schemes, allowed.public_only) == (policy.schemes, policy.public_only)

    def test_private_addresses_are_allowed_on_request_only(self) -> None:
        assert ServerSettings().source_policy.public_only
        assert ServerSettings().source_policy.schemes == ("https",)
        assert not ServerSettings(allow_private_addresses=True).source_policy.public_only
