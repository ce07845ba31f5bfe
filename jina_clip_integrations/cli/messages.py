"""From an exception to one clear line and an exit code."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from ..errors import BackendError, JinaClipError
from ..printable import printable_name

DEBUG_VARIABLE = "JINA_CLIP_DEBUG"
"""Set to anything, this environment variable lets errors through with their traceback."""

OK = 0
FAILED = 1
BAD_INPUT = 2
INCOMPLETE = 3
INTERRUPTED = 130
BROKEN_PIPE = 141

EXIT_CODES = {
    OK: "done",
    FAILED: "the work failed (service, network, device, disk)",
    BAD_INPUT: "bad input, setting or option, a missing extra or key",
    INCOMPLETE: "done, but some inputs were left out (with --strict)",
    INTERRUPTED: "interrupted, what was finished is kept",
}
"""What the exit codes mean. 130 and 141 (a closed pipe) are the shell's convention: 128 plus the signal's number."""

FAILURES_OF_THE_DISK = (errno.ENOSPC, errno.EFBIG, errno.EIO, getattr(errno, "EDQUOT", errno.ENOSPC))
"""Errors of the system for which no option is to blame: a full disk, a quota, a broken device."""


ALLOW_PRIVATE = "--allow-private-addresses"


def for_command_line(text: str) -> str:
    """`text` with the option of the command line in place of the argument that Python code would pass."""
    return text.replace("sources=SourcePolicy.trusted()", ALLOW_PRIVATE).replace(
        "pass logit_scale=", "pass --logit-scale"
    )


@contextlib.contextmanager
def telling_how_to_go_on(remark: str) -> Iterator[None]:
    """Let an interruption say what is kept, and how to go on from there."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted: {remark}") from None


def exit_code(error: BaseException) -> int:
    """The exit code for an error that ended the command."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, BackendError) or (isinstance(error, OSError) and error.errno in FAILURES_OF_THE_DISK):
        return FAILED
    if isinstance(error, (JinaClipError, ImportError, OSError)):  # a file that is not there is bad input, too
        return BAD_INPUT
    return FAILED


def format_error(error: BaseException) -> str:
    """What went wrong, on one line, without a traceback."""
    if isinstance(error, KeyboardInterrupt):
        return str(error) or "interrupted"
    if isinstance(error, (JinaClipError, ImportError)):
        text = str(error)
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    else:  # a bug: its class helps to find it, and so does the traceback
        text = f"{type(error).__name__}: {error} (set {DEBUG_VARIABLE}=1 to see where)"
    return printable_name(for_command_line(" ".join(text.split())))
