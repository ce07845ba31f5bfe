"""Rows in the caller's order, whatever is asked for, by either face, from any kind of backend."""

from __future__ import annotations

import io
import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jina_clip_integrations import ConfigurationError, InputError, JinaClipEncoder
from tests.faces import both_faces
from tests.fakes import (
    KINDS,
    WIDTH,
    BlockingBackend,
    StreamingFake,
    content_vector,
    text_vector,
    unit,
)

TEXTS = [f"text {number}" for number in range(10)]


def noise(seed: int, size: tuple[int, int] = (6, 4)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def image_vector(image: Image.Image) -> Any:
    return content_vector(b"image/%d/%d/" % image.size + image.tobytes())


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def expected_texts(texts: list[str], task: str | None = None) -> Any:
    return unit(np.stack([text_vector(text, task) for text in texts]))


@both_faces
@pytest.mark.parametrize("kind", KINDS)
class TestEveryBackendAndFace:
    def test_texts_keep_their_order(self, kind: str, face: Any) -> None:
        rows = face(JinaClipEncoder(backend=KINDS[kind](batch_size=3))).encode_text(TEXTS)
        np.testing.assert_allclose(rows, expected_texts(TEXTS), atol=1e-6)
        assert rows.dtype == np.float32

    def test_images_keep_their_order(self, kind: str, face: Any) -> None:
        images = [noise(seed) for seed in range(7)]
        rows = face(JinaClipEncoder(backend=KINDS[kind](batch_size=3))).encode_image(images)
        np.testing.assert_allclose(rows, unit(np.stack([image_vector(image) for image in images])), atol=1e-6)

    def test_mixed_items_keep_their_order(self, kind: str, face: Any) -> None:
        items = [{"image": noise(1)}, {"text": "a"}, {"text": "b"}, {"image": noise(2)}, {"text": "a"}]
        rows = face(JinaClipEncoder(backend=KINDS[kind]())).encode(items)
        a, b = text_vector("a"), text_vector("b")
        expected = [image_vector(noise(1)), a, b, image_vector(noise(2)), a]
        np.testing.assert_allclose(rows, unit(np.stack(expected)), atol=1e-6)

    def test_chunks_are_yielded_in_order(self, kind: str, face: Any) -> None:
        items = ({"text": text} for text in TEXTS)
        chunks = face(JinaClipEncoder(backend=KINDS[kind]())).iter_encode(items, chunk_size=4)
        assert [len(chunk) for chunk in chunks] == [4, 4, 2]
        np.testing.assert_allclose(np.concatenate(chunks), expected_texts(TEXTS), atol=1e-6)

    def test_backend_is_called_again(self, kind: str, face: Any) -> None:
        encoder = JinaClipEncoder(backend=KINDS[kind]())
        for text in TEXTS[:3]:
            np.testing.assert_allclose(face(encoder).encode_text(text), expected_texts([text])[0], atol=1e-6)


@both_faces
class TestShapes:
    @pytest.fixture
    def encoder(self) -> JinaClipEncoder:
        return JinaClipEncoder(backend=BlockingBackend())

    def test_one_text_is_one_row(self, encoder: JinaClipEncoder, face: Any) -> None:
        assert face(encoder).encode_text("a").shape == (WIDTH,)
        assert face(encoder).encode_text(["a"]).shape == (1, WIDTH)

    def test_one_image_is_one_row(self, encoder: JinaClipEncoder, face: Any, tmp_path: Path) -> None:
        image = noise(1)
        image.save(tmp_path / "a.png")
        ones = [image, png(image), io.BytesIO(png(image)), tmp_path / "a.png", str(tmp_path / "a.png")]
        for one in [*ones, np.asarray(image)]:
            np.testing.assert_allclose(face(encoder).encode_image(one), unit(image_vector(image)), atol=1e-6)
        assert face(encoder).encode_image([image]).shape == (1, WIDTH)

    def test_a_stack_of_arrays_is_several_images(self, encoder: JinaClipEncoder, face: Any) -> None:
        stack = np.stack([np.asarray(noise(seed)) for seed in range(3)])
        expected = unit(np.stack([image_vector(noise(seed)) for seed in range(3)]))
        np.testing.assert_allclose(face(encoder).encode_image(stack), expected, atol=1e-6)

    @pytest.mark.parametrize("empty", [[], (), iter([])])
    def test_nothing_is_no_rows(self, encoder: JinaClipEncoder, face: Any, empty: Any) -> None:
        for method in ("encode_text", "encode_image", "encode"):
            rows = getattr(face(encoder), method)(empty)
            assert rows.shape == (0, WIDTH)
            assert rows.dtype == np.float32
        assert encoder.backend.batches == []

    def test_nothing_is_no_rows_of_the_width_asked_for(self, face: Any) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend(), dimensions=4)
        assert face(encoder).encode_text([]).shape == (0, 4)
        assert face(encoder).iter_encode([]) == []

    @pytest.mark.parametrize("sequence", [tuple, lambda texts: np.array(texts), lambda texts: (text for text in texts)])
    def test_any_sequence_of_texts(self, encoder: JinaClipEncoder, face: Any, sequence: Any) -> None:
        np.testing.assert_allclose(face(encoder).encode_text(sequence(TEXTS)), expected_texts(TEXTS), atol=1e-6)

    @pytest.mark.obligation("20")
    def test_text_is_never_opened(self, encoder: JinaClipEncoder, face: Any, tmp_path: Path) -> None:
        noise(1).save(tmp_path / "a.png")
        texts = [str(tmp_path / "a.png"), "http://127.0.0.1/a.png", "data:image/png;base64,AAAA", "file:///etc/passwd"]
        np.testing.assert_allclose(face(encoder).encode_text(texts), expected_texts(texts), atol=1e-6)
        items = [{"text": text} for text in texts]
        np.testing.assert_allclose(face(encoder).encode(items), expected_texts(texts), atol=1e-6)

    def test_empty_and_blank_texts_are_texts(self, encoder: JinaClipEncoder, face: Any) -> None:
        np.testing.assert_allclose(
            face(encoder).encode_text(["", " ", "\n"]), expected_texts(["", " ", "\n"]), atol=1e-6
        )

    def test_a_str_for_items_is_an_error(self, encoder: JinaClipEncoder, face: Any) -> None:
        for wrong in ("abc", b"abc", {"text": "abc"}, 3, {"abc"}):
            with pytest.raises(InputError):
                face(encoder).encode(wrong)
            with pytest.raises(InputError):
                face(encoder).iter_encode(wrong)
        assert encoder.backend.batches == []


class TestWidthAndLength:
    def test_cut_then_normalised(self) -> None:
        rows = JinaClipEncoder(backend=BlockingBackend(), dimensions=4).encode_text(TEXTS)
        raw = np.stack([text_vector(text) for text in TEXTS])[:, :4]
        np.testing.assert_allclose(rows, unit(raw), atol=1e-6)

    def test_raw(self) -> None:
        rows = JinaClipEncoder(backend=BlockingBackend(), dimensions=4, normalize=False).encode_text(TEXTS)
        np.testing.assert_array_equal(rows, np.stack([text_vector(text) for text in TEXTS])[:, :4])

    def test_width_is_asked_of_the_backend(self) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend(), dimensions=4, normalize=False)
        encoder.encode_text("a")
        assert encoder.backend.batches[0].dimensions == 4
        assert encoder.backend.batches[0].normalize is False

    def test_numpy_integers_are_integers(self) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend(), dimensions=np.int64(4))
        assert type(encoder.dimensions) is int
        assert encoder.encode_text("a").shape == (4,)

    @pytest.mark.parametrize("dimensions", [0, 1, 9, -4, True, 4.0, "4", np.float32(4), np.bool_(True)])
    def test_impossible_widths(self, dimensions: Any) -> None:
        with pytest.raises(ConfigurationError, match="dimensions"):
            JinaClipEncoder(backend=BlockingBackend(), dimensions=dimensions)

    def test_width_without_a_spec_is_anything_up_to_full(self) -> None:
        backend = BlockingBackend(spec=None)
        assert JinaClipEncoder(backend=backend, dimensions=1).encode_text("a").shape == (1,)
        with pytest.raises(ConfigurationError, match="1 to 8"):
            JinaClipEncoder(backend=backend, dimensions=9)

    def test_small_widths_of_v2_warn_once(self) -> None:
        backend = BlockingBackend(dimensions=1024, spec=None, model="jina-clip-v2")
        with pytest.warns(UserWarning, match="vouch for 64") as caught:
            encoder = JinaClipEncoder(backend=backend, dimensions=32)
        encoder.encode_text(TEXTS)  # warnings are errors here
        assert len(caught) == 1
        assert caught[0].filename == __file__
        JinaClipEncoder(backend=backend, dimensions=64)

    def test_v1_is_not_cut(self) -> None:
        backend = BlockingBackend(dimensions=768, spec=None, model="jina-clip-v1")
        assert JinaClipEncoder(backend=backend, dimensions=768).dimensions == 768
        with pytest.raises(ConfigurationError, match="not trained with Matryoshka"):
            JinaClipEncoder(backend=backend, dimensions=512)

    def test_width_that_only_the_backend_knows(self) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend(spec=None))
        encoder.backend.dimensions = None  # type: ignore[assignment]
        encoder.backend.row_of = lambda batch, position: text_vector(batch.texts[position], width=6)
        assert encoder.dimensions == 0
        assert encoder.encode_text([]).shape == (0, 0)
        assert encoder.encode_text("a").shape == (6,)


class TestTask:
    def test_task_reaches_texts(self) -> None:
        rows = JinaClipEncoder(backend=BlockingBackend()).encode_text(TEXTS, task="retrieval.query")
        np.testing.assert_allclose(rows, expected_texts(TEXTS, "retrieval.query"), atol=1e-6)

    @both_faces
    def test_task_reaches_texts_among_images(self, face: Any) -> None:
        encoder = face(JinaClipEncoder(backend=BlockingBackend()))
        rows = encoder.encode([{"text": "a"}, {"image": noise(1)}, {"text": "b"}], task="retrieval.query")
        expected = [text_vector("a", "retrieval.query"), image_vector(noise(1)), text_vector("b", "retrieval.query")]
        np.testing.assert_allclose(rows, unit(np.stack(expected)), atol=1e-6)

    @both_faces
    def test_unknown_task(self, face: Any) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend())
        with pytest.raises(ConfigurationError, match=r"'retrieval.query'"):
            face(encoder).encode_text("a", task="retrieval.passage")
        with pytest.raises(ConfigurationError, match=r"'retrieval.query'"):
            face(encoder).encode([{"text": "a"}], task="retrieval.passage")
        assert encoder.backend.batches == []

    def test_a_backend_that_says_nothing_of_tasks_gets_what_it_gets(self) -> None:
        row = JinaClipEncoder(backend=BlockingBackend(spec=None)).encode_text("a", task="mine")
        np.testing.assert_allclose(row, unit(text_vector("a", "mine")), atol=1e-6)

    def test_no_task_per_item(self) -> None:
        with pytest.raises(InputError, match=r"use encode\(items, task"):
            JinaClipEncoder(backend=BlockingBackend()).encode([{"text": "a", "task": "retrieval.query"}])


class TestBatches:
    def test_slices_of_the_size_the_backend_wants(self) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend(batch_size=4))
        encoder.encode_text(TEXTS)
        assert [len(batch) for batch in encoder.backend.batches] == [4, 4, 2]

    def test_thirty_two_for_a_backend_that_does_not_say(self) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend())
        encoder.encode_text([str(number) for number in range(40)])
        assert [len(batch) for batch in encoder.backend.batches] == [32, 8]

    def test_a_streaming_backend_gets_everything_at_once(self) -> None:
        encoder = JinaClipEncoder(backend=StreamingFake())
        seen: list[int] = []
        stream = encoder.backend.stream
        encoder.backend.stream = lambda batch: seen.append(len(batch)) or stream(batch)
        encoder.encode_text([str(number) for number in range(1000)])
        assert seen == [1000]

    def test_duplicates_are_embedded_once(self) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend())
        rows = encoder.encode_text(["a", "b", "a", "a"])
        assert encoder.backend.embedded == ["a", "b"]
        np.testing.assert_allclose(rows, expected_texts(["a", "b", "a", "a"]), atol=1e-6)
        assert encoder.usage.items == 4

    def test_duplicate_images_are_embedded_once(self, tmp_path: Path) -> None:
        noise(1).save(tmp_path / "a.png")
        data = (tmp_path / "a.png").read_bytes()
        encoder = JinaClipEncoder(backend=BlockingBackend())
        rows = encoder.encode_image([tmp_path / "a.png", data, noise(2), io.BytesIO(data)])
        assert len(encoder.backend.embedded) == 2
        expected = [image_vector(noise(seed)) for seed in (1, 1, 2, 1)]
        np.testing.assert_allclose(rows, unit(np.stack(expected)), atol=1e-6)

    def test_duplicates_far_apart_are_embedded_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("jina_clip_integrations.encoder.job.TEXT_CHUNK", 3)
        monkeypatch.setattr("jina_clip_integrations.encoder.job.IMAGE_CHUNK", 2)
        encoder = JinaClipEncoder(backend=BlockingBackend())
        seeds, words = [1, 2, 3, 1, 2], ["a", "b", "c", "d", "a", "b"]
        rows = encoder.encode([{"image": noise(seed)} for seed in seeds] + [{"text": word} for word in words])
        expected = [*(image_vector(noise(seed)) for seed in seeds), *map(text_vector, words)]
        np.testing.assert_allclose(rows, unit(np.stack(expected)), atol=1e-6)
        assert len(encoder.backend.embedded) == 7

    def test_a_text_is_not_an_image_with_the_same_fingerprint(self) -> None:
        image = noise(1)
        encoder = JinaClipEncoder(backend=BlockingBackend())
        digest = encoder._parser.image(png(image)).file_digest()
        rows = encoder.encode([{"image": png(image)}, {"text": digest}])
        np.testing.assert_allclose(rows, unit(np.stack([image_vector(image), text_vector(digest)])), atol=1e-6)

    def test_next_images_are_read_while_these_are_computed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("jina_clip_integrations.encoder.job.IMAGE_CHUNK", 2)
        second_read = threading.Event()

        class Announced(io.BytesIO):
            def read(self, *size: Any) -> bytes:
                second_read.set()
                return super().read(*size)

        encoder = JinaClipEncoder(backend=BlockingBackend())
        waited: list[bool] = []
        encoder.backend.before = lambda batch: waited.append(second_read.wait(5))
        encoder.encode_image([noise(1), noise(2), Announced(png(noise(3)))])
        assert waited == [True, True]


class TestUsage:
    @both_faces
    def test_sums_over_calls(self, face: Any) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend(batch_size=4))
        assert encoder.usage.total_tokens == encoder.usage.items == 0
        face(encoder).encode_text(TEXTS)
        face(encoder).encode_image(noise(1))
        usage = encoder.usage
        assert (usage.total_tokens, usage.requests, usage.items, usage.cache_hits) == (110, 4, 11, 0)

    def test_counts_from_many_threads(self) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend())
        threads = [threading.Thread(target=encoder.encode_text, args=([f"{n}", "same"],)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert encoder.usage.items == 40
        assert encoder.usage.total_tokens == 400


class TestProgress:
    @both_faces
    def test_bar_on_stderr_counts_items(self, face: Any, capsys: pytest.CaptureFixture[str]) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend(), show_progress=True)
        face(encoder).encode_text([*TEXTS, "text 0"])
        shown = capsys.readouterr()
        assert shown.out == ""
        assert "11/11" in shown.err

    def test_one_bar_for_a_whole_iteration(self, capsys: pytest.CaptureFixture[str]) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend(), show_progress=True)
        list(encoder.iter_encode([{"text": text} for text in TEXTS], chunk_size=3))
        assert "10/10" in capsys.readouterr().err

    def test_silent_by_default(self, capsys: pytest.CaptureFixture[str]) -> None:
        JinaClipEncoder(backend=BlockingBackend()).encode_text(TEXTS)
        assert capsys.readouterr() == ("", "")


@pytest.mark.framework("stores/unit-length")
def test_rows_are_finite_and_of_unit_length() -> None:
    rows = JinaClipEncoder(backend=BlockingBackend()).encode_text(TEXTS)
    assert all(math.isclose(np.linalg.norm(row), 1, abs_tol=1e-6) for row in rows)
