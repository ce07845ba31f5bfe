"""Both models on one GPU: images from tensors and from JPEGs, texts, eager and compiled, as shares of its products.

    python benchmarks/gpu.py [--device cuda] [--budget 510] [--models v2,v1] [--write]
    python benchmarks/gpu.py --device cpu --tiny        # the same script on tiny models, to see that it works

Full-size models with random weights (seed 0), written once into a temporary folder. Every group of cases runs in a
process of its own until its share of `--budget` seconds is used up; what did not fit is in the table as such, and the
script ends within the budget. v2 in bfloat16 comes first, float16 and v1 last. Nothing is downloaded.

Times are medians of blocks of calls between two synchronisations, after two calls that are not counted, the first of
which has a column of its own since it compiles. "Tensors on the device" is the vision tower alone; texts are token ids
in memory, grouped as the local backend does, vectors back in memory; JPEGs go the whole way through `encode_image` and
are decoded by the processor. "Share" is the floating-point operations that the vectors need per second (the formulas
are those of `native.py`) in the rate of one large bfloat16 product, measured in the same process before and after.
"Cosine" is the worst one with float32 on the same card; float32 itself is compared with the published computation
(`reference.py`) on the processor. "Memory" is what tensors took of the device at most, weights included.

Without a CUDA device the script says so and ends with code 2.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from gpu_plan import MIXED, TENSORS, TINY, Case, Group, full_sizes, make_checkpoint, plan
from reporting import Option, heading, run, table

STARTED = time.time()
TERA, GIB = 1e12, 2**30
LAST_S = 15.0
"""Kept for ending processes and printing."""
NO_TIME = "not measured: no time left"
NO_CUDA = """no CUDA device: torch {} (built for CUDA: {}) sees none here, so nothing was measured.
On a machine with an NVIDIA GPU, install a CUDA build of torch; `--device cpu --tiny` tries the script without one."""
TARGETS = {TENSORS: 0.55, MIXED: 0.45}
"""Share to be reached by v2 in bfloat16."""


@dataclass
class Measured:
    """What came back of one group."""

    group: Group
    rates: list[float] = field(default_factory=list)
    cases: dict[int, dict[str, Any]] = field(default_factory=dict)
    check: dict[str, float] = field(default_factory=dict)
    ending: str = NO_TIME
    """Why cases are missing, if any are."""

    def read(self, file: Path) -> None:
        """Everything that the process has written; a last line that is cut off is left out."""
        for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
            try:
                figures = json.loads(line)
            except ValueError:
                continue
            if "rate" in figures:
                self.rates.append(figures["rate"])
            elif "check" in figures:
                self.check = figures["check"]
            else:
                self.cases[figures["case"]] = figures

    def share(self, number: int) -> float | None:
        """Of the products' rate, of one case."""
        found = self.cases.get(number, {})
        if "seconds" not in found or not self.rates:
            return None
        return float(found["flops"] / found["seconds"] / statistics.mean(self.rates))


def report(device: str, budget: int, models: str, tiny: bool) -> str:
    """The table."""
    if device != "cpu" and not torch.cuda.is_available():
        print(NO_CUDA.format(torch.__version__, torch.version.cuda or "none"), file=sys.stderr)
        raise SystemExit(2)
    sizes = TINY if tiny else full_sizes()
    groups = plan(sizes, models.split(","))
    with TemporaryDirectory(prefix="jina-clip-gpu-") as folder:
        measured = [*_measure_all(groups, Path(folder), device, tiny, STARTED + budget - LAST_S)]
    parts = [heading("Both models on a GPU" + " (tiny models)" * tiny, __file__), describe_device(device)]
    parts.append(_rates(measured, sizes.product))
    parts.append(table(COLUMNS, [row for group in measured for row in _rows(group)]))
    parts += [*_checks(measured), *_targets(measured)]
    parts.append(
        f"Took {time.time() - STARTED:.0f} s of {budget} s. What the columns mean: `benchmarks/gpu.py --help`.\n"
    )
    return "\n".join(parts)


def _measure_all(groups: Sequence[Group], folder: Path, device: str, tiny: bool, end: float) -> Iterator[Measured]:
    """Every group until its time; what one does not use is left to the others."""
    start, total, used = time.time(), sum(group.share for group in groups), 0.0
    for number, group in enumerate(groups):
        used += group.share
        checkpoint = folder / group.model
        if not checkpoint.exists() and time.time() < end:
            make_checkpoint(checkpoint, group.model, tiny=tiny)
        deadline = start + (end - start) * used / total
        measured = Measured(group)
        output = folder / f"group-{number}.jsonl"
        if time.time() < deadline:
            print(
                f"{group.model}: {len(group.cases)} cases, {deadline - time.time():.0f} s", file=sys.stderr, flush=True
            )
            command = [sys.executable, str(Path(__file__).with_name("gpu_worker.py")), group.to_json(), str(checkpoint)]
            command += [device, "tiny" if tiny else "full", str(deadline), str(output)]
            measured.ending = _run_until(command, deadline, folder) or NO_TIME
        measured.read(output)
        yield measured


def _run_until(command: Sequence[str], deadline: float, folder: Path) -> str | None:
    """Run a process, and end it and all that it started at the deadline. What was wrong with it, if anything was."""
    # A compiler's cache of an earlier run would make the first calls seem fast.
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor")}
    process = subprocess.Popen(command, stdout=sys.stderr, env=environment, start_new_session=True)
    try:
        code = process.wait(max(0.0, deadline - time.time()))
    except subprocess.TimeoutExpired:
        return None
    finally:
        _end(process)
    return f"not measured: the process ended with {code}" if code else None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process with its compilers, whatever became of it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


COLUMNS = ["", "input", "type", "mode", ">inputs", ">ms", ">per second", ">TFLOP/s", ">share", ">cosine"]
COLUMNS += [">memory, GiB", ">first call, s"]


def _rows(measured: Measured) -> Iterator[list[str]]:
    for number, case in enumerate(measured.group.cases):
        found = measured.cases.get(number)
        yield [case.model, case.what, case.dtype, case.mode, *_figures(measured, number, case, found)]


def _figures(measured: Measured, number: int, case: Case, found: dict[str, Any] | None) -> list[str]:
    if found is None or "failed" in found:
        why = measured.ending if found is None else f"failed: {found['failed']}"
        return [str(case.amount), *("" for _ in range(6)), why.replace("|", "/").replace("\n", " ")]
    amount, seconds, share, peak = found["amount"], found["seconds"], measured.share(number), found["peak"]
    halved = f" (no memory for {case.amount})" if amount != case.amount else ""
    return [
        f"{amount}{halved}",
        f"{1000 * seconds:,.1f}",
        f"{amount / seconds:,.4g}" if amount / seconds < 1000 else f"{amount / seconds:,.0f}",
        f"{found['flops'] / seconds / TERA:.3g}",
        "" if share is None else f"{share:.1%}",
        "reference" if case.dtype == "float32" else "" if found["cosine"] is None else f"{found['cosine']:.5f}",
        "" if peak is None else f"{peak / GIB:.1f}",
        f"{found['first']:.1f}",
    ]


def describe_device(device: str) -> str:
    """The card, its memory, its driver and the versions of what computes on it."""
    if device == "cpu":
        return "On the processor: no GPU was measured.\n"
    properties = torch.cuda.get_device_properties(device)
    return (
        f"{properties.name}, {properties.total_memory / GIB:.0f} GiB, {properties.multi_processor_count} "
        f"multiprocessors, compute capability {properties.major}.{properties.minor}, driver {_driver()}, "
        f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}.\n"
    )


def _driver() -> str:
    """The driver's version, as it says itself."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return "unknown"


def _rates(measured: Sequence[Measured], side: int) -> str:
    rates = [rate / TERA for group in measured for rate in group.rates]
    if not rates:
        return "The rate of products was not measured.\n"
    return (
        f"One bfloat16 product of {side} x {side} x {side}: {statistics.median(rates):.3g} TFLOP/s, the median of "
        f"{len(rates)} ({min(rates):.3g} to {max(rates):.3g}).\n"
    )


def _checks(measured: Sequence[Measured]) -> Iterator[str]:
    """Float32 on the card against the processor."""
    for model in dict.fromkeys(group.group.model for group in measured):
        found = next((group.check for group in measured if group.group.model == model and group.check), None)
        says = "not measured" if found is None else ", ".join(f"{name} {value:.6f}" for name, value in found.items())
        yield f"float32 of {model} beside the published computation on the processor, worst cosine: {says}.\n"


def _targets(measured: Sequence[Measured]) -> Iterator[str]:
    for what, wanted in TARGETS.items():
        shares = [
            (share, case.mode)
            for group in measured
            for number, case in enumerate(group.group.cases)
            if (case.model, case.what, case.dtype) == ("v2", what, "bfloat16")
            and (share := group.share(number)) is not None
        ]
        best, mode = max(shares, default=(None, ""))
        verdict = "not measured" if best is None else f"{'met' if best >= wanted else 'missed'}, {best:.1%} {mode}"
        yield f"Target for {what} of v2 in bfloat16, {wanted:.0%}: {verdict}.\n"


if __name__ == "__main__":
    run(
        report,
        doc=__doc__,
        device=Option("cuda", "cuda, or cpu to try the script"),
        budget=Option(510, "seconds that all of it may take"),
        models=Option("v2,v1", "in this order"),
        tiny=Option(False, "tiny models of the tests, whose compiled graphs run as they are"),
    )
