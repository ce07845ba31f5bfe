"""An evaluation as JSON, and as tables for people and for Markdown."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from .._version import __version__
from ..errors import InputError
from .directions import Direction
from .metrics import MEASURES, Values
from .recommendation import find_reference, recommend, share_kept
from .runs import HEADLINE, DirectionResult, Evaluation, Measured, Setting
from .statistics import Comparison, Interval, compare, language_weights
from .storage import StorageType

FORMAT = 1
"""Raised when the meaning of a field changes."""

TOOLS = ("ir-measures", "pytrec-eval-terrier", "faiss-cpu", "numpy")
"""Whose versions stand in a report."""

SHOWN = ("R@1", "R@5", "R@10", "nDCG@10", "MRR@10")
"""Measures in tables; JSON has all."""


def make_report(
    evaluation: Evaluation, measured: Sequence[Measured], model: Mapping[str, Any], *, enough: float
) -> dict[str, Any]:
    """Everything that was measured, JSON-safe; shares of 0 to 1."""
    task, reference = evaluation.task, find_reference(measured)
    recommendation = recommend(measured, enough)
    return {
        "format": FORMAT,
        "package": __version__,
        "tools": {name: installed for name in TOOLS if (installed := _find_version(name))},
        "model": dict(model),
        "data": {
            "name": task.name,
            "queries": len(task.queries),
            "documents": len(task.corpus),
            "languages": task.language_names,
            "sha256": task.digest,
            "notes": list(task.notes),
        },
        "headline": HEADLINE,
        "search_rows": evaluation.search_rows,
        "oversampling": evaluation.oversampling,
        "settings": [measured_to_dict(one) | {"kept": share_kept(one, reference)} for one in measured],
        "recommendation": {
            **_setting_to_dict(recommendation.setting),
            "enough": enough,
            "kept": recommendation.kept,
            "bytes_per_vector": recommendation.bytes_per_vector,
            "reason": recommendation.reason,
        },
    }


def per_query(evaluation: Evaluation, setting: Setting, values: Mapping[str, Values]) -> dict[str, Any]:
    """Every query's figures at one setting: what a later run is compared with."""
    directions = {
        direction.name: {
            "ids": list(direction.ids),
            "languages": direction.languages.tolist(),
            "values": {name: column.tolist() for name, column in values[direction.name].items()},
        }
        for direction in evaluation.directions
    }
    return {**_setting_to_dict(setting), "directions": directions}


def read_report(path: Path) -> dict[str, Any]:
    """A report with the figures of single queries. Raises `InputError` for a file that is none."""
    try:
        report = json.loads(path.read_text("utf-8"))
    except ValueError as error:  # JSON and UTF-8
        raise InputError(f"{path} is no report of jina-clip evaluate ({error})") from error
    if not isinstance(report, dict) or report.get("format") != FORMAT or "per_query" not in report:
        raise InputError(f"{path} is no report of jina-clip evaluate --output")
    return report


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write whole or not at all: an interrupted run leaves the old file."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(report) + "\n", "utf-8")
    os.replace(part, path)


def compare_runs(
    directions: Sequence[Direction], ours: Mapping[str, Values], theirs: Mapping[str, Any], name: str
) -> dict[str, dict[str, Comparison]]:
    """Direction to measure to the difference to another run's `per_query`. Raises `InputError` for other queries."""
    return {
        direction.name: _compare_direction(direction, ours[direction.name], theirs["directions"], name)
        for direction in directions
    }


def _compare_direction(
    direction: Direction, ours: Values, theirs: Mapping[str, Any], name: str
) -> dict[str, Comparison]:
    other = theirs.get(direction.name, {"ids": [], "languages": []})
    places = {key: number for number, key in enumerate(zip(other["ids"], other["languages"], strict=True))}
    keys = list(zip(direction.ids, direction.languages.tolist(), strict=True))
    if len(places) != len(keys) or any(key not in places for key in keys):
        raise InputError(f"{name} was measured on other queries ({direction.name}: {len(places)}, here {len(keys)})")
    order = [places[key] for key in keys]
    weights = language_weights(direction.languages)
    return {
        measure: compare(ours[measure], np.array(other["values"][measure])[order], weights, direction.groups)
        for measure in MEASURES
    }


def measured_to_dict(one: Measured) -> dict[str, Any]:
    """A setting's figures, JSON-safe."""
    return {
        **_setting_to_dict(one.setting),
        "bytes_per_vector": one.bytes_per_vector,
        "kept_bytes": one.kept_bytes,
        "queries_per_second": one.queries_per_second,
        "directions": {name: asdict(result) for name, result in one.directions.items()},
    }


def measured_from_dict(data: Mapping[str, Any]) -> Measured:
    """What `measured_to_dict` wrote."""
    setting = Setting(data["dimensions"], StorageType(data["type"], data["rescored"]))
    directions = {
        name: DirectionResult(
            _intervals(result["mean"]), {key: _intervals(rows) for key, rows in result["languages"].items()}
        )
        for name, result in data["directions"].items()
    }
    return Measured(setting, directions, data["queries_per_second"])


def table_of_settings(measured: Sequence[Measured]) -> tuple[list[str], list[list[str]]]:
    """A heading and a row per setting: its size, its speed, what it keeps, its figures in the first direction."""
    reference = find_reference(measured)
    timed = any(one.queries_per_second is not None for one in measured)
    header = ["setting", "bytes", *(["queries/s"] if timed else []), "kept", *SHOWN]
    rows = [
        [
            str(one.setting),
            f"{one.bytes_per_vector:,}" + (f" + {one.kept_bytes:,}" if one.kept_bytes else ""),
            *([f"{one.queries_per_second or 0:,.0f}"] if timed else []),
            f"{share_kept(one, reference):.1%}",
            *_figures(next(iter(one.directions.values())).mean),
        ]
        for one in measured
    ]
    return header, rows


def table_of_directions(one: Measured) -> tuple[list[str], list[list[str]]]:
    """A heading and, for one setting, a row per direction, each figure with its interval."""
    rows = [
        [name.replace("_", " "), *(_with_interval(result.mean[measure]) for measure in SHOWN)]
        for name, result in one.directions.items()
    ]
    return ["direction", *SHOWN], rows


def table_of_languages(result: DirectionResult) -> tuple[list[str], list[list[str]]]:
    """A heading and a row per language of one direction."""
    return ["language", *SHOWN], [[name or "(none)", *_figures(row)] for name, row in result.languages.items()]


def _figures(row: Mapping[str, Interval]) -> list[str]:
    return [f"{100 * row[measure].mean:.1f}" for measure in SHOWN]


def _with_interval(figure: Interval) -> str:
    return f"{100 * figure.mean:.1f} ({100 * figure.low:.1f} to {100 * figure.high:.1f})"


def _setting_to_dict(setting: Setting) -> dict[str, Any]:
    return {"dimensions": setting.dimensions, "type": setting.storage.name, "rescored": setting.storage.rescored}


def _intervals(rows: Mapping[str, Mapping[str, float]]) -> dict[str, Interval]:
    return {name: Interval(**row) for name, row in rows.items()}


def _find_version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
