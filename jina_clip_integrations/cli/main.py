"""Entry of the `jina-clip` command: which subcommands exist, and what their errors become.

Only the module of the subcommand that was asked for is imported, so `--help` and `--version` load next to nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, NoReturn

from .._version import __version__
from ..printable import printable_name
from .messages import BROKEN_PIPE, DEBUG_VARIABLE, EXIT_CODES, exit_code, format_error

COMMANDS = {
    "demo": "search an image gallery in many languages with the demo model, offline",
    "embed": "vectors of texts and images as .npy, .parquet or .jsonl",
    "index": "put a folder of images and texts into a vector store",
    "load": "put Parquet files of vectors into Qdrant, LanceDB or PostgreSQL, in bulk",
    "search": "search a store made by index, with words or with an image",
    "duplicates": "images of a folder that are the same or nearly so, and which to keep",
    "app": "search a folder of one's own images in the browser",
    "estimate": "what embedding a folder would cost, and what resizing saves",
    "classify": "zero-shot classification: the images of a folder by labels of your own",
    "evaluate": "how well a model finds things in your data, and how small its vectors may become",
    "serve": "this machine behind Jina's HTTP schema, for others to point base_url at",
    "verify": "whether a server, an export or a checkpoint computes the model, and which mistake it makes",
    "export": "a model as graphs for ONNX Runtime, OpenVINO and browsers",
    "mcp": "a folder of images for agents: a Model Context Protocol server",
    "bench": "how fast this machine is, and which batch size, precision and workers suit it",
    "doctor": "what is installed, what would be used, what is missing",
}
"""Subcommand, which is also the name of its module here, and its line of help."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code (see `messages.EXIT_CODES`); errors become one line on stderr."""
    # Tests call this with their own arguments; the console script with none.
    arguments = list(sys.argv[1:] if argv is None else argv)
    replace_unencodable_characters()
    try:
        args = build_parser(arguments).parse_args(arguments)
        with _short_warnings():
            code: int = args.run(args)
            sys.stdout.flush()  # here, so that a pipe without a reader is noticed before the exit code is chosen
        return code
    except BrokenPipeError:
        _silence_stdout()
        return BROKEN_PIPE
    # Whatever else goes wrong is one line for people; the traceback is there for those who ask for it.
    except (Exception, KeyboardInterrupt) as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        print(f"jina-clip: {format_error(error)}", file=sys.stderr)
        return exit_code(error)


class Parser(argparse.ArgumentParser):
    """A parser whose messages repeat what was typed or pasted without letting it act on the terminal."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and the message, and exit with 2."""
        super().error(printable_name(message))


def build_parser(arguments: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The parser. Only the subcommand in `arguments` gets its options, so that no other module is imported."""
    parser = Parser(
        prog="jina-clip",
        description="Text and images in one embedding space: Jina CLIP over the API or on this machine.",
        epilog="Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items()) + ".",
    )
    parser.add_argument("--version", action="version", version=f"jina-clip {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    # No option of the top level takes a value, so the first word that is no option is the subcommand.
    wanted = next((word for word in arguments if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if name == wanted:
            module: Any = import_module(f".{name}", __package__)
            module.configure(command)
            command.set_defaults(run=module.run)
    return parser


@contextlib.contextmanager
def _short_warnings() -> Iterator[None]:
    """Show a warning as one line on stderr, without the line of code that caused it."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"warning: {printable_name(' '.join(str(message).split()))}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def replace_unencodable_characters() -> None:
    """Print a question mark for a character that the terminal's encoding lacks, instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        encoding = (getattr(stream, "encoding", None) or "").lower().replace("-", "")
        if encoding not in ("utf8", "") and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _silence_stdout() -> None:
    """Keep the interpreter from failing once more when it flushes a pipe whose reader is gone (`| head`) at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
