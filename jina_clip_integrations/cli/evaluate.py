"""`jina-clip evaluate`: how often the right image is found, of captioned images or of the demo gallery.

A query counts as answered within k if its image is among the first k; images that tie with it stand before it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..catalog import ModelSpec
from ..errors import InputError
from ..retrieval.metrics import CUTOFFS, mean_over_groups, ranks, recall, recall_by_group, truncate
from ..settings import DEFAULT_MODEL
from ..types import Vectors
from .batches import encode_all
from .captions import read_captions, unique_images
from .evaluate_mteb import add_mteb_options, run_mteb, wants_mteb
from .messages import OK
from .options import (
    DEMO_MODEL,
    add_model_options,
    add_output_options,
    open_encoder,
    open_output,
    positive_int,
    vector_width,
)
from .output import Output


@dataclass(frozen=True)
class RetrievalTask:
    """Texts, images, and which image answers which text."""

    name: str
    texts: Sequence[str]
    images: Sequence[Any]
    answers: Sequence[int]
    """For every text the position of its image."""
    languages: Sequence[str]
    """For every text its language, or the empty string."""

    def texts_by_image(self) -> list[list[int]]:
        """For every image the positions of its texts."""
        texts: list[list[int]] = [[] for _ in self.images]
        for position, image in enumerate(self.answers):
            texts[image].append(position)
        return texts


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `jina-clip evaluate`."""
    parser.add_argument("captions", nargs="?", help=".csv or .jsonl of image and text (default: the gallery)")
    parser.add_argument("--languages", metavar="LIST", help="gallery: only these, such as en,de,ja (default: all)")
    parser.add_argument("--at", type=positive_int, nargs="+", metavar="N", help="dimensions (default: trained)")
    add_model_options(parser, model=None)
    add_mteb_options(parser)
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    """Measure recall and show it."""
    if wants_mteb(args):
        return run_mteb(args)
    out = open_output(args)
    if args.model is None:
        # The gallery is what the demo model was trained for; own captions deserve a real model.
        args.model = DEFAULT_MODEL if args.captions else DEMO_MODEL
    task = captions_task(args.captions) if args.captions else gallery_task(args.languages)
    with open_encoder(args) as encoder:
        sizes = evaluation_sizes(encoder.spec, vector_width(encoder), args.at)
        images = encode_all(encoder, [{"image": image} for image in task.images], out, "images")
        texts = encode_all(encoder, [{"text": text} for text in task.texts], out, "texts")
    result = measure_recall(task, texts, images, sizes)
    print_recall(out, task, result, args.model)
    return OK


def captions_task(file: str) -> RetrievalTask:
    """A file of captioned images as a task."""
    captions = read_captions(file)
    images = unique_images(captions)
    position = {image: number for number, image in enumerate(images)}
    answers = [position[caption.image] for caption in captions]
    texts, languages = [c.text for c in captions], [c.language for c in captions]
    return RetrievalTask(file, texts, images, answers, languages)


def gallery_task(languages: str | None = None) -> RetrievalTask:
    """The demo gallery as a task: every name of every image, in all its languages or the given ones."""
    from ..demo import gallery

    images = gallery()
    known = list(dict.fromkeys(language for image in images for language in image.names))
    wanted = [part.strip() for part in languages.split(",")] if languages else known
    # Before anything is embedded, a mistyped language is one clear line.
    for language in wanted:
        if language not in known:
            raise InputError(f"--languages: the gallery has no names in {language!r}; it has {', '.join(known)}")
    named = [
        (image.names[language], number, language)
        for language in wanted
        for number, image in enumerate(images)
        if language in image.names
    ]
    texts, answers, text_languages = zip(*named, strict=True)
    return RetrievalTask("demo gallery", texts, [image.data() for image in images], answers, text_languages)


def evaluation_sizes(spec: ModelSpec | None, dimensions: int, at: Sequence[int] | None) -> list[int]:
    """The widths to evaluate, the largest first: those asked for, or the trained ones up to `dimensions`."""
    if at:
        for size in at:
            if size > dimensions:
                raise InputError(f"--at {size}: the vectors have {dimensions} dimensions")
            if spec is not None:
                spec.check_dimensions(size)
        return sorted(set(at), reverse=True)
    trained = spec.matryoshka_dimensions if spec else ()
    return sorted({dimensions, *(size for size in trained if size < dimensions)}, reverse=True)


def measure_recall(task: RetrievalTask, texts: Vectors, images: Vectors, sizes: Sequence[int]) -> dict[str, Any]:
    """Recall in percent at every width: text to image (overall and per language), and image to text."""
    found = {}
    for size in sizes:
        short_texts, short_images = truncate(texts, size), truncate(images, size)
        # Vectors are embedded once at full width; cutting them is what the Matryoshka training allows.
        to_image = ranks(short_texts, short_images, [[answer] for answer in task.answers])
        row: dict[str, Any] = {"bytes_per_vector": 4 * size, "text_to_image": recall(to_image)}
        # With several languages every image has a text in each, and image to text would mostly compare languages.
        if len(set(task.languages)) > 1:
            row["languages"] = recall_by_group(to_image, task.languages)
            row["text_to_image"] = mean_over_groups(row["languages"])
        else:
            row["image_to_text"] = recall(ranks(short_images, short_texts, task.texts_by_image()))
        found[str(size)] = row
    return found


def print_recall(out: Output, task: RetrievalTask, result: dict[str, Any], model: str) -> None:
    """Print the figures, for people or as JSON."""
    out.line(f"{model} on {task.name}: {len(task.texts):,} texts, {len(task.images):,} images; recall in percent")
    out.line()
    header = ["dimensions", "bytes", *(f"R@{k}" for k in CUTOFFS)]
    out.line("Text to image" + (", mean over languages" if "languages" in next(iter(result.values())) else ""))
    out.table(header, _table_rows(result, "text_to_image"))
    widest = next(iter(result.values()))
    if "languages" in widest:
        out.line()
        out.line(f"Text to image per language, {next(iter(result))} dimensions")
        out.table(
            ["language", *header[2:]], [[name, *format_percentages(row)] for name, row in widest["languages"].items()]
        )
    else:
        out.line()
        out.line("Image to text")
        out.table(header, _table_rows(result, "image_to_text"))
    counts = {"texts": len(task.texts), "images": len(task.images)}
    out.result({"model": model, "test": task.name, **counts, "dimensions": result})


def _table_rows(result: dict[str, Any], direction: str) -> list[list[str]]:
    return [[size, str(row["bytes_per_vector"]), *format_percentages(row[direction])] for size, row in result.items()]


def format_percentages(row: dict[str, float]) -> list[str]:
    """Recall values, one digit after the point."""
    return [f"{row[f'R@{k}']:.1f}" for k in CUTOFFS]
