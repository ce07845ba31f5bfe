"""`jina-clip demo`: search a gallery with words in many languages and with images, offline, with the demo model."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InputError
from ...evaluation.directions import forward
from ...evaluation.metrics import require_metrics
from ...evaluation.statistics import language_weights
from ...evaluation.storage import StorageType
from ...evaluation.task import gallery_task
from ...types import Vectors
from ...vectors import truncate_and_normalize
from ..batches import encode_all
from ..messages import OK
from ..options import DEMO_MODEL, add_output_options, open_encoder, open_output, positive_int, vector_width
from ..output import Output
from .queries import DEFAULT_QUERIES, LANGUAGES, Question, recognize_question

if TYPE_CHECKING:
    from ...demo import GalleryImage
    from ...encoder import JinaClipEncoder
    from .contact_sheet import Row

DEFAULT_OUTPUT = "jina-clip-demo.png"
NOT_THE_WEIGHTS = "Demo model, not Jina's weights"
LEGEND = "Scores are cosines. Green: what was asked for. Images: Noto Emoji, Apache-2.0."
MAX_HITS_ON_SHEET = 10
"""Columns of the contact sheet; more would make it wider than a screen."""

QUALITY_LANGUAGES = ("en", "de", "es", "hi", "ja", "ar")
"""The quality of fewer dimensions is measured with the names in these languages."""


@dataclass(frozen=True)
class GalleryHit:
    """One image of the gallery as a result."""

    image: GalleryImage
    score: float
    is_right: bool
    """Whether it is what was asked for, where that is known."""


@dataclass(frozen=True)
class Result:
    """A question with its hits, best first."""

    question: Question
    hits: list[GalleryHit]


@dataclass(frozen=True)
class Facts:
    """Figures of the run."""

    images: int
    dimensions: int
    embedding_s: float
    quality: dict[int, float]
    """Width to recall@5 of gallery names, in percent; empty if it was not measured."""

    def size_line(self) -> str:
        """How large everything is."""
        return f"{self.images:,} images, {self.dimensions} dimensions, {4 * self.dimensions} bytes per vector"

    def quality_line(self) -> str:
        """What fewer dimensions save and cost."""
        full, short = max(self.quality), min(self.quality)
        return (
            f"{short} of {full} dimensions: {4 * short} instead of {4 * full} bytes per vector "
            f"({100 * short / full:.0f}%). Recall@5 of the images' names in {len(QUALITY_LANGUAGES)} languages: "
            f"{self.quality[short]:.1f}% instead of {self.quality[full]:.1f}%."
        )


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `jina-clip demo`."""
    parser.add_argument("queries", nargs="*", metavar="QUERY", help="words to search with (default: six languages)")
    parser.add_argument("--image", action="append", default=[], metavar="FILE", help="search with this image")
    parser.add_argument("--dimensions", type=positive_int, metavar="N", help="cut vectors to N, and measure the cost")
    parser.add_argument("--top", type=positive_int, default=6, metavar="K", help="results per query (default: 6)")
    parser.add_argument("--output", default=DEFAULT_OUTPUT, metavar="FILE.png", help="contact sheet (%(default)s)")
    parser.add_argument("--no-sheet", action="store_true", help="draw no contact sheet")
    parser.add_argument("--device", help="auto, cpu, cuda or mps (default: auto)")
    add_output_options(parser)
    parser.set_defaults(model=DEMO_MODEL, backend="local", dtype="float32", batch_size=None, cache=None)


def run(args: argparse.Namespace) -> int:
    """Embed the gallery, search it, show the results."""
    from ...demo import gallery

    out = open_output(args)
    # A path that cannot be written is refused before the gallery is embedded.
    sheet_file = None if args.no_sheet else sheet_path(args.output)
    if args.dimensions:
        require_metrics()
    images = gallery()
    questions = make_questions(args, images)
    # At full width, even with --dimensions: the two widths are compared below from the same vectors.
    with open_encoder(args, dimensions=None) as encoder:
        full = vector_width(encoder)
        width = choose_width(encoder, args.dimensions, full)
        # Queries first: a file that is no image ends the run at once.
        queries = encode_questions(encoder, questions)
        started_s = time.perf_counter()
        vectors = encode_all(encoder, [{"image": image.data()} for image in images], out, "embedding images")
        took_s = time.perf_counter() - started_s
        quality = measure_quality(encoder, vectors, [full, width], out) if args.dimensions else {}
    facts = Facts(len(images), width, took_s, quality)
    results = search_gallery(questions, truncate(queries, width), truncate(vectors, width), images, args.top)
    print_results(out, results, facts)
    if sheet_file:
        save_sheet(sheet_file, results, facts)
        out.line(f"Contact sheet: {sheet_file}")
    out.result(as_json(results, facts, sheet_file))
    return OK


def sheet_path(output: str) -> Path:
    """Where the sheet goes. Raises `InputError` before anything is computed if it cannot go there."""
    path = Path(output).expanduser()
    if path.suffix.lower() != ".png":
        raise InputError(f"--output {output}: the contact sheet is a .png")
    if not path.parent.is_dir():
        raise InputError(f"--output {output}: there is no folder {path.parent}")
    return path


def make_questions(args: argparse.Namespace, images: Sequence[GalleryImage]) -> list[Question]:
    """The words and images of the command line, or the tour."""
    own = [recognize_question(text, images) for text in args.queries]
    own += [Question(image=image) for image in args.image]
    return own or list(DEFAULT_QUERIES)


def choose_width(encoder: JinaClipEncoder, dimensions: int | None, full: int) -> int:
    """The width to cut to. Raises `ConfigurationError` if the model was not trained for it."""
    if dimensions is not None and encoder.spec is not None:
        encoder.spec.check_dimensions(dimensions)
    return dimensions or full


def encode_questions(encoder: JinaClipEncoder, questions: Sequence[Question]) -> Vectors:
    """One vector per question, `(n, d)`."""
    return encoder.encode([{"image": q.image} if q.image is not None else {"text": q.text} for q in questions])


def search_gallery(
    questions: Sequence[Question], queries: Vectors, vectors: Vectors, images: Sequence[GalleryImage], top: int
) -> list[Result]:
    """The `top` nearest images of every question; `queries` `(q, d)` and `vectors` `(n, d)` are unit vectors."""
    results = []
    for question, scores in zip(questions, queries @ vectors.T, strict=True):
        nearest = np.argsort(-scores, kind="stable")[:top]  # stable: equal scores keep the gallery's order
        hits = [_make_hit(question, images[position], float(scores[position])) for position in nearest]
        results.append(Result(question, hits))
    return results


def _make_hit(question: Question, image: GalleryImage, score: float) -> GalleryHit:
    return GalleryHit(image, score, is_right=question.is_answered_by(image))


def measure_quality(encoder: JinaClipEncoder, images: Vectors, sizes: Sequence[int], out: Output) -> dict[int, float]:
    """Recall@5 in percent of the gallery's names against its images, mean over languages, at every width."""
    task = gallery_task(QUALITY_LANGUAGES)
    texts = encode_all(encoder, task.queries, out, "embedding names")
    direction = forward(task)
    weights = language_weights(direction.languages)
    found = {}
    for size in sizes:
        values = direction.measure(truncate(texts, size), truncate(images, size), StorageType("float32"))
        found[size] = 100 * float(np.average(values["R@5"], weights=weights))
    return found


def truncate(vectors: Vectors, dimensions: int) -> Vectors:
    """Unit vectors of only the first `dimensions` values: `(n, dimensions)`."""
    return truncate_and_normalize(vectors, dimensions=dimensions, normalized=True)


def print_results(out: Output, results: Sequence[Result], facts: Facts) -> None:
    """Print the results for people."""
    out.line(f"{NOT_THE_WEIGHTS}: {facts.size_line()}.")
    for result in results:
        out.line()
        out.line(result.question.heading())
        for rank, hit in enumerate(result.hits, 1):
            mark = "✓" if hit.is_right else " "  # nothing is marked where the right image is not known
            out.line(f"{rank:4d}  {hit.score:6.3f} {mark} {hit.image.emoji} {hit.image.names['en']}")
    out.line()
    if facts.quality:
        out.line(facts.quality_line())
        out.line()


def save_sheet(path: Path, results: Sequence[Result], facts: Facts) -> None:
    """Draw and write the contact sheet."""
    from .contact_sheet import Sheet, draw_sheet

    rows = [_make_row(result) for result in results]
    notes = [facts.quality_line(), LEGEND] if facts.quality else [LEGEND]
    sheet = Sheet("Words and images in one space", f"{NOT_THE_WEIGHTS}: {facts.size_line()}", rows, notes)
    draw_sheet(sheet).save(path)  # `optimize` takes four times as long for 1% of the size


def _make_row(result: Result) -> Row:
    from .contact_sheet import Hit, Row, load_image

    question = result.question
    best = result.hits[:MAX_HITS_ON_SHEET]
    hits = [Hit(hit.image.image(), hit.image.names["en"], hit.score, hit.is_right) for hit in best]
    image = load_image(question.image) if question.image is not None else None
    return Row(question.text, hits, LANGUAGES.get(question.language, ""), question.gloss, image)


def as_json(results: Sequence[Result], facts: Facts, sheet: Path | None) -> dict[str, Any]:
    """Everything shown, for machines."""
    return {
        "model": DEMO_MODEL,
        "note": NOT_THE_WEIGHTS,
        "images": facts.images,
        "dimensions": facts.dimensions,
        "bytes_per_vector": 4 * facts.dimensions,
        "seconds_to_embed": round(facts.embedding_s, 3),
        "recall_at_5": {str(size): round(value, 2) for size, value in facts.quality.items()},
        "sheet": str(sheet) if sheet else None,
        "queries": [{**result.question.as_json(), "results": _hits_as_json(result)} for result in results],
    }


def _hits_as_json(result: Result) -> list[dict[str, Any]]:
    return [
        {
            "rank": rank,
            "score": hit.score,
            "id": hit.image.id,
            "emoji": hit.image.emoji,
            "name": hit.image.names["en"],
            "right": hit.is_right,
        }
        for rank, hit in enumerate(result.hits, 1)
    ]
