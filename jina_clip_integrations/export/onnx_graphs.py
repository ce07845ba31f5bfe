"""The two towers as ONNX graphs."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..backends.exported.graphs import OUTPUT
from ..modeling import JinaClipModel

OPSET = 18
"""ONNX operator set of the graphs: the first with everything they need, so that old runtimes take them."""

MAX_FILE_BYTES = 1_900_000_000
"""Weights beyond this go to files beside the graph, none of them larger: protobuf and browsers stop at 2 GiB."""

EXAMPLE_BATCH, EXAMPLE_LENGTH = 2, 7
"""Shape of the example that is traced; any other works with the graph."""


class TextGraph(nn.Module):
    """`input_ids`, `attention_mask` `(batch, length)` int64 to raw vectors `(batch, d)` float32."""

    def __init__(self, model: JinaClipModel) -> None:
        super().__init__()
        self.tower = model.text_model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        pooled: Tensor = self.tower(input_ids, attention_mask).pooler_output
        return pooled


class VisionGraph(nn.Module):
    """`pixel_values` `(batch, 3, S, S)` float32, normalised, to raw vectors `(batch, d)` float32."""

    def __init__(self, model: JinaClipModel) -> None:
        super().__init__()
        self.tower = model.vision_model

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.tower.embed(pixel_values)


def write_text_graph(model: JinaClipModel, path: Path) -> None:
    """Write the text tower of `model` to `path`, in the type of its weights."""
    pad = model.config.text_config.settings.pad_token_id
    ids = torch.full((EXAMPLE_BATCH, EXAMPLE_LENGTH), pad + 1, dtype=torch.int64)
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    _write(TextGraph(model), {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, axes, path)


def write_vision_graph(model: JinaClipModel, path: Path) -> None:
    """Write the vision tower of `model` to `path`, in the type of its weights."""
    size = model.config.vision_config.image_size
    pixels = torch.zeros(EXAMPLE_BATCH, 3, size, size)
    _write(VisionGraph(model), {"pixel_values": pixels}, {0: torch.export.Dim("batch")}, path)


def _write(graph: nn.Module, example: dict[str, Tensor], axes: dict[int, Any], path: Path) -> None:
    with _quiet(), torch.inference_mode():
        program: Any = torch.onnx.export(
            graph.eval(),
            kwargs=example,
            dynamic_shapes=dict.fromkeys(example, axes),
            input_names=list(example),
            output_names=[OUTPUT],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    save_graph(program.model, path)


def save_graph(model: Any, path: Path) -> None:
    """Write a graph of `onnx_ir` with its weights in it, or beside it in files where one would be too large."""
    import onnx_ir

    weights = sum(each.const_value.nbytes for each in model.graph.initializers.values())
    data = f"{path.name}.data" if weights > MAX_FILE_BYTES else None
    onnx_ir.save(model, path, external_data=data, max_shard_size_bytes=MAX_FILE_BYTES if data else None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks off the screen: on operators of packages that are not used, and on axis names."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
