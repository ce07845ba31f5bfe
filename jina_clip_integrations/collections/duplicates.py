"""Images that are the same, or nearly so, in groups, and which of each to keep.

Files with the same bytes are found by their digest. Others are compared by their vectors, all with all, exactly, in
blocks of bounded memory. A group is a star, not a chain: every image in it is at least as similar to the *kept* one as
the threshold says, so that a series in which each image resembles the next is not thrown together, and whatever is
removed has a near-duplicate that stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigurationError
from ..types import Vectors
from .hits import Hit, make_hit
from .payload import SHA256
from .points import PointSource, Where

NEAR_DUPLICATE = 0.97
"""Cosine from which two images count as the same."""

BLOCK_BYTES = 64 * 2**20
"""Memory for one block of similarities."""


@dataclass(frozen=True)
class Duplicate:
    """An image that could go."""

    image: Hit
    """`score` is its cosine with the kept one."""
    identical: bool
    """Whether its file has the same bytes as the kept one."""

    @property
    def name(self) -> str:
        """The file, relative to the folder."""
        return self.image.name


@dataclass(frozen=True)
class DuplicateGroup:
    """Images that show the same."""

    keep: Hit
    reason: str
    """Why this one and not one of the others."""
    others: tuple[Duplicate, ...]
    """Most similar first."""

    @property
    def names(self) -> list[str]:
        """All of them, the kept one first."""
        return [self.keep.name, *(other.name for other in self.others)]

    @property
    def bytes_of_others(self) -> int:
        """What the others take on the disk."""
        return sum(other.image.size for other in self.others)


def find_duplicates(points: PointSource, where: Where, *, threshold: float = NEAR_DUPLICATE) -> list[DuplicateGroup]:
    """`group_duplicates` of the images that `where` means."""
    read = list(points.read(where, with_vectors=True))
    hits = [make_hit(1.0, payload) for payloads, _ in read for payload in payloads]
    digests = [str(payload[SHA256]) for payloads, _ in read for payload in payloads]
    vectors = np.concatenate([rows for _, rows in read]) if read else np.empty((0, 0), np.float32)
    return group_duplicates(hits, digests, vectors, threshold=threshold)


def group_duplicates(
    images: Sequence[Hit], digests: Sequence[str], vectors: Vectors, *, threshold: float = NEAR_DUPLICATE
) -> list[DuplicateGroup]:
    """Groups of two or more, the one that frees most bytes first.

    Args:
        images: What is known of each image.
        digests: SHA-256 of each file.
        vectors: Normalised vectors `(n, d)`.
        threshold: Cosine above 0 and at most 1.
    """
    if not 0 < threshold <= 1:
        raise ConfigurationError(f"threshold={threshold}: a cosine above 0 and at most 1 is needed, such as 0.97")
    # The best image first: it leads whatever is similar to it.
    order = sorted(range(len(images)), key=lambda position: _rank(images[position]))
    first: dict[str, int] = {}
    copies: dict[int, list[int]] = {}
    for position in order:
        leader = first.setdefault(digests[position], position)
        if leader != position:
            copies.setdefault(leader, []).append(position)
    singles = list(first.values())
    stars = {singles[lead]: [singles[one] for one in near] for lead, near in _stars(vectors[singles], threshold)}
    groups = []
    for leader in singles:
        near = stars.get(leader)
        if near is None:  # itself near to another one
            continue
        members = [*near, *(copy for one in (leader, *near) for copy in copies.get(one, []))]
        if members:
            groups.append(_make_group(leader, members, images, digests, vectors))
    return sorted(groups, key=lambda group: -group.bytes_of_others)


def _stars(vectors: Vectors, threshold: float) -> list[tuple[int, list[int]]]:
    """Rows that lead, each with the later rows near it that no earlier one led: every row is in one star."""
    free = np.ones(len(vectors), np.bool_)
    found: list[tuple[int, list[int]]] = []
    block = max(1, BLOCK_BYTES // (4 * max(len(vectors), 1)))
    for start in range(0, len(vectors), block):
        near = vectors[start : start + block] @ vectors[start:].T >= threshold
        for offset, row in enumerate(range(start, min(start + block, len(vectors)))):
            if not free[row]:
                continue
            free[row] = False
            members = start + np.flatnonzero(near[offset] & free[start:])
            free[members] = False
            found.append((row, members.tolist()))
    return found


def _rank(image: Hit) -> tuple[int, int, float, int, str]:
    """Smaller is better: most pixels, largest file, oldest, shortest name, first name."""
    return -_pixels(image), -image.size, _time(image), len(image.name), image.name


def _pixels(image: Hit) -> int:
    return (image.width or 0) * (image.height or 0)


def _time(image: Hit) -> float:
    return image.modified if image.taken is None else image.taken


def _make_group(
    leader: int, members: Sequence[int], images: Sequence[Hit], digests: Sequence[str], vectors: Vectors
) -> DuplicateGroup:
    cosines: NDArray[np.float32] = vectors[list(members)] @ vectors[leader]
    others = [
        Duplicate(_scored(images[member], min(1.0, float(cosine))), digests[member] == digests[leader])
        for member, cosine in zip(members, cosines, strict=True)
    ]
    others.sort(key=lambda one: (not one.identical, -one.image.score, one.name))
    keep = _scored(images[leader], 1.0)
    return DuplicateGroup(keep, _reason(keep, [other.image for other in others]), tuple(others))


def _scored(image: Hit, score: float) -> Hit:
    from dataclasses import replace

    return replace(image, score=score)


def _reason(keep: Hit, others: Sequence[Hit]) -> str:
    """The first of the criteria that tells the kept one from the best of the others."""
    rival = min(others, key=_rank)
    if _pixels(keep) != _pixels(rival):
        return f"most pixels ({keep.width} x {keep.height})"
    if keep.size != rival.size:
        return f"largest file ({keep.size:,} bytes)"
    if _time(keep) != _time(rival):
        return "oldest"
    return "shortest name" if len(keep.name) != len(rival.name) else "first name"
