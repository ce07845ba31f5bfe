"""Texts per second of jina-clip-v1 in fastembed's ONNX runtime and here, on the same random weights.

    python benchmarks/onnx_v1.py [--texts 1024] [--every 8] [--write]

The published computation (`reference.py`) is exported to ONNX with full-size random weights (seed 0), float32, and run
by fastembed as a model of one's own with mean pooling, at its defaults: batches of 256 in the order given. Texts as in
`local_text.py`. Contenders run in turns.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from full_size import checkpoint, choices, plain_model, worst_cosine
from local_text import workload
from reference import Reference
from reporting import Option, heading, run, table
from timing import in_turns

from jina_clip_integrations import JinaClipEncoder

NAME = "random/jina-clip-v1"


class Exported(torch.nn.Module):
    """The reference's text tower as the exporter wants it."""

    def __init__(self, reference: Reference) -> None:
        super().__init__()
        self._reference = reference

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self._reference.text_states(input_ids, attention_mask.bool())


def report(folder: str | None, texts: int, every: int, rounds: int) -> str:
    """The table."""
    with checkpoint("v1", folder) as path, TemporaryDirectory() as exported:
        work = workload(path, texts, every=every)
        export(Reference(plain_model(path, choices("cpu")[0])), Path(exported))
        for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
            shutil.copy(path / name, exported)
        theirs = fastembed_model(exported)
        with JinaClipEncoder(path, backend="local", device="cpu", dtype="float32") as ours:
            works = {
                "ours": partial(ours.encode_text, work.texts),
                "fastembed": partial(_all, theirs, work.texts),
            }
            taken = in_turns(works, rounds=rounds)
            cosine = worst_cosine(torch.from_numpy(works["ours"]()), torch.from_numpy(works["fastembed"]()))
    rates = {name: len(work.texts) / seconds for name, seconds in taken.items()}
    rows = [[name, f"{rate:.2f}", f"{rates['ours'] / rate:.2f}"] for name, rate in rates.items()]
    facts = f"{len(work.texts)} texts, {work.tokens:,} tokens, float32; smallest cosine between the two {cosine:.5f}.\n"
    title = "jina-clip-v1 texts: ONNX runtime of fastembed, and here"
    return "\n".join([heading(title, __file__), facts, table(["contender", ">texts/s", ">ours is × as fast"], rows)])


def export(reference: Reference, folder: Path) -> None:
    """Write `model.onnx` with its weights beside it; batch and length stay free."""
    ids = torch.randint(5, 1000, (3, 24))
    free = {0: torch.export.Dim("batch", min=1, max=4096), 1: torch.export.Dim("length", min=2, max=8192)}
    program = torch.onnx.export(
        Exported(reference),
        (ids, torch.ones_like(ids)),
        dynamo=True,
        dynamic_shapes={"input_ids": free, "attention_mask": free},
        input_names=["input_ids", "attention_mask"],
        output_names=["last_hidden_state"],
    )
    if program is None:
        raise RuntimeError("the export gave no program")
    program.save(str(folder / "model.onnx"), external_data=True)


def fastembed_model(folder: str) -> Any:
    """fastembed's wrapper around the exported file."""
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    TextEmbedding.add_custom_model(
        NAME,
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(hf=NAME),
        dim=768,
        model_file="model.onnx",
    )
    return TextEmbedding(NAME, specific_model_path=folder)


def _all(model: Any, texts: list[str]) -> np.ndarray:
    return np.stack(list(model.embed(texts)))


if __name__ == "__main__":
    run(
        report,
        doc=__doc__,
        folder=Option(None, "a random checkpoint to use, or to keep there"),
        texts=Option(1024, "texts of the job"),
        every=Option(8, "measure every so many batches of it"),
        rounds=Option(2, "times that every contender runs"),
    )
