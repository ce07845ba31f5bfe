"""The progress bar, drawn only when asked for."""

from __future__ import annotations

from typing import Any


class Bar:
    """Counts finished items on stderr; does nothing unless `shown`."""

    def __init__(self, total: int | None, *, shown: bool) -> None:
        self._bar: Any = None
        if shown:
            from tqdm.auto import tqdm

            self._bar = tqdm(total=total, unit="item", desc="embedding")

    def move(self, items: int) -> None:
        """That many more are finished."""
        if self._bar is not None:
            self._bar.update(items)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._bar is not None:
            self._bar.close()
