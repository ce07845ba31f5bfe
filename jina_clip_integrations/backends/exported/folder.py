"""What an exported folder holds, and the file in it that says so.

Beside the two graphs lies `jina_clip_export.json`, which describes them for whoever runs them with other tools, and the
tokenizer in the format of the `tokenizers` library.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from ...catalog import ModelSpec
from ...errors import CheckpointError
from ...images.geometry import check_resize
from ...retrieval.fingerprint import EXPORT_FILE, IDENTITY_KEY

VERSION = 1
"""Of the description; another number is another layout."""

TOKENIZER_FILE = "tokenizer.json"

MODALITIES = ("text", "image")
"""Parts of the description, each with a graph."""

GRAPH_SUFFIX: Mapping[str, str] = {"onnx": ".onnx", "openvino": ".xml"}
"""Format to the end of a graph's file name; the formats that there are."""

DTYPES = ("float32", "float16", "int8")
"""How weights are stored in a graph; inputs and outputs are float32 in each."""

MAX_DESCRIPTION_BYTES = 1 << 20
MAX_TOKENIZER_BYTES = 128 << 20
"""Largest files that are read whole; the tokenizer of v2 has 17 MB."""

STEPS = (
    "turn the image upright by its EXIF orientation",
    "convert it to RGB; transparency is dropped",
    "resize it with Pillow's 8-bit filter `interpolation`, horizontally, then vertically, so that the shorter side is "
    "`size`; the longer one is rounded down",
    "take the centre square; offsets are rounded half to even",
    "value = (level / 255 - mean) / std for each channel, as (3, size, size)",
)
"""The preprocessing of images in words, for `resize_mode` "shortest"."""


@dataclass(frozen=True, kw_only=True)
class ImagePreprocessing:
    """From a decoded image to `pixel_values`."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize_mode: str = "shortest"
    interpolation: str = "bicubic"
    fill_color: int | tuple[int, ...] = 0


@dataclass(frozen=True, kw_only=True)
class Description:
    """An exported model without its graphs."""

    format: str
    """`onnx` or `openvino`."""
    dtype: str
    identity: str
    """Which model it is, as fingerprints say it."""
    spec: ModelSpec
    max_length: int
    pad_id: int
    default_task: str | None
    """The task of texts for which none is named."""
    images: ImagePreprocessing
    patches: int
    """Patches of one image, with CLS."""
    opset: int | None = None
    """ONNX's, if it is such a graph."""
    weights: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Files beside each graph that hold its weights, by modality; none where they are in the graph."""
    agreement: Mapping[str, float] | None = None
    """Smallest cosine with the original on the samples of the export, by modality."""

    def file(self, modality: str) -> str:
        """Name of the graph for `"text"` or `"image"`."""
        stem = {"text": "text", "image": "vision"}[modality]
        return stem + GRAPH_SUFFIX[self.format]

    def write(self, folder: Path) -> None:
        """Write the description into `folder`."""
        text = json.dumps(self.to_json(), ensure_ascii=False, indent=2)
        (folder / EXPORT_FILE).write_text(text + "\n", encoding="utf-8")

    def to_json(self) -> dict[str, Any]:
        """The description with what a stranger needs to know besides: names, shapes and types of inputs and outputs."""
        spec = self.spec
        return {
            "version": VERSION,
            "format": self.format,
            "dtype": self.dtype,
            "opset": self.opset,
            "model": {
                "name": spec.name,
                IDENTITY_KEY: self.identity,
                "dimensions": spec.embed_dim,
                "matryoshka_dimensions": list(spec.matryoshka_dimensions),
                "licence": spec.licence,
            },
            "text": {
                "file": self.file("text"),
                "weights": list(self.weights.get("text", ())),
                "inputs": {"input_ids": "int64 (batch, length)", "attention_mask": "int64 (batch, length)"},
                "output": {"embeddings": f"float32 (batch, {spec.embed_dim}), raw"},
                "tokenizer": TOKENIZER_FILE,
                "max_length": self.max_length,
                "pad_id": self.pad_id,
                "instructions": dict(spec.tasks),
                "default_task": self.default_task,
            },
            "image": {
                "file": self.file("image"),
                "weights": list(self.weights.get("image", ())),
                "inputs": {"pixel_values": f"float32 (batch, 3, {self.images.size}, {self.images.size})"},
                "output": {"embeddings": f"float32 (batch, {spec.embed_dim}), raw"},
                "patches": self.patches,
                "preprocessing": {**asdict(self.images), "steps": list(STEPS)},
            },
            "finish": "truncate to the wanted width first, then divide by the Euclidean length",
            "agreement": dict(self.agreement or {}),
        }


def read_description(folder: Path) -> Description:
    """The description in `folder`. Raises `CheckpointError` for a folder without one, or with one that is damaged."""
    path = folder / EXPORT_FILE
    if not path.is_file():
        raise CheckpointError(
            f"{folder} is no exported model: it has no {EXPORT_FILE}; `jina-clip export` makes such a folder"
        )
    check_size(path, MAX_DESCRIPTION_BYTES)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict) or content.get("version") != VERSION:
        raise CheckpointError(f"{path} is of another version than {VERSION}: export the model again")
    try:
        return _parse(content, folder)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        _refuse(path, error)


def check_size(path: Path, limit: int) -> None:
    """Raise `CheckpointError` for what is no regular file, or too large to be what its name says."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
        raise CheckpointError(f"{path} is not a regular file of at most {limit} bytes")


def _refuse(path: Path, error: Exception) -> NoReturn:
    reason = f"no {error}" if isinstance(error, KeyError) else str(error)
    raise CheckpointError(f"{path} does not describe an exported model: {reason}") from error


def _parse(content: Mapping[str, Any], folder: Path) -> Description:
    model, text, image = content["model"], content["text"], content["image"]
    steps = image["preprocessing"]
    fill = steps["fill_color"]
    images = ImagePreprocessing(
        size=_count("size", steps["size"]),
        mean=_three("mean", steps["mean"]),
        std=_three("std", steps["std"]),
        resize_mode=str(steps["resize_mode"]),
        interpolation=str(steps["interpolation"]),
        fill_color=int(fill) if isinstance(fill, int) else tuple(map(int, fill)),
    )
    check_resize(images.resize_mode, images.interpolation)
    spec = ModelSpec(
        name=str(model["name"]),
        embed_dim=_count("dimensions", model["dimensions"]),
        matryoshka_dimensions=tuple(map(int, model["matryoshka_dimensions"])),
        image_size=images.size,
        max_length=_count("max_length", text["max_length"]),
        tasks={str(task): str(words) for task, words in text["instructions"].items()},
        licence=str(model["licence"]),
    )
    if content["format"] not in GRAPH_SUFFIX:
        raise ValueError(f"unknown format {content['format']!r:.100}")
    description = Description(
        format=content["format"],
        dtype=str(content["dtype"]),
        identity=str(model[IDENTITY_KEY]),
        spec=spec,
        max_length=spec.max_length,
        pad_id=int(text["pad_id"]),
        default_task=None if text["default_task"] is None else str(text["default_task"]),
        images=images,
        patches=_count("patches", image["patches"]),
        opset=content["opset"],
        weights={name: tuple(map(str, content[name]["weights"])) for name in MODALITIES},
        agreement={str(name): float(value) for name, value in content["agreement"].items()},
    )
    for modality in MODALITIES:
        for name in (description.file(modality), *description.weights[modality]):
            if not (folder / name).is_file():
                raise ValueError(f"the file {name} is missing")
    return description


def _count(name: str, value: object) -> int:
    if type(value) is not int or not 1 <= value <= 10**8:
        raise ValueError(f"{name}: a positive integer expected, not {value!r:.100}")
    return value


def _three(name: str, values: Any) -> tuple[float, ...]:
    numbers = tuple(map(float, values))
    if len(numbers) != 3:
        raise ValueError(f"{name}: three numbers expected, not {values!r:.100}")
    return numbers
