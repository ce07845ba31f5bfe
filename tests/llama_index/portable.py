"""A backend that other processes can rebuild."""

from __future__ import annotations

from typing import Any

from tests.fakes import BlockingBackend


def nothing(batch: Any) -> None:
    """Done before a batch."""


class Portable(BlockingBackend):
    """Pickles, and can put itself into words."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.before = nothing

    def to_dict(self) -> dict[str, Any]:
        return {"dimensions": self.dimensions}

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> Portable:
        return cls(dimensions=settings["dimensions"])
