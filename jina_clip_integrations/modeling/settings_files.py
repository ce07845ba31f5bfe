"""The JSON files of a checkpoint, which a stranger may have written: bounded, and every fault an error of ours."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import CheckpointError, ConfigurationError, JinaClipError

MAX_FILE_BYTES = {
    "config.json": 4 * 2**20,
    "preprocessor_config.json": 4 * 2**20,
    "model.safetensors.index.json": 64 * 2**20,
    **dict.fromkeys(
        ("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", "tokenizer.model", "sentencepiece.bpe.model"),
        128 * 2**20,
    ),
    **dict.fromkeys(("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"), 16 * 2**20),
}
"""Largest size of a file that is read whole, in bytes. The largest one published is the tokenizer of v2, with 17 MB."""

MESSAGE_CHARACTERS = 300
"""Most characters of another library's message that an error repeats."""


class CheckpointSettingsError(CheckpointError, ConfigurationError):
    """A file of a checkpoint says something that cannot be: at the same time a setting that cannot work."""


def check_files(folder: str | os.PathLike[str]) -> None:
    """Raise `CheckpointError` for a file that is too large to be what its name says, or is a device or a pipe.

    Nothing happens for a Hub id, which is no folder yet.
    """
    for name, limit in MAX_FILE_BYTES.items():
        try:
            status = (Path(folder) / name).stat()
        except (OSError, ValueError):  # not there, or the name of a repository
            continue
        if not stat.S_ISREG(status.st_mode):
            raise CheckpointError(f"{Path(folder) / name} is not a regular file")
        if status.st_size > limit:
            raise CheckpointError(
                f"{Path(folder) / name} has {status.st_size} bytes; a file of this name has at most {limit}"
            )


@contextmanager
def name_faults(source: object, what: str) -> Iterator[None]:
    """Raise what the block raises as errors of the checkpoint `source`, naming `what` was read.

    `OSError` is let through: the framework raises it for a file that is not there.
    """
    try:
        yield
    except ConfigurationError as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointSettingsError(f"{what} of {source}: {error.message}") from error
    except (JinaClipError, OSError):
        raise
    except BaseException as error:  # parsers and validators raise every kind, and plain `Exception`
        # What a panic of Rust code becomes is no `Exception`, and its class cannot be imported.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = " ".join(str(error).split())[:MESSAGE_CHARACTERS]
        raise CheckpointSettingsError(f"{what} of {source} cannot be used: {type(error).__name__}: {reason}") from error
