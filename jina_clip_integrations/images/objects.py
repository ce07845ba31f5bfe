"""Images in the hands of other packages, recognised by module and methods: none of those packages is imported.

`simplify` turns what holds an image into a form that `inputs` understands; nothing is read before it is asked for.
"""

from __future__ import annotations

import inspect
import io
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import SplitResult

import numpy as np
from numpy.typing import NDArray

from ..concurrency.locks import ForkSafeLock
from ..errors import ImageError

ROW_KEYS = frozenset({"bytes", "path"})
"""What an image is in a row of `datasets` and of the Parquet files that it writes."""

BLOCK_BYTES = 2**20


@dataclass(frozen=True)
class Readable:
    """Something of the program's own that gives the bytes of an image when it is asked."""

    name: str | None
    """For messages: a path or an address."""
    chunks: Callable[[], Iterable[Any]]
    """Its bytes in pieces. May raise anything."""
    hint: str
    """What to do where it cannot be read."""

    def open(self, limit: int) -> BinaryIO:
        """All its bytes. Raises `ImageError` for more than `limit` of them, and where they cannot be read."""
        content = bytearray()
        try:
            for chunk in self.chunks():
                content += chunk
                if len(content) > limit:
                    raise ImageError(f"more than {limit:,} bytes, the limit of the source policy (max_bytes)")
        except (OSError, ImageError, MemoryError):
            raise
        except Exception as error:  # of a package that is not known here
            raise ImageError(f"cannot be read ({type(error).__name__}); {self.hint}") from error
        return io.BytesIO(bytes(content))


def is_row(given: Any) -> bool:
    """Whether `given` is an image as `datasets` and Parquet files keep it: `{"bytes": ..., "path": ...}`."""
    return isinstance(given, Mapping) and bool(given) and set(given) <= ROW_KEYS


def is_image_object(given: Any) -> bool:
    """Whether `given` is one image of another package, though it may be iterable."""
    return is_row(given) or any(recognise(given) for recognise, _ in _FORMS)


def simplify(given: Any) -> Any:
    """The path, string, bytes, array or `Readable` that `given` means; `given` itself where it is nothing known.

    Raises `ImageError` for what is known, but holds no image that could be meant.
    """
    for recognise, convert in _FORMS:
        if recognise(given):
            return convert(given)
    return given


def _package(given: Any) -> str:
    return str(type(given).__module__).partition(".")[0]


def _has(given: Any, *names: str) -> bool:
    # On the type where it is a method: an object may make up any attribute when it is asked for it.
    return all(hasattr(type(given), name) for name in names)


# Rows and scalars of Arrow


def _is_arrow(given: Any) -> bool:
    return _package(given) == "pyarrow" and _has(given, "as_py")


def _from_arrow(scalar: Any) -> Any:
    value = scalar.as_py()
    if value is None:
        raise ImageError("an empty value of an Arrow column")
    return value


# Addresses


def _is_address(given: Any) -> bool:
    named = type(given).__name__ in ("URL", "Url", "AnyUrl", "HttpUrl", "AnyHttpUrl", "FileUrl")
    return isinstance(given, SplitResult) or (
        named and _package(given) in ("yarl", "httpx", "pydantic", "pydantic_core")
    )


def _from_address(address: Any) -> str:
    return address.geturl() if isinstance(address, SplitResult) else str(address)


# Paths that are not of this file system


def _is_remote_path(given: Any) -> bool:
    """A path in an archive or in a store: `zipfile.Path`, `UPath`, a resource of a package."""
    if isinstance(given, (str, bytes)) or not _has(given, "open", "read_bytes"):
        return False
    return not isinstance(given, os.PathLike) or hasattr(given, "protocol")


def _from_remote_path(path: Any) -> Any:
    if isinstance(path, os.PathLike) and getattr(path, "protocol", "") in ("", "file", "local"):
        return str(getattr(path, "path", path))
    hint = f"pass {type(path).__name__}.read_bytes()"
    return Readable(str(path), lambda: _blocks(lambda: path.open("rb")), hint)


def _is_open_file(given: Any) -> bool:
    return _package(given) == "fsspec" and _has(given, "open") and not _has(given, "read")


def _from_open_file(file: Any) -> Readable:
    if "b" not in str(getattr(file, "mode", "rb")):
        raise ImageError('an OpenFile in text mode; open it with fsspec.open(..., mode="rb")')
    return Readable(str(getattr(file, "full_name", file)), lambda: _blocks(lambda: file), "pass its bytes")


def _blocks(opener: Callable[[], Any]) -> Iterable[Any]:
    with opener() as stream:
        while block := stream.read(BLOCK_BYTES):
            yield block


# Answers of HTTP clients


def _is_response(given: Any) -> bool:
    return (_has(given, "iter_content") or _has(given, "iter_bytes")) and hasattr(given, "status_code")


def _from_response(response: Any) -> Readable:
    status = response.status_code
    if isinstance(status, int) and not 200 <= status < 300:
        raise ImageError(f"a response with the status {status}, which is no image")
    chunks = (lambda: response.iter_content(BLOCK_BYTES)) if _has(response, "iter_content") else response.iter_bytes
    return Readable(str(response.url), chunks, "read the response first (httpx: response.read(), or await aread())")


# Blobs and images that are shown


def _is_blob(given: Any) -> bool:
    return _has(given, "as_bytes", "as_bytes_io")


def _from_blob(blob: Any) -> Any:
    """LangChain's: bytes, or a path that is left to the source policy."""
    if getattr(blob, "data", None) is not None:
        return blob.as_bytes()
    if getattr(blob, "path", None) is None:
        raise ImageError("a Blob with neither data nor path")
    return os.fspath(blob.path)


def _is_displayed(given: Any) -> bool:
    return _package(given) == "IPython" and type(given).__name__ == "Image"


def _from_displayed(image: Any) -> Any:
    for value in (image.data, image.filename, image.url):
        if value is not None:
            return value
    raise ImageError("an IPython Image without data, file name or URL")


# Tensors


def is_array(given: Any) -> bool:
    """Whether `given` is an array of another package than NumPy: a tensor of torch, TensorFlow or JAX."""
    if isinstance(given, (np.ndarray, np.generic)) or not _has(given, "__array__", "dtype", "shape"):
        return False
    return len(given.shape) in (2, 3, 4)  # a column of a table has such methods too


def _is_one_array(given: Any) -> bool:
    return is_array(given) and len(given.shape) != 4


def _from_array(tensor: Any) -> NDArray[np.uint8]:
    shape, dtype = tuple(tensor.shape), str(tensor.dtype)
    if not dtype.endswith("uint8") or dtype.endswith("quint8"):
        raise _tensor_error(shape, dtype, "values from 0 to 1 become (tensor * 255).round().to(torch.uint8)")
    if len(shape) != 3:
        raise _tensor_error(shape, dtype, "repeat the grey channel: tensor.expand(3, -1, -1)")
    first, last = shape[0] == 3, shape[2] == 3
    if first and last:
        raise _tensor_error(
            shape, dtype, "either axis may be the channels; pass tensor.permute(1, 2, 0).numpy(), or as it is"
        )
    if not first and not last:
        four = 4 in (shape[0], shape[2])
        raise _tensor_error(
            shape, dtype, f"{'drop the alpha' if four else 'repeat the grey'} channel, so that there are 3"
        )
    for step in ("detach", "cpu"):
        tensor = getattr(tensor, step)() if callable(getattr(tensor, step, None)) else tensor
    try:
        array: NDArray[np.uint8] = np.asarray(tensor)
    except Exception as error:  # of memory that only a device can read
        raise ImageError(f"a {type(tensor).__name__} that cannot be copied to memory; pass a NumPy array") from error
    return array.transpose(1, 2, 0) if first else array


def _tensor_error(shape: tuple[int, ...], dtype: str, hint: str) -> ImageError:
    return ImageError(f"a tensor image must be uint8 (3, H, W) or (H, W, 3), not {dtype} {shape}; {hint}")


_FORMS: tuple[tuple[Callable[[Any], bool], Callable[[Any], Any]], ...] = (
    (_is_arrow, _from_arrow),
    (_is_address, _from_address),
    (_is_open_file, _from_open_file),
    (_is_remote_path, _from_remote_path),
    (_is_response, _from_response),
    (_is_blob, _from_blob),
    (_is_displayed, _from_displayed),
    (_is_one_array, _from_array),
)


# Open files

# A caller's file object or lazily loaded image is not thread-safe, and may stand several times in one call. A lock for
# each would have to live as long as the object; a few, chosen by identity, seldom make two objects wait for each other.
_OBJECT_LOCKS = tuple(ForkSafeLock() for _ in range(16))


def lock_of(thing: object) -> ForkSafeLock:
    """The lock of a caller's object."""
    return _OBJECT_LOCKS[(id(thing) >> 5) % len(_OBJECT_LOCKS)]  # the lowest bits are those of the alignment


def is_stream(given: Any) -> bool:
    """Whether `given` has a method `read`."""
    try:
        return callable(given.read)
    except Exception:  # an object may raise anything when it is asked for an attribute
        return False


def read_stream(stream: Any, limit: int) -> bytes:
    """All bytes of a binary file object, from its start where it can seek; its position is left as it was.

    Raises `ImageError` for more than `limit` bytes, and for what is closed, in text mode or to be awaited.
    """
    if getattr(stream, "closed", False) is True:
        raise ImageError("a file object that is closed; pass it open, or its bytes")
    with lock_of(stream):
        return _read_from_start(stream, limit)


def _read_from_start(stream: Any, limit: int) -> bytes:
    seekable = _can_seek(stream)
    position = stream.tell() if seekable else None
    if seekable:
        stream.seek(0)
    content = _read_all(stream, limit)
    if position is not None:
        stream.seek(position)
    return content


def _read_all(stream: Any, limit: int) -> bytes:
    content, in_blocks = bytearray(), True
    while in_blocks and len(content) <= limit:
        block, in_blocks = _read(stream, limit + 1 - len(content))
        if not _check_block(block):
            break
        content += block
    if len(content) > limit:
        raise ImageError(f"more than {limit:,} bytes, the limit of the source policy (max_bytes)")
    return bytes(content)


def _can_seek(stream: Any) -> bool:
    asked = getattr(stream, "seekable", None)
    if callable(asked):
        return bool(asked())
    return hasattr(stream, "seek") and hasattr(stream, "tell")  # a SpooledTemporaryFile before Python 3.11


def _read(stream: Any, size: int) -> tuple[Any, bool]:
    """A block of at most `size` bytes, or everything, and whether there may be more."""
    try:
        return stream.read(size), True
    except TypeError:  # it only gives everything at once, and would give it again
        return stream.read(), False


def _check_block(block: Any) -> Any:
    if inspect.isawaitable(block):
        getattr(block, "close", lambda: None)()  # a coroutine that nobody awaits warns
        raise ImageError("a file object that reads asynchronously; await its read() and pass the bytes")
    if block is None:
        raise ImageError("a file object that does not wait for its bytes; make it blocking, or pass the bytes")
    if not isinstance(block, (bytes, bytearray, memoryview)):
        raise ImageError("a file object opened in text mode; open it with mode 'rb'")
    return block
