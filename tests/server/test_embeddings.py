"""`POST /v1/embeddings` of an app in this process: forms of input, encodings, names, usage, and the right rows."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import random
from typing import Any

import numpy as np
import PIL.Image
import pytest

from jina_clip_integrations.catalog import JINA_CLIP_V1, JINA_CLIP_V2
from jina_clip_integrations.vectors import pack_bits, truncate_and_normalize
from tests.server.published import OFFICIAL_GIF, rows_of


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def opened(data: bytes) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(data)).convert("RGB")


def ask(items: object, **fields: object) -> dict:
    return {"model": "jina-clip-v2", "input": items, **fields}


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
        expected = truncate_and_normalize(backend.image_row(opened(data))[None], dimensions=None, normalized=True)
        np.testing.assert_array_equal(rows_of(response.json()), np.repeat(expected, len(items), axis=0))

    async def test_the_published_example(self, client_of, backend) -> None:
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
        raw.append(backend.image_row(opened(base64.b64decode(OFFICIAL_GIF))))
        np.testing.assert_array_equal(
            rows_of(answer), truncate_and_normalize(np.stack(raw), dimensions=None, normalized=True)
        )

    @pytest.mark.parametrize(
        "text",
        ["https://example.org/a.png", "data:image/png;base64,AAAA", "/etc/passwd", "file:///etc/passwd", "", " "],
    )
    async def test_a_text_is_never_opened(self, client_of, backend, text) -> None:
        async with client_of(backend) as client:
            answer = (await client.post("/v1/embeddings", json=ask([text, {"text": text}]))).json()
        expected = truncate_and_normalize(backend.text_row(text)[None], dimensions=None, normalized=True)
        np.testing.assert_array_equal(rows_of(answer), np.repeat(expected, 2, axis=0))
        assert {call.modality for call in backend.calls} == {"text"}


class TestEncodings:
    @pytest.mark.parametrize("normalized", [True, False])
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


class TestForeignNames:
    @pytest.mark.parametrize(
        "changed",
        [
            {"encoding_type": "base64"},
            {"encoding_format": "base64"},
            {"embedding_type": ["base64"]},
            {"embedding_type": "base64", "encoding_format": "float"},
            {"embedding_type": None, "encoding_format": "base64"},
        ],
        ids=str,
    )
    async def test_names_of_the_encoding(self, client_of, backend, changed) -> None:
        async with client_of(backend) as client:
            answer = (await client.post("/v1/embeddings", json=ask(["x"], **changed))).json()
        assert isinstance(answer["data"][0]["embedding"], str)

    @pytest.mark.parametrize("field", ["dimensions", "output_dimensionality"])
    @pytest.mark.parametrize("value", [768, "768", 768.0])
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


class TestConcurrency:
    async def test_everybody_gets_their_own_rows(self, client_of, backend, png) -> None:
        """Many clients at once, mixed items, tasks, widths and encodings: one swapped row would show."""
        images = [png(seed=seed) for seed in range(6)]
        chance = random.Random(7)
        bodies = []
        for n in range(60):
            items: list = [{"text": f"client {n} text {i}"} for i in range(chance.randint(0, 4))]
            items += [{"image": b64(images[chance.randrange(6)])} for _ in range(chance.randint(0, 2))]
            chance.shuffle(items)
            options = {
                "dimensions": chance.choice([None, 64, 512]),
                "task": chance.choice([None, "retrieval.query"]),
                "normalized": chance.choice([True, False]),
                "embedding_type": chance.choice(["float", "base64"]),
            }
            bodies.append(ask(items or [f"lonely {n}"], **options))
        async with client_of(backend, batch_wait_s=0.005, max_batch=16) as client:
            answers = await asyncio.gather(*(client.post("/v1/embeddings", json=body) for body in bodies))
        assert len(backend.calls) < len(bodies)
        assert backend.max_concurrent <= 2
        for body, answer in zip(bodies, answers, strict=True):
            raw = np.stack([self.row(backend, item, body["task"]) for item in body["input"]])
            expected = truncate_and_normalize(raw, dimensions=body["dimensions"], normalized=body["normalized"])
            np.testing.assert_array_equal(rows_of(answer.json(), body["embedding_type"]), expected)

    @staticmethod
    def row(backend, item, task) -> np.ndarray:
        if isinstance(item, dict) and "image" in item:
            return backend.image_row(opened(base64.b64decode(item["image"])))
        return backend.text_row(item if isinstance(item, str) else item["text"], task)

    async def test_thirty_two_clients_share_a_few_calls(self, client_of, backend) -> None:
        backend.delay_s = 0.02
        async with client_of(backend, batch_wait_s=0.01) as client:
            await asyncio.gather(*(client.post("/v1/embeddings", json=ask(f"text {n}")) for n in range(32)))
        assert len(backend.calls) <= 8
        assert sum(len(call) for call in backend.calls) == 32

    async def test_a_bad_input_costs_only_its_own_request(self, client_of, backend, png) -> None:
        """Refused by the backend, broken in the backend, not finite, and an image cut short: alone among good ones."""
        broken = png(300, 300)[:-2000]
        bad = ["bad text", "explode now", "nan", {"image": b64(broken)}]
        bodies = [ask([f"good {n}", {"image": b64(png(seed=n))}]) for n in range(8)]
        for n, item in enumerate(bad):
            bodies.insert(2 * n, ask([f"with {n}", item]))
        async with client_of(backend, batch_wait_s=0.02) as client:
            answers = await asyncio.gather(*(client.post("/v1/embeddings", json=body) for body in bodies))
        statuses = [answer.status_code for answer in answers]
        assert [statuses[2 * n] for n in range(4)] == [400, 500, 500, 400]
        assert [status for n, status in enumerate(statuses) if n not in (0, 2, 4, 6)] == [200] * 8
        for n in (0, 6):
            assert answers[n].json()["errors"][0]["field"] == "body -> input -> 1"
        for body, answer in zip(bodies, answers, strict=True):
            if answer.status_code == 200:
                raw = np.stack([self.row(backend, item, None) for item in body["input"]])
                np.testing.assert_array_equal(
                    rows_of(answer.json()), truncate_and_normalize(raw, dimensions=None, normalized=True)
                )


async def test_the_body_may_begin_with_a_byte_order_mark(client_of, backend) -> None:
    async with client_of(backend) as client:
        content = b"\xef\xbb\xbf" + json.dumps(ask(["x"])).encode()
        assert (await client.post("/v1/embeddings", content=content)).status_code == 200
