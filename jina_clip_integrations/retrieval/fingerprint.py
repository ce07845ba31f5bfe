"""Which model made a set of vectors, so that vectors of different models or widths are never compared.

Where the vectors were computed does not matter: the API and this machine give the same ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..catalog import find_model
from ..demo.checkpoint import demo_model_path
from ..errors import ConfigurationError

PREFIX = "jina_clip_"
"""In front of every key in a store's metadata."""

MODEL_KEY = f"{PREFIX}model"
DIMENSIONS_KEY = f"{PREFIX}dimensions"
NORMALIZE_KEY = f"{PREFIX}normalize"
NAME_KEY = f"{PREFIX}name"
COLORS_KEY = f"{PREFIX}colors"
IMAGE_SIZE_KEY = f"{PREFIX}image_size"

DIGEST = "sha256:"
DIGEST_DIGITS = 32
"""Hexadecimal digits of a checkpoint's digest that a fingerprint keeps: 128 bits, still short in a store's metadata."""

SHORT_DIGEST = len(DIGEST) + 8
"""Characters of a digest in a message."""

EXPORT_FILE = "jina_clip_export.json"
"""What an exported model says of itself; it names the model that it was made from."""

IDENTITY_KEY = "identity"
"""In its part `model`: the `model_identity` of the original, so that vectors of both can be compared."""

MAX_JSON_BYTES = 1 << 20
"""Largest such file, or configuration of a checkpoint, that is read for one fact."""

CONFIGURATION_FILES = ("config.json", "preprocessor_config.json", "tokenizer.json")
"""What besides the weights decides a vector; small enough to be read whole."""

SAMPLES_PER_FILE, SAMPLE_BYTES = 65, 1 << 14
"""Evenly spaced blocks of a weight file, the first and the last one included; 1 MB of any file."""

BLOCK_BYTES = 1 << 20
"""Read at a time of a file that is hashed whole."""

MAX_HEADER_BYTES = 100_000_000
"""The longest header that the safetensors format allows, in bytes; a damaged file could name any length."""


@dataclass(frozen=True)
class VectorFingerprint:
    """What two sets of vectors must share to be compared. Keep `to_metadata()` with the vectors, `check` it later.

    fingerprint = VectorFingerprint.of(embeddings)
    client.create_collection("images", ..., metadata=fingerprint.to_metadata())
    fingerprint.check(client.get_collection("images").config.metadata, where="collection 'images'")
    """

    model: str
    """Short name of a published model, whichever of its names was used; a digest of a checkpoint folder's content."""
    dimensions: int
    """Width of the vectors."""
    normalize: bool = True
    """Whether they have unit length."""
    name: str = field(default="", compare=False)
    """What to call the model in messages, where `model` is a digest."""
    colors: str = ""
    """How images became RGB, if not as published: the background and `scale` (`Rendering.colors`)."""
    image_size: int = field(default=0, repr=False)  # keys of caches are made of the `repr`, and older than this
    """Side in pixels at which images were computed, where it is not the model's own (a quick look); 0 = its own."""

    @classmethod
    def of(cls, source: Any) -> VectorFingerprint:
        """The fingerprint of what a `JinaClipEncoder`, `JinaClipEmbeddings` or `JinaClipEmbedding` computes.

        Nothing is embedded; weights are sampled (at most 1 MB per file) where the model is a folder. Raises
        `ConfigurationError` for an object without a model, and where only a server knows the width.
        """
        maker = getattr(source, "embeddings", source)  # behind `for_images()`
        model = getattr(maker, "model_name", None) or getattr(maker, "model", None)
        if not isinstance(model, str) or not hasattr(maker, "normalize"):
            raise ConfigurationError(f"a {type(source).__name__} is neither an encoder nor an embedding model of ours")
        dimensions = _vector_width(maker, model)
        if not dimensions:
            raise ConfigurationError(
                f"only the server knows the width of {model!r}; give dimensions=..., or embed something first"
            )
        rendering = getattr(maker, "rendering", None)
        colors = "" if rendering is None else str(rendering.colors)
        return model_fingerprint(
            model, dimensions, normalize=bool(maker.normalize), colors=colors, image_size=_image_size(maker)
        )

    def __str__(self) -> str:
        model = f"{self.name} {self.model[:SHORT_DIGEST]}".strip() if self.model.startswith(DIGEST) else self.model
        colors = f", images rendered with {self.colors}" if self.colors else ""
        size = f", images of {self.image_size} pixels" if self.image_size else ""
        return f"{model}, {self.dimensions} dimensions, {'unit' if self.normalize else 'raw'} length{colors}{size}"

    def to_metadata(self) -> dict[str, str | int | bool]:
        """A flat dict that any store's metadata can hold."""
        facts: dict[str, str | int | bool] = {
            MODEL_KEY: self.model,
            DIMENSIONS_KEY: self.dimensions,
            NORMALIZE_KEY: self.normalize,
        }
        others: dict[str, str | int | bool] = {
            NAME_KEY: self.name,
            COLORS_KEY: self.colors,
            IMAGE_SIZE_KEY: self.image_size,
        }
        return facts | {key: value for key, value in others.items() if value}

    @classmethod
    def from_metadata(cls, metadata: Mapping[Any, Any] | None) -> VectorFingerprint | None:
        """What `to_metadata` wrote, also from stores that keep text or bytes only; None where there is nothing.

        Raises `ConfigurationError` for entries that were damaged.
        """
        # Some stores (Lance, Arrow) give keys and values back as bytes, others everything as text.
        kept = {_text(key): value for key, value in (metadata or {}).items()}
        if not any(key in kept for key in (MODEL_KEY, DIMENSIONS_KEY, NORMALIZE_KEY)):
            return None
        try:
            return cls(
                _text(kept[MODEL_KEY]),
                int(_text(kept[DIMENSIONS_KEY])),
                {"true": True, "1": True, "false": False, "0": False}[_text(kept[NORMALIZE_KEY]).lower()],
                _text(kept.get(NAME_KEY, "")),
                _text(kept.get(COLORS_KEY, "")),
                int(_text(kept.get(IMAGE_SIZE_KEY, 0))),
            )
        except (KeyError, ValueError) as error:
            raise ConfigurationError(
                f"the fingerprint in the metadata is damaged: {MODEL_KEY}, {DIMENSIONS_KEY} and {NORMALIZE_KEY} "
                f"must be a name, an integer and true or false, and {IMAGE_SIZE_KEY}, if it is there, an integer"
            ) from error

    def check(self, metadata: Mapping[Any, Any] | None, *, where: str) -> None:
        """Raise `ConfigurationError` unless the vectors behind this metadata can be compared with ours.

        Args:
            metadata: What the store keeps for the collection or table; other entries are ignored.
            where: The store's name for the message, such as `collection 'images'`.
        """
        held = VectorFingerprint.from_metadata(metadata)
        if held is None:
            raise ConfigurationError(
                f"{where} does not say which model made its vectors; if it was {self}, write to_metadata() of this "
                "fingerprint into its metadata, otherwise start a new one"
            )
        if held != self:
            raise ConfigurationError(
                f"{where} holds vectors of [{held}], but these are of [{self}], and they cannot be compared: "
                "use the model and settings it was made with, or start a new one"
            )


def model_fingerprint(
    model: str, dimensions: int, *, normalize: bool = True, colors: str = "", image_size: int | None = None
) -> VectorFingerprint:
    """The fingerprint of vectors of `model`, a name or a checkpoint folder, that are `dimensions` wide.

    `image_size` is the option of this name; the model's own size is the same as None.
    """
    identity = model_identity(model)
    name = Path(model).expanduser().resolve().name if identity.startswith(DIGEST) else ""
    reduced = image_size if image_size and image_size != own_image_size(model) else 0
    return VectorFingerprint(identity, dimensions, normalize, name, colors, reduced)


def own_image_size(model: str) -> int | None:
    """Side of the image that a model sees, in pixels; None where neither the catalogue nor a folder here says it."""
    known = find_model(model)
    if known is not None:
        return known.image_size
    path = (demo_model_path() if model == "demo" else Path(model).expanduser()) / "config.json"
    vision = _read_json(path).get("vision_config")
    size = vision.get("image_size") if isinstance(vision, dict) else None
    return size if isinstance(size, int) else None


def model_identity(model: str) -> str:
    """The same for the same weights: the short name of a published model, a digest of a checkpoint folder.

    A model that is neither is known by its name alone.
    """
    # A published model is known by its name on any machine, so the API and a local copy agree.
    known = find_model(model)
    if known is not None:
        return known.name
    folder = demo_model_path() if model == "demo" else Path(model).expanduser()
    exported = _read_export(folder).get("model")
    if isinstance(exported, dict) and isinstance(exported.get(IDENTITY_KEY), str):
        return str(exported[IDENTITY_KEY])
    return f"{DIGEST}{checkpoint_digest(folder)[:DIGEST_DIGITS]}" if folder.is_dir() else model


def export_format(folder: Path) -> str | None:
    """The format of the exported model in `folder`; None where there is none, or it does not say."""
    found = _read_export(folder).get("format")
    return found if isinstance(found, str) else None


def _read_export(folder: Path) -> dict[str, Any]:
    """What an exported folder says of itself, unchecked; nothing where it is none."""
    return _read_json(folder / EXPORT_FILE)


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a small file, unchecked; nothing where there is none."""
    try:
        content = json.loads(path.read_bytes()) if path.is_file() and path.stat().st_size <= MAX_JSON_BYTES else None
    except (OSError, ValueError, RecursionError):  # who runs the model says what is wrong with the file
        return {}
    return content if isinstance(content, dict) else {}


def export_digest(folder: Path) -> str:
    """SHA-256 of an exported folder, 64 hexadecimal digits: its small files, and samples of its graphs and weights."""
    content = hashlib.sha256()
    for path in sorted(each for each in folder.iterdir() if each.is_file()):
        small = path.suffix == ".json"
        content.update(_digest_part(path.name, _blocks_of(path) if small else [_sample(path)]))
    return content.hexdigest()


def checkpoint_digest(folder: Path) -> str:
    """SHA-256 of what decides the vectors of a checkpoint, as 64 hexadecimal digits; the folder's place is no part.

    Configuration and tokenizer are read whole; of each weight file its size, its header and evenly spaced samples.
    Another training run changes weights everywhere, so samples tell it apart without reading gigabytes.
    """
    content = hashlib.sha256()
    for name in CONFIGURATION_FILES:
        content.update(_digest_part(name, _blocks_of(folder / name)))
    # Sorted, since the order of a directory differs between file systems.
    for path in sorted(folder.glob("*.safetensors")):
        if path.is_file():  # a pipe would be waited for
            content.update(_digest_part(path.name, [_sample_weights(path)]))
    return content.hexdigest()


def _digest_part(name: str, data: Iterable[bytes]) -> bytes:
    """Name and digest of one file. Both are hashed again, so that bytes cannot move from one file into the next."""
    content = hashlib.sha256()
    for block in data:
        content.update(block)
    return f"{name}\0".encode() + content.digest()


def _blocks_of(path: Path) -> Iterator[bytes]:
    """A file's content in blocks, since a stranger may have made it any size; nothing where there is no file."""
    if path.is_file():
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                yield block


def _sample_weights(path: Path) -> bytes:
    """Size, header and samples of a safetensors file: 8 bytes with the header's length, the header, the tensors."""
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        header = file.read(min(header_bytes, MAX_HEADER_BYTES))
    return _sample(path, header)


def _sample(path: Path, header: bytes = b"") -> bytes:
    """Size of a file, what is given of its beginning, and evenly spaced blocks."""
    size = path.stat().st_size
    parts = [f"{size}\0".encode(), header]
    with path.open("rb") as file:
        for number in range(SAMPLES_PER_FILE):
            file.seek(max(0, size - SAMPLE_BYTES) * number // (SAMPLES_PER_FILE - 1))
            parts.append(file.read(SAMPLE_BYTES))
    return b"".join(parts)


def _vector_width(maker: Any, model: str) -> int:
    """Width of the vectors; an adapter of a model that nobody knows opens its encoder for it."""
    if maker.dimensions or not hasattr(maker, "_encoder"):
        return int(maker.dimensions or 0)
    known = find_model(model) if isinstance(maker.backend, str) else None
    return known.embed_dim if known is not None else int(maker._encoder().dimensions or 0)


def _image_size(maker: Any) -> int | None:
    """The size that an encoder's backend computes images at, or that an adapter asks for."""
    backend = getattr(maker, "backend", None)
    given = getattr(maker, "image_size", None) if isinstance(backend, str) else None
    return given or getattr(maker, "reduced_image_size", None) or getattr(backend, "reduced_image_size", None)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
