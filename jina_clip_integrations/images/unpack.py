"""Unpacking compressed bodies piece by piece, so that a small body cannot fill the memory before it is measured."""

from __future__ import annotations

import zlib
from collections.abc import Iterator


class UnpackError(Exception):
    """A body that cannot be unpacked."""


BLOCK_BYTES = 2**18
"""Most that is unpacked at a time."""

_GZIP, _ZLIB = zlib.MAX_WBITS | 16, zlib.MAX_WBITS


class Unpacker:
    """Undoes a `Content-Encoding`: gzip or deflate, which some hosts apply unasked. Others, and chains, are refused."""

    def __init__(self, encoding: str) -> None:
        """Raises `UnpackError` for what is not unpacked here."""
        name = encoding.strip().lower()
        if name not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise UnpackError(f"the server compressed its answer ({name[:40]}), which it was asked not to")
        self._stream = None
        if name not in ("", "identity"):
            self._stream = zlib.decompressobj(_ZLIB if name == "deflate" else _GZIP)

    def blocks(self, data: bytes) -> Iterator[bytes]:
        """What `data` unpacks to, at most `BLOCK_BYTES` at a time. Raises `UnpackError` if it is broken."""
        if self._stream is None:
            yield data
            return
        while data and not self._stream.eof:
            try:
                yield self._stream.decompress(data, BLOCK_BYTES)
            except zlib.error as error:
                raise UnpackError("the server's compressed answer is broken") from error
            data = self._stream.unconsumed_tail
