"""Reading published checkpoints, with the adapters merged, and writing them.

Files are memory-mapped and read tensor by tensor into memory of their own. Adapters are merged in float32 before any
rounding, block by block, so that loading needs little more memory than the finished model.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers.utils import cached_file

from ..errors import CheckpointError
from .checkpoint_header import check_header, shorten_name
from .configuration_jina_clip import JinaClipConfig
from .layout import Parameter, Part, Shape, layout

WEIGHTS_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"

MERGE_ELEMENTS = 2**21
"""Weights merged at a time, 8 MiB of float32, about a cache; the word table of v2 as a whole would take 1 GB."""

DERIVED = ("rope.freqs_cos", "rope.freqs_sin")
"""Ends of names that some checkpoints hold and nobody needs: tables computed from the configuration."""

EXTRA_LEVEL = re.compile(r"^text_model\.transformer\.(?!embeddings\.|emb_ln\.|encoder\.|roberta\.)\w+\.")
"""One more level that a conversion of v1 may have in its text names; it is dropped."""

SHARD_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}\.safetensors")
"""What an index may call a file: no folder, no drive, nothing hidden."""

FLOAT_TYPES = ("F64", "F32", "F16", "BF16")
LISTED_NAMES = 20
"""Tensor names spelled out in an error message; `CheckpointError.tensors` has all."""


def find_weights(source: str | os.PathLike[str], **download: Any) -> list[Path]:
    """The safetensors files of a checkpoint folder or Hub id; `download` goes to `transformers.utils.cached_file`.

    Raises `CheckpointError` where there are none. Pickled weights are refused: unpickling runs code.
    """

    def find(name: str) -> Path | None:
        try:
            found = cached_file(source, name, _raise_exceptions_for_missing_entries=False, **download)
        except OSError as error:
            raise CheckpointError(f"{name} of {source} cannot be read: {error}") from error
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
    return [_require_shard(index, name, find(name)) for name in _shard_names(index)]


def _shard_names(index: Path) -> list[str]:
    """The files that an index names, all of them safetensors files beside it."""
    try:
        names = {str(name) for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{index} is not an index of weights ({error!r:.300})") from error
    # Before anything is looked for: a name could lead to any file of this machine, or of the Hub.
    for name in names:
        if not SHARD_NAME.fullmatch(name):
            raise CheckpointError(f"{index} names a file outside its folder, or no safetensors file: {name!r:.200}")
    return sorted(names)


def _require_shard(index: Path, name: str, file: Path | None) -> Path:
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
        check_header(file)
        try:
            handle = stack.enter_context(safe_open(file, framework="pt", device="cpu"))
            names = list(handle.keys())
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file} is not a complete safetensors file ({error}); fetch it again") from error
        for name in names:
            if name.endswith(DERIVED):
                continue
            alias = EXTRA_LEVEL.sub("text_model.transformer.", name)
            if alias in self._handles:
                message = f"{shorten_name(name)} is stored twice, the second time in {file}"
                raise CheckpointError(message, tensors=(name,))
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
                expected |= part.published_tensors(0 if self._is_merged(part) else adapters, settings.lora_rank)
        missing = [name for name in expected if name not in self]
        unexpected = [self._aliases[name] for name in self._handles if name not in expected]
        misshapen = {
            f"{name} {list(self.shape(name))}, not {list(shape)}": name
            for name, shape in expected.items()
            if name in self and self.shape(name) != shape
        }
        integers = [n for n in expected if n in self and self._stored_type(n) not in FLOAT_TYPES]
        problems = {"missing": missing, "unexpected": unexpected, "misshapen": [*misshapen], "not floating": integers}
        if any(problems.values()):
            lines = [f"{what}: {_list_names(names)}" for what, names in problems.items() if names]
            raise CheckpointError(
                "the weights do not fit the configuration; " + "; ".join(lines),
                tensors=(*missing, *unexpected, *misshapen.values(), *integers),
            )

    def read(self, config: JinaClipConfig, dtype: torch.dtype) -> dict[str, Tensor]:
        """All parameters of `JinaClipModel` in `dtype`, in memory of their own, adapters merged, every value finite."""
        self.check(config)
        return {parameter.name: self._read_finite(parameter, config, dtype) for parameter in layout(config)}

    def _read_finite(self, parameter: Parameter, config: JinaClipConfig, dtype: torch.dtype) -> Tensor:
        value = self._read(parameter, config, dtype)
        if is_finite(value):
            return value
        # Looked for only now: as a rule there is nothing to find.
        names = self._stored_names(parameter, config)
        broken = tuple(name for name in names if not is_finite(self.tensor(name)))
        if broken:
            raise CheckpointError(f"NaN or infinity in the weights: {_list_names([*broken])}", tensors=broken)
        raise CheckpointError(
            f"{_list_names(names)} does not fit into {str(dtype).removeprefix('torch.')}: values become infinite; "
            "load it with dtype='float32'",
            tensors=tuple(names),
        )

    def _stored_names(self, parameter: Parameter, config: JinaClipConfig) -> list[str]:
        settings = config.text_config.settings
        adapters = len(settings.lora_adaptations)
        return [
            name
            for part in parameter.parts
            for name in part.published_tensors(0 if self._is_merged(part) else adapters, settings.lora_rank)
        ]

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
        for start in range(0, part.shape[0], rows):
            block = slice(start, start + rows)
            target[block] = original[block].float().addmm_(tall[block], wide)

    def _is_merged(self, part: Part) -> bool:
        return part.adapter is not None and part.plain_name in self

    def _stored_type(self, name: str) -> str:
        return str(self._handles[name].get_slice(self._aliases[name]).get_dtype())


def is_finite(value: Tensor) -> bool:
    """Whether a tensor holds neither NaN nor infinity; by its extremes, ten times as fast as by each value."""
    low, high = value.aminmax() if value.numel() else (torch.zeros(()), torch.zeros(()))
    return bool(low.isfinite() & high.isfinite())


def _list_names(names: list[str]) -> str:
    more = f" and {len(names) - LISTED_NAMES} more" if len(names) > LISTED_NAMES else ""
    return f"{len(names)} ({', '.join(map(shorten_name, names[:LISTED_NAMES]))}{more})"


def read_logit_scale(source: str | os.PathLike[str]) -> float:
    """What a checkpoint multiplies cosines by: the exponential of its `logit_scale`. No other weight is read.

    Raises `CheckpointError` for a checkpoint without that tensor.
    """
    with Checkpoint(find_weights(source)) as checkpoint:
        if "logit_scale" not in checkpoint:
            raise CheckpointError(f"{source} holds no logit_scale", tensors=("logit_scale",))
        return math.exp(checkpoint.tensor("logit_scale").double().item())


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
            names = part.published_tensors(1, settings.lora_rank)
            zeros = tuple(value.new_zeros(shape[1:]) for shape in [*names.values()][1:])
            factors = adapters.get(parameter.name, zeros)
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
