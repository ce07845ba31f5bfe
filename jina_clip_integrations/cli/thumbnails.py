"""`--thumbnails`: results with their images, in terminals that can draw."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..collections.thumbnails import open_small
from ..errors import ImageError
from ..images.sources import SourcePolicy
from .output import Output
from .terminal import Graphics, find_graphics

SIDE = 160
"""Longest side of a drawn image in pixels: some ten lines of a terminal."""

NOT_DRAWN = (
    "no thumbnails: the output is no terminal that draws images in the way of kitty, iTerm2 or as sixels; --graphics "
    "draws in one of these ways all the same"
)


def choose_graphics(args: argparse.Namespace, out: Output) -> Graphics | None:
    """How images are drawn; None if they are not, which is said if they were asked for."""
    if not args.thumbnails:
        return None
    found = Graphics(args.graphics) if args.graphics else find_graphics()
    if found is None:
        out.note(NOT_DRAWN)
    return found


def draw_thumbnail(out: Output, graphics: Graphics, path: str) -> None:
    """Draw the image at `path`, or say why there is none. Only files are opened, and pixels are bounded."""
    try:
        image = open_small(Path(path), SIDE, SourcePolicy(schemes=(), data_uris=False), name="")
    except ImageError as error:
        out.line(f"     no thumbnail: {error.message.removeprefix(': ')}")
        return
    out.draw(graphics.draw(image))
