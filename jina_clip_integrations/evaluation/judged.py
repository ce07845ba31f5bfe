"""Queries with graded judgements: BEIR folders, and TREC files beside a corpus.

A BEIR folder has `queries.jsonl`, `corpus.jsonl` and `qrels/test.tsv`. A corpus may also be a folder of images, whose
ids are their paths in the folder, queries may be tab-separated (`id`, `text`), judgements may be TREC's four columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..collections.scan import scan
from ..errors import InputError
from ..types import Item
from .files import NumberedRows, Row, find_image, read_jsonl, read_text
from .task import RetrievalTask

QUERIES, CORPUS, QRELS = "queries.jsonl", "corpus.jsonl", "qrels"

ID_KEYS = ("_id", "id")

SPLITS = ("test", "dev", "validation", "train")
"""Judgements of a BEIR folder, in the order of preference."""


@dataclass(frozen=True)
class Entry:
    """A query or a document."""

    id: str
    item: Item
    language: str = ""


def is_beir(folder: Path) -> bool:
    """Whether a folder has the files of a BEIR data set."""
    return (folder / CORPUS).is_file() or (folder / QUERIES).is_file()


def judged_task(
    source: Path, *, queries: Path | None = None, qrels: Path | None = None, split: str | None = None
) -> RetrievalTask:
    """A corpus with judged queries as a task; `queries` and `qrels` default to the files of the BEIR folder.

    Queries without an answer in the judgements are left out, as trec_eval does. Raises `InputError` that names file and
    line: an id that stands twice or is unknown, a grade that is no number, nothing to ask.
    """
    documents = read_corpus(source)
    asked_file = queries or source / QUERIES
    asked = read_queries(asked_file)
    judged_file = qrels or find_qrels(source, split)
    grades = read_qrels(judged_file, asked_file, asked, source, documents)
    kept = [entry for entry in asked.values() if grades[entry.id]]
    if not kept:
        raise InputError(f"{judged_file} names no answer: no grade is above 0")
    left_out = len(asked) - len(kept)
    positions = {id_: number for number, id_ in enumerate(documents)}
    return RetrievalTask(
        name=str(source),
        queries=[entry.item for entry in kept],
        corpus=[entry.item for entry in documents.values()],
        relevance=[{positions[document]: grade for document, grade in grades[entry.id].items()} for entry in kept],
        languages=[entry.language for entry in kept],
        query_ids=[entry.id for entry in kept],
        corpus_ids=list(documents),
        notes=[f"{left_out} queries have no judged answer and are left out"] * bool(left_out),
    )


def read_corpus(source: Path) -> dict[str, Entry]:
    """The documents of a BEIR folder, of a .jsonl file, or the images of a folder, by id."""
    file = source / CORPUS if source.is_dir() else source
    if not file.is_file() and source.is_dir():
        images = [file for file in scan(source) if file.modality == "image"]
        if not images:
            raise InputError(f"{source} has neither {CORPUS} nor images")
        return {image.name: Entry(image.name, {"image": str(image.path)}) for image in images}
    return _read_entries(file, read_jsonl(file), "documents")


def read_queries(file: Path) -> dict[str, Entry]:
    """Queries of a .jsonl file, or of tab-separated lines of an id and a text, by id."""
    if not file.is_file():
        raise InputError(f"{file}: there are no queries; name them with --queries")
    rows = read_jsonl(file) if file.suffix.lower() == ".jsonl" else _read_topics(file)
    return _read_entries(file, rows, "queries")


def find_qrels(source: Path, split: str | None) -> Path:
    """The judgements of a BEIR folder: those of the split, or the first of `SPLITS`. Raises `InputError`."""
    found = sorted((source / QRELS).glob("*.tsv"))
    by_name = {path.stem: path for path in found}
    for name in [split] if split else SPLITS:
        if name in by_name:
            return by_name[name]
    there = f"there are {', '.join(by_name)}" if found else "there are none"
    raise InputError(f"{source / QRELS} has no {split or SPLITS[0]}.tsv; {there}. Choose with --split or --qrels")


def read_qrels(
    file: Path, asked_file: Path, asked: Mapping[str, Entry], source: Path, documents: Mapping[str, Entry]
) -> dict[str, dict[str, int]]:
    """For every query the documents with a grade above 0. Raises `InputError` naming the line."""
    grades: dict[str, dict[str, int]] = {query: {} for query in asked}
    seen: set[tuple[str, str]] = set()
    for line, query, document, grade in _read_judgements(file):
        if query not in asked:
            raise InputError(f"{file}, line {line}: there is no query {query!r} in {asked_file}")
        if document not in documents:
            raise InputError(f"{file}, line {line}: there is no document {document!r} in {source}")
        if (query, document) in seen:
            raise InputError(f"{file}, line {line}: query {query!r} and document {document!r} are judged twice")
        seen.add((query, document))
        if grade > 0:
            grades[query][document] = grade
    if not seen:
        raise InputError(f"{file} has no judgements")
    return grades


def _read_judgements(file: Path) -> Iterator[tuple[int, str, str, int]]:
    """Line, query, document and grade of BEIR's three columns with a heading, or TREC's four without."""
    for number, line in enumerate(read_text(file).split("\n"), 1):
        words = line.split("\t") if "\t" in line else line.split()
        words = [word.strip() for word in words]
        if not any(words) or (number == 1 and len(words) == 3 and not _is_number(words[2])):
            continue
        if len(words) == 4:
            del words[1]  # TREC's iteration, which nobody uses
        if len(words) != 3:
            raise InputError(
                f"{file}, line {number}: {len(words)} columns; BEIR has three (query, document, grade), TREC four"
            )
        yield number, words[0], words[1], _parse_grade(file, number, words[2])


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parse_grade(file: Path, line: int, text: str) -> int:
    grade = float(text) if _is_number(text) else float("nan")
    # Anything above 0 answers; trec_eval and nDCG know whole grades only.
    if not grade.is_integer():
        raise InputError(f"{file}, line {line}: the grade {text!r} is not a whole number")
    return int(grade)


def _read_topics(file: Path) -> NumberedRows:
    for number, line in enumerate(read_text(file).split("\n"), 1):
        if not line.strip():
            continue
        id_, tab, text = line.partition("\t")
        if not tab:
            raise InputError(f"{file}, line {number}: an id, a tab and a text are needed")
        yield number, {"_id": id_.strip(), "text": text.strip()}


def _read_entries(file: Path, rows: NumberedRows, what: str) -> dict[str, Entry]:
    entries: dict[str, Entry] = {}
    for line, row in rows:
        entry = _parse_entry(file, line, row)
        if entry.id in entries:
            raise InputError(f"{file}, line {line}: the id {entry.id!r} stands twice")
        entries[entry.id] = entry
    if not entries:
        raise InputError(f"{file} has no {what}")
    return entries


def _parse_entry(file: Path, line: int, row: Row) -> Entry:
    id_ = next((row[key] for key in ID_KEYS if row.get(key) is not None), None)
    if not isinstance(id_, (str, int)) or not str(id_).strip():
        raise InputError(f"{file}, line {line}: an id is needed ({' or '.join(ID_KEYS)}); it has {', '.join(row)}")
    item: dict[str, str] = {}
    # BEIR's convention: a document's title is the beginning of its text.
    text = " ".join(part for key in ("title", "text") if isinstance(part := row.get(key), str) and part.strip())
    if text.strip():
        item["text"] = text
    if isinstance(row.get("image"), str) and row["image"].strip():
        item["image"] = find_image(file, line, row["image"])
    if not item:
        raise InputError(f"{file}, line {line}: {str(id_)!r} has neither a text nor an image")
    return Entry(str(id_), item, str(row.get("language") or ""))
