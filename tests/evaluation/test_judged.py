"""Queries with graded judgements, from BEIR folders and TREC files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jina_clip_integrations.errors import InputError
from jina_clip_integrations.evaluation.judged import judged_task

QUERIES = [{"_id": "q1", "text": "red", "language": "en"}, {"_id": "q2", "text": "grün"}, {"_id": "q3", "text": "none"}]
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t1\nq2\td2\t1\nq2\td1\t0\n"


def as_lines(rows: list[dict[str, Any]]) -> str:
    return "\n".join(map(json.dumps, rows))


@pytest.fixture
def beir(tmp_path: Path, paint: Any) -> Path:
    paint(tmp_path / "red.png", "red")
    corpus = [
        {"_id": "d1", "image": "red.png"},
        {"_id": "d2", "title": "A leaf", "text": "is green."},
        {"_id": "d3", "text": "both", "image": "red.png"},
    ]
    (tmp_path / "corpus.jsonl").write_text(as_lines(corpus))
    (tmp_path / "queries.jsonl").write_text(as_lines(QUERIES))
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text(QRELS)
    return tmp_path


def test_a_beir_folder(beir: Path) -> None:
    task = judged_task(beir)
    assert task.queries == [{"text": "red"}, {"text": "grün"}]
    assert task.corpus == [
        {"image": str(beir / "red.png")},
        {"text": "A leaf is green."},
        {"text": "both", "image": str(beir / "red.png")},
    ]
    assert task.relevance == [{0: 2, 1: 1}, {1: 1}]
    assert (task.query_ids, task.corpus_ids, task.languages) == (["q1", "q2"], ["d1", "d2", "d3"], ["en", ""])
    assert task.notes == ["1 queries have no judged answer and are left out"]
    assert (task.forward_name, task.backward_name) == ("text_to_document", "document_to_text")


def test_another_split(beir: Path) -> None:
    (beir / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\nq3\td3\t1\n")
    assert judged_task(beir, split="dev").query_ids == ["q3"]
    with pytest.raises(InputError, match=r"no train\.tsv; there are dev, test"):
        judged_task(beir, split="train")


def test_trec_files_beside_a_folder_of_images(tmp_path: Path, paint: Any) -> None:
    paint(tmp_path / "images" / "red.png", "red")
    paint(tmp_path / "images" / "deep" / "sea.png", "blue")
    (tmp_path / "topics.tsv").write_text("q1\tsomething red\nq2\tthe sea\n")
    (tmp_path / "qrels.txt").write_text("q1 0 red.png 1\nq2 0 deep/sea.png 3\nq2 0 red.png -1\n")
    task = judged_task(tmp_path / "images", queries=tmp_path / "topics.tsv", qrels=tmp_path / "qrels.txt")
    documents = [task.corpus_ids[next(iter(grades))] for grades in task.relevance]
    assert documents == ["red.png", "deep/sea.png"]
    assert [list(grades.values()) for grades in task.relevance] == [[1], [3]]
    assert task.forward_name == "text_to_image"


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("queries.jsonl", "", r"queries\.jsonl has no queries"),
        ("queries.jsonl", "\n \n", "has no queries"),
        ("queries.jsonl", as_lines([*QUERIES, QUERIES[0]]), "line 4: the id 'q1' stands twice"),
        ("queries.jsonl", '{"text": "no id"}', r"line 1: an id is needed .*it has text"),
        ("queries.jsonl", '{"_id": "q1"}', "line 1: 'q1' has neither a text nor an image"),
        ("corpus.jsonl", "", "has no documents"),
        ("corpus.jsonl", '{"_id": "d1", "text": "a"}\n{"_id": "d1", "text": "b"}', "line 2: the id 'd1' stands twice"),
        ("corpus.jsonl", '{"_id": "d1", "image": "gone.png"}', r"line 1: there is no image .*gone\.png"),
        ("corpus.jsonl", b'{"_id": "d1", "text": "\xe9"}', "line 1: not UTF-8"),
        ("qrels/test.tsv", QRELS + "q9\td1\t1\n", "line 6: there is no query 'q9'"),
        ("qrels/test.tsv", QRELS + "q1\td9\t1\n", "line 6: there is no document 'd9'"),
        ("qrels/test.tsv", QRELS + "q1\td1\t1\n", "line 6: query 'q1' and document 'd1' are judged twice"),
        ("qrels/test.tsv", QRELS + "q1\td3\thigh\n", "line 6: the grade 'high' is not a whole number"),
        ("qrels/test.tsv", QRELS + "q1\td3\t0.5\n", r"line 6: the grade '0\.5' is not a whole number"),
        ("qrels/test.tsv", QRELS + "q1\td3\tnan\n", "the grade 'nan'"),
        ("qrels/test.tsv", QRELS + "q1\td3\n", "line 6: 2 columns"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\n", "has no judgements"),
        ("qrels/test.tsv", "q1\td1\t0\n", "names no answer"),
    ],
)
def test_what_is_wrong_is_named_by_line(beir: Path, file: str, content: str | bytes, said: str) -> None:
    (beir / file).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError, match=said):
        judged_task(beir)


def test_what_is_missing_is_named(tmp_path: Path, beir: Path) -> None:
    (beir / "queries.jsonl").unlink()
    with pytest.raises(InputError, match=r"queries\.jsonl: there are no queries; name them with --queries"):
        judged_task(beir)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"neither corpus\.jsonl nor images"):
        judged_task(tmp_path / "empty")
