"""Render every image style to pixel arrays for training, and pack the gallery that ships with the package.

    python training/render.py

Arrays go to `training/.cache/styles.npz` as (n, 80, 80, 4) uint8 with straight alpha, one row per emoji in the
order of `catalogue.load_emoji()`; a row of zeros means that the style has no such image.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import resvg_py
from catalogue import Emoji, character_map, emoji_id, icon_set, load_emoji
from fetch import CACHE, package_folder
from PIL import Image

#: Edge of the training images; larger than the model's input so that a random crop stays sharp.
TRAIN_SIZE = 80
#: Edge of the gallery images, chosen for human eyes.
GALLERY_SIZE = 112
GALLERY_QUALITY = 82

#: Styles the model is trained on, with the weight of each when one is drawn per sample.
TRAIN_STYLES = {
    "noto": 0.34,
    "noto-v1": 0.14,
    "fluent-emoji-flat": 0.14,
    "fluent-emoji": 0.09,
    "emojione": 0.16,
    "fxemoji": 0.09,
    "fluent-emoji-high-contrast": 0.04,
}
#: Styles that only the evaluation looks at; the first is also watched during training.
HELD_OUT_STYLES = ("twemoji", "openmoji")
HELD_OUT_STYLE = HELD_OUT_STYLES[0]

DEMO_DATA = Path(__file__).parents[1] / "jina_clip_integrations" / "demo" / "data"


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", name.lower().replace("&", "and"))


def _names_by_id() -> dict[str, list[str]]:
    """Return every spelling of an emoji's English name, best first, as slugs without separators."""
    names: dict[str, list[str]] = {}
    for emoji in load_emoji():
        names.setdefault(emoji.id, []).append(emoji.names["en"])
    for style in ("noto", HELD_OUT_STYLE, "fluent-emoji-flat"):  # sets that publish code points lend their names
        for code, icon in character_map(style).items():
            names.setdefault(code, []).append(icon)
    for row in json.loads((package_folder("emoji-datasource") / "emoji.json").read_text("utf-8")):
        spellings = names.setdefault(emoji_id(row["unified"]), [])
        spellings.extend([row["name"] or "", *row["short_names"]])
    return {code: list(dict.fromkeys(filter(None, map(_slug, found)))) for code, found in names.items()}


def icons_of(style: str) -> list[str | None]:
    """Return the SVG of each gallery emoji in `style`, or None where the style lacks it."""
    data = icon_set(style)
    icons: dict[str, Any] = data["icons"]
    by_code = character_map(style)
    by_slug = {_slug(name): name for name in icons}
    for alias, target in data.get("aliases", {}).items():
        if not {"hFlip", "vFlip", "rotate"} & target.keys():
            by_slug.setdefault(_slug(alias), target["parent"])
    spellings = _names_by_id()
    found: list[str | None] = []
    for emoji in load_emoji():
        name = by_code.get(emoji.id)
        if name not in icons and not by_code:
            name = next((by_slug[slug] for slug in spellings[emoji.id] if by_slug.get(slug) in icons), None)
        icon = icons.get(name) if name else None
        found.append(_svg(icon, data) if icon else None)
    return found


def _svg(icon: dict[str, Any], data: dict[str, Any]) -> str:
    width, height = (icon.get(side, data.get(side, 16)) for side in ("width", "height"))
    left, top = icon.get("left", 0), icon.get("top", 0)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left} {top} {width} {height}" width="{width}" height="{height}">{icon["body"]}</svg>'
    )


def _rgba(job: tuple[str | None, int]) -> np.ndarray:
    svg, size = job
    canvas = np.zeros((size, size, 4), np.uint8)
    if svg is None:
        return canvas
    png = resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, skip_system_fonts=True)
    image = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
    top, left = (size - image.height) // 2, (size - image.width) // 2
    canvas[top : top + image.height, left : left + image.width] = np.asarray(image)
    return canvas


def render(style: str, size: int) -> np.ndarray:
    """Return one style as (n, size, size, 4) uint8; missing images are all zero."""
    with multiprocessing.Pool() as pool:
        return np.stack(pool.map(_rgba, [(svg, size) for svg in icons_of(style)], chunksize=32))


def on_white(images: np.ndarray) -> np.ndarray:
    """Composite straight-alpha (..., 4) uint8 images onto white, giving (..., 3) uint8."""
    alpha = images[..., 3:].astype(np.float32) / 255
    return np.rint(images[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)


def _index_rows(emoji: tuple[Emoji, ...]) -> Iterator[dict[str, Any]]:
    for entry in emoji:
        yield {"id": entry.id, "emoji": entry.char, "category": entry.category, "names": entry.names}


def pack_gallery(folder: Path) -> None:
    """Write `gallery.zip`: `index.json` and one WebP per emoji, composited on white, the same bytes every time."""
    images = on_white(render("noto", GALLERY_SIZE))
    emoji = load_emoji()
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "gallery.zip", "w") as archive:

        def add(name: str, data: bytes, compression: int) -> None:
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, compression)

        index = json.dumps(list(_index_rows(emoji)), ensure_ascii=False, separators=(",", ":"))
        add("index.json", index.encode(), zipfile.ZIP_DEFLATED)
        for entry, pixels in zip(emoji, images, strict=True):
            data = io.BytesIO()
            Image.fromarray(pixels).save(data, "WEBP", quality=GALLERY_QUALITY, method=6)
            add(f"{entry.id}.webp", data.getvalue(), zipfile.ZIP_STORED)


def main() -> None:
    """Render all styles to the cache and pack the gallery."""
    arrays = {}
    for style in (*TRAIN_STYLES, HELD_OUT_STYLE):
        arrays[style] = render(style, TRAIN_SIZE)
        print(style, int((arrays[style][..., 3].max(axis=(1, 2)) > 0).sum()), "images", flush=True)
    np.savez(CACHE / "styles.npz", **arrays)
    pack_gallery(DEMO_DATA)
    print("gallery", (DEMO_DATA / "gallery.zip").stat().st_size, "bytes")


if __name__ == "__main__":
    main()
