"""Made-up photographs in the sizes that people have, all different, the same ones every time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

PHONE = (4000, 3000)
SIZES = {PHONE: 50, (1920, 1080): 150, (1024, 768): 400, (640, 480): 400}
"""Width and height to the number of images of that size in every thousand."""

SCENES = 4
"""Different images per size; the others differ from one of them in a patch at the centre."""

QUALITY = 88


def write_photos(
    folder: Path, count: int, *, sizes: Mapping[tuple[int, int], int] = SIZES, seed: int = 0
) -> list[Path]:
    """Write `count` JPEG files, so many of a size in every thousand, and return their paths in a shuffled order."""
    chance = np.random.default_rng(seed)
    paths = []
    for size, share in sizes.items():
        scenes = [_scene(size, chance) for _ in range(SCENES)]
        for number in range(round(count * share / 1000)):
            path = folder / f"{size[0]}x{size[1]}-{number:04}.jpg"
            _changed(scenes[number % SCENES], chance).save(path, quality=QUALITY)
            paths.append(path)
    return [paths[place] for place in chance.permutation(len(paths))]


def _scene(size: tuple[int, int], chance: np.random.Generator) -> Image.Image:
    """Colours that vary on all scales, the coarse ones most, as in photographs."""
    width, height = size
    levels = np.full((height, width, 3), 128.0, np.float32)
    cells = 4
    while cells < width:
        grid = chance.normal(128.0, 40.0, (max(1, cells * height // width), cells, 3)).clip(0, 255).astype(np.uint8)
        layer = np.asarray(Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC), np.float32)
        levels += (layer - 128.0) * (4.0 / cells) ** 0.5
        cells *= 2
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


def _changed(scene: Image.Image, chance: np.random.Generator) -> Image.Image:
    """`scene` with a patch of random colours at its centre, large enough to be seen when it is shrunk."""
    side = min(scene.size) // 8
    colours = Image.fromarray(chance.integers(0, 256, (4, 4, 3), np.uint8))
    patched = scene.copy()
    place = (scene.width - side) // 2, (scene.height - side) // 2
    patched.paste(colours.resize((side, side), Image.Resampling.NEAREST), place)
    return patched
