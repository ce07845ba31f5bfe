"""What a safetensors file says about itself, checked before anything is read or allocated.

The format: 8 bytes with the header's length, a JSON object of tensors (`dtype`, `shape`, `data_offsets`), the values.
The library checks most of it as well; here every fault has the name of its tensor, and memory is bounded.
"""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import CheckpointError

MAX_HEADER_BYTES = 16 * 2**20
"""Longest header that is read. That of v2 has 110 kB; the format allows 100 MB, whose JSON takes a gigabyte."""

BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I8", "U8", "BOOL"), 8),
}
"""Bits of a value by the name of its type. Smaller types are packed, and left to the library."""

OTHER_FORMATS = {b"PK\x03\x04": "a zip archive, as torch.save writes it", b"\x80": "a pickle"}
"""First bytes of files that are weights of another kind under this name."""

NAME_CHARACTERS = 120
"""Most characters of a tensor's name in a message."""


def check_header(file: Path) -> None:
    """Raise `CheckpointError`, naming the file and the tensor, unless `file` is a whole safetensors file."""
    try:
        size, head = _read_header(file)
        tensors = json.loads(head.decode("utf-8"), object_pairs_hook=_refuse_duplicates)
    except (OSError, ValueError, RecursionError) as error:
        raise _refusal(file, str(error) or type(error).__name__) from error
    if not isinstance(tensors, dict):
        raise _refusal(file, "its header is not a JSON object")
    data_bytes = size - 8 - len(head)
    for name, entry in tensors.items():
        if name != "__metadata__" and (reason := _find_fault(entry, data_bytes)):
            raise _refusal(file, f"{shorten_name(name)}: {reason}", tensors=(name,))


def shorten_name(name: str) -> str:
    """A tensor's name for a message: bounded, and without characters that would act on a terminal."""
    shown = name if name.isprintable() else ascii(name)[1:-1]
    return shown if len(shown) <= NAME_CHARACTERS else f"{shown[:NAME_CHARACTERS]}…"


def _read_header(file: Path) -> tuple[int, bytes]:
    """The file's size in bytes and its header."""
    status = file.stat()
    # A device or a pipe could be read for ever.
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a regular file")
    with file.open("rb") as opened:
        start = opened.read(8)
        for signature, kind in OTHER_FORMATS.items():
            # A length that begins like this is far over the limit, or the second byte tells the pickle's protocol.
            if start.startswith(signature) and int.from_bytes(start, "little") > status.st_size - 8:
                raise ValueError(f"it is {kind}; such files are not read, because unpickling runs code")
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > status.st_size - 8:
            raise ValueError(f"its header of {length} bytes does not fit into {status.st_size} bytes")
        if length > MAX_HEADER_BYTES:
            raise ValueError(f"its header of {length} bytes is longer than the {MAX_HEADER_BYTES} that are read")
        return status.st_size, opened.read(length)


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{shorten_name(twice)} stands twice in its header")
    return found


def _find_fault(entry: Any, data_bytes: int) -> str | None:
    """What is wrong with a tensor's entry in a file with `data_bytes` of values; None if nothing is."""
    if not isinstance(entry, Mapping):
        return "its entry is not an object"
    shape: Any
    offsets: Any
    shape, offsets, dtype = entry.get("shape"), entry.get("data_offsets"), entry.get("dtype")
    if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2 or not isinstance(dtype, str):
        return "its entry has no shape, type and offsets that could be"
    start, end = offsets
    if not start <= end <= data_bytes:
        return f"its values would be the bytes {start} to {end} of {data_bytes}"
    bits = BITS.get(dtype)
    if bits is not None and math.prod(shape) * bits != 8 * (end - start):
        return f"{end - start} bytes are not a {dtype} tensor of shape {shape!r:.100}"
    return None


def _are_counts(values: Any) -> bool:
    """Whether these are integers of which a shape or a range can be made."""
    return isinstance(values, list) and len(values) <= 64 and all(type(v) is int and 0 <= v < 2**63 for v in values)


def _refusal(file: Path, reason: str, *, tensors: tuple[str, ...] = ()) -> CheckpointError:
    return CheckpointError(f"{file} is not a complete safetensors file ({reason}); fetch it again", tensors=tensors)
