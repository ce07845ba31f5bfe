"""The thumbnails in memory: made once, bounded, anew for another version of the file."""

from __future__ import annotations

from jina_clip_integrations.app.thumbnails import ThumbnailCache


def test_made_once_per_image_size_and_version() -> None:
    made: list[tuple[str, int]] = []

    def make(name: str, pixels: int) -> bytes:
        made.append((name, pixels))
        return b"x" * 10

    cache = ThumbnailCache(make, 1000)
    for version in ("1", "1", "2"):
        cache.get("a", 360, version)
    cache.get("a", 720, "2")
    assert made == [("a", 360), ("a", 360), ("a", 720)]


def test_bounded_by_bytes() -> None:
    made: list[str] = []

    def make(name: str, pixels: int) -> bytes:
        made.append(name)
        return b"x" * pixels

    cache = ThumbnailCache(make, 25)
    for name in ("a", "b", "a", "c", "a", "b"):
        cache.get(name, 10, "")
    assert made == ["a", "b", "c", "b"]
    assert cache.get("large", 100, "") == b"x" * 100
