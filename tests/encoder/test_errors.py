"""Bad items, bad backends, interruptions: who is named, what is kept, what is said."""

from __future__ import annotations

import asyncio
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jina_clip_integrations import (
    AuthenticationError,
    BackendError,
    BatchResult,
    ConfigurationError,
    ImageError,
    InputError,
    InvalidRequestError,
    JinaClipEncoder,
)
from jina_clip_integrations.cache import MemoryCache
from tests.faces import both_faces
from tests.fakes import KINDS, WIDTH, BlockingBackend, StreamingFake, text_vector, unit

GOOD = Image.new("RGB", (3, 2), (10, 20, 30))
every_kind = pytest.mark.parametrize("kind", KINDS)


def missing_rows(rows: Any) -> list[int]:
    return [number for number, row in enumerate(rows) if np.isnan(row).all()]


@both_faces
@every_kind
class TestRaise:
    def test_first_bad_text_is_named(self, kind: str, face: Any) -> None:
        encoder = JinaClipEncoder(backend=KINDS[kind]())
        with pytest.raises(InputError, match=r"^input 2: a text must be a str, not int$") as caught:
            face(encoder).encode_text(["a", "b", 3, None])
        assert caught.value.index == 2
        assert caught.value.partial.shape == (4, WIDTH)
        assert encoder.backend.batches == []

    def test_broken_image_is_named_wherever_it_is_found(self, kind: str, face: Any) -> None:
        items = [{"text": "a"}, {"image": GOOD}, {"image": b"no image"}, {"text": "b"}]
        with pytest.raises(ImageError, match=r"^input 2: .*not an image") as caught:
            face(JinaClipEncoder(backend=KINDS[kind]())).encode(items)
        partial = caught.value.partial
        np.testing.assert_allclose(partial[[0, 3]], unit(np.stack([text_vector("a"), text_vector("b")])), atol=1e-6)
        assert 2 in missing_rows(partial)

    def test_missing_file_is_named(self, kind: str, face: Any, tmp_path: Path) -> None:
        with pytest.raises(ImageError, match=r"nowhere\.png: no such file") as caught:
            face(JinaClipEncoder(backend=KINDS[kind]())).encode_image([GOOD, tmp_path / "nowhere.png"])
        assert caught.value.index == 1

    def test_an_item_that_stood_alone_has_no_index(self, kind: str, face: Any) -> None:
        with pytest.raises(ImageError) as caught:
            face(JinaClipEncoder(backend=KINDS[kind]())).encode_image(b"no image")
        assert caught.value.index is None
        assert caught.value.partial.shape == (1, WIDTH)

    def test_index_counts_from_the_start_of_an_iteration(self, kind: str, face: Any) -> None:
        items = [{"text": "a"}] * 5 + [{"image": b"no image"}]
        with pytest.raises(ImageError) as caught:
            face(JinaClipEncoder(backend=KINDS[kind]())).iter_encode(items, chunk_size=2)
        assert caught.value.index == 5


@both_faces
@every_kind
class TestSkip:
    def test_bad_items_are_nan_and_reported(self, kind: str, face: Any) -> None:
        encoder = JinaClipEncoder(backend=KINDS[kind]())
        items = [{"image": GOOD}, {"text": 7}, {"image": b"broken"}, {"text": "a"}, {"image": "/no/such.png"}, "text"]
        rows = face(encoder).encode(items, on_error="skip")
        assert missing_rows(rows) == [1, 2, 4, 5]
        np.testing.assert_allclose(rows[3], unit(text_vector("a")), atol=1e-6)
        assert {index: error.index for index, error in encoder.last_errors.items()} == {1: 1, 2: 2, 4: 4, 5: 5}
        assert isinstance(encoder.last_errors[2], ImageError)

    def test_errors_are_forgotten_by_a_clean_call(self, kind: str, face: Any) -> None:
        encoder = JinaClipEncoder(backend=KINDS[kind]())
        face(encoder).encode_text(["a", 1], on_error="skip")
        assert list(encoder.last_errors) == [1]
        face(encoder).encode_text(["a"], on_error="skip")
        assert encoder.last_errors == {}

    def test_files_of_equal_bytes_are_named_each_by_itself(self, kind: str, face: Any, tmp_path: Path) -> None:
        paths = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
        for path in paths:
            path.write_bytes(b"the same, and no image")
        encoder = JinaClipEncoder(backend=KINDS[kind](), dimensions=4)
        face(encoder).encode_image([*paths, GOOD], on_error="skip")
        assert [encoder.last_errors[row].message.split(": ")[0] for row in range(3)] == [str(path) for path in paths]
        with pytest.raises(ImageError, match=r"a\.png"):
            face(encoder).encode_image(paths)

    def test_every_row_of_a_repeated_bad_item_is_reported(self, kind: str, face: Any) -> None:
        encoder = JinaClipEncoder(backend=KINDS[kind]())
        rows = face(encoder).encode_image([b"broken", GOOD, b"broken"], on_error="skip")
        assert missing_rows(rows) == [0, 2]
        assert {index: error.index for index, error in encoder.last_errors.items()} == {0: 0, 2: 2}

    def test_nothing_good(self, kind: str, face: Any) -> None:
        rows = face(JinaClipEncoder(backend=KINDS[kind](), dimensions=4)).encode_image([b"a", b"b"], on_error="skip")
        assert rows.shape == (2, 4)
        assert np.isnan(rows).all()

    def test_one_bad_item_alone(self, kind: str, face: Any) -> None:
        encoder = JinaClipEncoder(backend=KINDS[kind]())
        row = face(encoder).encode_image(b"a", on_error="skip")
        assert row.shape == (WIDTH,)
        assert np.isnan(row).all()
        assert list(encoder.last_errors) == [0]

    def test_indices_of_an_iteration(self, kind: str, face: Any) -> None:
        encoder = JinaClipEncoder(backend=KINDS[kind]())
        items = [{"text": 1}, {"text": "a"}, {"text": "b"}, {"text": 2}, {"text": "c"}]
        rows = np.concatenate(face(encoder).iter_encode(items, chunk_size=2, on_error="skip"))
        assert missing_rows(rows) == [0, 3]
        assert list(encoder.last_errors) == [0, 3]

    def test_what_concerns_the_whole_job_still_stops_it(self, kind: str, face: Any) -> None:
        encoder = JinaClipEncoder(backend=KINDS[kind]())
        encoder.backend.before = _raising(AuthenticationError("the key is refused"))
        with pytest.raises(AuthenticationError):
            face(encoder).encode_text(["a"], on_error="skip")


def _raising(error: BaseException, *, after: int = 0) -> Any:
    calls = iter(range(10_000))

    def before(batch: Any) -> None:
        if next(calls) >= after:
            raise error

    return before


@both_faces
class TestBackendsOfOnesOwn:
    def test_a_backend_that_does_not_isolate_is_asked_again(self, face: Any) -> None:
        class Strict(BlockingBackend):
            def embed(self, batch: Any) -> BatchResult:
                for position, text in enumerate(batch.texts):
                    if text.startswith("bad"):
                        raise InputError("refused", index=position)
                return self.result_of(batch)

        encoder = JinaClipEncoder(backend=Strict(batch_size=3))
        texts = ["a", "bad 1", "b", "c", "bad 2", "bad 3", "d"]
        rows = face(encoder).encode_text(texts, on_error="skip")
        assert missing_rows(rows) == [1, 4, 5]
        assert {i: str(e) for i, e in encoder.last_errors.items()} == {i: f"input {i}: refused" for i in (1, 4, 5)}
        np.testing.assert_allclose(rows[6], unit(text_vector("d")), atol=1e-6)
        with pytest.raises(InputError) as caught:
            face(encoder).encode_text(texts)
        assert caught.value.index == 1

    def test_an_image_error_that_names_nobody_finds_its_item(self, face: Any) -> None:
        class Careless(BlockingBackend):
            def embed(self, batch: Any) -> BatchResult:
                return BatchResult(np.stack([np.full(WIDTH, image.open().width) for image in batch.images]))

        encoder = JinaClipEncoder(backend=Careless(), normalize=False)
        with pytest.raises(ImageError) as caught:
            face(encoder).encode_image([GOOD, b"broken"])
        assert caught.value.index == 1
        rows = face(encoder).encode_image([GOOD, b"broken", Image.new("RGB", (9, 9))], on_error="skip")
        assert rows[:, 0].tolist()[::2] == [3, 9]
        assert missing_rows(rows) == [1]

    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            (np.zeros((2, WIDTH), np.float32), "must answer with a BatchResult, not ndarray"),
            (BatchResult(np.ones((1, WIDTH), np.float32)), "1 vectors for 2 inputs"),
            (BatchResult(np.ones((3, WIDTH), np.float32)), "3 vectors for 2 inputs"),
            (BatchResult(np.ones((2, WIDTH + 1), np.float32)), "9 values instead of 8"),
            (BatchResult(np.ones(2, np.float32)), r"shape \(2,\)"),
            (BatchResult(np.ones((2, WIDTH), np.float32), [0, 0]), "twice"),
            (BatchResult(np.ones((2, WIDTH), np.float32), [1, 2]), "not among the 2"),
            (BatchResult(np.ones((2, WIDTH), np.float32), [0, -1]), "not among the 2"),
            (BatchResult(np.full((2, WIDTH), np.inf, np.float32)), "NaN or infinity for input 0"),
            (BatchResult(np.array([[1.0] * WIDTH, [np.nan] * WIDTH])), "NaN or infinity for input 1"),
        ],
    )
    def test_nonsense_is_an_error_that_says_so(self, face: Any, answer: Any, said: str) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend())
        encoder.backend.result_of = lambda batch: answer
        with pytest.raises(BackendError, match=said):
            face(encoder).encode_text(["a", "b"])

    def test_a_stream_that_leaves_something_out(self, face: Any) -> None:
        encoder = JinaClipEncoder(backend=StreamingFake())
        encoder.backend.groups_of = lambda batch: [range(3), range(4, 6)]
        with pytest.raises(BackendError, match="left out 1 of 6 inputs, the first is input 3") as caught:
            face(encoder).encode_text(list("abcdef"))
        assert missing_rows(caught.value.partial) == [3]

    def test_one_vector_that_is_not_finite_can_be_skipped(self, face: Any) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend())
        row = encoder.backend.row_of
        encoder.backend.row_of = lambda batch, at: row(batch, at) * (np.nan if batch.texts[at] == "b" else 1)
        rows = face(encoder).encode_text(["a", "b", "c"], on_error="skip")
        assert missing_rows(rows) == [1]
        assert isinstance(encoder.last_errors[1], BackendError)

    def test_other_number_types_become_float32(self, face: Any) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend(), normalize=False)
        encoder.backend.result_of = lambda batch: BatchResult([[1] * WIDTH, [2.5] * WIDTH])
        rows = face(encoder).encode_text(["a", "b"])
        assert rows.dtype == np.float32
        assert rows[:, 0].tolist() == [1, 2.5]

    def test_its_own_exceptions_come_through_with_what_was_finished(self, face: Any) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend(batch_size=2))
        encoder.backend.before = _raising(RuntimeError("out of memory"), after=1)
        with pytest.raises(RuntimeError, match="out of memory") as caught:
            face(encoder).encode_text(["a", "b", "c", "d"])
        assert missing_rows(caught.value.partial) == [2, 3]


@both_faces
@every_kind
class TestNothingFinishedIsLost:
    def test_partial_rows_are_finished_rows(self, kind: str, face: Any) -> None:
        encoder = JinaClipEncoder(backend=KINDS[kind](batch_size=3), dimensions=4)
        encoder.backend.before = _raising(InvalidRequestError("no", status_code=400), after=2)
        texts = [f"{number}" for number in range(9)]
        with pytest.raises(InvalidRequestError) as caught:
            face(encoder).encode_text(texts)
        partial = caught.value.partial
        done = [row for row in range(9) if row not in missing_rows(partial)]
        assert partial.shape == (9, 4)
        assert len(done) == 6
        np.testing.assert_allclose(partial[done], unit(np.stack([text_vector(texts[r])[:4] for r in done])), atol=1e-6)
        assert encoder.usage.items == 6

    def test_the_cache_keeps_them(self, kind: str, face: Any) -> None:
        encoder = JinaClipEncoder(backend=KINDS[kind](batch_size=3), cache=MemoryCache())
        encoder.backend.before = _raising(KeyboardInterrupt(), after=2)
        with pytest.raises(KeyboardInterrupt):
            face(encoder).encode_text([f"{number}" for number in range(9)])
        encoder.backend.before = lambda batch: None
        encoder.backend.batches.clear()
        face(encoder).encode_text([f"{number}" for number in range(9)])
        assert len(encoder.backend.embedded) == 3


@both_faces
def test_an_interrupted_stream_is_closed(face: Any) -> None:
    encoder = JinaClipEncoder(backend=StreamingFake())
    encoder.backend.before = _raising(KeyboardInterrupt(), after=1)
    with pytest.raises(KeyboardInterrupt):
        face(encoder).encode_text([f"{number}" for number in range(9)])
    assert encoder.backend.streams_closed == 1


class TestLastErrors:
    def test_belong_to_the_thread(self) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend())
        seen: dict[int, list[int]] = {}
        together = threading.Barrier(5)

        def work(bad: int) -> None:
            texts: list[Any] = ["a", "b", "c", "d", "e"]
            texts[bad] = None
            encoder.encode_text(texts, on_error="skip")
            together.wait()
            seen[bad] = list(encoder.last_errors)

        threads = [threading.Thread(target=work, args=(bad,)) for bad in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == {bad: [bad] for bad in range(5)}
        assert encoder.last_errors == {}

    async def test_belong_to_the_task(self) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend())

        async def work(bad: int) -> list[int]:
            texts: list[Any] = ["a", "b", "c", "d", "e"]
            texts[bad] = None
            await encoder.aencode_text(texts, on_error="skip")
            await asyncio.sleep(0.05)
            return list(encoder.last_errors)

        assert await asyncio.gather(*map(work, range(5))) == [[bad] for bad in range(5)]

    def test_a_finished_event_loop_leaves_them_to_the_thread(self) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend())
        asyncio.run(encoder.aencode_text(["a", None], on_error="skip"))
        assert list(encoder.last_errors) == [1]

    async def test_a_call_wrapped_in_a_task_leaves_them_to_who_waited(self) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend())
        await asyncio.wait_for(encoder.aencode_text(["a", None], on_error="skip"), 5)
        assert list(encoder.last_errors) == [1]

    def test_survive_another_call_in_the_middle_of_an_iteration(self) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend())
        chunks = encoder.iter_encode([{"text": None}, {"text": "a"}, {"text": None}], chunk_size=1, on_error="skip")
        next(chunks)
        encoder.encode_text(["a", "b", None], on_error="skip")
        list(chunks)
        assert list(encoder.last_errors) == [0, 2]


class TestArguments:
    @pytest.mark.parametrize("on_error", ["ignore", None, "RAISE"])
    def test_on_error(self, on_error: Any) -> None:
        encoder = JinaClipEncoder(backend=BlockingBackend())
        for call in (encoder.encode_text, encoder.encode_image, encoder.encode, encoder.iter_encode):
            with pytest.raises(ConfigurationError, match="on_error"):
                call([], on_error=on_error)

    @pytest.mark.parametrize("chunk_size", [0, -1, 2.5, "3"])
    def test_chunk_size(self, chunk_size: Any) -> None:
        with pytest.raises(ConfigurationError, match="chunk_size"):
            JinaClipEncoder(backend=BlockingBackend()).iter_encode([], chunk_size=chunk_size)

    @pytest.mark.parametrize("wrong", [b"abc", 3, None, {"a": 1}])
    def test_no_texts_at_all(self, wrong: Any) -> None:
        with pytest.raises(InputError):
            JinaClipEncoder(backend=BlockingBackend()).encode_text(wrong)

    @pytest.mark.parametrize("wrong", [3, None, {"type": "image", "url": "https://a.b/c"}, {b"a", b"b"}])
    def test_no_images_at_all(self, wrong: Any) -> None:
        with pytest.raises(InputError):
            JinaClipEncoder(backend=BlockingBackend()).encode_image(wrong)

    def test_half_a_character(self) -> None:
        with pytest.raises(InputError, match=r"input 1: .*character 2") as caught:
            JinaClipEncoder(backend=BlockingBackend()).encode_text(["fine", "ab\ud83d"])
        assert "\ud83d" not in str(caught.value)


def test_an_error_with_partial_rows_survives_pickling() -> None:
    with pytest.raises(InputError) as caught:
        JinaClipEncoder(backend=BlockingBackend()).encode_text(["a", None])
    copied = pickle.loads(pickle.dumps(caught.value))
    assert copied.index == 1
    assert str(copied) == str(caught.value)
    np.testing.assert_array_equal(copied.partial, caught.value.partial)
