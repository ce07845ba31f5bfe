"""Response bodies: encodings of vectors, and usage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from jina_clip_integrations.catalog import JINA_CLIP_V1, JINA_CLIP_V2
from jina_clip_integrations.vectors import pack_bits, truncate_and_normalize
from tests.server.bodies import ask, b64, rows_of


class TestEncodings:
    @pytest.mark.parametrize("normalized", [True, False], ids=["normalized", "raw"])
    @pytest.mark.parametrize("dimensions", [None, 768, 64, 100, 1])
    @pytest.mark.parametrize("embedding_type", ["float", "base64", "binary", "ubinary"])
    async def test_bits_are_numpys(self, client_of, backend, embedding_type, dimensions, normalized) -> None:
        texts = ["one", "two", "three"]
        body = ask(texts, embedding_type=embedding_type, dimensions=dimensions, normalized=normalized)
        async with client_of(backend) as client:
            answer = (await client.post("/v1/embeddings", json=body)).json()
        raw = np.stack([backend.text_row(text) for text in texts])
        expected: Any = truncate_and_normalize(raw, dimensions=dimensions, normalized=normalized)
        if embedding_type in ("binary", "ubinary"):
            expected = pack_bits(expected)
        np.testing.assert_array_equal(rows_of(answer, embedding_type), expected)

    @pytest.mark.parametrize(
        ("embedding_type", "expected"),
        [("ubinary", [50.0, 193.0, 128.0, 255.0]), ("binary", [-78.0, 65.0, 0.0, 127.0])],
        ids=["ubinary", "binary"],
    )
    async def test_packed_bits_look_as_the_service_prints_them(
        self, client_of, backend, monkeypatch, embedding_type, expected
    ) -> None:
        bits = np.unpackbits(np.array([50, 193, 128, 255], np.uint8)).astype(np.float32) - 0.5
        row = np.concatenate([bits, np.zeros(1024 - 32, np.float32)])
        monkeypatch.setattr(backend, "text_row", lambda *_: row)
        async with client_of(backend) as client:
            response = await client.post("/v1/embeddings", json=ask("x", embedding_type=embedding_type, dimensions=32))
        assert response.json()["data"][0]["embedding"] == expected
        assert all("." in number for number in response.text.rpartition("[")[2].partition("]")[0].split(","))

    async def test_a_large_answer_is_whole(self, client_of, backend) -> None:
        texts = [f"text {n}" for n in range(200)]
        async with client_of(backend) as client:
            answer = (await client.post("/v1/embeddings", json=ask(texts, embedding_type="base64"))).json()
        raw = np.stack([backend.text_row(text) for text in texts])
        np.testing.assert_array_equal(
            rows_of(answer, "base64"), truncate_and_normalize(raw, dimensions=None, normalized=True)
        )


class TestUsage:
    async def test_texts_count_tokens_and_images_count_tiles(self, client_of, counting_backend, png) -> None:
        items = ["two words", {"image": b64(png(512, 512))}, {"image": b64(png(513, 600))}, ""]
        async with client_of(counting_backend) as client:
            answer = (await client.post("/v1/embeddings", json=ask(items))).json()
        text_tokens, image_tokens = (2 + 3 * 2) + 2, 4000 + 4 * 4000
        total = text_tokens + image_tokens
        assert answer["usage"] == {"total_tokens": total, "prompt_tokens": total, "image_tokens": image_tokens}

    async def test_the_instruction_is_counted(self, client_of, counting_backend) -> None:
        async with client_of(counting_backend) as client:
            plain = (await client.post("/v1/embeddings", json=ask(["x"]))).json()
            query = (await client.post("/v1/embeddings", json=ask(["x"], task="retrieval.query"))).json()
        words = len(JINA_CLIP_V2.tasks["retrieval.query"].split())
        assert plain["usage"] == {"total_tokens": 5, "prompt_tokens": 5}
        assert query["usage"]["total_tokens"] == 5 + 3 * words

    async def test_a_text_that_is_cut_counts_up_to_the_limit(self, client_of, counting_backend) -> None:
        async with client_of(counting_backend) as client:
            answer = (await client.post("/v1/embeddings", json=ask(["word " * 40, "x"], truncate=True))).json()
        assert answer["usage"]["total_tokens"] == 50 + 5

    async def test_v1_has_its_own_tiles(self, client_of, content_backend, png) -> None:
        body = {"model": "jina-clip-v1", "input": [{"image": b64(png(333, 333))}]}
        async with client_of(content_backend(JINA_CLIP_V1)) as client:
            answer = (await client.post("/v1/embeddings", json=body)).json()
        assert answer["usage"]["total_tokens"] == 4000

    async def test_without_a_tokenizer_texts_are_estimated(self, client_of, backend) -> None:
        async with client_of(backend) as client:
            answer = (await client.post("/v1/embeddings", json=ask(["a red bicycle", "x" * 100_000]))).json()
        assert answer["usage"]["total_tokens"] == (2 + 3) + 8192
