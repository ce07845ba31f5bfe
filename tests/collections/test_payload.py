"""What a point carries: the folders above a file, and a place that filters understand."""

from __future__ import annotations

import math

import pytest

from jina_clip_integrations.collections.payload import list_folders, make_place


@pytest.mark.parametrize(
    ("name", "folders"),
    [("a.png", []), ("trip/a.png", ["trip"]), ("trip/sea/a.png", ["trip", "trip/sea"]), ("a b/ü/x", ["a b", "a b/ü"])],
)
def test_every_folder_above_a_file(name: str, folders: list[str]) -> None:
    assert list_folders(name) == folders


@pytest.mark.parametrize("place", [(None, 1.0), (1.0, None), (math.nan, 1.0), (91.0, 0.0), (0.0, -181.0)])
def test_half_a_place_is_none(place: tuple[float | None, float | None]) -> None:
    assert make_place(*place) is None
    assert make_place(48.5, -3) == {"lat": 48.5, "lon": -3.0}
