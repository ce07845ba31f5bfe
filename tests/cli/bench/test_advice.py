"""What made-up figures speak for."""

from __future__ import annotations

from typing import Any

import pytest

from jina_clip_integrations.cli.bench.advice import (
    Curve,
    advise,
    best_batch_size,
    best_dtype,
    best_workers,
    format_rate,
)
from jina_clip_integrations.cli.bench.measure import Figure


def images(speeds: dict[int, float], *, auto: int | None = None, dtype: str = "float32") -> list[Figure]:
    return [
        Figure(what="images", dtype=dtype, size=size, auto=size == auto, per_second=speed)
        for size, speed in speeds.items()
    ]


def texts(speeds: dict[Any, float], *, dtype: str = "float32") -> list[Figure]:
    return [
        Figure(
            what="texts",
            dtype=dtype,
            size=size,
            auto=size == "auto",
            per_second=speed / 41,
            tokens_per_second=speed,
        )
        for size, speed in speeds.items()
    ]


def decoding(speeds: dict[int, float]) -> list[Figure]:
    return [Figure(what="decoding", size=threads, per_second=speed) for threads, speed in speeds.items()]


def no(why: str, what: Any = "images", size: Any = 8, dtype: str = "float32") -> Figure:
    return Figure(what=what, dtype=dtype, size=size, auto=size == "auto", why_not=why)


def settings(figures: list[Figure]) -> dict[str, Any]:
    advice = advise(figures)
    assert advice is not None
    return dict(advice.settings)


class TestBatchSize:
    @pytest.mark.parametrize(
        ("figures", "expected"),
        [
            # A slow CPU: nothing is gained by more than one, and auto's size was measured too.
            (images({1: 0.060, 2: 0.061, 4: 0.060, 6: 0.059}, auto=6), "auto"),
            # auto's size loses more than the tolerance: the smallest that does not.
            (images({1: 0.08, 2: 0.10, 4: 0.099, 6: 0.07}, auto=6), 2),
            # A GPU, rising until it is flat.
            (images({1: 20, 2: 40, 4: 80, 8: 150, 16: 200, 32: 220, 61: 224, 64: 225}, auto=61), "auto"),
            (images({1: 20, 2: 40, 4: 80, 8: 150, 16: 200, 32: 300, 61: 224, 64: 225}, auto=61), 32),
            # A single size.
            (images({1: 0.05}), "auto"),
            (images({6: 0.05}, auto=6), "auto"),
            # auto's size was not reached for want of time: judged by the largest that was.
            ([*images({1: 1.0, 2: 1.5, 4: 1.6}), no("no time", size=6)], "auto"),
            ([*images({1: 1.6, 2: 1.5, 4: 1.0}), no("no time", size=6)], 1),
            # Memory was full before auto's size.
            ([*images({1: 20, 2: 30, 4: 31}), no("out of memory", size=8)], 2),
            # Memory was full only beyond it.
            ([*images({1: 20, 4: 30, 61: 31}, auto=61), no("out of memory", size=64)], "auto"),
        ],
        ids=[
            "a slow CPU: nothing is gained",
            "auto loses more than the tolerance",
            "a GPU that gets flat",
            "a GPU with a peak",
            "a single size",
            "the single size of auto",
            "auto was not reached: rising",
            "auto was not reached: falling",
            "memory was full before auto",
            "memory was full beyond auto",
        ],
    )
    def test_images(self, figures: list[Figure], expected: int | str) -> None:
        assert settings(figures)["batch_size"] == expected

    @pytest.mark.parametrize(
        ("speeds", "expected"),
        [
            ({"auto": 1000, 1: 100, 8: 700, 32: 990}, "auto"),
            ({"auto": 500, 1: 100, 8: 990, 32: 1000}, 8),
            ({"auto": 990, 1: 1000}, "auto"),
            ({"auto": 1000}, "auto"),
            ({1: 10, 8: 20}, "auto"),
        ],
        ids=str,
    )
    def test_texts_alone(self, speeds: dict[Any, float], expected: int | str) -> None:
        assert settings(texts(speeds))["batch_size"] == expected

    def test_texts_that_fill_the_memory(self) -> None:
        assert settings([*texts({1: 10, 8: 20}), no("out of memory", "texts", "auto")])["batch_size"] == 8

    def test_a_number_that_suits_images_may_not_ruin_texts(self) -> None:
        together = [*images({1: 1.0, 2: 0.8, 6: 0.75}, auto=6), *texts({"auto": 1000, 1: 300, 8: 900})]
        assert settings(together)["batch_size"] == "auto"

    def test_numbers_are_those_of_images_where_there_are_any(self) -> None:
        together = [*images({1: 1.0, 2: 1.0, 4: 0.99, 6: 0.2}, auto=6), *texts({"auto": 100, 1: 90, 32: 1000})]
        assert settings(together)["batch_size"] == 1

    def test_memory_that_is_full_at_once_leaves_only_auto(self) -> None:
        assert best_batch_size({"texts": Curve(memory_full=True)}) == "auto"


class TestPrecision:
    @pytest.mark.parametrize(
        ("float32", "bfloat16", "expected"),
        [(1.0, 3.0, "bfloat16"), (1.0, 1.04, "float32"), (1.0, 1.0, "float32"), (3.0, 1.0, "float32")],
    )
    def test_the_faster_one_and_the_exact_one_of_equals(self, float32: float, bfloat16: float, expected: str) -> None:
        both = [*images({1: bfloat16}, dtype="bfloat16"), *images({1: float32})]
        assert settings(both)["dtype"] == expected

    def test_images_and_texts_weigh_the_same(self) -> None:
        fast_images = {"images": Curve({1: 4.0}), "texts": Curve({1: 100.0})}
        fast_texts = {"images": Curve({1: 1.0}), "texts": Curve({1: 110.0})}
        assert best_dtype({"bfloat16": fast_images, "float32": fast_texts}) == "bfloat16"

    def test_one_that_ran_out_of_time_is_not_chosen(self) -> None:
        figures = [
            *texts({"auto": 10}, dtype="float32"),
            *images({1: 1.0}, dtype="float32"),
            *texts({"auto": 100}, dtype="bfloat16"),
            no("no time", size=1, dtype="bfloat16"),
        ]
        assert settings(figures)["dtype"] == "float32"

    def test_batch_size_and_workers_are_those_of_the_chosen_precision(self) -> None:
        figures = [
            *images({1: 10, 8: 100, 61: 100}, auto=61, dtype="bfloat16"),
            *images({1: 10, 8: 12, 61: 5}, auto=61, dtype="float32"),
            *decoding({1: 14, 8: 110, 16: 200}),
        ]
        assert settings(figures) == {"dtype": "bfloat16", "batch_size": "auto", "num_workers": 16}


class TestWorkers:
    @pytest.mark.parametrize(
        ("speeds", "needed", "expected"),
        [
            ({1: 5.0, 2: 9.0}, 0.06, 1),
            ({1: 5.0, 2: 9.0}, 5.0, 2),  # as fast as the model is not enough
            ({1: 5.0, 2: 9.0, 4: 9.1, 8: 9.0}, 200.0, 2),  # never enough: the fewest that are as fast as it gets
            ({1: 5.0}, 200.0, 1),
        ],
        ids=str,
    )
    def test_the_fewest_that_keep_up(self, speeds: dict[int, float], needed: float, expected: int) -> None:
        assert best_workers(speeds, needed) == expected

    def test_decoding_that_holds_the_model_up_is_said(self) -> None:
        advice = advise([*images({1: 200.0}), *decoding({1: 5.0, 2: 10.0})])
        assert advice is not None
        assert advice.reasons[-1].endswith(
            "can decode 10 photos per second, the model takes 200; photos that large hold the model up"
        )

    def test_without_images_or_without_decoding_none_are_named(self) -> None:
        assert "num_workers" not in settings([*texts({"auto": 10}), *decoding({1: 5.0})])
        assert "num_workers" not in settings(images({1: 1.0}))


class TestWords:
    @pytest.mark.parametrize(
        "figures",
        [
            [],
            decoding({1: 5.0}),
            [no("no time", size=1)],
            [Figure(what="query", dtype="float32", size=1, per_second=2.0, tokens_per_second=24.0)],
        ],
        ids=["nothing", "decoding", "no time", "a query"],
    )
    def test_nothing_measured_no_advice(self, figures: list[Figure]) -> None:
        assert advise(figures) is None

    def test_what_to_write(self) -> None:
        advice = advise([*images({1: 10, 8: 60, 61: 62}, auto=61, dtype="bfloat16"), *decoding({1: 100.0})])
        assert advice is not None
        assert advice.call("jina-clip-v2") == (
            'LocalBackend("jina-clip-v2", dtype="bfloat16", batch_size="auto", num_workers=1)'
        )

    def test_every_setting_has_its_figures(self) -> None:
        advice = advise(
            [
                *images({1: 0.05, 2: 0.06, 6: 0.04}, auto=6),
                *images({1: 0.02}, dtype="bfloat16"),
                *texts({"auto": 100, 1: 50}),
                *texts({"auto": 40}, dtype="bfloat16"),
                *decoding({1: 4.8}),
            ]
        )
        assert advice is not None
        assert list(advice.reasons) == [
            "dtype: images per second at best: float32 0.06, bfloat16 0.02",
            "batch_size: auto: images 67% of the highest speed, texts 100% of the highest speed",
            "num_workers: 1 thread can decode 4.8 photos per second, the model takes 0.04",
        ]

    def test_what_was_not_compared_is_not_praised(self) -> None:
        advice = advise([*images({1: 0.05}), no("no time", size=2), *texts({"auto": 100})])
        assert advice is not None
        assert advice.reasons[1] == "batch_size: auto: images one size measured only, texts one size measured only"

    @pytest.mark.parametrize(
        ("per_second", "text"), [(0.06123, "0.0612"), (4.8, "4.8"), (99.94, "99.9"), (1240.4, "1,240")]
    )
    def test_speeds_have_three_digits(self, per_second: float, text: str) -> None:
        assert format_rate(per_second) == text
