"""The images behind a collection's URIs, under a source policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..images.sources import SourcePolicy
from ..inputs import InputParser


class LoadedImages(Sequence[Any]):
    """Images of URIs, each decoded when it is asked for: `(height, width, 3)` uint8, or None for a record without URI.

    A list of decoded images would need 36 MB for each photo of 12 megapixels. `JinaClipEmbeddingFunction` takes the
    URIs and has the files decoded a few at a time.
    """

    def __init__(self, uris: Sequence[str | None], sources: SourcePolicy) -> None:
        self.uris = tuple(uris)
        self.sources = sources

    def __len__(self) -> int:
        return len(self.uris)

    @overload
    def __getitem__(self, place: int) -> NDArray[np.uint8] | None: ...
    @overload
    def __getitem__(self, place: slice) -> LoadedImages: ...
    def __getitem__(self, place: int | slice) -> NDArray[np.uint8] | LoadedImages | None:
        if isinstance(place, slice):
            return LoadedImages(self.uris[place], self.sources)
        uri = self.uris[place]
        return None if uri is None else self._decode(uri, range(len(self))[place])

    def _decode(self, uri: str, index: int) -> NDArray[np.uint8]:
        try:
            return np.asarray(InputParser(sources=self.sources).image(uri).open())
        except InputError as error:
            raise error.at(index) from None


class ImageLoader:
    """A data loader for `uris=`, `query_uris=` and `include=["data"]`.

        client.get_collection("photos", data_loader=ImageLoader(SourcePolicy.agent(roots="photos")))

    Chroma keeps no loader, so pass one whenever a collection is opened. URIs in a store may have been written by a
    stranger: without `sources` no local file is read, only public https addresses (`SourcePolicy.agent()`).
    """

    def __init__(self, sources: SourcePolicy | None = None) -> None:
        self.sources = SourcePolicy.agent() if sources is None else sources

    def __call__(self, uris: Sequence[str | None]) -> LoadedImages:
        return LoadedImages(uris, self.sources)
