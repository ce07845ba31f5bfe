"""Models of mteb that need no network: our demo model, and a fake whose vectors follow from content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from datasets import Dataset, Image
from mteb.mocks.mock_tasks import MockRetrievalTask
from torch.utils.data import DataLoader

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.evaluation.benchmarks.model import JinaClipMteb
from tests.fakes import BlockingBackend


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other cost more than they give on models this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def backend() -> BlockingBackend:
    return BlockingBackend()


@pytest.fixture
def encoder(backend: BlockingBackend) -> JinaClipEncoder:
    return JinaClipEncoder(backend=backend)


@pytest.fixture
def model(encoder: JinaClipEncoder) -> JinaClipMteb:
    return JinaClipMteb(encoder)


@pytest.fixture(scope="session")
def demo() -> Iterator[JinaClipMteb]:
    with JinaClipEncoder("demo", backend="local") as encoder:
        yield JinaClipMteb(encoder)


def loader(columns: dict[str, Sequence[Any]], batch_size: int = 2) -> Any:
    """What mteb hands to `encode`: images stay a list, everything else is collated as torch does."""
    data = Dataset.from_dict(columns)
    if "image" in columns:
        data = data.cast_column("image", Image())
    return DataLoader(data, batch_size=batch_size, collate_fn=collate)


def collate(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


TASK = MockRetrievalTask.metadata


def encode(model: JinaClipMteb, inputs: Any, **options: Any) -> Any:
    """`encode` with the arguments that mteb always passes."""
    return model.encode(inputs, **{"task_metadata": TASK, "hf_split": "test", "hf_subset": "default", **options})
