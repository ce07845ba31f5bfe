"""Where the demo checkpoint is."""

from __future__ import annotations

from pathlib import Path

MODEL_FOLDER = Path(__file__).parent / "data" / "model"


def demo_model_path() -> Path:
    """The folder of the demo checkpoint, in the layout of the published models."""
    return MODEL_FOLDER
