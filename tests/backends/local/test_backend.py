"""LocalBackend on the golden checkpoints: right vectors, whatever the batching, the order, the threads."""

from __future__ import annotations

import asyncio
import copy
import json
import multiprocessing
import pickle
import shutil
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.numpy import load_file

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.backends.base import Batch, BatchResult, ImageSource
from jina_clip_integrations.backends.batching import by_token_budget
from jina_clip_integrations.backends.local import LocalBackend, describe_device
from jina_clip_integrations.backends.running import BATCHES_DECODED_AHEAD
from jina_clip_integrations.cache import MemoryCache
from jina_clip_integrations.catalog import JINA_CLIP_V1, JINA_CLIP_V2
from jina_clip_integrations.errors import CheckpointError, ConfigurationError, ImageError, InputError
from jina_clip_integrations.modeling import JinaClipModel, JinaClipProcessor
from jina_clip_integrations.retrieval.fingerprint import checkpoint_digest


@dataclass(frozen=True)
class FileImage:
    """The least that a backend needs of an image."""

    path: Path
    url: None = None

    @property
    def label(self) -> str:
        return self.path.name

    def size(self) -> tuple[int, int]:
        return self.open().size

    def read(self) -> bytes:
        return self.path.read_bytes()

    def open(self) -> PIL.Image.Image:
        try:
            return PIL.Image.open(self.path).convert("RGB")
        except OSError as error:
            raise ImageError(f"cannot read {self.path.name}") from error


@dataclass(frozen=True)
class Golden:
    """A golden checkpoint and what it must give."""

    folder: Path
    backend: LocalBackend
    facts: dict
    arrays: dict[str, np.ndarray]

    def texts(self, **options: object) -> Batch:
        return Batch(modality="text", texts=self.facts["texts"], **options)

    def images(self, **options: object) -> Batch:
        paths = [self.folder / row["file"] for row in self.facts["images"]]
        return Batch(modality="image", images=[FileImage(path) for path in paths], **options)


@pytest.fixture(scope="module")
def golden(golden_folder: Path) -> Iterator[Golden]:
    facts = json.loads((golden_folder / "golden.json").read_text(encoding="utf-8"))
    arrays = load_file(golden_folder / "golden.safetensors")
    with LocalBackend(golden_folder, dtype="float32", device="cpu", max_length=512) as backend:
        yield Golden(golden_folder, backend, facts, arrays)


def run(backend: LocalBackend, batch: Batch, face: str) -> BatchResult:
    return backend.embed(batch) if face == "sync" else asyncio.run(backend.aembed(batch))


@pytest.mark.parametrize("face", ["sync", "async"])
class TestVectors:
    def test_texts_are_the_golden_ones(self, golden: Golden, face: str) -> None:
        with pytest.warns(UserWarning, match=r"\d+ of 24 texts were longer than max_length=512 tokens and were cut"):
            result = run(golden.backend, golden.texts(), face)
        np.testing.assert_allclose(result.vectors, golden.arrays["text.none.raw"], atol=5e-4, rtol=0)

    def test_images_are_the_golden_ones(self, golden: Golden, face: str) -> None:
        result = run(golden.backend, golden.images(), face)
        np.testing.assert_allclose(result.vectors, golden.arrays["images.raw"], atol=5e-4, rtol=0)
        assert result.usage.items == len(golden.facts["images"])

    @pytest.mark.filterwarnings("ignore:.*were cut:UserWarning")
    def test_a_task_puts_its_instruction_in_front(self, golden: Golden, face: str) -> None:
        if "retrieval.query" not in golden.facts["tasks"]:
            with pytest.raises(ConfigurationError, match=r"unknown task 'retrieval\.query'"):
                run(golden.backend, golden.texts(task="retrieval.query"), face)
            return
        result = run(golden.backend, golden.texts(task="retrieval.query"), face)
        np.testing.assert_allclose(result.vectors, golden.arrays["text.retrieval.query.raw"], atol=5e-4, rtol=0)

    def test_nothing_in_nothing_out(self, golden: Golden, face: str) -> None:
        assert run(golden.backend, Batch(modality="text"), face).vectors.shape == (0, golden.backend.dimensions)


class TestBatching:
    def test_groups_fit_the_budget_and_cover_every_position_once(self) -> None:
        lengths = [int(n) for n in np.random.default_rng(0).lognormal(3.4, 0.8, 500).clip(2, 512)]
        groups = list(by_token_budget(lengths, budget=1024, max_texts=100))
        assert sorted(p for group in groups for p in group) == list(range(500))
        assert all(max(lengths[p] for p in group) * len(group) <= 1024 for group in groups)
        assert max(map(len, groups)) <= 100

    def test_padding_is_small(self) -> None:
        lengths = [int(n) for n in np.random.default_rng(1).lognormal(3.4, 0.8, 1000).clip(2, 512)]
        padded = sum(max(lengths[p] for p in g) * len(g) for g in by_token_budget(lengths, budget=2048))
        assert padded < 1.05 * sum(lengths)

    def test_a_text_beyond_the_budget_goes_alone(self) -> None:
        assert list(by_token_budget([10, 5000, 10], budget=100)) == [[1], [0, 2]]

    @pytest.mark.parametrize("size", [1, 5, 100])
    def test_batch_size_does_not_matter(self, golden: Golden, size: int) -> None:
        with LocalBackend(golden.folder, dtype="float32", device="cpu", max_length=16, batch_size=size) as backend:
            with pytest.warns(UserWarning, match="were cut"):
                texts = backend.embed(golden.texts())
            images = backend.embed(golden.images())
        expected = golden.arrays["text.none.max16"]
        np.testing.assert_allclose(_unit(texts.vectors), expected, atol=2e-5, rtol=0)
        np.testing.assert_allclose(_unit(images.vectors), golden.arrays["images.normalized"], atol=2e-5, rtol=0)

    def test_one_warning_counts_the_cut_texts(self, golden: Golden) -> None:
        texts = Batch(modality="text", texts=["word " * 50, "a", "word " * 60])
        backend = LocalBackend(golden.folder, dtype="float32", device="cpu", max_length=8)
        with backend, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            backend.embed(texts)
        assert [str(w.message) for w in caught] == ["2 of 3 texts were longer than max_length=8 tokens and were cut"]

    def test_several_workers_keep_the_order(self, golden: Golden) -> None:
        with LocalBackend(golden.folder, dtype="float32", device=["cpu", "cpu", "cpu"], batch_size=1) as backend:
            result = backend.embed(golden.images())
        np.testing.assert_allclose(_unit(result.vectors), golden.arrays["images.normalized"], atol=2e-5, rtol=0)


class TestBadInput:
    @pytest.fixture
    def with_a_bad_one(self, golden: Golden, tmp_path: Path) -> Batch:
        (tmp_path / "broken.png").write_bytes(b"not an image")
        images: list[ImageSource] = list(golden.images().images)
        images.insert(3, FileImage(tmp_path / "broken.png"))
        return Batch(modality="image", images=images)

    def test_a_bad_image_is_named_and_those_before_it_are_kept(self, golden: Golden, with_a_bad_one: Batch) -> None:
        finished: list[int] = []
        with pytest.raises(ImageError, match=r"broken\.png") as caught:
            finished.extend(p for result in golden.backend.stream(with_a_bad_one) for p in result.positions or [])
        assert caught.value.index == 3
        assert finished == [0, 1, 2]

    def test_a_bad_image_is_isolated_on_request(self, golden: Golden, with_a_bad_one: Batch) -> None:
        batch = Batch(modality="image", images=with_a_bad_one.images, isolate_errors=True)
        result = golden.backend.embed(batch)
        assert list(result.errors) == [3]
        assert np.isnan(result.vectors[3]).all()
        rest = np.delete(result.vectors, 3, axis=0)
        np.testing.assert_allclose(_unit(rest), golden.arrays["images.normalized"], atol=2e-5, rtol=0)

    def test_a_lone_surrogate_is_an_input_error(self, golden: Golden) -> None:
        with pytest.raises(InputError, match="lone surrogate at character 2") as caught:
            golden.backend.embed(Batch(modality="text", texts=["fine", "ab\ud800"]))
        assert caught.value.index == 1
        result = golden.backend.embed(Batch(modality="text", texts=["fine", "ab\ud800"], isolate_errors=True))
        assert list(result.errors) == [1]
        assert np.isfinite(result.vectors[0]).all()


class TestThreadsAndLoops:
    def test_threads_share_one_backend(self, golden: Golden) -> None:
        batches = [golden.images().take([i]) for i in range(12)]
        with ThreadPoolExecutor(6) as pool:
            rows = np.concatenate([result.vectors for result in pool.map(golden.backend.embed, batches)])
        np.testing.assert_allclose(_unit(rows), golden.arrays["images.normalized"], atol=2e-5, rtol=0)

    async def test_the_event_loop_stays_free(self, golden: Golden) -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.001)
                ticks += 1

        ticking = asyncio.create_task(tick())
        await golden.backend.aembed(Batch(modality="text", texts=["a few words"] * 400))
        ticking.cancel()
        assert ticks >= 3

    async def test_cancelling_leaves_the_backend_usable(self, golden: Golden) -> None:
        task = asyncio.create_task(golden.backend.aembed(Batch(modality="text", texts=["words and words"] * 3000)))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        result = await golden.backend.aembed(golden.images())
        assert np.isfinite(result.vectors).all()

    def test_closing_the_stream_early_stops_the_rest(self, golden: Golden) -> None:
        stream = golden.backend.stream(Batch(modality="text", texts=["some text"] * 50_000))
        next(stream)
        started = time.perf_counter()
        stream.close()
        assert time.perf_counter() - started < 5
        assert np.isfinite(golden.backend.embed(golden.images()).vectors).all()

    def test_close_is_idempotent_and_use_reloads(self, golden: Golden) -> None:
        backend = LocalBackend(golden.folder, dtype="float32", device="cpu")
        first = backend.embed(Batch(modality="text", texts=["again"]))
        backend.close()
        backend.close()
        np.testing.assert_array_equal(first.vectors, backend.embed(Batch(modality="text", texts=["again"])).vectors)
        backend.close()
        assert not [t for t in threading.enumerate() if t.name.startswith("jina-clip") and not t.is_alive()]


class TestCopies:
    def test_pickle_rebuilds_and_gives_the_same_rows(self, golden: Golden) -> None:
        text = Batch(modality="text", texts=["a text"])
        clone = pickle.loads(pickle.dumps(golden.backend))
        np.testing.assert_array_equal(clone.embed(text).vectors, golden.backend.embed(text).vectors)
        clone.close()

    def test_the_hub_token_is_nowhere(self) -> None:
        backend = LocalBackend("jina-clip-v2", token="hf_secret")
        assert "hf_secret" not in repr(backend)
        assert b"hf_secret" not in pickle.dumps(backend)

    def test_a_deep_copy_shares_the_weights(self, golden: Golden) -> None:
        assert copy.deepcopy(golden.backend) is golden.backend

    @pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
    def test_a_forked_child_can_embed(self, golden: Golden) -> None:
        batch = golden.images().take([0, 1])
        expected = golden.backend.embed(batch).vectors
        context = multiprocessing.get_context("fork")
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=lambda: sender.send(golden.backend.embed(batch).vectors))
        child.start()
        assert receiver.poll(60), "the forked child did not answer"
        np.testing.assert_allclose(receiver.recv(), expected, atol=1e-5)
        child.join(10)


class TestSettings:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"dtype": "float16", "device": "cpu"}, "float16.*on a CPU"),
            ({"dtype": "int4"}, "dtype='int4' is not known"),
            ({"device": "quantum"}, "no device name"),
            ({"device": []}, "names no device"),
        ],
    )
    def test_impossible_devices_are_refused(self, golden: Golden, options: dict, message: str) -> None:
        with pytest.raises(ConfigurationError, match=message):
            LocalBackend(golden.folder, **options).load()

    @pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
    def test_an_absent_gpu_is_refused(self, golden: Golden) -> None:
        with pytest.raises(ConfigurationError, match="torch sees 0 CUDA devices"):
            LocalBackend(golden.folder, device="cuda:1").load()

    @pytest.mark.parametrize(
        "options",
        [{"batch_size": 0}, {"batch_size": "big"}, {"num_workers": -1}, {"max_length": 2}, {"max_length": 9000}],
    )
    def test_impossible_numbers_are_refused(self, options: dict) -> None:
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            LocalBackend("jina-clip-v2", **options)

    def test_auto_never_takes_float16_on_a_cpu(self) -> None:
        choice = describe_device("cpu")
        assert choice["dtype"] in {"float32", "bfloat16"}
        assert "bfloat16" in choice["reason"]

    def test_bfloat16_stays_close(self, golden: Golden) -> None:
        with LocalBackend(golden.folder, dtype="bfloat16", device="cpu") as backend:
            rows = _unit(backend.embed(golden.images()).vectors)
        assert (rows * golden.arrays["images.normalized"]).sum(axis=1).min() >= 0.995


class TestCheckpoints:
    def test_a_folder_without_a_config(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match=r"has no config\.json"):
            LocalBackend(tmp_path)

    def test_another_kind_of_model(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text('{"model_type": "clip"}')
        with pytest.raises(CheckpointError, match=r"not a Jina CLIP checkpoint.*'clip'"):
            LocalBackend(tmp_path)

    def test_a_config_that_is_no_json(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text("{")
        with pytest.raises(CheckpointError, match="cannot be read as JSON"):
            LocalBackend(tmp_path)

    def test_a_name_that_is_nothing(self) -> None:
        with pytest.raises(CheckpointError, match="neither a known model, a folder that exists, nor a Hub id"):
            LocalBackend("no-such-model").load()

    def test_a_hub_id_without_network_says_what_to_do(self) -> None:
        with pytest.raises(CheckpointError, match="in the local cache"):
            LocalBackend("jinaai/jina-clip-v2", local_files_only=True, cache_dir="/nonexistent").load()

    def test_the_digest_sees_one_changed_weight_file(self, golden: Golden, tmp_path: Path) -> None:
        copied = Path(shutil.copytree(golden.folder, tmp_path / "copy"))
        assert checkpoint_digest(copied) == checkpoint_digest(golden.folder)
        weights = bytearray((copied / "model.safetensors").read_bytes())
        weights[-4:] = b"\x00\x01\x02\x03"
        (copied / "model.safetensors").write_bytes(weights)
        assert checkpoint_digest(copied) != checkpoint_digest(golden.folder)

    def test_the_cache_identity_changes_with_what_changes_a_vector(self, golden: Golden) -> None:
        base = LocalBackend(golden.folder, device="cpu", dtype="float32")
        others = [
            LocalBackend(golden.folder, device="cpu", dtype="bfloat16"),
            LocalBackend(golden.folder, device="cpu", dtype="float32", max_length=77),
            LocalBackend(golden.folder, device="cpu", dtype="float32", fast_decode=True),
            LocalBackend(golden.folder, device="cpu", dtype="float32", image_size=base.spec.smaller_image_sizes[0]),
        ]
        assert len({backend.cache_identity for backend in [base, *others]}) == 5
        own = LocalBackend(golden.folder, device="cpu", dtype="float32", image_size=base.spec.image_size)
        assert own.cache_identity == base.cache_identity
        assert str(golden.folder) not in base.cache_identity


@pytest.mark.parametrize("cache", [None, "memory"])
def test_fast_decoding_is_slightly_different_and_the_same_with_a_cache(
    golden: Golden, tmp_path: Path, cache: str | None
) -> None:
    size = golden.backend.spec.image_size
    levels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    PIL.Image.fromarray(levels).resize((8 * size, 6 * size), PIL.Image.Resampling.BICUBIC).save(tmp_path / "large.jpg")
    PIL.Image.fromarray(levels).resize((size, size), PIL.Image.Resampling.BICUBIC).save(tmp_path / "small.jpg")
    PIL.Image.fromarray(levels).resize((8 * size, 6 * size)).save(tmp_path / "large.png")
    paths = [tmp_path / name for name in ("large.jpg", "small.jpg", "large.png")]
    options = {"cache": MemoryCache()} if cache else {}
    with JinaClipEncoder(golden.folder, backend="local", device="cpu", dtype="float32") as encoder:
        exact = encoder.encode_image(paths)
    with JinaClipEncoder(
        golden.folder, backend="local", device="cpu", dtype="float32", fast_decode=True, **options
    ) as encoder:
        fast = encoder.encode_image(paths)
        np.testing.assert_array_equal(encoder.encode_image(paths), fast)
    assert not np.array_equal(fast[0], exact[0])
    assert fast[0] @ exact[0] > 0.99
    np.testing.assert_allclose(fast[1:], exact[1:], atol=1e-6)


def test_memory_does_not_grow_with_the_corpus(golden: Golden) -> None:
    opened: list[int] = []
    waiting: list[int] = []

    class Counting(FileImage):
        def open(self) -> PIL.Image.Image:
            opened.append(1)
            return super().open()

    image = Counting(golden.folder / golden.facts["images"][0]["file"])
    done = 0
    with LocalBackend(golden.folder, device="cpu", dtype="float32", batch_size=8) as backend:
        for result in backend.stream(Batch(modality="image", images=[image] * 200)):
            done += len(result.vectors)
            waiting.append(len(opened) - done)
    assert done == 200
    assert max(waiting) <= 8 * (BATCHES_DECODED_AHEAD + 2), "decoded ahead, in hand and just computed"


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class TestImageSize:
    """Images of another size than the model's own."""

    def test_vectors_are_those_of_the_tower_and_the_processor(self, golden: Golden) -> None:
        size = golden.backend.spec.smaller_image_sizes[-1]
        batch = golden.images()
        with LocalBackend(golden.folder, device="cpu", dtype="float32", image_size=size) as backend:
            found = backend.embed(batch).vectors
            assert backend.reduced_image_size == size
            assert backend.spec == golden.backend.spec, "the facts of the model are the same"
            again = pickle.loads(pickle.dumps(backend))
        model = JinaClipModel.from_pretrained(golden.folder, dtype="float32").eval()
        processor = JinaClipProcessor.from_pretrained(golden.folder).image_processor
        pixels = processor([image.open() for image in batch.images], size=size, return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            expected = model.vision_model.resized(size)(pixels).pooler_output.numpy()
        np.testing.assert_allclose(found, expected, atol=2e-5)
        np.testing.assert_array_equal(again.embed(batch).vectors, found)
        assert np.abs(found - golden.backend.embed(batch).vectors).max() > 1e-3

    @pytest.mark.filterwarnings("ignore:.*were cut")
    def test_texts_and_the_own_size_are_bit_for_bit_as_before(self, golden: Golden) -> None:
        sizes = (golden.backend.spec.image_size, golden.backend.spec.smaller_image_sizes[0])
        for size in sizes:
            options = {"device": "cpu", "dtype": "float32", "max_length": 512, "image_size": size}
            with LocalBackend(golden.folder, **options) as backend:
                texts, images = backend.embed(golden.texts()).vectors, backend.embed(golden.images()).vectors
            np.testing.assert_array_equal(texts, golden.backend.embed(golden.texts()).vectors)
            same = np.array_equal(images, golden.backend.embed(golden.images()).vectors)
            assert same == (size == golden.backend.spec.image_size)

    def test_workers_share_the_weights(self, golden: Golden) -> None:
        size = golden.backend.spec.smaller_image_sizes[0]
        options = {"dtype": "float32", "image_size": size, "batch_size": 2}
        with LocalBackend(golden.folder, device="cpu", **options) as one:
            expected = one.embed(golden.images()).vectors
        with LocalBackend(golden.folder, device=["cpu", "cpu"], **options) as two:
            np.testing.assert_allclose(two.embed(golden.images()).vectors, expected, atol=1e-6)

    @pytest.mark.parametrize("model", ["jina-clip-v2", "jinaai/jina-clip-v2"])
    @pytest.mark.parametrize("size", [0, -14, 300, 210, 526, 1024])
    def test_a_size_that_is_not_taken_is_refused_at_once(self, model: str, size: int) -> None:
        with pytest.raises(
            ConfigurationError, match=r"image_size=-?\d+: (.*512 pixels.*224 to 504|must be at least 1)"
        ):
            LocalBackend(model, image_size=size)

    @pytest.mark.parametrize("size", ["336", 336.0, True])
    def test_a_size_is_a_whole_number(self, size: object) -> None:
        with pytest.raises(ConfigurationError, match="image_size must be an integer"):
            LocalBackend("jina-clip-v2", image_size=size)

    def test_what_the_published_models_take(self) -> None:
        assert {224, 336, 504} < set(JINA_CLIP_V2.smaller_image_sizes)
        assert list(JINA_CLIP_V1.smaller_image_sizes) == [112, 128, 144, 160, 176, 192, 208]
        for spec in (JINA_CLIP_V1, JINA_CLIP_V2):
            for size in (None, spec.image_size, *spec.smaller_image_sizes):
                spec.check_image_size(size)
