"""Both directions of a task, its figures per language, and what they recommend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jina_clip_integrations.errors import InputError
from jina_clip_integrations.evaluation.directions import backward, forward
from jina_clip_integrations.evaluation.items import join_rows, split_items
from jina_clip_integrations.evaluation.plot import plot_settings
from jina_clip_integrations.evaluation.recommendation import format_share, recommend, share_kept
from jina_clip_integrations.evaluation.report import (
    compare_runs,
    measured_from_dict,
    measured_to_dict,
    per_query,
    read_report,
    write_report,
)
from jina_clip_integrations.evaluation.runs import DirectionResult, Evaluation, Measured, Setting
from jina_clip_integrations.evaluation.statistics import Interval
from jina_clip_integrations.evaluation.storage import BITS, StorageType, storage_types
from jina_clip_integrations.evaluation.task import RetrievalTask, caption_task, gallery_task

EYE = np.eye(4, dtype=np.float32)
FLOAT32 = StorageType("float32")


def captioned(captions: list[tuple[int, str, str]], images: int) -> RetrievalTask:
    return caption_task("t", [{"image": f"{n}.png"} for n in range(images)], [str(n) for n in range(images)], captions)


def figures(task: RetrievalTask, texts: np.ndarray, images: np.ndarray) -> dict[str, DirectionResult]:
    evaluation = Evaluation(task, texts.astype(np.float32), images, search_rows=0)
    return dict(evaluation.measure(Setting(images.shape[1], FLOAT32)).directions)


def test_languages_weigh_the_same() -> None:
    task = captioned([(0, "a", "en"), (1, "b", "en"), (2, "c", "en"), (3, "d", "en"), (3, "e", "de")], 4)
    result = figures(task, EYE[[0, 1, 2, 3, 0]], EYE)["text_to_image"]  # the only German text finds another image
    assert result.mean["R@1"].mean == 0.5
    assert [result.languages[name]["R@1"].mean for name in ("en", "de")] == [1, 0]


def test_any_caption_of_an_image_answers_it() -> None:
    eye = np.eye(3, dtype=np.float32)
    result = figures(captioned([(0, "a", ""), (1, "b", ""), (1, "c", "")], 2), eye, eye[[0, 2]])["image_to_text"]
    assert result.mean["R@1"].mean == 1
    assert result.languages == {}


def test_images_are_answered_in_one_language_at_a_time() -> None:
    # The German texts lie nearer to every image, and the English ones are right among themselves.
    task = captioned([(0, "a", "en"), (1, "b", "en"), (0, "x", "de")], 2)
    texts = np.array([[0.6, 0, 0.8], [0, 0.6, 0.8], [1, 0, 0]], np.float32)
    result = figures(task, texts, np.eye(3, dtype=np.float32)[:2])["image_to_text"]
    assert result.languages["en"]["R@1"].mean == 1
    assert [part.asking.tolist() for part in backward(task).parts] == [[0, 1], [0]]  # nothing German names the second


def test_queries_are_grouped_by_the_image_that_they_are_about() -> None:
    task = captioned([(0, "a", "en"), (1, "b", "en"), (0, "x", "de"), (1, "y", "de")], 2)
    assert forward(task).groups.tolist() == [0, 1, 0, 1]
    assert backward(task).groups.tolist() == [0, 1, 0, 1]


def test_queries_with_an_instruction_ask_and_plain_ones_are_found() -> None:
    task = captioned([(n, str(n), "") for n in range(4)], 4)
    evaluation = Evaluation(task, EYE[::-1].copy(), EYE, asking=EYE, search_rows=0)
    result = evaluation.measure(Setting(4, FLOAT32)).directions
    assert result["text_to_image"].mean["R@1"].mean == 1
    assert result["image_to_text"].mean["R@1"].mean == 0


def made_up(dimensions: int, storage: StorageType, quality: float) -> Measured:
    figure = {"nDCG@10": Interval(quality, quality, quality)}
    return Measured(Setting(dimensions, storage), {"x": DirectionResult(figure, {})})


def test_the_smallest_that_keeps_enough_is_recommended() -> None:
    half, int8 = StorageType("float16"), StorageType("int8", "rescored")
    measured = [made_up(1024, FLOAT32, 0.8), made_up(256, int8, 0.793), made_up(512, half, 0.8), made_up(64, int8, 0.7)]
    found = recommend(measured)
    assert found.setting == Setting(256, int8)
    assert share_kept(measured[1], measured[0]) == pytest.approx(found.kept) == pytest.approx(0.99125)
    assert "256 wide, int8, rescored: 99.1% of the nDCG@10 of 1024 wide, float32 at 1/16 of the size" in found.reason
    assert "64 wide, int8, rescored keeps the most, 87.5% with 64 bytes" in found.reason
    assert recommend(measured, 1.0).setting == Setting(512, half)
    assert recommend(measured, 0.5).setting == Setting(64, int8)


def test_nothing_smaller_may_be_good_enough() -> None:
    found = recommend([made_up(16, FLOAT32, 0.8), made_up(8, FLOAT32, 0.1)])
    assert found.setting == Setting(16, FLOAT32)
    assert "nothing smaller" in found.reason


def test_rescoring_that_gains_nothing_is_not_recommended() -> None:
    int8, rescored = storage_types(["int8"])
    for gain, best in ((0.0001, int8), (0.01, rescored)):
        measured = [made_up(64, FLOAT32, 0.8), made_up(64, rescored, 0.795 + gain), made_up(64, int8, 0.795)]
        assert recommend(measured).setting.storage == best


def test_rows_that_a_store_keeps_on_disk_count_as_bytes() -> None:
    measured = [made_up(64, FLOAT32, 0.8), made_up(64, StorageType("binary", "float16 kept"), 0.8)]
    assert recommend(measured).bytes_per_vector == 8 + 128


def test_shares() -> None:
    assert [format_share(*pair) for pair in ((64, 1024), (96, 512), (512, 512))] == ["1/16", "18.8%", "1/1"]


def test_figures_survive_json() -> None:
    task = captioned([(0, "a", "en"), (1, "b", "de")], 2)
    for storage in storage_types(list(BITS)):
        one = Evaluation(task, EYE[:2], EYE[:2], search_rows=20).measure(Setting(4, storage))
        assert measured_from_dict(json.loads(json.dumps(measured_to_dict(one)))) == one


def test_a_run_does_not_differ_from_itself(tmp_path: Path) -> None:
    task = gallery_task(["en"])
    random = np.random.default_rng(0)
    corpus = random.normal(size=(len(task.corpus), 16)).astype(np.float32)
    evaluation = Evaluation(task, corpus[[min(g) for g in task.relevance]] + 0.5, corpus, search_rows=0)
    setting = Setting(16, FLOAT32)
    values = evaluation.values(setting)
    write_report(tmp_path / "run.json", {"format": 1, "per_query": per_query(evaluation, setting, values)})
    again = read_report(tmp_path / "run.json")["per_query"]
    compared = compare_runs(evaluation.directions, values, again, "run.json")
    assert all(one.p_value == 1 for measures in compared.values() for one in measures.values())
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("content", ["{", "[]", '{"format": 1}', '{"format": 0, "per_query": {}}'])
def test_what_is_no_report_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content, "utf-8")
    with pytest.raises(InputError, match=r"run\.json is no report"):
        read_report(tmp_path / "run.json")


def test_the_plot_shows_every_type_and_what_is_recommended(tmp_path: Path) -> None:
    measured = [made_up(width, storage, width / 128) for width in (128, 64) for storage in storage_types(list(BITS))]
    plot_settings(measured, tmp_path / "x.svg", title="A title")
    assert (tmp_path / "x.svg").stat().st_size > 10_000
    from matplotlib.figure import Figure

    from jina_clip_integrations.evaluation.plot import draw_settings

    axes: Any = Figure().subplots()
    draw_settings(axes, measured)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == [*map(str, storage_types(list(BITS))), "recommended: 128 wide, binary"]
    assert "bytes per vector" in axes.get_xlabel()
    assert "nDCG@10 kept" in axes.get_ylabel()


def test_items_of_two_parts_are_put_together() -> None:
    parts, owners = split_items([{"text": "a"}, {"text": "b", "image": "c"}])
    assert parts == [{"text": "a"}, {"text": "b"}, {"image": "c"}]
    rows = np.array([[3, 4], [1, 0], [0, 1]], np.float32)
    np.testing.assert_allclose(join_rows(rows, owners, 2), [[0.6, 0.8], [0.5**0.5, 0.5**0.5]], rtol=1e-6)
    assert join_rows(rows, np.arange(3), 3) is rows


def test_a_task_is_known_by_what_decides_its_figures() -> None:
    plain = captioned([(0, "a", "en")], 1)
    assert plain.digest == captioned([(0, "a", "en")], 1).digest
    others = [captioned([(0, "b", "en")], 1), captioned([(0, "a", "de")], 1), captioned([(0, "a", "en")], 2)]
    assert len({task.digest for task in [plain, *others]}) == 4
