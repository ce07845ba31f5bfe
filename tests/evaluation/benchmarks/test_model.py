"""`JinaClipMteb` as mteb calls it: inputs, order, prompts, errors; then mteb's own tasks over it, without a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import mteb
import numpy as np
import pytest
from mteb.mocks import mock_tasks
from mteb.models.models_protocols import EncoderProtocol
from mteb.types import PromptType
from PIL import Image
from scipy.stats import spearmanr

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.backends.base import Batch, BatchResult
from jina_clip_integrations.errors import ConfigurationError, ImageError, InputError
from jina_clip_integrations.evaluation.benchmarks.model import JinaClipMteb, chunks
from tests.evaluation.benchmarks.conftest import encode, loader
from tests.fakes import WIDTH, BlockingBackend, unit

TEXTS = ["one", "two", "three", "four", "five"]
IMAGES = [Image.new("RGB", (8 + n, 8), (40 * n, 10, 20)) for n in range(5)]


def test_it_is_what_mteb_asks_for(model: JinaClipMteb) -> None:
    assert isinstance(model, EncoderProtocol)
    same = model.similarity(np.eye(2, WIDTH, dtype=np.float32), np.eye(2, WIDTH, dtype=np.float32))
    assert np.asarray(same).tolist() == [[1, 0], [0, 1]]
    pairs = model.similarity_pairwise(np.eye(2, WIDTH, dtype=np.float32), np.eye(2, WIDTH, dtype=np.float32))
    assert np.asarray(pairs).tolist() == [1, 1]


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_rows_are_those_of_the_encoder_in_order(model: JinaClipMteb, encoder: JinaClipEncoder, batch_size: int) -> None:
    texts = encode(model, loader({"id": list("abcde"), "text": TEXTS}, batch_size))
    images = encode(model, loader({"image": IMAGES}, batch_size))
    assert np.array_equal(texts, encoder.encode_text(TEXTS))
    assert np.array_equal(images, encoder.encode_image(IMAGES))
    assert texts.dtype == np.float32


def test_text_and_image_of_one_item_weigh_the_same(encoder: JinaClipEncoder) -> None:
    model = JinaClipMteb(JinaClipEncoder(backend=encoder.backend, normalize=False))
    fused = encode(model, loader({"text": TEXTS, "image": IMAGES}))
    expected = unit(encoder.encode_text(TEXTS) + encoder.encode_image(IMAGES))  # unit vectors, whatever their lengths
    assert np.allclose(fused, expected, atol=1e-6)


def test_what_is_none_is_absent(model: JinaClipMteb, encoder: JinaClipEncoder) -> None:
    only_texts = encode(model, loader({"text": TEXTS, "image": [None] * 5}))
    assert np.array_equal(only_texts, encoder.encode_text(TEXTS))
    some = encode(model, loader({"text": TEXTS, "image": [IMAGES[0], *[None] * 4]}))
    assert np.allclose(some[1:], encoder.encode_text(TEXTS[1:]), atol=1e-6)
    assert not np.allclose(some[0], encoder.encode_text(TEXTS[0]), atol=1e-2)


def test_an_empty_data_set_has_no_rows(model: JinaClipMteb) -> None:
    assert encode(model, loader({"text": []})).shape == (0, WIDTH)


@pytest.mark.parametrize(
    ("query_task", "prompt_type", "task"),
    [
        ("auto", PromptType.query, "retrieval.query"),
        ("auto", PromptType.document, None),
        ("auto", None, None),
        (None, PromptType.query, None),
    ],
)
def test_only_queries_get_the_instruction(
    encoder: JinaClipEncoder, backend: BlockingBackend, query_task: str | None, prompt_type: Any, task: str | None
) -> None:
    model = JinaClipMteb(encoder, query_task=query_task)
    encode(model, loader({"text": TEXTS, "image": IMAGES}), prompt_type=prompt_type)
    tasks = {batch.task for batch in backend.batches if batch.modality == "text"}
    assert tasks == {task}
    assert {batch.task for batch in backend.batches if batch.modality == "image"} == {None}


def test_a_model_without_an_instruction_has_none(backend: BlockingBackend) -> None:
    backend.spec = type(backend.spec)(name="plain", embed_dim=WIDTH, image_size=16)
    encode(JinaClipMteb(JinaClipEncoder(backend=backend)), loader({"text": TEXTS}), prompt_type=PromptType.query)
    assert {batch.task for batch in backend.batches} == {None}


def test_widths_are_the_encoders(backend: BlockingBackend) -> None:
    short = JinaClipEncoder(backend=backend, dimensions=4)
    assert np.array_equal(encode(JinaClipMteb(short), loader({"text": TEXTS})), short.encode_text(TEXTS))


def test_several_batches_go_to_the_encoder_together() -> None:
    batches = [{"text": [f"{n}a", f"{n}b"]} for n in range(5)]
    found = [(start, [entry.text for entry in entries]) for start, entries in chunks(batches, size=4)]
    assert found == [(0, ["0a", "0b", "1a", "1b"]), (4, ["2a", "2b", "3a", "3b"]), (8, ["4a", "4b"])]


def test_an_item_without_anything_is_named(model: JinaClipMteb) -> None:
    with pytest.raises(InputError, match="input 3: neither a text nor an image"):
        encode(model, loader({"text": [*TEXTS[:3], None, None], "image": [None] * 4 + IMAGES[:1]}))
    with pytest.raises(InputError, match="neither 'text' nor 'image', only 'audio'"):
        encode(model, loader({"audio": TEXTS}))


def test_a_bad_image_is_named_by_its_place_in_the_data_set(model: JinaClipMteb, backend: BlockingBackend) -> None:
    def refuse(batch: Batch) -> None:
        if batch.modality == "image":
            raise ImageError("broken", index=1)

    backend.before = refuse
    with pytest.raises(ImageError, match="input 4: broken"):  # the second image is the fifth item
        encode(model, loader({"text": TEXTS, "image": [None, None, IMAGES[0], None, IMAGES[1]]}))


def test_packed_bits_are_refused() -> None:
    class Packed(BlockingBackend):
        def embed(self, batch: Batch) -> BatchResult:
            return BatchResult(np.zeros((len(batch), WIDTH // 8), np.uint8))

    with pytest.raises(ConfigurationError, match="packed bits"):
        encode(JinaClipMteb(JinaClipEncoder(backend=Packed())), loader({"text": TEXTS}))


def test_a_name_makes_an_encoder() -> None:
    model = JinaClipMteb("demo", None, device="cpu", dimensions=64)
    assert (model.encoder.model, model.encoder.dimensions) == ("demo", 64)
    assert model.mteb_model_meta.embed_dim == 64


@dataclass
class Counter:
    """A progress of one's own."""

    total: int
    label: str
    done: int = 0

    def advance(self, count: int) -> None:
        self.done += count

    def __enter__(self) -> Counter:
        return self

    def __exit__(self, *raised: object) -> None:
        pass


def test_progress_counts_items(encoder: JinaClipEncoder) -> None:
    counters = []

    def progress(total: int, label: str) -> Counter:
        counters.append(Counter(total, label))
        return counters[-1]

    model = JinaClipMteb(encoder, progress=progress)
    encode(model, loader({"text": TEXTS}), prompt_type=PromptType.query, hf_subset="de")
    [counter] = counters
    assert (counter.total, counter.done) == (5, 5)
    assert counter.label == "MockRetrievalTask de query"


@pytest.mark.parametrize("shown", [True, False])
def test_a_bar_is_drawn_where_mteb_asks(model: JinaClipMteb, shown: bool, capsys: pytest.CaptureFixture[str]) -> None:
    encode(model, loader({"text": TEXTS}), show_progress_bar=shown)
    assert ("MockRetrievalTask" in capsys.readouterr().err) is shown


TASKS = [
    "MockAny2AnyRetrievalT2ITask",
    "MockAny2AnyRetrievalI2TTask",
    "MockZeroShotClassificationTask",
    "MockImageClassificationTask",
    "MockImageTextPairClassificationTask",
    "MockMultiChoiceTask",
    "MockRetrievalTask",
    "MockInstructionRetrieval",
    "MockRerankingTask",
    "MockMultilingualRetrievalTask",
]


@pytest.mark.filterwarnings("ignore:Precision is ill-defined")  # classes that nothing was put into: of scikit-learn
@pytest.mark.parametrize("name", TASKS)
def test_tasks_of_mteb_run(demo: JinaClipMteb, name: str) -> None:
    task = getattr(mock_tasks, name)()
    results = mteb.evaluate(demo, task, cache=None, co2_tracker=False, show_progress_bar=False)
    [result] = results.task_results
    assert results.exceptions in (None, [])
    assert result.task_name == task.metadata.name
    assert 0 <= result.get_score() <= 1


@pytest.mark.long_run
@pytest.mark.filterwarnings("ignore")  # of two samples per class
def test_every_mock_task_runs(demo: JinaClipMteb) -> None:
    results = mteb.mock_run(demo).task_results
    ran = {name: result for name, result in results.items() if result is not None}
    assert len(ran) >= 40
    assert [name for name, result in ran.items() if not hasattr(result, "scores")] == []


def test_sts_of_mteb_is_ours(demo: JinaClipMteb) -> None:
    task = mock_tasks.MockSTSTask()
    [result] = mteb.evaluate(demo, task, cache=None, co2_tracker=False, show_progress_bar=False).task_results
    task.load_data()
    rows = task.dataset["test"]
    left, right = (demo.encoder.encode_text(list(rows[column])) for column in ("sentence1", "sentence2"))
    expected = spearmanr(rows["score"], np.einsum("nd,nd->n", left, right)).statistic
    assert result.get_score() == pytest.approx(expected, abs=1e-6)
