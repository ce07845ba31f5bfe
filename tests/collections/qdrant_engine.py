"""The engine of a Qdrant server in process (`qdrant-edge-py`), asked with the filters of `qdrant_client`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import qdrant_edge as edge

KINDS = {
    "keyword": edge.PayloadSchemaType.Keyword,
    "integer": edge.PayloadSchemaType.Integer,
    "float": edge.PayloadSchemaType.Float,
    "geo": edge.PayloadSchemaType.Geo,
}


def make_shard(folder: Path, payloads: Sequence[Mapping[str, Any]], indexes: Mapping[str, str]) -> edge.EdgeShard:
    """A collection of points with these payloads, whose ids are their places, and indexes of these kinds."""
    shard = edge.EdgeShard.create(str(folder), edge.EdgeConfig(vectors=edge.EdgeVectorParams(2, edge.Distance.Cosine)))
    points = [edge.Point(number, [1.0, 0.0], payload) for number, payload in enumerate(payloads)]
    shard.update(edge.UpdateOperation.upsert_points(points))
    for name, kind in indexes.items():
        shard.update(edge.UpdateOperation.create_field_index(name, KINDS[kind]))
    return shard


def select(shard: edge.EdgeShard, wanted: Any) -> list[int]:
    """Ids of the points that a filter of `qdrant_client` selects."""
    nearest = edge.Query.Nearest([1.0, 0.0])
    found = shard.query(edge.QueryRequest(1000, query=nearest, filter=_convert(wanted)))
    return sorted(point.id for point in found)


def _convert(condition: Any) -> Any:
    """The engine's form of a filter or condition. What is not known here fails."""
    kind = type(condition).__name__
    if kind == "Filter":
        parts = {name: getattr(condition, name) for name in ("must", "should", "must_not") if getattr(condition, name)}
        return edge.Filter(**{name: [_convert(one) for one in some] for name, some in parts.items()})
    if kind == "IsEmptyCondition":
        return edge.IsEmptyCondition(condition.is_empty.key)
    given = {name: getattr(condition, name) for name in ("match", "range", "geo_radius") if getattr(condition, name)}
    [(name, value)] = given.items()
    return edge.FieldCondition(condition.key, **{name: _convert_value(value)})


def _convert_value(value: Any) -> Any:
    kind = type(value).__name__
    if kind == "MatchAny":
        return edge.MatchAny(value.any)
    if kind == "MatchValue":
        return edge.MatchValue(value.value)
    if kind == "Range":
        return edge.RangeFloat(gte=value.gte, lte=value.lte)
    assert kind == "GeoRadius", kind
    return edge.GeoRadius(edge.GeoPoint(value.center.lon, value.center.lat), value.radius)
