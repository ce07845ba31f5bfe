"""What a benchmark ran on, and how much memory a process has to itself."""

from __future__ import annotations

import os
import platform
import re
import threading
from datetime import date
from importlib.metadata import version
from pathlib import Path
from types import TracebackType

PACKAGES = ("torch", "transformers", "safetensors")

FLAGS = (
    *("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "avx_vnni", "avx512_vnni"),
    *("amx_tile", "amx_bf16", "amx_int8", "amx_fp16"),  # x86
    *("asimddp", "sve", "i8mm", "bf16", "svebf16", "svei8mm"),  # Arm
)
"""What of a processor's instructions matrix kernels choose by, as Linux spells it."""


def describe() -> str:
    """Date, processor with its flags, memory, how busy the machine was at the start, and versions, in one line."""
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(encoding="utf-8"))
    gib = int(memory[1]) / 2**20 if memory else 0
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{date.today()}, {cpu[1] if cpu else platform.processor()} ({' '.join(processor_flags()) or 'no flags'}), "
        f"{len(os.sched_getaffinity(0))} processors, "
        f"{gib:.0f} GiB, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}, {packages}"
    )


def processor_flags() -> list[str]:
    """Those of `FLAGS` that this processor has."""
    found = re.search(
        r"^(?:flags|Features)\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE
    )
    there = set(found[1].split()) if found else set()
    return [flag for flag in FLAGS if flag in there]


def private_bytes() -> int:
    """Memory that this process alone occupies: anonymous pages, as opposed to pages of files.

    `RssAnon` in /proc/self/status is a counter that costs nothing to read; `Anonymous` in /proc/self/smaps_rollup is
    the same figure counted page by page, which would slow down what is measured.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"^RssAnon:\s*(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


class PeakMemory:
    """Private memory while a block runs, sampled every 2 ms: `start`, `peak` and `end` in bytes."""

    def __enter__(self) -> PeakMemory:
        self.start = self.peak = self.end = private_bytes()
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.002):
            self.peak = max(self.peak, private_bytes())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._watcher.join()
        self.end = private_bytes()
        self.peak = max(self.peak, self.end)
