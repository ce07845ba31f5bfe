"""`export_model`: from a checkpoint to a folder that other runtimes can use."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from ..backends.exported.folder import (
    DTYPES,
    GRAPH_SUFFIX,
    MODALITIES,
    TOKENIZER_FILE,
    Description,
    ImagePreprocessing,
)
from ..backends.local import LocalBackend
from ..errors import ConfigurationError, InputError, require_extra
from ..modeling import JinaClipConfig, JinaClipModel, JinaClipProcessor
from ..retrieval.fingerprint import model_identity
from ..settings import require_choice
from .agreement import check_agreement, measure_agreement
from .conversions import convert_to_openvino, quantize_onnx
from .onnx_graphs import OPSET, write_text_graph, write_vision_graph

ONNX_SUFFIX = GRAPH_SUFFIX["onnx"]


@dataclass(frozen=True)
class ExportReport:
    """What was written."""

    folder: Path
    files: dict[str, int]
    """Name to size in bytes."""
    agreement: dict[str, float]
    """Smallest cosine with the original in float32, by modality."""


def export_model(
    model: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    format: str = "onnx",
    dtype: str = "float32",
    **options: Any,
) -> ExportReport:
    """Write `model` to the new folder `output` as two graphs, with tokenizer and description, and check what they give.

    Args:
        model: As for the local backend: a name, `demo`, a checkpoint folder or a Hub id.
        output: A folder that does not exist yet, or is empty. It appears when everything in it is complete.
        format: `onnx` or `openvino`.
        dtype: How weights are stored: `float32`, `float16`, or `int8` (products of 8 bits, which changes vectors).
        **options: Download options of the local backend: `revision`, `cache_dir`, `local_files_only`, `token`.

    Raises:
        ConfigurationError: an unknown format or type.
        CheckpointError: a model that cannot be read.
        InputError: an `output` that holds something.
        BackendError: the graphs do not compute the same vectors; nothing is left behind.
        ImportError: the extra `export` is not installed.
    """
    require_choice("format", format, tuple(GRAPH_SUFFIX))
    require_choice("dtype", dtype, DTYPES)
    for package in ("onnx", "onnxscript", "onnxruntime"):
        require_extra(package, extra="export", purpose="Exporting a model")
    if format == "openvino":
        require_extra("openvino", extra="openvino", purpose="Exporting for OpenVINO")
    if format == "openvino" and dtype == "int8":
        require_extra("nncf", extra="export", purpose="Weights of 8 bits for OpenVINO")
    backend = LocalBackend(model, **options)
    if backend.reduced_image_size is not None:
        raise ConfigurationError(
            f"image_size={backend.reduced_image_size}: only models of their own size are exported; leave it out"
        )
    with _new_folder(Path(output).expanduser()) as folder:
        description = _write_files(backend, folder, format, dtype)
        agreement = measure_agreement(backend.folder, folder, format)
        check_agreement(agreement, dtype)
        replace(description, agreement=agreement).write(folder)
    target = Path(output).expanduser()
    return ExportReport(target, {each.name: each.stat().st_size for each in sorted(target.iterdir())}, agreement)


@contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """A folder beside `target` that becomes it when the block ends well, and is deleted otherwise."""
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise InputError(f"{target} is there already; choose another folder, or delete it first")
    if not target.parent.is_dir():
        raise InputError(f"{target}: there is no folder {target.parent}")
    fresh = target.with_name(f"{target.name}.part")
    shutil.rmtree(fresh, ignore_errors=True)  # of a run that was killed
    fresh.mkdir()
    try:
        yield fresh
        if target.exists():
            target.rmdir()
        fresh.replace(target)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _write_files(backend: LocalBackend, folder: Path, format: str, dtype: str) -> Description:
    processor = JinaClipProcessor.from_pretrained(backend.folder)
    config = JinaClipConfig.from_pretrained(backend.folder)
    description = _describe(backend, config, processor, format, dtype)
    with TemporaryDirectory(dir=folder) as scratch:
        plain = format == "onnx" and dtype != "int8"
        traced = folder if plain else Path(scratch)
        _trace(backend.folder, traced, torch.float16 if plain and dtype == "float16" else torch.float32)
        for modality in () if plain else MODALITIES:
            target = folder / description.file(modality)
            _convert(traced / target.with_suffix(ONNX_SUFFIX).name, target, format, dtype)
    _write_tokenizer(processor.tokenizer.backend_tokenizer, folder / TOKENIZER_FILE)
    description = replace(description, weights={each: _weights(folder / description.file(each)) for each in MODALITIES})
    description.write(folder)
    return description


def _weights(graph: Path) -> list[str]:
    """Names of the files beside `graph` that hold its weights."""
    found = {*graph.parent.glob(f"{graph.stem}*.data"), *graph.parent.glob(f"{graph.stem}.bin")}
    return sorted(each.name for each in found)


def _trace(source: Path, folder: Path, dtype: torch.dtype) -> None:
    """Write both towers as ONNX graphs; nothing of the model is in memory afterwards.

    A tower is dropped as soon as it is written: tracing the other one takes more than twice its weights.
    """
    model = JinaClipModel.from_pretrained(source, dtype=dtype).eval()
    write_text_graph(model, folder / f"text{ONNX_SUFFIX}")
    del model.text_model
    gc.collect()  # traced programs are full of circles
    write_vision_graph(model, folder / f"vision{ONNX_SUFFIX}")
    del model
    gc.collect()


def _write_tokenizer(tokenizer: Any, path: Path) -> None:
    """Write the tokenizer without the truncation and padding that some checkpoints' files ask for."""
    plain = type(tokenizer).from_str(tokenizer.to_str())
    plain.no_truncation()
    plain.no_padding()
    plain.save(str(path))


def _convert(plain: Path, target: Path, format: str, dtype: str) -> None:
    """From a float32 ONNX graph to what was asked for."""
    if format == "onnx":
        quantize_onnx(plain, target)
    else:
        convert_to_openvino(plain, target, dtype)


def _describe(
    backend: LocalBackend, config: JinaClipConfig, processor: JinaClipProcessor, format: str, dtype: str
) -> Description:
    text, vision, images = config.text_config, config.vision_config, processor.image_processor
    return Description(
        format=format,
        dtype=dtype,
        identity=model_identity(backend.model),
        spec=backend.spec,
        max_length=backend.spec.max_length,
        pad_id=text.settings.pad_token_id,
        default_task=text.default_instruction_task,
        images=ImagePreprocessing(
            size=images.size,
            mean=tuple(images.image_mean),
            std=tuple(images.image_std),
            resize_mode=images.resize_mode,
            interpolation=images.interpolation,
            fill_color=images.fill_color,
        ),
        patches=vision.grid_size**2 + 1,
        opset=OPSET if format == "onnx" else None,
    )
