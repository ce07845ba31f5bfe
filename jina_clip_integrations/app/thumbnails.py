"""Small versions of the folder's images, made once and kept in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable


class ThumbnailCache:
    """What was made last, at most `limit_bytes` of it. Thread-safe."""

    def __init__(self, make: Callable[[str, int], bytes], limit_bytes: int) -> None:
        self._make = make
        self._limit_bytes = limit_bytes
        self._kept: OrderedDict[tuple[str, int, str], bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, name: str, pixels: int, version: str) -> bytes:
        """The thumbnail of the image `name` as it was at `version`. Raises what making it raises."""
        key = (name, pixels, version)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        content = self._make(name, pixels)  # not under the lock: several are made at a time
        with self._lock:
            self._bytes += len(content) - len(self._kept.get(key, b""))
            self._kept[key] = content
            while self._bytes > self._limit_bytes and len(self._kept) > 1:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return content
