"""Damaged images of every format through the real loader: an image or an `ImageError`, in bounded time and memory."""

from __future__ import annotations

import pytest

from jina_clip_integrations import ImageError, SourcePolicy
from jina_clip_integrations.images.rendering import Rendering
from jina_clip_integrations.inputs import InputParser
from tests.fuzz.box import run_boxed
from tests.fuzz.image_seeds import FORMATS, SIZE, seeds_of
from tests.fuzz.mutations import mutant

MUTANTS = 2_000
"""Of each format in CI."""

MAX_PIXELS = 1_000_000
"""A mutant may claim to be larger, and is refused before it is decoded."""

PEAK_BYTES = 512 * 2**20
"""Memory of a whole box: its imports, and images of `MAX_PIXELS` decoded one at a time."""

PARSERS = (
    InputParser(sources=SourcePolicy(max_pixels=MAX_PIXELS)),
    InputParser(
        sources=SourcePolicy(max_pixels=MAX_PIXELS),
        rendering=Rendering(background=(255, 255, 255), high_bit_depth="scale"),
    ),
)


def load(number: int, format_: str) -> str:
    """Load one mutant in both renderings. Raises whatever is no `ImageError`."""
    data = mutant(seeds_of(format_), number)
    image = PARSERS[number // 7 % 2].image(data)
    try:
        size = image.size()
        opened = image.open()
    except ImageError:
        assert isinstance(image.failure, ImageError)
        return "refused"
    assert opened.mode == "RGB"
    assert opened.width * opened.height <= MAX_PIXELS
    assert size == opened.size or format_ == "HEIF"  # whose decoder may learn the size late
    return "read" if opened.size == SIZE or opened.size == SIZE[::-1] else "read in another size"


@pytest.mark.parametrize("format_", FORMATS)
def test_a_damaged_image_is_read_or_refused(format_: str, effort: int) -> None:
    result = run_boxed("tests.fuzz.test_images:load", format_, count=MUTANTS * effort)
    assert not result.failures, "\n".join(f"{number}: {what}" for number, what in result.failures.items())
    assert result.tried == MUTANTS * effort
    assert result.outcomes["refused"] > MUTANTS * effort // 20  # the damage is real
    assert result.outcomes["read"] > MUTANTS * effort // 20  # and reaches beyond the header
    assert result.peak_bytes < PEAK_BYTES, f"{result.peak_bytes:,} bytes"


@pytest.mark.parametrize("format_", FORMATS)
def test_the_seeds_are_read(format_: str) -> None:
    for seed in seeds_of(format_):
        assert InputParser().image(seed.data).open().size in (SIZE, SIZE[::-1])
        assert seed.layout.blocks
        assert all(0 <= start <= end <= len(seed.data) for start, end in seed.layout.blocks)
