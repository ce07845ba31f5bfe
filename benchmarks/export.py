"""Exports of a full-size model with random weights: what they take, how they agree, and how fast they run.

    python benchmarks/export.py [--version v1] [--work FOLDER] [--step export --only onnx] [--write]

Exports (`--step export`), vectors (`vectors`), speed (`speed`) and the longest text (`long`) are measured, every
contender in its own process. With `--work` the checkpoint, exports and figures stay in that folder, so that steps can
be run one at a time, in part (`--only`, a part of the contenders' names), and again; the report tells of all that was
measured. Cosines are with our float32 vectors. `native` is the local backend.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from full_size import checkpoint
from machine import PeakMemory
from reporting import Option, heading, in_own_process, run, table
from timing import best_of

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.errors import BackendError
from jina_clip_integrations.export.agreement import cosines, sample_images

GIGA = 1e9

EXPORTS = ("onnx float32", "onnx float16", "onnx int8", "openvino float32", "openvino float16", "openvino int8")
NATIVE = ("native float32", "native bfloat16")
STEPS = ("export", "vectors", "speed", "long")

WORDS = ("a red bicycle", "against the wall", "zwei Boote", "im Hafen", "雨の中で", "الأفق", "people dance", "1984")
TEXT_WORDS = (1, 4, 20, 80, 300, 500)
LONG_WORDS = 2500
"""More than the longest text holds."""

Figures = dict[str, Any]


def texts_of(*counts: int) -> list[str]:
    """Texts of so many words or short phrases."""
    random = np.random.default_rng(0)
    return [" ".join(random.choice(WORDS, count)) for count in counts]


def report(version: str, work: str | None, step: str, only: str) -> str:
    """Measure what is asked for; the tables of everything that has been measured."""
    with _kept(work) as folder, checkpoint(version, str(folder / "checkpoint")):
        shelf = folder / "figures.json"
        figures: Figures = json.loads(shelf.read_text("utf-8")) if shelf.exists() else {}
        for name in {"all": STEPS, "tables": ()}.get(step, (step,)):
            for contender in (*(NATIVE if name != "export" else ()), *EXPORTS):
                if only in contender and _applies(name, contender, figures):
                    figures.setdefault(name, {})[contender] = in_own_process(
                        __file__, name, str(folder), *contender.split()
                    )
                    shelf.write_text(json.dumps(figures), encoding="utf-8")
        title = f"Exports of jina-clip-{version} at full size, random weights"
        return "\n".join([heading(title, __file__), *(TABLES[name](figures) for name in STEPS if name in figures)])


@contextmanager
def _kept(work: str | None) -> Any:
    with TemporaryDirectory() as temporary:
        folder = Path(work or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        yield folder


def _applies(step: str, contender: str, figures: Figures) -> bool:
    if "refused" in figures.get("export", {}).get(contender, {}):
        return False
    return step != "long" or contender.endswith("float32")


def case(step: str, folder: str, runtime: str, dtype: str) -> Figures:
    """One step of one contender."""
    found: Figures = {"export": export, "vectors": vectors, "speed": speed, "long": long_text}[step](
        Path(folder), runtime, dtype
    )
    return found


def export(folder: Path, runtime: str, dtype: str) -> Figures:
    """Export anew: seconds, peak of private memory and file sizes."""
    from jina_clip_integrations.export import export_model

    target = folder / f"{runtime}-{dtype}"
    shutil.rmtree(target, ignore_errors=True)
    start = time.perf_counter()
    try:
        with PeakMemory() as memory:
            done = export_model(folder / "checkpoint", target, format=runtime, dtype=dtype)
    except BackendError as error:
        return {"refused": str(error)}
    return {"seconds": time.perf_counter() - start, "peak": memory.peak, "files": done.files}


def open_encoder(folder: Path, runtime: str, dtype: str) -> JinaClipEncoder:
    """The encoder of a contender."""
    if runtime == "native":
        return JinaClipEncoder(folder / "checkpoint", backend="local", device="cpu", dtype=dtype)
    return JinaClipEncoder(folder / f"{runtime}-{dtype}", backend=runtime)


def vectors(folder: Path, runtime: str, dtype: str) -> Figures:
    """Vectors of texts from a few tokens to a thousand and more, and of images; kept for comparison."""
    with open_encoder(folder, runtime, dtype) as encoder:
        found = {
            "texts": encoder.encode_text(texts_of(*TEXT_WORDS)),
            "images": encoder.encode_image(list(sample_images())),
        }
    return {
        kind: _compared(folder / f"{kind}.npy", rows, keep=_is_exact(runtime, dtype)) for kind, rows in found.items()
    }


def long_text(folder: Path, runtime: str, dtype: str) -> Figures:
    """One text of the greatest length."""
    with open_encoder(folder, runtime, dtype) as encoder, PeakMemory() as memory:
        encoder.encode_text("a text that loads the model")
        start = time.perf_counter()
        row = encoder.encode_text(texts_of(LONG_WORDS))
        seconds = time.perf_counter() - start
    found = _compared(folder / "long.npy", row, keep=_is_exact(runtime, dtype))
    return {"seconds": seconds, "peak": memory.peak, "cosine": found[0]}


def _is_exact(runtime: str, dtype: str) -> bool:
    return (runtime, dtype) == ("native", "float32")


def _compared(file: Path, rows: Any, *, keep: bool) -> list[float]:
    """Cosines with the rows of our float32 computation, which are kept in `file`."""
    if keep:
        np.save(file, rows)
    return [float(value) for value in cosines(np.load(file), rows)]


def speed(folder: Path, runtime: str, dtype: str) -> Figures:
    """Seconds of a query, of one image, and of a batch of texts as a folder of documents has them."""
    [query, *documents] = texts_of(4, *[15, 40] * 4)
    image = sample_images()[0]
    with open_encoder(folder, runtime, dtype) as encoder:
        works: Mapping[str, Callable[[], object]] = {
            "query": lambda: encoder.encode_text(query),
            "texts": lambda: encoder.encode_text(documents),
            "image": lambda: encoder.encode_image(image),
        }
        for work in works.values():  # what is loaded or compiled then would count as a run that is too long to repeat
            work()
        return {name: best_of(work, runs=2) for name, work in works.items()}


def export_table(figures: Figures) -> str:
    """What an export takes."""
    rows = []
    for name, each in figures["export"].items():
        if "refused" in each:
            rows.append([name, each["refused"], "", "", "", ""])
            continue
        text, vision = (_megabytes(each["files"], stem) for stem in ("text", "vision"))
        largest = max(each["files"].values()) / GIGA
        rows.append(
            [name, f"{each['seconds']:.0f} s", f"{each['peak'] / GIGA:.1f} GB", text, vision, f"{largest:.2f} GB"]
        )
    columns = ["export", ">time", ">peak memory", ">text", ">vision", ">largest file"]
    return "Time and memory hold the comparison with the model that ends every export.\n\n" + table(columns, rows)


def _megabytes(files: Mapping[str, int], stem: str) -> str:
    return f"{sum(size for name, size in files.items() if name.startswith(stem)) / 1e6:,.0f} MB"


def vectors_table(figures: Figures) -> str:
    """How far vectors are from ours in float32."""
    rows = []
    for name, each in figures["vectors"].items():
        values = [figure for kind in ("texts", "images") for figure in (min(each[kind]), np.mean(each[kind]))]
        rows.append([name, *(f"{value:.6f}" for value in values)])
    columns = ["contender", ">texts, worst", ">texts, mean", ">images, worst", ">images, mean"]
    told = f"{len(TEXT_WORDS)} texts of {min(TEXT_WORDS)} to {max(TEXT_WORDS)} phrases of 4 tokens, 3 images."
    return f"{told}\n\n" + table(columns, rows)


def speed_table(figures: Figures) -> str:
    """How fast each is, and beside our own path."""
    exact = figures["speed"]["native float32"]
    half = figures["speed"].get("native bfloat16", exact)
    rows = []
    for name, each in figures["speed"].items():
        cells = [name]
        for kind in ("image", "texts", "query"):
            ratios = f"{exact[kind] / each[kind]:.2f} / {half[kind] / each[kind]:.2f}"
            cells += [f"{each[kind] * 1000:,.0f} ms", ratios]
        rows.append(cells)
    columns = ["contender", ">one image", ">×", ">8 texts", ">×", ">one query", ">×"]
    told = "One image and one query at a time. × is how many times as fast as our float32 path / as our bfloat16 path."
    return f"{told}\n\n" + table(columns, rows)


def long_table(figures: Figures) -> str:
    """The longest text."""
    rows = [
        [name, f"{each['seconds']:.0f} s", f"{each['peak'] / GIGA:.1f} GB", f"{each['cosine']:.6f}"]
        for name, each in figures["long"].items()
    ]
    told = "One text of 8,192 tokens, alone; memory of the whole process."
    return f"{told}\n\n" + table(["contender", ">time", ">peak memory", ">cosine"], rows)


TABLES: Mapping[str, Callable[[Figures], str]] = {
    "export": export_table,
    "vectors": vectors_table,
    "speed": speed_table,
    "long": long_table,
}

if __name__ == "__main__":
    run(
        report,
        doc=__doc__,
        case=case,
        version=Option("v2", "v1 or v2"),
        work=Option(None, "a folder for checkpoint, exports and figures, kept (12 GB for v2)"),
        step=Option("all", f"all, {', '.join(STEPS)}, or tables: what was measured before"),
        only=Option("", "measure only contenders whose name holds this"),
    )
