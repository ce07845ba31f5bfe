"""Items of a request: every form of a text and of an image, and errors that name the item."""

from __future__ import annotations

import json

import numpy as np
import pytest

from jina_clip_integrations.vectors import truncate_and_normalize
from tests.server.bodies import ask, b64, check_fields, open_image, rows_of


class TestForms:
    @pytest.mark.parametrize(
        "items",
        ["a cat", ["a cat"], {"text": "a cat"}, [{"text": "a cat"}], [{"type": "text", "text": "a cat"}]],
        ids=["string", "list", "object", "list of objects", "part"],
    )
    async def test_a_text_in_every_form(self, client_of, backend, items) -> None:
        async with client_of(backend) as client:
            answer = (await client.post("/v1/embeddings", json=ask(items))).json()
        expected = truncate_and_normalize(backend.text_row("a cat")[None], dimensions=None, normalized=True)
        np.testing.assert_array_equal(rows_of(answer), expected)

    async def test_an_image_in_every_form(self, client_of, backend, png) -> None:
        data = png()
        encoded, uri = b64(data), f"data:image/png;base64,{b64(data)}"
        items = [
            {"image": encoded},
            {"image": uri},
            {"bytes": encoded},
            {"url": uri},
            {"image_base64": encoded},
            {"type": "image_url", "image_url": {"url": uri}},
            {"type": "image_url", "image_url": uri},
            {"type": "image", "format": "base64", "value": encoded},
            {"image": encoded[:40] + "\n" + encoded[40:]},
            {"image": encoded, "id": "mine", "text": None},
        ]
        async with client_of(backend) as client:
            response = await client.post("/v1/embeddings", json=ask(items))
        assert response.status_code == 200, response.text
        expected = truncate_and_normalize(backend.image_row(open_image(data))[None], dimensions=None, normalized=True)
        np.testing.assert_array_equal(rows_of(response.json()), np.repeat(expected, len(items), axis=0))

    @pytest.mark.parametrize(
        "text",
        [
            "https://example.org/a.png",
            "data:text/plain;base64,AAAA",
            "data:image/png,AAAA",
            " data:image/png;base64,AAAA",
            "see data:image/png;base64,AAAA",
            "/etc/passwd",
            "file:///etc/passwd",
            "",
            " ",
        ],
    )
    async def test_a_text_is_never_opened(self, client_of, backend, text) -> None:
        async with client_of(backend) as client:
            answer = (await client.post("/v1/embeddings", json=ask([text, {"text": text}]))).json()
        expected = truncate_and_normalize(backend.text_row(text)[None], dimensions=None, normalized=True)
        np.testing.assert_array_equal(rows_of(answer), np.repeat(expected, 2, axis=0))
        assert {call.modality for call in backend.calls} == {"text"}

    @pytest.mark.parametrize("parameters", ["", ";charset=utf-8", ";name=a.png"])
    async def test_a_string_that_can_only_be_an_image_is_one(self, client_of, backend, png, parameters) -> None:
        """Several public clients send images as bare data URIs; as texts their vectors would be silently wrong."""
        data = png()
        uri = f"data:image/PNG{parameters};base64,{b64(data)}"
        async with client_of(backend) as client:
            answers = [
                (await client.post("/v1/embeddings", json=ask(items))).json() for items in (uri, [uri], ["a cat", uri])
            ]
        image, text = (
            truncate_and_normalize(row[None], dimensions=None, normalized=True)
            for row in (backend.image_row(open_image(data)), backend.text_row("a cat"))
        )
        for answer, expected in zip(answers, (image, image, np.concatenate([text, image])), strict=True):
            np.testing.assert_array_equal(rows_of(answer), expected)

    async def test_such_a_string_as_a_text_has_to_be_called_one(self, client_of, backend, png) -> None:
        uri = f"data:image/png;base64,{b64(png())}"
        async with client_of(backend) as client:
            answer = (await client.post("/v1/embeddings", json=ask({"text": uri}))).json()
        expected = truncate_and_normalize(backend.text_row(uri)[None], dimensions=None, normalized=True)
        np.testing.assert_array_equal(rows_of(answer), expected)

    async def test_the_published_schema_has_no_such_string(self, client_of, backend, png) -> None:
        async with client_of(backend, strict=True) as client:
            response = await client.post("/v1/embeddings", json=ask(["x", f"data:image/png;base64,{b64(png())}"]))
        assert response.status_code == 422
        check_fields(response.json(), ("body -> jina-clip-v2 -> input -> 1", "model_type"))
        assert '{"image": ...}' in response.json()["detail"]
        assert backend.calls == []

    async def test_a_broken_image_in_a_string_is_no_text(self, client_of, backend) -> None:
        async with client_of(backend) as client:
            response = await client.post("/v1/embeddings", json=ask("data:image/png;base64,AAAA"))
        assert response.status_code == 400
        assert backend.calls == []


class TestInvalidItems:
    @pytest.mark.parametrize(
        ("fields", "name", "type"),
        [
            pytest.param({"input": None}, "input", "list_type", id="null"),
            pytest.param({"input": []}, "input", "too_short", id="empty"),
            pytest.param({"input": 7}, "input", "list_type", id="number"),
            pytest.param({"input": ["x", 15339]}, "input -> 1", "model_type", id="token id among texts"),
            pytest.param({"input": [["x"]]}, "input -> 0", "model_type", id="list of a text"),
            pytest.param({"input": [[]]}, "input -> 0", "model_type", id="empty list"),
            pytest.param({"input": ["x", {}]}, "input -> 1", "missing", id="empty object"),
            pytest.param({"input": {}}, "input", "missing", id="empty object alone"),
            pytest.param({"input": [{"text": 5}]}, "input -> 0", "string_type", id="text of a number"),
            pytest.param({"input": [{"image": ""}]}, "input -> 0", "string_type", id="empty image"),
            pytest.param({"input": [{"image": 5}]}, "input -> 0", "string_type", id="image of a number"),
            pytest.param({"input": [{"text": "x", "image": "AAAA"}]}, "input -> 0", "value_error", id="text and image"),
            pytest.param(
                {"input": [{"image": "AAAA", "url": "https://x/"}]}, "input -> 0", "value_error", id="two images"
            ),
            pytest.param({"input": [{"url": "file:///etc/passwd"}]}, "input -> 0", "url_parsing", id="file URL"),
            pytest.param(
                {"input": [{"url": "https://x/" + "a" * 65_536}]}, "input -> 0", "string_too_long", id="long URL"
            ),
            pytest.param({"input": {"pdf": "AAAA"}}, "input", "value_error", id="pdf"),
            pytest.param({"input": [{"content": ["a", "b"]}]}, "input -> 0", "value_error", id="several parts"),
        ],
    )
    async def test_an_item_that_does_not_fit(self, client_of, backend, fields, name, type) -> None:
        async with client_of(backend) as client:
            response = await client.post("/v1/embeddings", content=json.dumps(ask() | fields))
        assert response.status_code == 422
        check_fields(response.json(), (f"body -> jina-clip-v2 -> {name}", type))
        assert backend.calls == []

    @pytest.mark.parametrize("tokens", [[101, 2, 3], [[101, 2], [3]]], ids=["one input", "several"])
    async def test_token_ids_are_one_error_that_names_the_clients_option(self, client_of, backend, tokens) -> None:
        async with client_of(backend, max_items=2) as client:
            response = await client.post("/v1/embeddings", json=ask(tokens))
        assert response.status_code == 422
        check_fields(response.json(), ("body -> jina-clip-v2 -> input", "model_type"))
        assert "check_embedding_ctx_length=False" in response.json()["detail"]

    async def test_every_bad_item_is_named(self, client_of, backend) -> None:
        async with client_of(backend) as client:
            body = (await client.post("/v1/embeddings", json=ask(["fine", 5, {"text": "fine"}, {}]))).json()
        check_fields(
            body,
            ("body -> jina-clip-v2 -> input -> 1", "model_type"),
            ("body -> jina-clip-v2 -> input -> 3", "missing"),
        )

    async def test_too_many_items_says_how_many_would_do(self, client_of, backend) -> None:
        async with client_of(backend, max_items=3) as client:
            response = await client.post("/v1/embeddings", json=ask(["x"] * 4))
        check_fields(response.json(), ("body -> jina-clip-v2 -> input", "too_long"))
        assert "at most 3 items" in response.json()["detail"]
