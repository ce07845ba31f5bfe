"""Which model made the vectors of a collection: a `VectorFingerprint`, and how to ask for that model again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..catalog import find_model
from ..errors import ConfigurationError
from ..retrieval.fingerprint import DIGEST, VectorFingerprint, model_fingerprint

if TYPE_CHECKING:
    from ..encoder import JinaClipEncoder

ADDRESS_OPTIONS = ("base_url", "endpoint_name", "region_name")
"""Options that say where a backend is found. A search has to ask the same place, so a collection remembers them."""

EARLIER_DIGEST_KEY = "fingerprint"
"""What the first stores called the model's identity; their digests of folders were computed in another way."""


@dataclass(frozen=True)
class CollectionModel:
    """The model of a collection. Only the fingerprint decides what can be compared, not where it was computed."""

    fingerprint: VectorFingerprint
    model: str
    """What to ask the encoder for: a model's name, or the absolute path of a checkpoint folder."""
    backend: str = ""
    """The value of `--backend` that was used; empty for the default."""
    address: Mapping[str, str] = field(default_factory=dict)
    """Those of `ADDRESS_OPTIONS` that were given."""

    @classmethod
    def of(
        cls,
        model: str,
        dimensions: int,
        *,
        backend: str | None = None,
        address: Mapping[str, str] | None = None,
        colors: str = "",
        image_size: int | None = None,
    ) -> CollectionModel:
        """The record of vectors of `model` that are `dimensions` wide and of unit length.

        `colors` is that of the images' `Rendering`, `image_size` the option of the backend.
        """
        known = find_model(model)
        folder = Path(model).expanduser()
        name = known.name if known is not None else model
        if known is None and model != "demo" and folder.is_dir():
            name = str(folder.resolve())  # a later search may start in another folder
        fingerprint = model_fingerprint(model, dimensions, colors=colors, image_size=image_size)
        return cls(fingerprint, name, backend or "", dict(address or {}))

    @classmethod
    def of_encoder(
        cls, encoder: JinaClipEncoder, *, backend: str | None = None, address: Mapping[str, str] | None = None
    ) -> CollectionModel:
        """The record of the vectors of this encoder. Where only a server knows its model, it embeds one short text."""
        # The text is paid for once, and later calls know the width.
        width = encoder.dimensions or int(encoder.encode_text("width").shape[-1])
        colors = encoder.rendering.colors
        size = encoder.reduced_image_size
        return cls.of(encoder.model, width, backend=backend, address=address, colors=colors, image_size=size)

    def to_payload(self) -> dict[str, Any]:
        """A flat dict for the payload of a point."""
        return {**self.fingerprint.to_metadata(), "model": self.model, "backend": self.backend, **self.address}

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any], *, where: str) -> CollectionModel | None:
        """What `to_payload` wrote, now or in an earlier version; None where it is something else.

        Raises `ConfigurationError` for a record in `where` that is damaged or cannot be compared any more.
        """
        fingerprint = _earlier_fingerprint(payload, where) or VectorFingerprint.from_metadata(payload)
        if fingerprint is None or not isinstance(payload.get("model"), str):
            return None
        address = {name: str(payload[name]) for name in ADDRESS_OPTIONS if payload.get(name)}
        return cls(fingerprint, payload["model"], str(payload.get("backend") or ""), address)

    def check(self, held: CollectionModel | None, *, where: str) -> None:
        """Raise `ConfigurationError` if `where` holds vectors (`held`) that cannot be compared with ours."""
        if held is not None:
            self.fingerprint.check(held.fingerprint.to_metadata(), where=where)


def _earlier_fingerprint(payload: Mapping[str, Any], where: str) -> VectorFingerprint | None:
    """The fingerprint in a record of before `to_payload`, which kept `fingerprint` and `dimensions` as plain fields.

    Raises `ConfigurationError` for a checkpoint folder, whose digest of then says nothing about its digest of now.
    """
    # Records of today have neither of these keys, so the two forms cannot be mistaken for each other.
    identity, dimensions = payload.get(EARLIER_DIGEST_KEY), payload.get("dimensions")
    if not isinstance(identity, str) or not isinstance(dimensions, int):
        return None
    if identity.startswith(DIGEST):
        raise ConfigurationError(
            f"{where} was made by an earlier version with the checkpoint {payload.get('model')}, and whether that is "
            "still the same one cannot be told: index the folder again, into a new store or collection"
        )
    return VectorFingerprint(identity, dimensions)
