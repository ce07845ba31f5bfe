"""Deterministic mutants of byte strings: random damage, and damage aimed at a format's lengths, sizes and blocks.

A `Seed` is a valid input with a `Layout` that says where its blocks and numbers are; without one only bytes are
damaged. The mutants of the same seeds and the same `start` are the same on every machine.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

STEPS = (1, 1, 1, 2, 4)
"""Changes that one mutant has, of which one is chosen."""

MAX_GROWTH = 1 << 14
"""Bytes by which a mutant may be longer than its seed."""

BOUNDARIES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x1_0000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)
"""Numbers at which arithmetic of 8, 16 or 32 bits turns over."""


@dataclass(frozen=True)
class Field:
    """A number in a file: a length, a count, an offset, a width."""

    offset: int
    width: int
    """In bytes."""
    order: Literal["big", "little"]

    def read(self, data: bytes | bytearray) -> int:
        """The number that `data` has there."""
        return int.from_bytes(data[self.offset : self.offset + self.width], self.order)

    def write(self, data: bytearray, value: int) -> None:
        """Put `value` there, cut to the field's width."""
        kept = value % (1 << 8 * self.width)
        data[self.offset : self.offset + self.width] = kept.to_bytes(self.width, self.order)


@dataclass(frozen=True)
class Layout:
    """Where the parts of one file are."""

    blocks: tuple[tuple[int, int], ...] = ()
    """Start and end of what can be dropped, doubled or moved as a whole."""
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True)
class Seed:
    """A valid input."""

    data: bytes
    layout: Layout = Layout()
    repair: Callable[[bytes], bytes] | None = None
    """Makes checksums right again, so that the damage reaches what lies behind them; half of the mutants get it."""


def mutants(seeds: Sequence[Seed], count: int, *, start: int = 0) -> Iterator[bytes]:
    """`count` mutants of `seeds`, in turn; number n of them depends on the seeds and `start + n` alone."""
    for number in range(start, start + count):
        yield mutant(seeds, number)


def mutant(seeds: Sequence[Seed], number: int) -> bytes:
    """Mutant `number`."""
    rng = random.Random(number)  # not for secrets
    seed = seeds[number % len(seeds)]
    data = bytearray(seed.data)
    # Mostly one change, so that a parser gets beyond it. What knows the layout comes first, while it still fits.
    structured = bool(seed.layout.fields or seed.layout.blocks)
    for knows in sorted((structured and rng.random() < 0.6 for _ in range(rng.choice(STEPS))), reverse=True):
        data = _damage_structure(rng, data, seed, seeds) if knows else _damage_bytes(rng, data, rng.choice(seeds).data)
    data = data[: len(seed.data) + MAX_GROWTH]
    return seed.repair(bytes(data)) if seed.repair is not None and rng.random() < 0.5 else bytes(data)


def _damage_structure(rng: random.Random, data: bytearray, seed: Seed, seeds: Sequence[Seed]) -> bytearray:
    fields = [field for field in seed.layout.fields if field.offset + field.width <= len(data)]
    if fields and (not seed.layout.blocks or rng.random() < 0.6):
        field = rng.choice(fields)
        field.write(data, _other_number(rng, field.read(data)))
        return data
    if not seed.layout.blocks:
        return data
    start, end = rng.choice(seed.layout.blocks)
    other = rng.choice(seeds)
    return rng.choice((_drop, _double, _swap, _splice))(rng, data, (start, end), seed.layout.blocks, other)


def _other_number(rng: random.Random, value: int) -> int:
    return rng.choice(
        (
            rng.choice(BOUNDARIES),
            value + rng.choice((-2, -1, 1, 2, 255)),
            value * 2,
            value // 2,
            value ^ (1 << rng.randrange(32)),
            rng.randrange(1 << 32),
        )
    )


Block = tuple[int, int]


def _drop(_: random.Random, data: bytearray, block: Block, __: Sequence[Block], ___: Seed) -> bytearray:
    return data[: block[0]] + data[block[1] :]


def _double(rng: random.Random, data: bytearray, block: Block, _: Sequence[Block], __: Seed) -> bytearray:
    return data[: block[1]] + data[block[0] : block[1]] * rng.choice((1, 1, 2, 50)) + data[block[1] :]


def _swap(rng: random.Random, data: bytearray, block: Block, blocks: Sequence[Block], _: Seed) -> bytearray:
    (a, b), (c, d) = sorted((block, rng.choice(blocks)))
    return data if b > c else data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def _splice(rng: random.Random, data: bytearray, block: Block, _: Sequence[Block], other: Seed) -> bytearray:
    """A block of another seed in place of one."""
    start, end = rng.choice(other.layout.blocks or ((0, len(other.data)),))
    return data[: block[0]] + other.data[start:end] + data[block[1] :]


def _damage_bytes(rng: random.Random, data: bytearray, other: bytes) -> bytearray:
    if not data:
        return bytearray(rng.randbytes(8))
    at = _place(rng, len(data))
    length = min(rng.choice((1, 1, 2, 4, 8, 64, 512)), len(data) - at)
    match rng.randrange(9):
        case 0:
            data[at] ^= 1 << rng.randrange(8)
        case 1:
            data[at : at + length] = rng.randbytes(length)
        case 2:
            width = rng.choice((1, 2, 4))
            Field(at, width, rng.choice(("big", "little"))).write(data, rng.choice(BOUNDARIES))
        case 3:
            del data[at:]
        case 4:
            del data[at : at + length]
        case 5:
            data[at:at] = data[at : at + length]
        case 6:
            data[at : at + length] = bytes([rng.choice((0, 0xFF))]) * length
        case 7:
            data[at:at] = rng.randbytes(length)
        case _:
            there = _place(rng, len(other)) if other else 0
            data[at:] = other[there:]
    return data


def _place(rng: random.Random, length: int) -> int:
    """An offset; half of them lie in the first 64 bytes, where headers are."""
    return rng.randrange(min(length, 64) if rng.random() < 0.5 else length)
