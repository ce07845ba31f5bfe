"""What is made of an ONNX graph: one with weights of 8 bits, and one for OpenVINO."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .onnx_graphs import save_graph

QUANTIZED_OPERATORS = ("MatMul",)
"""Layers whose weights become 8 bits. Embedding tables stay as they are: looking rows up costs no arithmetic."""


def quantize_onnx(source: Path, target: Path) -> None:
    """Write the graph with weights of 8 bits per output channel; activations are quantized while it runs."""
    import onnx_ir
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with TemporaryDirectory(dir=target.parent) as scratch:
        quantized = Path(scratch) / target.name
        with _errors_only(logging.getLogger()):  # it suggests a step that changes nothing where shapes are known
            quantize_dynamic(
                source,
                quantized,
                op_types_to_quantize=list(QUANTIZED_OPERATORS),
                per_channel=True,
                # Unsigned: without VNNI, processors add pairs of products of signed weights in 16 bits, where they
                # overflow. The other way out, weights of 7 bits, costs two to four times as much quality.
                weight_type=QuantType.QUInt8,
                use_external_data_format=True,
            )
        save_graph(onnx_ir.external_data.load_to_model(onnx_ir.load(quantized)), target)


def convert_to_openvino(source: Path, target: Path, dtype: str) -> None:
    """Write the graph as OpenVINO's pair of `.xml` and `.bin`.

    int8 means the stored weights. Where the processor multiplies 8 bits (VNNI, AMX), the runtime quantizes activations
    too, 32 values at a time; elsewhere products are those of float32.
    """
    import openvino

    model = openvino.convert_model(source)
    if dtype == "int8":
        model = _compress(model)
    openvino.save_model(model, target, compress_to_fp16=dtype == "float16")


def _compress(model: Any) -> Any:
    import nncf

    # Its tables of statistics and its bar would stand on the screen; a graph as it is read would lose its weights.
    with _errors_only(logging.getLogger("nncf")):
        return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM)


@contextmanager
def _errors_only(logger: logging.Logger) -> Iterator[None]:
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
