"""Which model made a set of vectors, so that vectors of different models are never compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..catalog import find_model
from ..errors import ConfigurationError
from ..retrieval.fingerprint import model_identity


@dataclass(frozen=True)
class ModelMark:
    """What made the vectors of a store, and how to make more of them."""

    model: str
    """What to ask the encoder for: a model's name, or the absolute path of a checkpoint folder."""
    dimensions: int
    fingerprint: str
    """The same for the same weights: the name of a published model, a digest of a checkpoint folder."""
    backend: str
    """The value of `--backend` that was used; empty for the default."""
    base_url: str
    """The value of `--base-url` that was used; empty for none."""

    def __str__(self) -> str:
        return f"{Path(self.model).name} with {self.dimensions} dimensions"

    def matches(self, other: ModelMark) -> bool:
        """Whether vectors of both can be compared; where they were computed does not matter."""
        return (self.fingerprint, self.dimensions) == (other.fingerprint, other.dimensions)


def mark_of(model: str, dimensions: int, *, backend: str | None = None, base_url: str | None = None) -> ModelMark:
    """The mark of vectors of `model` cut to `dimensions`."""
    known = find_model(model)
    folder = Path(model).expanduser()
    name = known.name if known is not None else model
    if known is None and model != "demo" and folder.is_dir():
        name = str(folder.resolve())
    return ModelMark(name, dimensions, model_identity(model), backend or "", base_url or "")


def check_same_model(held: ModelMark | None, mark: ModelMark, *, where: str) -> None:
    """Raise `ConfigurationError` if `where` holds vectors (`held`) that cannot be compared with those of `mark`."""
    if held is None or held.matches(mark):
        return
    if (held.model, held.dimensions) == (mark.model, mark.dimensions):
        difference = f"another checkpoint under the name {held.model}"
    else:
        difference = f"{held}, not {mark}"
    raise ConfigurationError(
        f"{where} was made with {difference}; vectors of different models or widths cannot be compared: "
        "give the model it was made with, or start a new one"
    )
