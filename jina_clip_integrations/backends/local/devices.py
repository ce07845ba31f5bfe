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

    All workers get the same precision, so that a row does not depend on which of them computes it: `auto` is bfloat16
    only if every device multiplies it natively, else float32 on all of them.

    Raises:
        ConfigurationError: a device this machine does not have, an unknown dtype, or float16 on a CPU.
    """
    names = list(device) if isinstance(device, (list, tuple)) else [device]
    if not names:
        raise ConfigurationError('device=[] names no device; use device="auto"')
    found = [_resolve_device(str(name)) for name in names]
    precision, why_dtype = _resolve_dtype(str(dtype), [device for device, _ in found])
    return [DeviceChoice(device=str(device), dtype=precision, reason=f"{why}; {why_dtype}") for device, why in found]


def describe_device(device: str | list[str] = "auto", dtype: str = "auto") -> dict[str, str]:
    """What would be used on this machine: `device`, `dtype` and `reason` as plain strings. Loads torch, no model."""
    choices = choose_devices(device, dtype)
    return {
        "device": ", ".join(choice.device for choice in choices),
        "dtype": choices[0].dtype,
        "reason": choices[0].reason,
    }


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
    # torch names devices that are not there; it would complain at the first tensor, in the middle of loading.
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        have = torch.cuda.device_count() if torch.cuda.is_available() else 0
        raise ConfigurationError(f'device={name!r}: torch sees {have} CUDA devices here; use device="auto"')
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigurationError('device="mps": torch sees no Apple GPU here; use device="auto"')
    if device.type not in ("cpu", "cuda", "mps"):
        _check_works(device)
    return device, "asked for"


def _check_works(device: torch.device) -> None:
    """Raise `ConfigurationError` for a kind of device that this torch can name but not compute on."""
    import torch

    try:
        torch.ones(1, device=device).item()
    except Exception as error:  # torch's kinds of device raise whatever they like
        raise ConfigurationError(
            f'device={str(device)!r}: torch cannot compute there ({type(error).__name__}); use device="auto"'
        ) from error


def _resolve_dtype(name: str, devices: list[torch.device]) -> tuple[str, str]:
    """The precision of all workers, and why."""
    if name != "auto":
        precision = next((key for key, names in DTYPES.items() if name in names), None)
        if precision is None:
            raise ConfigurationError(f'dtype={name!r} is not known; use "auto", "bfloat16", "float16" or "float32"')
        if precision == "float16" and any(device.type == "cpu" for device in devices):
            raise ConfigurationError(
                'dtype="float16" on a CPU is emulated and several times slower than float32; '
                'use dtype="auto", which takes bfloat16 where the processor has it'
            )
        return precision, f"{precision} asked for"
    reasons = [_bfloat16_on(device) for device in devices]
    for native, reason in reasons:
        if not native:
            return "float32", reason
    return "bfloat16", reasons[0][1]


def _bfloat16_on(device: torch.device) -> tuple[bool, str]:
    """Whether `device` multiplies bfloat16 natively, in words too."""
    if device.type == "cpu":
        if cpu_has_native_bfloat16():
            return True, "the processor multiplies bfloat16 natively"
        return False, "the processor has no native bfloat16 arithmetic"
    if device.type == "cuda" and not cuda_has_bfloat16():
        return False, "this GPU has no bfloat16 arithmetic"
    if device.type == "mps" and not mps_has_bfloat16():
        return False, "this macOS has no bfloat16 on its GPU"
    return True, "GPUs multiply bfloat16 natively"


def cuda_has_bfloat16() -> bool:
    """Whether the current CUDA device computes in bfloat16 by itself, without emulation."""
    import torch

    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


@functools.cache
def mps_has_bfloat16() -> bool:
    """Whether Apple's GPU takes a bfloat16 product: from macOS 14 on. Not tried on such a machine yet."""
    import torch

    try:
        one = torch.ones(1, 1, dtype=torch.bfloat16, device="mps")
        return bool((one @ one).item() == 1.0)
    except (RuntimeError, TypeError):
        return False


@functools.cache
def cpu_has_native_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 matrices in hardware (AVX512-BF16, AMX, Arm BF16)."""
    return bool(_NATIVE_BF16_FLAGS & _cpu_flags())


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch or numpy raised this because memory is full. Apple's GPU and the CPU have no class of their own."""
    import torch

    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(word in str(error) for word in words)


def _cpu_flags() -> set[str]:
    import torch

    capabilities = getattr(torch.cpu, "get_capabilities", None)  # newer versions of torch, on every system
    if capabilities is not None:
        return {name for name, there in capabilities().items() if there is True}
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    return set(text.split())
