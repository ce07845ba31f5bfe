"""Mutants of JSON documents: values of other types, numbers at their borders, parts dropped, doubled, swapped."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

MAX_CHANGES = 3

NUMBERS = (0, -1, 1, 2**31, 2**63, -(2**63) - 1, 1e30, -0.0, 1e-320, 1.5, float("nan"), float("inf"), float("-inf"))
STRINGS = (
    "",
    " ",
    "\0",
    "\ud800",
    "a" * 5000,
    "null",
    "[]",
    "https://example.org/a.png",
    "data:image/png;base64,",
    "é",
)
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"": None}, {"text": {"text": "x"}}, [1, 2, 3])

DEPTH = 2000
"""Lists within lists, where a document is nested: more than a recursive parser can take."""


def mutate_json(rng: random.Random, document: Any) -> bytes:
    """`document` with one to three changes, as JSON (of Python's kind: NaN and lone surrogates occur)."""
    changed = copy.deepcopy(document)
    for _ in range(rng.randrange(1, MAX_CHANGES + 1)):
        changed = _change(rng, changed)
    text = json.dumps(changed)
    if rng.random() < 0.02:
        text = "[" * DEPTH + text + "]" * DEPTH
    return text.encode("utf-8", "surrogatepass")


def _change(rng: random.Random, document: Any) -> Any:
    places = list(_places(document))
    if not places or rng.random() < 0.02:
        return _other_value(rng, document)
    container, key = rng.choice(places)
    match rng.randrange(8):
        case 0:
            del container[key]
        case 1 if isinstance(container, list):
            container.insert(key, copy.deepcopy(container[key]))
        case 2 if isinstance(container, list):
            other = rng.randrange(len(container))
            container[key], container[other] = container[other], container[key]
        case 3 if isinstance(container, dict):
            container[rng.choice(STRINGS)] = container.pop(key)
        case 4:
            container[key] = [container[key]]
        case 5:
            container[key] = {"text": container[key]}
        case _:
            container[key] = _other_value(rng, container[key])
    return document


def _other_value(rng: random.Random, value: Any) -> Any:
    if isinstance(value, str) and value and rng.random() < 0.4:
        at = rng.randrange(len(value))
        return value[:at] + rng.choice(STRINGS) + value[at + rng.choice((0, 1, 4)) :]
    return copy.deepcopy(rng.choice(rng.choice((NUMBERS, STRINGS, OTHERS))))


def _places(value: Any) -> Any:
    """Container and key of every value inside."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield value, key
            yield from _places(inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield value, index
            yield from _places(inner)
