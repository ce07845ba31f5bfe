"""The published checkpoint: names and shapes, reading with the adapters merged, writing.

A parameter of `JinaClipModel` is made of one or more published tensors: q, k and v of the vision tower, and the two
halves of its SwiGLU, are stacked into one matrix. Text layers of v2 carry a low-rank adapter next to the original
weight; it is merged in float32 before any rounding.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers.utils import cached_file

from ..errors import CheckpointError
from .configuration_jina_clip import JinaClipConfig

WEIGHTS_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"

Shape = tuple[int, ...]

MERGE_ELEMENTS = 2**24
"""Weights merged at a time, 64 MiB of float32: the word table of v2 would take 1 GB."""

DERIVED = ("rope.freqs_cos", "rope.freqs_sin")
"""Ends of names that some checkpoints hold and nobody needs: tables computed from the configuration."""

EXTRA_LEVEL = re.compile(r"^text_model\.transformer\.(?!embeddings\.|emb_ln\.|encoder\.|roberta\.)\w+\.")
"""One more level that a conversion of v1 may have in its text names; it is dropped."""

FLOAT_TYPES = ("F64", "F32", "F16", "BF16")
LISTED_NAMES = 20
"""Tensor names spelled out in an error message; `CheckpointError.tensors` has all."""


@dataclass(frozen=True)
class Part:
    """One published tensor, or one adapted weight (`layer` is set), that goes into a parameter."""

    name: str
    """Published name; of an adapted weight the layer's name, without `.weight`."""
    shape: Shape
    adapter: str | None = None
    """`"linear"` or `"embedding"`: how the factors of the adapter are laid out; None without one."""

    @property
    def plain_name(self) -> str:
        """Name of the tensor where no adapter is stored, or where it has been merged already."""
        return self.name if self.adapter is None else f"{self.name}.weight"

    def stored(self, adapters: int, rank: int) -> dict[str, Shape]:
        """Names and shapes as published, with `adapters` adapters of rank `rank`."""
        if self.adapter is None or adapters == 0:
            return {self.plain_name: self.shape}
        rows, columns = self.shape
        a, b = ((rank, columns), (rows, rank)) if self.adapter == "linear" else ((rows, rank), (rank, columns))
        weight = f"{self.name}.parametrizations.weight"
        return {
            f"{weight}.original": self.shape,
            f"{weight}.0.lora_A": (adapters, *a),
            f"{weight}.0.lora_B": (adapters, *b),
        }


@dataclass(frozen=True)
class Parameter:
    """One parameter of `JinaClipModel` and the published tensors that are stacked along its first axis."""

    name: str
    parts: tuple[Part, ...]

    @property
    def shape(self) -> Shape:
        """Shape in the model: the parts stacked, a patch convolution flattened to a matrix."""
        if not self.parts[0].shape:
            return ()
        rows = sum(part.shape[0] for part in self.parts)
        rest = self.parts[0].shape[1:]
        return (rows, math.prod(rest)) if len(rest) == 3 else (rows, *rest)


def layout(config: JinaClipConfig) -> list[Parameter]:
    """Every parameter of the model, with its published parts."""
    return [Parameter("logit_scale", (Part("logit_scale", ()),)), *_text_layout(config), *_vision_layout(config)]


def _text_layout(config: JinaClipConfig) -> Iterator[Parameter]:
    s = config.text_config.settings
    width, inner = s.hidden_size, s.intermediate_size
    root = "text_model.transformer." + ("" if s.is_alibi else "roberta.")

    def weight(native: str, published: str, rows: int, columns: int, adapter: str = "linear") -> Parameter:
        part = Part(root + published, (rows, columns), adapter)
        if s.is_alibi:
            part = Part(f"{root}{published}.weight", (rows, columns))
        return Parameter(f"text_model.{native}.weight", (part,))

    def vector(native: str, published: str, size: int) -> Parameter:
        return Parameter(f"text_model.{native}", (Part(root + published, (size,)),))

    def norm(native: str, published: str) -> list[Parameter]:
        return [vector(f"{native}.{kind}", f"{published}.{kind}", width) for kind in ("weight", "bias")]

    for name, rows in (("word_embeddings", s.vocab_size), ("token_type_embeddings", s.type_vocab_size)):
        yield weight(name, f"embeddings.{name}", rows, width, "embedding")
    yield from norm("norm", "emb_ln")
    up, down = ("gated_layers", "wo") if s.is_alibi else ("fc1", "fc2")
    for i in range(s.num_hidden_layers):
        native, published = f"blocks.{i}", f"encoder.layers.{i}"
        yield weight(f"{native}.attn.qkv", f"{published}.mixer.Wqkv", 3 * width, width)
        yield vector(f"{native}.attn.qkv.bias", f"{published}.mixer.Wqkv.bias", 3 * width)
        yield weight(f"{native}.attn.out", f"{published}.mixer.out_proj", width, width)
        yield vector(f"{native}.attn.out.bias", f"{published}.mixer.out_proj.bias", width)
        yield from norm(f"{native}.norm1", f"{published}.norm1")
        yield weight(f"{native}.mlp.up", f"{published}.mlp.{up}", 2 * inner if s.is_alibi else inner, width)
        if not s.is_alibi:
            yield vector(f"{native}.mlp.up.bias", f"{published}.mlp.{up}.bias", inner)
        yield weight(f"{native}.mlp.down", f"{published}.mlp.{down}", width, inner)
        yield vector(f"{native}.mlp.down.bias", f"{published}.mlp.{down}.bias", width)
        yield from norm(f"{native}.norm2", f"{published}.norm2")


def _vision_layout(config: JinaClipConfig) -> Iterator[Parameter]:
    v = config.vision_config
    width, inner, patch = v.width, v.intermediate_size, v.patch_size

    def entry(native: str, shape: Shape, *published: str) -> Parameter:
        parts = tuple(Part(f"vision_model.{name}", shape) for name in published or (native,))
        return Parameter(f"vision_model.{native}", parts)

    def norm(native: str, size: int, published: str | None = None) -> list[Parameter]:
        return [entry(f"{native}.{kind}", (size,), f"{published or native}.{kind}") for kind in ("weight", "bias")]

    def linear(native: str, rows: int, columns: int, *published: str) -> list[Parameter]:
        shapes: tuple[tuple[str, Shape], ...] = (("weight", (rows, columns)), ("bias", (rows,)))
        return [entry(f"{native}.{kind}", shape, *(f"{p}.{kind}" for p in published)) for kind, shape in shapes]

    yield entry("cls_token", (1, 1, width))
    yield entry("pos_embed", (1, 1 + v.grid_size**2, width))
    yield entry("patch_embed.weight", (width, 3, patch, patch), "patch_embed.proj.weight")
    yield entry("patch_embed.bias", (width,), "patch_embed.proj.bias")
    for i in range(v.layers):
        attn, mlp = f"blocks.{i}.attn", f"blocks.{i}.mlp"
        yield from norm(f"blocks.{i}.norm1", width)
        yield entry(f"{attn}.qkv.weight", (width, width), *(f"{attn}.{x}_proj.weight" for x in "qkv"))
        yield entry(f"{attn}.q_bias", (width,))
        yield entry(f"{attn}.v_bias", (width,))
        yield from norm(f"{attn}.norm", width, f"{attn}.inner_attn_ln")
        yield from linear(f"{attn}.out", width, width, f"{attn}.proj")
        yield from norm(f"blocks.{i}.norm2", width)
        yield from linear(f"{mlp}.up", inner, width, f"{mlp}.w1", f"{mlp}.w2")
        yield from norm(f"{mlp}.norm", inner, f"{mlp}.ffn_ln")
        yield from linear(f"{mlp}.down", width, inner, f"{mlp}.w3")
    yield from norm("norm", width)


def expected_tensors(config: JinaClipConfig) -> dict[str, Shape]:
    """Names and shapes of the tensors in a published checkpoint of this configuration. Nothing is allocated."""
    settings = config.text_config.settings
    adapters = len(settings.lora_adaptations)
    parts = (part for parameter in layout(config) for part in parameter.parts)
    return {name: shape for part in parts for name, shape in part.stored(adapters, settings.lora_rank).items()}


def find_weights(source: str | Path, **download: Any) -> list[Path]:
    """The safetensors files of a checkpoint folder or Hub id; `download` goes to `transformers.utils.cached_file`.

    Raises `CheckpointError` where there are none. Pickled weights are refused: unpickling runs code.
    """

    def find(name: str) -> Path | None:
        found = cached_file(source, name, _raise_exceptions_for_missing_entries=False, **download)
        return None if found is None else Path(found)

    if weights := find(WEIGHTS_NAME):
        return [weights]
    index = find(INDEX_NAME)
    if index is None:
        if find("pytorch_model.bin") or find("pytorch_model.bin.index.json"):
            raise CheckpointError(
                f"{source} holds pickled weights (pytorch_model.bin) only, which are not read because unpickling runs "
                f"code; use a revision with {WEIGHTS_NAME}"
            )
        raise CheckpointError(f"{source} holds no {WEIGHTS_NAME}")
    return [_shard(name, index, find(name)) for name in _shard_names(index)]


def _shard_names(index: Path) -> list[str]:
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        return sorted(str(name) for name in names)
    except (ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{index} is not an index of weights ({error!r})") from error


def _shard(name: str, index: Path, file: Path | None) -> Path:
    if Path(name).name != name:
        raise CheckpointError(f"{index} names a file outside its folder: {name}")
    if file is None:
        raise CheckpointError(f"{index} names {name}, which is not there")
    return file


class Checkpoint:
    """The tensors of a checkpoint's safetensors files, memory-mapped. A context manager; see `read`."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._stack = ExitStack()
        self._handles: dict[str, Any] = {}
        self._aliases: dict[str, str] = {}
        with ExitStack() as stack:
            for file in files:
                self._open(stack, file)
            self._stack = stack.pop_all()

    def _open(self, stack: ExitStack, file: Path) -> None:
        try:
            handle = stack.enter_context(safe_open(file, framework="pt", device="cpu"))
            names = list(handle.keys())
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file} is not a complete safetensors file ({error}); fetch it again") from error
        for name in names:
            if name.endswith(DERIVED):
                continue
            alias = EXTRA_LEVEL.sub("text_model.transformer.", name)
            self._handles[alias], self._aliases[alias] = handle, name

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._handles.clear()

    def __contains__(self, name: str) -> bool:
        return name in self._handles

    def shape(self, name: str) -> Shape:
        return tuple(self._handles[name].get_slice(self._aliases[name]).get_shape())

    def tensor(self, name: str) -> Tensor:
        """The tensor as it is stored, backed by the file."""
        return self._handles[name].get_tensor(self._aliases[name])  # type: ignore[no-any-return]

    def dtype(self) -> torch.dtype:
        """Type of the stored tensors, by that of `logit_scale`."""
        return self.tensor("logit_scale").dtype if "logit_scale" in self else torch.float32

    def check(self, config: JinaClipConfig) -> None:
        """Raise `CheckpointError`, naming the tensors, unless exactly those of `config` are there."""
        settings = config.text_config.settings
        adapters = len(settings.lora_adaptations)
        expected: dict[str, Shape] = {}
        for parameter in layout(config):
            for part in parameter.parts:
                expected |= part.stored(0 if self._is_merged(part) else adapters, settings.lora_rank)
        missing = [name for name in expected if name not in self]
        unexpected = [name for name in self._handles if name not in expected]
        misshapen = {
            f"{name} {list(self.shape(name))}, not {list(shape)}": name
            for name, shape in expected.items()
            if name in self and self.shape(name) != shape
        }
        integers = [n for n in expected if n in self and self._stored_type(n) not in FLOAT_TYPES]
        problems = {"missing": missing, "unexpected": unexpected, "misshapen": [*misshapen], "not floating": integers}
        if any(problems.values()):
            lines = [f"{what}: {_listed(names)}" for what, names in problems.items() if names]
            raise CheckpointError(
                "the weights do not fit the configuration; " + "; ".join(lines),
                tensors=(*missing, *unexpected, *misshapen.values(), *integers),
            )

    def read(self, config: JinaClipConfig, dtype: torch.dtype) -> dict[str, Tensor]:
        """All parameters of `JinaClipModel` in `dtype`, in memory of their own, adapters merged."""
        self.check(config)
        return {parameter.name: self._read(parameter, config, dtype) for parameter in layout(config)}

    def _read(self, parameter: Parameter, config: JinaClipConfig, dtype: torch.dtype) -> Tensor:
        value = torch.empty(parameter.shape, dtype=dtype)
        start = 0
        for part in parameter.parts:
            target = value[start : start + part.shape[0]] if part.shape else value
            target = target.view(part.shape)
            start += part.shape[0] if part.shape else 0
            if part.adapter is None or self._is_merged(part):
                target.copy_(self.tensor(part.plain_name))
            else:
                self._merge(part, config, target)
        return value

    def _merge(self, part: Part, config: JinaClipConfig, target: Tensor) -> None:
        """Write `original + scale * product of the factors` into `target`, block by block in float32."""
        weight = f"{part.name}.parametrizations.weight"
        if not config.text_config.settings.lora_adaptations:
            target.copy_(self.tensor(part.plain_name))
            return
        original = self.tensor(f"{weight}.original")
        adapter = config.text_config.adapter
        if adapter is None:
            target.copy_(original)
            return
        a, b = (self.tensor(f"{weight}.0.lora_{side}")[adapter].float() for side in "AB")
        tall, wide = (b, a) if part.adapter == "linear" else (a, b)  # (rows, r), (r, columns)
        wide = config.text_config.settings.lora_scale * wide
        rows = max(1, MERGE_ELEMENTS // part.shape[1])
        for i in range(0, part.shape[0], rows):
            target[i : i + rows] = torch.addmm(original[i : i + rows].float(), tall[i : i + rows], wide)

    def _is_merged(self, part: Part) -> bool:
        return part.adapter is not None and part.plain_name in self

    def _stored_type(self, name: str) -> str:
        return str(self._handles[name].get_slice(self._aliases[name]).get_dtype())


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - LISTED_NAMES} more" if len(names) > LISTED_NAMES else ""
    return f"{len(names)} ({', '.join(names[:LISTED_NAMES])}{more})"


Adapters = Mapping[str, tuple[Tensor, Tensor]]
"""Name of an adapted weight in `JinaClipModel` to its factors `lora_A` and `lora_B`, without the stacking axis."""


def published_state(
    config: JinaClipConfig, state: Mapping[str, Tensor], adapters: Adapters | None = None
) -> dict[str, Tensor]:
    """The state of a `JinaClipModel` under published names.

    Without `adapters` every weight is stored as it is (for v2: merged). With them, the weights are stored as the
    originals next to the factors given, zeros where none are given, so that reading merges them. Only configurations
    with one adapter can be written like that.
    """
    settings = config.text_config.settings
    if adapters is not None and len(settings.lora_adaptations) != 1:
        raise CheckpointError("adapters can be written only for a configuration that names exactly one")
    published: dict[str, Tensor] = {}
    for parameter in layout(config):
        value = state[parameter.name].detach()
        pieces = value.chunk(len(parameter.parts)) if len(parameter.parts) > 1 else (value,)
        for part, piece in zip(parameter.parts, pieces, strict=True):
            tensor = piece.reshape(part.shape)
            if len(parameter.parts) > 1:
                tensor = tensor.clone()  # safetensors refuses tensors that share memory
            if part.adapter is None or adapters is None:
                published[part.plain_name] = tensor
                continue
            names = part.stored(1, settings.lora_rank)
            factors = adapters.get(parameter.name) or tuple(value.new_zeros(shape[1:]) for shape in [*names.values()][1:])
            tensors = (tensor, *(factor[None].to(value.dtype) for factor in factors))
            published |= dict(zip(names, tensors, strict=True))
    return published


def save_published(model: Any, folder: str | Path, *, adapters: Adapters | None = None) -> None:
    """Write `config.json` and `model.safetensors` of a `JinaClipModel` in the published layout, in one file.

    `adapters` as in `published_state`. The processor and tokenizer files are written by their own `save_pretrained`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = published_state(model.config, model.state_dict(), adapters)
    model.config.dtype = str(model.dtype).removeprefix("torch.")
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    tensors = {name: tensor.contiguous().cpu() for name, tensor in state.items()}
    save_file(tensors, folder / WEIGHTS_NAME, metadata={"format": "pt"})
