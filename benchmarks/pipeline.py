"""Whether photos are decoded as fast as the model takes them: 12-megapixel JPEGs, from the file to the vector.

    python benchmarks/pipeline.py [--photos 4] [--device auto] [--write]

Made-up photos of 4000 x 3000 pixels. First what one thread does with a photo, then how many photos several threads make
ready, with the published preprocessing and with `fast_decode`. Then whole jobs of `encode_image` beside their two
halves, the photos made ready without a model and the model on pixels that are ready, all in turns: a job that takes as
long as its slower half hides the other one. The model is v2 of full size with random weights, and the small demo model,
which is faster than any decoder and shows the other case.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from full_size import checkpoint
from photos import PHONE, write_photos
from PIL import Image
from reporting import Option, heading, run, table
from timing import best_of, in_turns

from jina_clip_integrations import JinaClipEncoder
from jina_clip_integrations.backends.local.preprocess import load_preprocessor
from jina_clip_integrations.backends.preprocess import REDUCING_GAP, Preprocessor
from jina_clip_integrations.demo import demo_model_path
from jina_clip_integrations.images.geometry import resize_and_crop
from jina_clip_integrations.inputs import InputParser

SIZES = {"jina-clip-v1": 224, "jina-clip-v2": 512}
MODES = {"as published": False, "fast_decode": True}
SMALL_JOB = 24
"""Photos for the demo model."""


def report(photos: int, device: str, folder: str | None) -> str:
    """All tables."""
    with TemporaryDirectory() as made, checkpoint("v2", folder) as full:
        paths = write_photos(Path(made), max(photos, SMALL_JOB), sizes={PHONE: 1000})
        kilobytes = sum(path.stat().st_size for path in paths) / len(paths) / 1000
        parts = [
            heading("From a photo to its vector", __file__),
            f"Photos of {PHONE[0]} x {PHONE[1]} pixels as JPEG, {kilobytes:,.0f} kB each.\n",
            "What one thread does with one photo:\n",
            stages(paths[0]),
            "Photos per second that are ready for v2:\n",
            ready_rates(full, paths),
            "Whole jobs:\n",
            jobs({"v2, full size": (full, paths[:photos], 1), "demo": (demo_model_path(), paths, 3)}, device),
            "Cosine of vectors with `fast_decode` to those without (demo model, these photos): "
            f"{fast_cosine(paths):.5f} at least.",
        ]
    return "\n".join(parts)


def stages(path: Path) -> str:
    """Milliseconds of decoding and of resizing."""
    data = path.read_bytes()
    rows = []
    for model, size in SIZES.items():
        for name, fast in MODES.items():
            min_side = REDUCING_GAP * size if fast else None
            source = InputParser().image(data)
            decoded = source.open(min_side=min_side)
            decoding = best_of(partial(source.open, min_side=min_side))
            resizing = best_of(partial(resize_and_crop, decoded, size))
            times = (f"{1000 * seconds:.0f} ms" for seconds in (decoding, resizing, decoding + resizing))
            rows.append((model, name, f"{decoded.width} x {decoded.height}", *times))
    whole = best_of(lambda: Image.open(BytesIO(data)).load())
    note = f"Pillow alone, without a conversion or a check, decodes it in {1000 * whole:.0f} ms.\n"
    return table(("model", "decoding", ">decoded to", ">decoding", ">resizing", ">together"), rows) + "\n" + note


def ready_rates(folder: Path, paths: Sequence[Path]) -> str:
    """Photos per second by number of threads."""
    processors = len(os.sched_getaffinity(0))
    counts = [count for count in (1, 2, 4, 8, 16, 32) if count < processors] + [processors]
    rates = {}
    for name, fast in MODES.items():
        preprocessor = load_preprocessor(folder, max_length=512, fast_decode=fast)
        rates[name] = [
            len(paths) / best_of(partial(_preprocess, preprocessor, paths, count), runs=2) for count in counts
        ]
    columns = ("threads", *(f">{name}" for name in rates))
    return table(columns, [(count, *(f"{rates[name][n]:.3g}" for name in rates)) for n, count in enumerate(counts)])


def _preprocess(preprocessor: Preprocessor, paths: Sequence[Path], threads: int) -> list[Any]:
    images = [InputParser().image(path) for path in paths]
    with ThreadPoolExecutor(threads) as pool:
        return [done.pixels for done in pool.map(preprocessor.preprocess, range(len(images)), images)]


def jobs(models: dict[str, tuple[Path, Sequence[Path], int]], device: str) -> str:
    """Seconds of a whole job and of its halves."""
    rows = []
    for model, (folder, paths, rounds) in models.items():
        for name, fast in MODES.items():
            with _halves(folder, paths, device, fast) as works:
                seconds = in_turns(works, rounds=rounds)
            slower = max(seconds["decoding"], seconds["model"])
            rows.append(
                (
                    model,
                    name,
                    len(paths),
                    *(f"{seconds[work]:.2f} s" for work in works),
                    f"{seconds['job'] / slower:.2f}",
                )
            )
    columns = ("model", "decoding", ">photos", ">decoding alone", ">model alone", ">job", ">times the slower half")
    return table(columns, rows)


@contextmanager
def _halves(folder: Path, paths: Sequence[Path], device: str, fast: bool) -> Iterator[dict[str, Callable[[], object]]]:
    threads = len(os.sched_getaffinity(0))
    preprocessor = load_preprocessor(folder, max_length=512, fast_decode=fast)
    with JinaClipEncoder(folder, backend="local", device=device, fast_decode=fast) as encoder:
        ready = _preprocess(preprocessor, paths, threads)  # of the model's size, so that nothing is left to do to them
        yield {
            "decoding": partial(_preprocess, preprocessor, paths, threads),
            "model": partial(encoder.encode_image, ready),
            "job": partial(encoder.encode_image, paths),
        }


def fast_cosine(paths: Sequence[Path]) -> float:
    """Lowest cosine of a photo's two vectors."""
    rows = [_vectors(paths, fast) for fast in MODES.values()]
    return float((rows[0] * rows[1]).sum(axis=1).min())


def _vectors(paths: Sequence[Path], fast: bool) -> Any:
    with JinaClipEncoder("demo", backend="local", fast_decode=fast) as encoder:
        return encoder.encode_image(paths)


if __name__ == "__main__":
    run(
        report,
        doc=__doc__,
        photos=Option(4, "photos for the model of full size"),
        device=Option("auto", "auto, cpu, cuda"),
        folder=Option(None, "a random checkpoint of v2 to use, or to keep there"),
    )
