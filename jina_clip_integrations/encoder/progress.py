"""The progress bar, drawn only when asked for. Every bar of the package is this one."""

from __future__ import annotations

from typing import Any


class ProgressBar:
    """Counts finished items on stderr; does nothing unless `shown`. A context manager."""

    def __init__(
        self, total: int | None, *, shown: bool, label: str = "embedding", unit: str = "item", elapsed_s: float = 0.0
    ) -> None:
        """`total` is None where the number of items is not known beforehand, `elapsed_s` how long they are at work."""
        self._bar: Any = None
        if shown:  # `auto` draws a widget in notebooks
            from tqdm.auto import tqdm

            self._bar = tqdm(total=total, unit=unit, desc=label, dynamic_ncols=True)
            self._bar.start_t -= elapsed_s

    def advance(self, items: int = 1) -> None:
        """Count `items` more as finished."""
        if self._bar is not None:
            self._bar.update(items)

    def skip(self, items: int) -> None:
        """Count `items` as finished before, which say nothing of the speed."""
        if self._bar is not None:
            self._bar.initial += items
            self._bar.update(items)

    def close(self) -> None:
        """Leave the bar as it stands. Idempotent."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()
