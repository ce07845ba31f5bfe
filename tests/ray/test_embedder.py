"""The class for pipelines of one's own, called as Ray calls it and by Ray, and the plan of its workers."""

from __future__ import annotations

import os
import pickle
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from jina_clip_integrations.errors import BackendError, ConfigurationError, InputError
from jina_clip_integrations.ray import JinaClipBatchEmbedder, WorkerPlan
from jina_clip_integrations.retrieval.vector_table import TableInfo, to_vectors
from tests.ray.fake import expected_text, make_fake
from tests.ray.test_jobs import photo, png, unit_image


def make(**options: Any) -> JinaClipBatchEmbedder:
    return JinaClipBatchEmbedder(**{"backend": make_fake(), **options})


def test_texts_keep_their_rows_and_columns() -> None:
    table = pa.table({"id": [3, 1, 2], "t": ["a", None, "b"]}, metadata={"mine": "yes"})
    made = make(text="t", task="retrieval.query", dtype="float16", output="v", error="why")(table)
    assert made.select(["id", "t"]) == table.select(["id", "t"])
    assert made["why"].to_pylist() == [None, "'t' is null", None]
    assert made["v"].type == pa.list_(pa.float16(), 8)
    assert made["v"].is_valid().to_pylist() == [True, False, True]
    expected = [expected_text("a", "retrieval.query"), expected_text("b", "retrieval.query")]
    np.testing.assert_allclose(to_vectors(made["v"], 8)[[0, 2]], expected, atol=1e-3)
    assert made.schema.metadata[b"mine"] == b"yes"
    info = TableInfo.from_metadata(made.schema.metadata, where="x")
    assert (info.dimensions, info.task, info.fingerprint.dimensions) == (8, "retrieval.query", 8)


def test_rows_are_texts_or_images() -> None:
    table = pa.table({"t": ["a", None, "c", None], "i": [None, png(photo(1)), png(photo(2)), None]})
    made = make(text="t", image="i")(table)
    rows = to_vectors(made["embedding"], 8)
    np.testing.assert_allclose(rows[:2], [expected_text("a"), unit_image(1)], atol=1e-6)
    assert np.isnan(rows[2:]).all()
    assert made["error"].to_pylist()[2:] == [
        "both 't' and 'i' are given; a row is a text or an image",
        "'t' and 'i' is null",
    ]


@pytest.mark.parametrize(
    "table", [pa.table({"t": pa.array([], pa.string())}), pa.table({"t": pa.nulls(2, pa.string())})]
)
def test_batches_without_a_vector_have_the_same_columns(table: pa.Table) -> None:
    made = make(text="t")(table)
    assert made.num_rows == table.num_rows
    assert made.schema.field("embedding").type == pa.list_(pa.float32(), 8)


def test_what_is_no_table_or_no_column_is_refused() -> None:
    with pytest.raises(ConfigurationError, match='batch_format="pyarrow"'):
        make(text="t")({"t": np.array(["a"])})
    with pytest.raises(InputError, match="there is no column 'x'; the table has 't'"):
        make(text="x")(pa.table({"t": ["a"]}))
    with pytest.raises(InputError, match="has a column 'error' already"):
        make(text="t")(pa.table({"t": ["a"], "error": ["b"]}))
    with pytest.raises(ConfigurationError, match="name the column"):
        make()
    with pytest.raises(ConfigurationError, match="choose one of 'float32'"):
        make(text="t", dtype="int8")


def test_a_backend_that_fails_is_no_fault_of_a_row() -> None:
    def broken() -> Any:
        backend = make_fake()()

        def fail(batch: Any) -> None:
            raise BackendError("down")

        backend.before = fail
        return backend

    with pytest.raises(BackendError, match="down"):
        make(text="t", backend=broken)(pa.table({"t": ["a"]}))


def test_it_loads_late_and_travels_without_its_encoder() -> None:
    embedder = JinaClipBatchEmbedder(text="t", model="demo", backend="local")
    assert embedder._encoder is None
    embedder(pa.table({"t": ["a red bicycle"]}))
    assert embedder._encoder is not None
    assert pickle.loads(pickle.dumps(embedder))._encoder is None


class Threads:
    """Says with which threads an actor computes."""

    def __init__(self) -> None:
        self.embedder = JinaClipBatchEmbedder(text="t", model="demo", backend="local")

    def __call__(self, table: pa.Table) -> pa.Table:
        made = self.embedder(table)
        import torch

        counts = [
            torch.get_num_threads(),
            int(os.environ["OMP_NUM_THREADS"]),
            self.embedder.recipe._options["num_workers"],
        ]
        return made.append_column("threads", pa.array([counts] * made.num_rows))


def test_ray_keeps_rows_and_order(ray_driver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray.data

    context = ray.data.DataContext.get_current()
    monkeypatch.setattr(context.execution_options, "preserve_order", True)
    images = np.empty(24, object)
    images[:] = [photo(number) for number in range(24)]
    order = np.random.default_rng(3).permutation(24)
    dataset = ray.data.from_items(
        [{"photo": images[number], "id": int(number)} for number in order], override_num_blocks=4
    )
    plan = WorkerPlan.for_cluster(backend="local", workers=2)
    made = dataset.map_batches(
        JinaClipBatchEmbedder,
        fn_constructor_kwargs={"image": "photo", "backend": make_fake()},
        batch_format="pyarrow",
        batch_size=5,
        **plan.map_arguments(),
    )
    rows = made.take_all()
    assert [row["id"] for row in rows] == order.tolist()
    expected = np.stack([unit_image(number) for number in order])
    np.testing.assert_allclose(np.stack([row["embedding"] for row in rows]), expected, atol=1e-6)
    [row] = (
        ray.data.from_items([{"t": "a red bicycle"}])
        .map_batches(Threads, batch_format="pyarrow", **WorkerPlan(workers=1, cpus=1).map_arguments())
        .take_all()
    )
    assert list(row["threads"]) == [1, 1, 1]
    ours = JinaClipBatchEmbedder(text="t", model="demo", backend="local")(pa.table({"t": ["a red bicycle"]}))
    np.testing.assert_allclose(row["embedding"], to_vectors(ours["embedding"], len(row["embedding"]))[0], atol=1e-5)
    assert ray_driver.is_initialized()


@pytest.mark.parametrize(
    ("nodes", "asked", "expected"),
    [
        ([{"CPU": 16}], {"backend": "local"}, (4, 4, 0)),
        ([{"CPU": 2}], {"backend": "local"}, (1, 2, 0)),
        ([{"CPU": 16}], {"backend": "api"}, (8, 2, 0)),
        ([{"CPU": 16, "GPU": 4}], {"backend": "local"}, (4, 4, 1)),
        ([{"CPU": 16, "GPU": 4}], {"backend": "local", "gpus_per_worker": 0.5}, (8, 2, 0.5)),
        ([{"CPU": 3}, {"CPU": 3}, {"CPU": 3}], {"backend": "local", "workers": 4}, (4, 1, 0)),
        ([{"CPU": 3}, {"CPU": 3}, {"CPU": 3}], {"backend": "local", "workers": 3}, (3, 3, 0)),
    ],
)
def test_a_worker_has_a_gpu_or_a_share_of_one_machine(
    nodes: Any, asked: Any, expected: tuple[int, float, float]
) -> None:
    plan = WorkerPlan.for_cluster(nodes=nodes, **asked)
    assert (plan.workers, plan.cpus, plan.gpus) == expected


def test_more_workers_than_the_cluster_holds_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="the cluster has 0 GPUs and 4 CPUs"):
        WorkerPlan.for_cluster(nodes=[{"CPU": 4}], workers=5)
    with pytest.raises(ConfigurationError, match="workers=2 with 1 GPUs each"):
        WorkerPlan.for_cluster(nodes=[{"CPU": 4, "GPU": 1}], backend="local", workers=2)
    with pytest.raises(ConfigurationError, match="at least 1"):
        WorkerPlan.for_cluster(nodes=[{"CPU": 4}], workers=0)
