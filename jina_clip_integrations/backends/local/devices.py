"""Which device and which precision to compute on, and why. Torch is imported when asked, not before."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ConfigurationError

if TYPE_CHECKING:
    import torch

DTYPES = {
    "bfloat16": ("bfloat16", "bf16", "torch.bfloat16"),
    "float16": ("float16", "fp16", "half", "torch.float16"),
    "float32": ("float32", "fp32", "float", "torch.float32"),
}
"""Precision to the names under which it may be asked for."""

_NATIVE_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "avx10_2", "bf16"})
"""Processor flags (x86 and Arm) of native bfloat16 products; without one, bfloat16 is emulated and slow."""


@dataclass(frozen=True, kw_only=True)
class DeviceChoice:
    """A device, a precision and the reason for both."""

    device: str
    dtype: str
    reason: str


def choose_devices(device: str | list[str], dtype: str) -> list[DeviceChoice]:
    """One choice per worker for the settings `device` and `dtype`.

    Raises:
        ConfigurationError: a device this machine does not have, an unknown dtype, or float16 on a CPU.
    """
    names = [device] if isinstance(device, str) else list(device)
    if not names:
        raise ConfigurationError('device=[] names no device; use device="auto"')
    return [_choose(str(name), str(dtype)) for name in names]


def describe_device(device: str | list[str] = "auto", dtype: str = "auto") -> dict[str, str]:
    """What would be used on this machine: `device`, `dtype` and `reason` as plain strings. Loads torch, no model."""
    choices = choose_devices(device, dtype)
    return {
        "device": ", ".join(choice.device for choice in choices),
        "dtype": choices[0].dtype,
        "reason": choices[0].reason,
    }


def _choose(device: str, dtype: str) -> DeviceChoice:
    found, why_device = _resolve_device(device)
    precision, why_dtype = _resolve_dtype(dtype, found)
    return DeviceChoice(device=str(found), dtype=precision, reason=f"{why_device}; {why_dtype}")


def _resolve_device(name: str) -> tuple[torch.device, str]:
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda"), f"a GPU is there ({torch.cuda.get_device_name()})"
        if torch.backends.mps.is_available():
            return torch.device("mps"), "Apple's GPU is there"
        return torch.device("cpu"), "no GPU was found"
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise ConfigurationError(f'device={name!r} is no device name; try "auto", "cpu", "cuda" or "cuda:1"') from error
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        have = torch.cuda.device_count() if torch.cuda.is_available() else 0
        raise ConfigurationError(f'device={name!r}: torch sees {have} CUDA devices here; use device="auto"')
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigurationError('device="mps": torch sees no Apple GPU here; use device="auto"')
    return device, "asked for"


def _resolve_dtype(name: str, device: torch.device) -> tuple[str, str]:
    if name != "auto":
        precision = next((key for key, names in DTYPES.items() if name in names), None)
        if precision is None:
            raise ConfigurationError(f'dtype={name!r} is not known; use "auto", "bfloat16", "float16" or "float32"')
        if precision == "float16" and device.type == "cpu":
            raise ConfigurationError(
                'dtype="float16" on a CPU is emulated and several times slower than float32; '
                'use dtype="auto", which takes bfloat16 where the processor has it'
            )
        return precision, f"{precision} asked for"
    if device.type == "cpu":
        if cpu_has_native_bfloat16():
            return "bfloat16", "the processor multiplies bfloat16 natively"
        return "float32", "the processor has no native bfloat16 arithmetic"
    if device.type == "cuda" and not _cuda_has_bfloat16():
        return "float32", "this GPU has no bfloat16 arithmetic"
    return "bfloat16", "GPUs multiply bfloat16 natively"


def _cuda_has_bfloat16() -> bool:
    import torch

    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


@functools.cache
def cpu_has_native_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 matrices in hardware (AVX512-BF16, AMX, Arm BF16)."""
    return bool(_NATIVE_BF16_FLAGS & _cpu_flags())


def _cpu_flags() -> set[str]:
    import torch

    capabilities = getattr(torch.cpu, "get_capabilities", None)
    if capabilities is not None:
        return {name for name, there in capabilities().items() if there is True}
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    return set(text.split())
