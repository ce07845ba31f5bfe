"""The golden checkpoints with their expected outputs, and the models loaded from them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from jina_clip_integrations.modeling import JinaClipModel


@dataclass(frozen=True)
class Golden:
    """A tiny checkpoint, its inputs and what they must give."""

    folder: Path
    facts: dict[str, Any]
    arrays: dict[str, Tensor]

    @property
    def tolerance(self) -> dict[str, float]:
        return dict(self.facts["tolerance"])

    @property
    def tasks(self) -> list[str]:
        return list(self.facts["tasks"])

    @property
    def texts(self) -> list[str]:
        return list(self.facts["texts"])

    def ids(self, task: str = "none") -> list[list[int]]:
        """Token ids of all texts, at most 512 each."""
        return [list(row) for row in self.facts["token_ids"][task]]

    def image_files(self) -> list[Path]:
        return [self.folder / entry["file"] for entry in self.facts["images"]]

    def check(self, actual: Tensor, name: str, limit: str, rows: slice = slice(None)) -> None:
        """Fail unless `actual` is within the tolerance `limit` of `rows` of the stored array `name`."""
        expected = self.arrays[name][rows]
        assert actual.shape == expected.shape
        assert actual.dtype == torch.float32
        worst = (actual - expected).abs().max().item()
        assert worst <= self.tolerance[limit], f"{name}: {worst} > {self.tolerance[limit]}"


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other cost more than they give on models this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def golden(golden_folder: Path) -> Golden:
    facts = json.loads((golden_folder / "golden.json").read_text(encoding="utf-8"))
    arrays = load_file(golden_folder / "golden.safetensors")
    assert {name: list(array.shape) for name, array in arrays.items()} == facts["arrays"]
    return Golden(golden_folder, facts, arrays)


@pytest.fixture(scope="session")
def model(golden: Golden) -> Any:
    """The golden model in float32. Shared, so tests leave it as it is."""
    return JinaClipModel.from_pretrained(golden.folder, dtype="float32")


@pytest.fixture(scope="session")
def pad_id(model: Any) -> int:
    return int(model.config.text_config.settings.pad_token_id)


@pytest.fixture(scope="session")
def embed_texts(pad_id: int) -> Callable[..., Tensor]:
    """Raw vectors of rows of token ids, one padded batch: `embed_texts(model, rows)`."""

    def embed(model: Any, rows: list[list[int]], length: int | None = None) -> Tensor:
        length = length or max(map(len, rows))
        ids = torch.tensor([row + [pad_id] * (length - len(row)) for row in rows])
        with torch.inference_mode():
            return model.get_text_features(ids).pooler_output

    return embed
