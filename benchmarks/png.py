"""What a PNG costs before it travels: our writer beside single calls of Pillow, in milliseconds and bytes.

    python benchmarks/png.py [--rounds 15] [--write]

Images of 512 x 512 pixels, one tile of v2, each turned into a PNG by every writer in turns: photographs (made up, and
the one that matplotlib brings), a plain colour, a gradient and a page of text. Our writer earns its lines as long as no
call of Pillow that makes about as small a file of a photograph is within 1.5 times of its time.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from matplotlib import get_data_path
from photos import write_photos
from PIL import Image, ImageDraw
from reporting import Option, heading, run, table
from timing import in_turns

from jina_clip_integrations.images.geometry import resize_and_crop
from jina_clip_integrations.images.png import to_png

SIDE = 512
SETTINGS = {
    "level 1": {"compress_level": 1},
    "level 3": {"compress_level": 3},
    "default (level 6)": {},
    "RLE": {"compress_level": 1, "compress_type": 3},
    "Huffman only": {"compress_level": 1, "compress_type": 2},
    "stored": {"compress_level": 0},
}
"""Options of `Image.save`; the types are zlib's strategies, which Pillow hands through."""

ABOUT = 1.25
"""Files of up to so many times the bytes count as about the same size."""

Writer = Callable[[Image.Image], bytes]


def _ours(image: Image.Image) -> bytes:
    return to_png(np.asarray(image))


def _pillow(image: Image.Image, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


OURS = "images/png.py"
WRITERS: dict[str, Writer] = {OURS: _ours} | {
    f"Pillow, {name}": partial(_pillow, **options) for name, options in SETTINGS.items()
}


def images() -> dict[str, Image.Image]:
    """One image of every kind."""
    with TemporaryDirectory() as folder:
        path = write_photos(Path(folder), 1, sizes={(1024, 768): 1000})[0]
        made_up = _tile(path)
    levels = np.add.outer(np.arange(SIDE), np.arange(SIDE)) // 4
    return {
        "photograph, made up": made_up,
        "photograph": _tile(Path(get_data_path(), "sample_data", "grace_hopper.jpg")),
        "plain colour": Image.new("RGB", (SIDE, SIDE), "red"),
        "gradient": Image.fromarray(np.stack([levels] * 3, axis=-1).astype(np.uint8)),
        "page of text": _page(),
    }


def _tile(path: Path) -> Image.Image:
    with Image.open(path) as photo:
        return Image.fromarray(resize_and_crop(photo, SIDE))


def _page() -> Image.Image:
    page = Image.new("RGB", (SIDE, SIDE), "white")
    for line in range(SIDE // 12):
        ImageDraw.Draw(page).text((10, 12 * line), f"{line} the quick brown fox jumps over the lazy dog " * 2, "black")
    return page


def report(rounds: int) -> str:
    """A table for every image and what follows from it."""
    parts = [heading("PNG writers", __file__)]
    for kind, image in images().items():
        times = in_turns({name: partial(write, image) for name, write in WRITERS.items()}, rounds=rounds)
        sizes = {name: len(write(image)) for name, write in WRITERS.items()}
        rows = [(name, f"{1000 * times[name]:.2f}", f"{sizes[name] / 1000:,.1f}") for name in WRITERS]
        parts += [f"## {kind.capitalize()}\n", table(("writer", ">ms", ">kB"), rows), _verdict(times, sizes)]
    return "\n".join(parts)


def _verdict(times: dict[str, float], sizes: dict[str, int]) -> str:
    rivals = [name for name in times if name != OURS and sizes[name] <= ABOUT * sizes[OURS]]
    if not rivals:
        return f"No call of Pillow makes a file of at most {ABOUT:g} times the size.\n"
    best = min(rivals, key=times.__getitem__)
    return (
        f"The fastest call of Pillow that makes a file of at most {ABOUT:g} times the size ({best}) takes "
        f"{times[best] / times[OURS]:.1f} times as long.\n"
    )


if __name__ == "__main__":
    run(report, doc=__doc__, rounds=Option(15, "how often every writer writes every image"))
