"""Every default in one place: frozen, keyword-only settings behind the constructors' plain keywords.

The list of options that a backend knows, and the error for an unknown one, come from these fields.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias

from .errors import ConfigurationError

DEFAULT_MAX_LENGTH = 8192
"""Tokens, special tokens included: what both models take. The published `encode_text` stops at 512 by default."""

Device: TypeAlias = "str | list[str]"
"""`auto`, a torch device name such as `cuda:1`, or a list of them (one worker each)."""


@dataclass(frozen=True, kw_only=True)
class LocalSettings:
    """How a model runs on this machine."""

    device: Device = "auto"
    """`auto` takes cuda, then mps, then cpu; a list runs one worker per device."""
    dtype: str = "auto"
    """`auto`: bfloat16 on GPUs and on CPUs with native bfloat16 arithmetic, else float32. Never float16 on a CPU."""
    batch_size: int | Literal["auto"] = "auto"
    """Pictures per forward pass; texts are batched by tokens, with at most this many where it is a number."""
    max_length: int = DEFAULT_MAX_LENGTH
    """Longest text in tokens, special tokens included; longer texts are cut with a warning."""
    num_workers: int | Literal["auto"] = "auto"
    """Threads that decode and resize pictures while the model computes."""
    attn_implementation: str = "sdpa"
    """Attention of the model: `sdpa` (fused kernels) or `eager` (for comparison)."""
    compile: bool = False
    """Whether to compile the towers with `torch.compile` (slow to start)."""
    revision: str | None = None
    """Branch, tag or commit of a Hub id."""
    cache_dir: str | None = None
    """Where Hub files are kept; None = the Hub client's default."""
    local_files_only: bool = False
    """Never go to the network for weights."""
    token: str | None = None
    """Hub token, for gated or private checkpoints; None = the Hub client's own login."""

    def __repr__(self) -> str:
        shown = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "token"}
        changed = (f"{name}={value!r}" for name, value in shown.items() if value != _default(type(self), name))
        return f"{type(self).__name__}({', '.join(changed)})"


def _default(settings: type, name: str) -> Any:
    return next(f.default for f in fields(settings) if f.name == name)


def option_names(settings: type) -> tuple[str, ...]:
    """Names of the options that a settings class knows, in order."""
    return tuple(f.name for f in fields(settings))


def reject_unknown(given: Mapping[str, Any], known: Iterable[str], *, where: str) -> None:
    """Raise `ConfigurationError` for the first name in `given` that is not in `known`, with the nearest known name."""
    names = sorted(known)
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigurationError(f"unknown option {name!r} for {where}.{hint} Known: {', '.join(names)}")
