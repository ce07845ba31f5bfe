"""Images in terminals: which of three ways a terminal knows, found out by asking it, and what draws one in each.

Nothing but digits, base64 and sixels goes into these sequences: no name of a file, and nothing that a file says of
itself.
"""

from __future__ import annotations

import base64
import contextlib
import io
import os
import re
import select
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .sixel import to_sixel

if TYPE_CHECKING:
    import PIL.Image

PROTOCOLS = ("kitty", "iterm", "sixel")
"""Kitty's (Ghostty and others know it too), iTerm2's (WezTerm, mintty), and sixels (xterm, foot, Windows Terminal)."""

ASK_S = 1.0
"""Longest wait for a terminal's answer, which takes milliseconds, or a round trip over a network."""
KITTY_CHUNK = 4096
"""Most characters of base64 in one sequence of kitty's protocol."""

_QUESTIONS = (
    "\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\"  # kitty's: would this pixel be drawn?
    "\x1b[>q"  # the terminal's name and version (XTVERSION)
    "\x1b[?1;1;0S"  # how many colours sixels may have (XTSMGRAPHICS)
    "\x1b[c"  # what it can; every terminal answers this, and so ends the wait
)
_LAST_ANSWER = re.compile(rb"\x1b\[\?([\d;]*)c")
_COLORS = re.compile(rb"\x1b\[\?1;0;(\d+)S")
_LIKE_ITERM = re.compile(rb"\x1bP>\|(?:iTerm2|WezTerm|mintty)")


@dataclass(frozen=True)
class Graphics:
    """How a terminal draws images."""

    protocol: str
    """One of `PROTOCOLS`."""
    colors: int = 256
    """Most colours of a sixel image."""

    def draw(self, image: PIL.Image.Image) -> str:
        """What draws an RGB image at the cursor, and leaves the cursor at the beginning of a line below it."""
        if self.protocol == "sixel":
            return f"{to_sixel(image, colors=self.colors)}\n"
        return f"{_draw_kitty(image) if self.protocol == 'kitty' else _draw_iterm(image)}\n"


def find_graphics(ask: Callable[[str], bytes] | None = None) -> Graphics | None:
    """How the terminal behind stdout draws images; None if it does not, or if stdout is no terminal."""
    if not sys.stdout.isatty():
        return None
    answers = (ask or ask_terminal)(_QUESTIONS)
    return read_answers(answers) if answers else guess_graphics(os.environ)


def read_answers(answers: bytes) -> Graphics | None:
    """What a terminal's answers to the questions say."""
    if b"\x1b_Gi=31;OK" in answers:
        return Graphics("kitty")
    if _LIKE_ITERM.search(answers):
        return Graphics("iterm")
    said, colors = _LAST_ANSWER.search(answers), _COLORS.search(answers)
    if said is None or b"4" not in said[1].split(b";"):
        return None
    return Graphics("sixel", min(int(colors[1]), 256) if colors and int(colors[1]) >= 2 else 256)


def guess_graphics(environment: Mapping[str, str]) -> Graphics | None:
    """What variables say of a terminal that cannot be asked, as on Windows."""
    # A multiplexer inherits the variables of the terminal around it, and passes no images on.
    if "TMUX" in environment or environment.get("TERM", "").startswith(("screen", "tmux")):
        return None
    if "KITTY_WINDOW_ID" in environment or environment.get("TERM") in ("xterm-kitty", "xterm-ghostty"):
        return Graphics("kitty")
    program = {environment.get("TERM_PROGRAM"), environment.get("LC_TERMINAL")}
    return Graphics("iterm") if program & {"iTerm.app", "iTerm2", "WezTerm", "mintty"} else None


def ask_terminal(questions: str, *, device: str = "/dev/tty") -> bytes:
    """What the terminal of this process answers; nothing where it cannot be asked."""
    try:
        with _raw_terminal(device) as terminal:
            os.write(terminal, questions.encode("ascii"))
            return _read_answers(terminal)
    except (ImportError, OSError):
        return b""


@contextlib.contextmanager
def _raw_terminal(device: str) -> Iterator[int]:
    """The terminal, which meanwhile neither shows what comes in nor waits for the end of a line."""
    import termios
    import tty

    terminal = os.open(device, os.O_RDWR | os.O_NOCTTY)
    try:
        before = termios.tcgetattr(terminal)
        try:
            tty.setcbreak(terminal)
            yield terminal
        finally:
            termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
    except termios.error as error:
        raise OSError(str(error)) from error
    finally:
        os.close(terminal)


def _read_answers(terminal: int) -> bytes:
    answers, ends_s = b"", time.monotonic() + ASK_S
    while not _LAST_ANSWER.search(answers) and (left_s := ends_s - time.monotonic()) > 0:
        if select.select([terminal], [], [], left_s)[0]:
            answers += os.read(terminal, 1024)
    return answers


def _draw_kitty(image: PIL.Image.Image) -> str:
    """Transmit and show a PNG (f=100), in pieces, and answer nothing (q=2)."""
    data = _png_base64(image)
    pieces = [data[start : start + KITTY_CHUNK] for start in range(0, len(data), KITTY_CHUNK)]
    heads = ["a=T,f=100,q=2,"] + [""] * (len(pieces) - 1)
    return "".join(
        f"\x1b_G{head}m={int(number < len(pieces) - 1)};{piece}\x1b\\"
        for number, (head, piece) in enumerate(zip(heads, pieces, strict=True))
    )


def _draw_iterm(image: PIL.Image.Image) -> str:
    data = _png_base64(image)
    size = f"size={len(base64.b64decode(data))};width={image.width}px;height={image.height}px"
    return f"\x1b]1337;File=inline=1;{size}:{data}\a"


def _png_base64(image: PIL.Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", icc_profile=None)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
