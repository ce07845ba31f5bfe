"""The request body: fields, aliases, names of the model, strict mode, and errors that name the field."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

from jina_clip_integrations.catalog import JINA_CLIP_V1
from jina_clip_integrations.vectors import truncate_and_normalize
from tests.server.bodies import ask, check_fields, check_nested, rows_of


class TestAliases:
    @pytest.mark.parametrize(
        "changed",
        [
            {"encoding_type": "base64"},
            {"encoding_format": "base64"},
            {"embedding_type": ["base64"]},
            {"embedding_type": "base64", "encoding_format": "float"},
            {"embedding_type": None, "encoding_format": "base64"},
        ],
        ids=["encoding_type", "encoding_format", "list of one", "both", "null and alias"],
    )
    async def test_names_of_the_encoding(self, client_of, backend, changed) -> None:
        async with client_of(backend) as client:
            answer = (await client.post("/v1/embeddings", json=ask(["x"], **changed))).json()
        assert isinstance(answer["data"][0]["embedding"], str)

    @pytest.mark.parametrize("field", ["dimensions", "output_dimensionality"])
    @pytest.mark.parametrize("value", [768, "768", 768.0], ids=["integer", "string", "float"])
    async def test_dimensions_by_any_name_and_type(self, client_of, backend, field, value) -> None:
        async with client_of(backend) as client:
            answer = (await client.post("/v1/embeddings", json=ask(["x"], **{field: value}))).json()
        assert rows_of(answer).shape == (1, 768)

    @pytest.mark.parametrize("field", ["texts", "content"])
    async def test_names_of_the_input(self, client_of, backend, field) -> None:
        async with client_of(backend) as client:
            response = await client.post("/v1/embeddings", json={"model": "jina-clip-v2", field: ["a", "b"]})
        assert rows_of(response.json()).shape == (2, 1024)

    @pytest.mark.parametrize("field", ["task", "task_type"])
    async def test_names_of_the_task(self, client_of, backend, field) -> None:
        async with client_of(backend) as client:
            await client.post("/v1/embeddings", json=ask(["x"], **{field: "retrieval.query"}))
        assert [call.task for call in backend.calls] == ["retrieval.query"]

    async def test_unknown_fields_and_nulls_are_ignored(self, client_of, backend) -> None:
        nulls = dict.fromkeys(["embedding_type", "normalized", "truncate", "dimensions", "task"])
        async with client_of(backend) as client:
            response = await client.post("/v1/embeddings", json=ask(["x"], user="me", late_chunking=True, **nulls))
        assert response.status_code == 200
        assert rows_of(response.json()).shape == (1, 1024)

    @pytest.mark.parametrize(
        "name", ["jina-clip-v2", "jinaai/jina-clip-v2", "jina-ai/jina-clip-v2", "ours", "jina-ai/ours"]
    )
    async def test_names_of_the_model_are_echoed(self, client_of, backend, name) -> None:
        async with client_of(backend, model_names=("ours",)) as client:
            answer = (await client.post("/v1/embeddings", json={"model": name, "input": "x"})).json()
        assert answer["model"] == name

    async def test_v1_takes_its_own_width_and_a_task_that_changes_nothing(self, client_of, content_backend) -> None:
        backend = content_backend(JINA_CLIP_V1)
        body = {"model": "jina-clip-v1", "input": "x", "task": "retrieval.query", "dimensions": "768"}
        async with client_of(backend) as client:
            response = await client.post("/v1/embeddings", json=body)
        assert response.status_code == 200, response.text
        np.testing.assert_array_equal(
            rows_of(response.json()),
            truncate_and_normalize(backend.text_row("x")[None], dimensions=None, normalized=True),
        )


class TestInvalidFields:
    """422 names the field, by its path through the model's branch of the schema, and pydantic's type of the error."""

    @pytest.mark.parametrize(
        ("fields", "name", "type"),
        [
            pytest.param({"dimensions": 0}, "dimensions", "greater_than", id="dimensions of 0"),
            pytest.param({"dimensions": -5}, "dimensions", "greater_than", id="negative dimensions"),
            pytest.param({"dimensions": 1025}, "dimensions", "less_than_equal", id="too many dimensions"),
            pytest.param({"dimensions": "many"}, "dimensions", "int_parsing", id="dimensions in words"),
            pytest.param({"dimensions": True}, "dimensions", "int_type", id="boolean dimensions"),
            pytest.param({"dimensions": [64]}, "dimensions", "int_type", id="list of dimensions"),
            pytest.param({"dimensions": 64.5}, "dimensions", "int_from_float", id="fractional dimensions"),
            pytest.param({"embedding_type": "int8"}, "embedding_type", "literal_error", id="unknown encoding"),
            pytest.param(
                {"embedding_type": ["float", "base64"]}, "embedding_type", "literal_error", id="two encodings"
            ),
            pytest.param(
                {"embedding_type": "\ud800"}, "embedding_type", "string_unicode", id="encoding that is no Unicode"
            ),
            pytest.param({"normalized": "perhaps"}, "normalized", "bool_parsing", id="normalized in words"),
            pytest.param({"truncate": []}, "truncate", "bool_type", id="truncate as a list"),
            pytest.param({"task": "text-matching"}, "task", "literal_error", id="unknown task"),
            pytest.param({"modality": "image"}, "modality", "value_error", id="modality of images"),
        ],
    )
    async def test_a_field_that_does_not_fit(self, client_of, backend, fields, name, type) -> None:
        async with client_of(backend) as client:
            response = await client.post("/v1/embeddings", content=json.dumps(ask() | fields))
        assert response.status_code == 422
        check_fields(response.json(), (f"body -> jina-clip-v2 -> {name}", type))
        assert backend.calls == []

    @pytest.mark.parametrize("dimensions", [512, 769, 1])
    async def test_v1_cannot_be_truncated(self, client_of, content_backend, dimensions) -> None:
        async with client_of(content_backend(JINA_CLIP_V1)) as client:
            response = await client.post(
                "/v1/embeddings", json={"model": "jina-clip-v1", "input": "x", "dimensions": dimensions}
            )
        assert response.status_code == 422
        assert response.json()["errors"][0]["field"] == "body -> jina-clip-v1 -> dimensions"


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

    @pytest.mark.parametrize("field", [{"task": "retrieval.query"}, {"dimensions": 768}], ids=["task", "dimensions"])
    async def test_v1_has_neither_task_nor_dimensions(self, client_of, content_backend, field) -> None:
        async with client_of(content_backend(JINA_CLIP_V1), strict=True) as client:
            response = await client.post("/v1/embeddings", json={"model": "jina-clip-v1", "input": "x", **field})
        check_fields(response.json(), (f"body -> jina-clip-v1 -> {next(iter(field))}", "extra_forbidden"))

    @pytest.mark.parametrize(
        "item", [{"url": "https://x/"}, {"bytes": "AAAA"}, {"text": "x", "id": "1"}], ids=["url", "bytes", "id"]
    )
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
        "body",
        [{}, {"model": None}, {"model": 5}, {"model": "jina-clip-v1"}, {"model": "\ud800"}],
        ids=["missing", "null", "number", "another", "no Unicode"],
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
