"""Fuzzing that is led by what it reaches: images and data URIs, from a corpus in the repository.

atheris watches branches of this package and of Pillow's Python code where it is installed; hypothesis does not need it,
and is led by how far the loader gets.
"""

from __future__ import annotations

import base64
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings, target
from hypothesis import strategies as st

from jina_clip_integrations import ImageError, SourcePolicy
from jina_clip_integrations.images.formats import SIGNATURES, describe_unreadable, media_type, unreadable_reason
from jina_clip_integrations.images.metadata import without_metadata
from jina_clip_integrations.images.tiff import raw_reason, read_numbers
from jina_clip_integrations.inputs import InputParser
from tests.fuzz.image_seeds import FORMATS, seeds_of
from tests.fuzz.mutations import mutant

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(__file__).parent / "corpus"
PARSER = InputParser(sources=SourcePolicy(max_pixels=1_000_000, max_bytes=1_000_000))

RUNS = 3_000
"""Inputs of atheris in CI, for each target."""


def load_image(data: bytes) -> str:
    """What becomes of bytes. Raises whatever is no `ImageError`."""
    try:
        image = PARSER.image(data)
        image.size()
        image.open()
    except ImageError as error:
        return error.message
    return ""


def load_data_uri(text: str) -> str:
    """What becomes of a data URI. Raises whatever is no `ImageError`."""
    try:
        PARSER.image(f"data:{text}").open()
    except ImageError as error:
        return error.message
    return ""


def look_at(data: bytes) -> None:
    """What else looks at bytes of strangers. Nothing here may raise."""
    media_type(data)
    describe_unreadable(data)
    unreadable_reason("a.tif", data)
    stripped = without_metadata(data)
    assert stripped is None or stripped != data
    raw_reason(read_numbers(data))


PREFIXES = st.sampled_from([parts.get(0, b"\0\0\0\x1c" + parts.get(4, b"")) for _, parts in SIGNATURES])


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(FORMATS), st.integers(0, 2**32))
def test_images(format_: str, number: int) -> None:
    data = mutant(seeds_of(format_), number)
    said = load_image(data)
    target(float("broken" in said) + 2.0 * (said == ""), label="how far the loader gets")
    look_at(data)


@settings(max_examples=300, deadline=None)
@given(PREFIXES, st.binary(max_size=200))
def test_bytes_that_begin_like_an_image(prefix: bytes, rest: bytes) -> None:
    load_image(prefix + rest)
    look_at(prefix + rest)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.from_regex(r"(image/[a-z]*)?(;[a-z=\-]*){0,3}(;base64)?,[A-Za-z0-9+/=%\-_ \n]*")))
@example(";base64,")
@example(";base64,%")
@example(",%")
@example(";base64;base64,====")
@example("image/png;BASE64 ,iVBORw0KGgo\0")
@example(";base64,\ud800")
@example(",\ud800")
def test_data_uris(text: str) -> None:
    load_data_uri(text)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(FORMATS), st.integers(0, 2**32), st.booleans())
def test_images_in_data_uris(format_: str, number: int, urlsafe: bool) -> None:
    data = mutant(seeds_of(format_), number)
    encoded = (base64.urlsafe_b64encode if urlsafe else base64.b64encode)(data).decode()
    if data:
        load_data_uri(f";base64,{encoded}")


@pytest.mark.parametrize("path", sorted((CORPUS / "images").iterdir()), ids=lambda path: path.name)
def test_the_corpus(path: Path) -> None:
    data = path.read_bytes()
    load_image(data)
    look_at(data)


@pytest.mark.parametrize("name", ["images", "data_uris"])
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris has no wheel for this system")
def test_coverage_guided(name: str, effort: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz.guided", name, str(tmp_path), str(CORPUS / name)]
    limits = [f"-runs={RUNS * effort}", "-seed=1", "-timeout=20", "-max_len=4096", "-verbosity=1"]
    ran = subprocess.run([*command, *limits, f"-artifact_prefix={tmp_path}/"], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert "Done" in ran.stderr
