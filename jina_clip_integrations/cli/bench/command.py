"""`jina-clip bench`: how fast this machine is with a model, and which settings suit it. Downloads nothing."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ...errors import BackendError, ConfigurationError, require_extra
from ...settings import DEFAULT_MODEL
from ..doctor import find_version
from ..messages import OK
from ..options import add_output_options, open_output, positive_int
from ..output import Output, format_table, plural
from .advice import Advice, advise, format_rate

if TYPE_CHECKING:
    from ...backends.local.devices import DeviceChoice
    from .measure import Figure
    from .model import BenchmarkModel

DEFAULT_SECONDS = 90.0
"""Enough for a slow CPU to embed a few images of v2, and under two minutes with the start of the program."""

UNITS = (("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 0.001))
"""Unit of time and its length in seconds."""

clock: Callable[[], float] = time.perf_counter


@dataclass(frozen=True)
class Report:
    """What a run of the command found out."""

    model: BenchmarkModel
    choices: Sequence[DeviceChoice]
    figures: Sequence[Figure]
    seconds: float
    interrupted: bool
    advice: Advice | None

    @property
    def device(self) -> str:
        """The device that was measured."""
        return self.choices[0].device


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `jina-clip bench`."""
    parser.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        help="jina-clip-v1 or jina-clip-v2 (without their weights if these are not here), demo, a checkpoint folder or "
        "a Hub id that is here already (default: %(default)s)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps (default: %(default)s)")
    parser.add_argument("--dtype", help="precisions to compare, with commas (default: the native one, and float32)")
    parser.add_argument(
        "--seconds",
        type=positive_seconds,
        default=DEFAULT_SECONDS,
        metavar="S",
        help="time to take (default: %(default)g)",
    )
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--text-only", action="store_true", help="measure no images")
    only.add_argument("--images-only", action="store_true", help="measure no texts but one short query")
    parser.add_argument("--threads", type=positive_int, metavar="N", help="try up to N threads that decode images")
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    """Measure, and say what to write."""
    out = open_output(args)
    report = measure(args, out)
    # An interrupted run shows what it has, be it nothing.
    if not report.interrupted:
        check_has_figures(report)
    out.result(as_json(report))
    print_report(out, report)
    if report.interrupted:
        raise KeyboardInterrupt(f"interrupted: {plural(len(report.figures), 'figure')} measured")
    return OK


def check_has_figures(report: Report) -> None:
    """Raise what ended it if there is no figure at all."""
    if any(figure.per_second for figure in report.figures):
        return
    if any(figure.why_not == "out of memory" for figure in report.figures):
        raise BackendError(f"nothing could be measured: the model does not fit into the memory of {report.device}")
    raise ConfigurationError(f"nothing was measured: starting took {report.seconds:.0f} s; give more with --seconds")


def measure(args: argparse.Namespace, out: Output) -> Report:
    """Everything that the options ask for, or what was measured of it when Ctrl-C came."""
    # Importing torch counts: the user waits for it.
    start = clock()
    for package in ("torch", "transformers"):
        require_extra(package, extra="local", purpose="jina-clip bench")
    from . import measure as local
    from .model import find_benchmark_model

    choices = list_choices(args.device, args.dtype)
    model = find_benchmark_model(args.model)
    figures: list[Figure] = []
    interrupted = False
    out.note(f"measuring {model_title(model)} on {choices[0].device} for up to {args.seconds:g} s")
    try:
        for figure in local.measure(
            model,
            choices,
            seconds=args.seconds - (clock() - start),
            texts=not args.images_only,
            images=not args.text_only,
            threads=args.threads,
            clock=clock,
        ):
            figures.append(figure)
            out.note(f"{clock() - start:5.1f} s  {describe(figure)}")
    # What was measured is shown, then `run` raises it again for the exit code.
    except KeyboardInterrupt:
        interrupted = True
    return Report(model, choices, figures, clock() - start, interrupted, add_device(advise(figures), args.device))


def list_choices(device: str, dtypes: str | None) -> list[DeviceChoice]:
    """The device in every precision that is to be measured: those asked for, else the native one and float32.

    Raises `ConfigurationError` for what this machine does not have, and for more than one device.
    """
    from ...backends.local.devices import choose_devices

    if "," in device:
        raise ConfigurationError(f"--device {device}: one device is measured at a time")
    # "auto" may come to float32, and then stands once; the order is the one asked for.
    names = [name.strip() for name in dtypes.split(",")] if dtypes else ["auto", "float32"]
    choices = {choice.dtype: choice for choice in (choose_devices(device, name)[0] for name in reversed(names))}
    return [*reversed(choices.values())]


def add_device(advice: Advice | None, device: str) -> Advice | None:
    """The advice, naming the device where it is not the one that is taken anyway."""
    if advice is None or device == "auto":
        return advice
    return Advice({"device": device, **advice.settings}, advice.reasons)


def model_title(model: BenchmarkModel) -> str:
    """The model, and whether its weights are its own."""
    if model.folder is not None:
        return model.name
    return f"{model.name} with random weights (its own are not here; the speed is the same)"


def describe(figure: Figure) -> str:
    """One measurement in words."""
    things = {"query": "one short text", "texts": "texts", "images": "images", "decoding": "decoding"}
    unit = "threads" if figure.what == "decoding" else "at a time"
    count = "" if figure.what == "query" else f"{figure.size} {unit}"
    head = ", ".join(part for part in (figure.dtype, things[figure.what], count) if part)
    return f"{head}: {figure.why_not or format_rate(figure.per_second or 0.0) + ' per second'}"


def as_json(report: Report) -> dict[str, Any]:
    """Everything that was measured, ready for JSON."""
    from ...concurrency.processors import processors

    advice = report.advice
    return {
        "model": report.model.name,
        "weights": "random" if report.model.folder is None else "checkpoint",
        "device": report.device,
        "reason": report.choices[0].reason,
        "processors": processors(),
        "torch": find_version("torch"),
        "seconds": round(report.seconds, 1),
        "interrupted": report.interrupted,
        "figures": [asdict(figure) for figure in report.figures],
        "advice": advice and {"settings": dict(advice.settings), "call": advice.call(report.model.name)},
        "reasons": list(advice.reasons) if advice else [],
    }


def print_report(out: Output, report: Report) -> None:
    """The figures for people, and in the last line what to write."""
    from ...concurrency.processors import processors

    choice, figures = report.choices[0], report.figures
    out.line(f"{model_title(report.model)}")
    out.line(f"{choice.device}, {plural(processors(), 'processor')}, torch {find_version('torch')}: {choice.reason}")
    for what, heading in (("images", "images at a time"), ("texts", "texts at a time, 41 tokens on average")):
        for line in speed_table(figures, what, heading):
            out.line(line)
    out.line()
    for line in remarks(figures):
        out.line(line)
    if report.advice is None:
        out.line(f"Too little was measured for advice; give it more than {report.seconds:.0f} s with --seconds.")
        return
    out.line()
    for reason in report.advice.reasons:
        out.line(reason)
    out.line()
    out.line(report.advice.call(report.model.name))


def speed_table(figures: Sequence[Figure], what: str, heading: str) -> list[str]:
    """Items per second: a line per batch size, a column per precision. Empty if nothing of it was measured."""
    selected = [figure for figure in figures if figure.what == what]
    if not selected:
        return []
    sizes = sorted({figure.size for figure in selected}, key=lambda size: math.inf if size == "auto" else size)
    dtypes = list(dict.fromkeys(str(figure.dtype) for figure in selected))
    cells = {(figure.size, figure.dtype): figure for figure in selected}
    automatic = {figure.size for figure in selected if figure.auto and what == "images"}
    rows = []
    for size in sizes:
        row = [cells.get((size, dtype)) for dtype in dtypes]
        name = "auto (by tokens)" if size == "auto" else f"{size} (auto)" if size in automatic else str(size)
        rows.append([name, *("" if f is None else f.why_not or format_rate(f.per_second or 0.0) for f in row)])
    return ["", *format_table([heading, *(f"{dtype}/s" for dtype in dtypes)], rows)]


def remarks(figures: Sequence[Figure]) -> list[str]:
    """What does not fit a table: the short query, decoding, memory."""
    lines = [
        f"One short query, {figure.dtype}: {format_duration(1 / figure.per_second)}"
        for figure in figures
        if figure.what == "query" and figure.per_second
    ]
    decoded = [figure for figure in figures if figure.what == "decoding" and figure.per_second]
    if decoded:
        speeds = ", ".join(f"{plural(int(f.size), 'thread')} {format_rate(f.per_second or 0.0)}" for f in decoded)
        lines.append(f"12-megapixel JPEGs decoded and resized per second: {speeds}")
    if durations := [describe_duration(figures, what) for what in ("images", "texts") if best_speed(figures, what)]:
        lines.append(f"At the highest speed, {' and '.join(durations)}")
    if memory := max((figure.memory_bytes or 0 for figure in figures), default=0):
        lines.append(f"Memory at the most: {memory / 1e9:.1f} GB")
    return lines


def best_speed(figures: Sequence[Figure], what: str) -> float:
    """The highest speed, items per second; 0.0 if there is none."""
    return max((figure.per_second or 0.0 for figure in figures if figure.what == what), default=0.0)


def describe_duration(figures: Sequence[Figure], what: str) -> str:
    """How long a thousand take."""
    return f"1,000 {what} take {format_duration(1000 / best_speed(figures, what))}"


def format_duration(seconds: float) -> str:
    """`8.4 ms`, `1.2 s`, `12 min`, `4.6 h`."""
    unit, length = next((unit, length) for unit, length in UNITS if seconds >= length or unit == "ms")
    return f"{seconds / length:.3g} {unit}"


def positive_seconds(text: str) -> float:
    """An argparse type: a positive number of seconds."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return number
