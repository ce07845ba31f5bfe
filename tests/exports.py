"""Exported golden checkpoints, made once per run of the suite."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from tempfile import mkdtemp
from unittest.mock import patch

from jina_clip_integrations.export import command, export_model

GOLDEN = Path(__file__).parent / "golden"


@cache
def exported(model: str, format: str = "onnx", dtype: str = "float32") -> Path:
    """The folder of an export of `demo` or the golden checkpoint `v1` or `v2`; tests leave it as it is.

    Tracing takes seconds, so whatever is made of the float32 graphs starts from those that were traced already.
    """
    folder = Path(mkdtemp(prefix="jina-clip-export-")) / f"{model}-{format}-{dtype}"
    with ExitStack() as stack:
        if (format, dtype) not in {("onnx", "float32"), ("onnx", "float16")}:
            traced = exported(model)
            for name, graph in (("write_text_graph", "text.onnx"), ("write_vision_graph", "vision.onnx")):
                stack.enter_context(patch.object(command, name, partial(_copy, traced / graph)))
        export_model(model if model == "demo" else GOLDEN / model, folder, format=format, dtype=dtype)
    return folder


def _copy(traced: Path, model: object, path: Path) -> None:
    del model
    shutil.copy(traced, path)
