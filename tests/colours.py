"""A backend in whose space a colour's name and an image of that colour lie close to each other."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.fakes import Recorder

AXES = {"red": (220, 20, 30), "green": (20, 160, 40), "blue": (10, 40, 200)}


class ColourBackend(Recorder):
    """Width 8: how much of each colour, and a little that tells texts from images."""

    def embed(self, batch: Any) -> Any:
        return self.result_of(batch)

    def row_of(self, batch: Any, position: int) -> Any:
        row = np.full(self.dimensions, 0.05, np.float32)
        if batch.modality == "text":
            row[3] = 0.2
            row[:3] += [name in batch.texts[position] for name in AXES]
        else:
            row[:3] += np.asarray(batch.images[position].open(), np.float32).mean(axis=(0, 1)) / 255
        return row
