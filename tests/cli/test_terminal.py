"""How a terminal draws images: asking it, believing it, and sequences that decode back to the image."""

from __future__ import annotations

import base64
import io
import os
import re
import sys
import threading
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jina_clip_integrations.cli.terminal import (
    KITTY_CHUNK,
    Graphics,
    ask_terminal,
    find_graphics,
    guess_graphics,
    read_answers,
)

XTERM = b"\x1bP>|XTerm(379)\x1b\\\x1b[?1;0;1024S\x1b[?63;1;2;4;6;9;15;22c"


@pytest.fixture
def image() -> Image.Image:
    """Too large for one piece of kitty's protocol, with something that must not get out."""
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    image = Image.fromarray(pixels)
    image.info["icc_profile"] = b"\x1b]0;profile\a"
    image.info["comment"] = b"\x1b[2J"
    return image


def check(data: bytes, image: Image.Image) -> None:
    decoded = Image.open(io.BytesIO(data))
    assert decoded.format == "PNG"
    np.testing.assert_array_equal(np.asarray(decoded), np.asarray(image))
    assert "icc_profile" not in decoded.info


def test_kitty_gets_the_image_in_pieces(image: Image.Image) -> None:
    drawn = Graphics("kitty").draw(image)
    pieces = re.findall(r"\x1b_G([^;]*);([A-Za-z0-9+/=]*)\x1b\\", drawn)
    assert "".join(f"\x1b_G{keys};{data}\x1b\\" for keys, data in pieces) + "\n" == drawn
    assert len(pieces) > 2
    assert all(len(data) <= KITTY_CHUNK and len(data) % 4 == 0 for _, data in pieces)
    assert pieces[0][0] == "a=T,f=100,q=2,m=1"
    assert [keys for keys, _ in pieces[1:]] == ["m=1"] * (len(pieces) - 2) + ["m=0"]
    check(base64.b64decode("".join(data for _, data in pieces), validate=True), image)


def test_a_small_image_is_one_piece() -> None:
    small = Image.new("RGB", (4, 4), (1, 2, 3))
    keys, data = re.fullmatch(r"\x1b_G(.*);(.*)\x1b\\\n", Graphics("kitty").draw(small)).groups()
    assert keys == "a=T,f=100,q=2,m=0"
    check(base64.b64decode(data, validate=True), small)


def test_iterm_gets_the_image_with_its_size_and_no_name(image: Image.Image) -> None:
    found = re.fullmatch(r"\x1b\]1337;File=([^:]*):([A-Za-z0-9+/=]*)\a\n", Graphics("iterm").draw(image))
    data = base64.b64decode(found[2], validate=True)
    assert found[1] == f"inline=1;size={len(data)};width=120px;height=90px"
    check(data, image)


def test_sixels_have_the_colours_of_the_terminal(image: Image.Image) -> None:
    assert len(re.findall(r"#\d+;2;", Graphics("sixel", 16).draw(image))) <= 16


@pytest.mark.parametrize(
    ("answers", "graphics"),
    [
        (XTERM, Graphics("sixel")),
        (b"\x1b[?1;0;16S\x1b[?62;4c", Graphics("sixel", 16)),
        (b"\x1b[?1;3;0S\x1b[?62;4c", Graphics("sixel")),
        (b"\x1b[?1;0;0S\x1b[?62;4c", Graphics("sixel")),
        (b"\x1b_Gi=31;OK\x1b\\\x1bP>|kitty(0.42)\x1b\\\x1b[?62;52;c", Graphics("kitty")),
        (b"\x1b_Gi=31;ENOTSUP\x1b\\\x1b[?62;c", None),
        (b"\x1bP>|iTerm2 3.5.4\x1b\\\x1b[?64;1;2;4;6;17;18;21;22c", Graphics("iterm")),
        (b"\x1bP>|WezTerm 20240203\x1b\\\x1b[?65;4;6;18;22c", Graphics("iterm")),
        (b"\x1b[?6c", None),
        (b"\x1b[?64;1;2c", None),
        (b"\x1b[?62;14;24c", None),
        (b"4", None),
    ],
)
def test_answers_are_believed(answers: bytes, graphics: Graphics | None) -> None:
    assert read_answers(answers) == graphics


@pytest.mark.parametrize(
    ("environment", "graphics"),
    [
        ({}, None),
        ({"TERM": "xterm-256color"}, None),
        ({"TERM": "xterm-kitty"}, Graphics("kitty")),
        ({"KITTY_WINDOW_ID": "1"}, Graphics("kitty")),
        ({"KITTY_WINDOW_ID": "1", "TMUX": "/run/tmux"}, None),
        ({"TERM": "screen-256color", "TERM_PROGRAM": "iTerm.app"}, None),
        ({"TERM_PROGRAM": "iTerm.app"}, Graphics("iterm")),
        ({"LC_TERMINAL": "iTerm2"}, Graphics("iterm")),
        ({"TERM_PROGRAM": "WezTerm"}, Graphics("iterm")),
        ({"TERM_PROGRAM": "vscode"}, None),
    ],
    ids=str,
)
def test_where_nothing_answers_variables_are_looked_at(environment: dict[str, str], graphics: Any) -> None:
    assert guess_graphics(environment) == graphics


def test_a_pipe_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(_questions: str) -> bytes:
        raise AssertionError("asked")

    assert find_graphics(ask) is None
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-kitty")
    monkeypatch.delenv("TMUX", raising=False)
    assert find_graphics(lambda questions: XTERM) == Graphics("sixel")
    assert find_graphics(lambda questions: b"") == Graphics("kitty")


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_real_terminal_is_asked_and_left_as_it_was() -> None:
    import termios

    ours, theirs = os.openpty()
    before = termios.tcgetattr(theirs)
    asked: list[bytes] = []

    def answer() -> None:
        while not asked or not asked[-1].endswith(b"\x1b[c"):
            asked.append((asked[-1] if asked else b"") + os.read(ours, 1024))
        for part in (XTERM[:9], XTERM[9:]):  # as over a slow line
            os.write(ours, part)

    terminal = threading.Thread(target=answer)
    terminal.start()
    try:
        assert ask_terminal("\x1b[>q\x1b[c", device=os.ttyname(theirs)) == XTERM
        assert termios.tcgetattr(theirs) == before
    finally:
        terminal.join()
        os.close(ours)
        os.close(theirs)


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_terminal_that_does_not_answer_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jina_clip_integrations.cli.terminal.ASK_S", 0.05)
    ours, theirs = os.openpty()
    try:
        assert ask_terminal("\x1b[c", device=os.ttyname(theirs)) == b""
    finally:
        os.close(ours)
        os.close(theirs)
    assert ask_terminal("\x1b[c", device="/nowhere") == b""
    assert ask_terminal("\x1b[c", device=os.devnull) == b""
