"""Which model made a set of vectors, so that vectors of different models are never compared."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ..catalog import find_model
from ..errors import ConfigurationError

SAMPLES_PER_FILE = 16
SAMPLE_BYTES = 1 << 16


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
    if known is not None:
        name, fingerprint = known.name, known.name
    elif model == "demo":
        from ..demo import demo_model_path

        name, fingerprint = model, folder_fingerprint(demo_model_path())
    elif folder.is_dir():
        name, fingerprint = str(folder.resolve()), folder_fingerprint(folder)
    else:
        name, fingerprint = model, model
    return ModelMark(name, dimensions, fingerprint, backend or "", base_url or "")


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


def folder_fingerprint(folder: Path) -> str:
    """A digest of a checkpoint: its configuration, and size and samples of its weights ."""
    content = hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("config.json"), *folder.glob("tokenizer.json")]):
        content.update(path.name.encode())
        _add_samples(content, path)
    return f"sha256:{content.hexdigest()[:32]}"


def _add_samples(content: hashlib._Hash, path: Path) -> None:
    size = path.stat().st_size
    content.update(str(size).encode())
    with path.open("rb") as file:
        for number in range(SAMPLES_PER_FILE):
            file.seek(number * size // SAMPLES_PER_FILE)
            content.update(file.read(SAMPLE_BYTES))
