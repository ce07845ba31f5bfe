"""A graph in the runtime that its format belongs to: arrays in, raw vectors out. Thread-safe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import CheckpointError, ConfigurationError
from ...types import Vectors

OUTPUT = "embeddings"
"""Name of the one output of both graphs."""

ONNX_ERRORS_ONLY = 3
"""The runtime's own log level from which it writes to stderr."""

ERROR_CHARACTERS = 300
"""Most characters of a runtime's message that an error repeats."""

Inputs = Mapping[str, NDArray[Any]]


class Graph(Protocol):
    """What runs one graph."""

    def __call__(self, inputs: Inputs) -> Vectors:
        """Raw vectors `(n, d)` float32 of the named inputs."""


def open_onnx(path: Path, *, device: str, threads: int) -> Graph:
    """The ONNX graph at `path`. Raises `CheckpointError` for a broken file, `ConfigurationError` for the device."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = ONNX_ERRORS_ONLY
    providers = choose_providers(device, ort.get_available_providers())
    session = with_faults(path, lambda: ort.InferenceSession(path, options, providers=providers))
    names = {each.name for each in session.get_inputs()}

    def run(inputs: Inputs) -> Vectors:
        given = {name: value for name, value in inputs.items() if name in names}
        return np.asarray(session.run([OUTPUT], given)[0], np.float32)

    return run


def choose_providers(device: str, available: list[str]) -> list[str]:
    """The runtime's names for `auto`, `cpu` or `cuda`. Raises `ConfigurationError` for what is not there."""
    cuda, cpu = "CUDAExecutionProvider", "CPUExecutionProvider"
    if device == "auto":
        return [cuda, cpu] if cuda in available else [cpu]
    if device == "cpu":
        return [cpu]
    if device == "cuda" and cuda in available:
        return [cuda, cpu]
    if device == "cuda":
        raise ConfigurationError("device='cuda': this onnxruntime has no CUDA; install the package onnxruntime-gpu")
    raise ConfigurationError(f"device={device!r}: an ONNX model runs on 'auto', 'cpu' or 'cuda'")


def open_openvino(path: Path, *, device: str, threads: int) -> Graph:
    """The OpenVINO graph at `path`, computed in float32. Raises what `open_onnx` raises."""
    import openvino

    core = openvino.Core()
    name = "CPU" if device == "auto" else device.upper()
    if not any(each == name or each.startswith(f"{name}.") for each in core.available_devices):
        known = ", ".join(each.lower() for each in core.available_devices)
        raise ConfigurationError(f"device={device!r}: OpenVINO sees {known} here")
    # Left alone it computes in bfloat16 or float16 wherever the processor can, whatever the model was exported as.
    settings = {"INFERENCE_PRECISION_HINT": "f32"} | ({"INFERENCE_NUM_THREADS": threads} if name == "CPU" else {})
    compiled = with_faults(path, lambda: core.compile_model(path, name, settings))
    names = {any_name for port in compiled.inputs for any_name in port.get_names()}

    def run(inputs: Inputs) -> Vectors:
        given = {name: value for name, value in inputs.items() if name in names}
        request = compiled.create_infer_request()  # of its own: one request computes for one thread at a time
        return np.array(request.infer(given)[0], np.float32)

    return run


def with_faults(path: Path, load: Callable[[], Any]) -> Any:
    """What `load` gives. Raises `CheckpointError` naming `path` for whatever the runtime has against the file."""
    try:
        return load()
    except Exception as error:  # runtimes raise kinds of their own; all mean that the graph cannot be used
        reason = " ".join(str(error).split())[:ERROR_CHARACTERS]
        raise CheckpointError(f"{path} cannot be loaded ({type(error).__name__}): {reason}") from error


OPENERS: Mapping[str, Callable[..., Graph]] = {"onnx": open_onnx, "openvino": open_openvino}
"""Format to what opens a graph of it."""
