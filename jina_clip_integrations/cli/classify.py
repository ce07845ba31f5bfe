"""`jina-clip classify`: the images of a folder by labels of one's own, and how often that is right."""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..collections.chunk_sizes import ChunkSizer
from ..collections.names import encode_name
from ..collections.scan import SourceFile, read_text, resolve_folder, scan
from ..errors import InputError
from ..printable import printable_name
from .messages import INCOMPLETE, OK, telling_how_to_go_on
from .options import (
    add_fetch_options,
    add_model_options,
    add_output_options,
    open_encoder,
    open_output,
    positive_int,
    probability,
)
from .output import Output, plural, warn_of_unread
from .vector_files import replace_file

if TYPE_CHECKING:
    from ..encoder import JinaClipEncoder
    from ..encoder.classification import ZeroShotClassifier
    from ..retrieval.classification import Classification, Prediction

UNSURE = "unsure"
"""What stands for the label of an image whose best one is below the threshold."""

GO_ON = "with --cache PATH the same command goes on from where it stopped"

NAME_WIDTH = 40
"""Longest names that the column of names makes room for."""


@dataclass
class Found:
    """The images of a folder, and what could not be read."""

    images: Sequence[SourceFile]
    unread: dict[str, str] = field(default_factory=dict)
    """File of another kind to why it is not read."""
    failed: dict[str, str] = field(default_factory=dict)
    """Image to why it was left out."""

    @property
    def left_out(self) -> dict[str, str]:
        """Everything without a label, to the reason."""
        return {**self.unread, **self.failed}


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `jina-clip classify`."""
    parser.add_argument("folder", help="folder of images, with its subfolders")
    labels = parser.add_mutually_exclusive_group(required=True)
    labels.add_argument("--labels", metavar="A,B,…", help="the labels, in any language, with commas between them")
    labels.add_argument("--labels-file", metavar="FILE", help="a file with one label per line")
    labels.add_argument(
        "--labels-from-folders",
        action="store_true",
        help="the subfolders' names are the labels; says how often they were found",
    )
    parser.add_argument(
        "--template",
        action="append",
        metavar="TEXT",
        help="a prompt with {} in the label's place; several are averaged (default: 'a photo of a {}.')",
    )
    parser.add_argument("--top", type=positive_int, default=3, metavar="K", help="labels shown per image (default: 3)")
    parser.add_argument(
        "--threshold", type=probability, default=0.0, metavar="P", help=f"below this probability: {UNSURE}"
    )
    parser.add_argument(
        "--logit-scale", type=float, metavar="X", help="what cosines are multiplied by (default: the checkpoint's own)"
    )
    parser.add_argument("--csv", metavar="FILE", help="a table with the probability of every label")
    parser.add_argument("--strict", action="store_true", help=f"exit with {INCOMPLETE} if a file had to be left out")
    add_model_options(parser)
    add_fetch_options(parser)
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    """Classify every image of the folder."""
    out = open_output(args)
    found = find_images(args.folder, out)
    labels = read_labels(args, found.images)
    if args.threshold and UNSURE in labels:
        raise InputError(f"with --threshold {UNSURE!r} stands for no label; call that label otherwise")
    check_table(args.csv)
    with open_encoder(args) as encoder:
        classifier = encoder.classifier(labels, templates=args.template, logit_scale=args.logit_scale)
        result = classify_images(found, classifier, encoder, out)
        report = describe_result(found, result, encoder.model, args)
    print_labels(out, found, result, args)
    if args.labels_from_folders:
        report["measured"] = measure(out, found, result)
    if args.csv:
        write_csv(Path(args.csv).expanduser(), found, result, args.threshold)
    for name, reason in sorted(found.failed.items()):
        out.warn(f"left out {name}: {reason}")
    warn_of_unread(out, found.unread)
    out.result(report)
    return INCOMPLETE if args.strict and found.left_out else OK


def check_table(file: str | None) -> None:
    """Raise `InputError` for a table that cannot be written: now, and not after an hour."""
    path = None if file is None else Path(file).expanduser()
    if path is not None and path.is_dir():
        raise InputError(f"--csv {file} is a folder; name a file in it")
    if path is not None and not path.parent.is_dir():
        raise InputError(f"--csv {file}: there is no folder {path.parent}")


def find_images(folder: str, out: Output) -> Found:
    """The images of a folder. Raises `InputError` if there is none."""
    unread: dict[str, str] = {}
    images = [file for file in scan(resolve_folder(folder), unread=unread) if file.modality == "image"]
    if not images:
        warn_of_unread(out, unread)
        raise InputError(f"{folder} holds no images")
    return Found(images, unread)


def read_labels(args: argparse.Namespace, images: Sequence[SourceFile]) -> list[str]:
    """The labels, in their order. Raises `InputError` for a file that is no text and for folders without names."""
    if args.labels is not None:
        return [label.strip() for label in args.labels.split(",") if label.strip()]
    if args.labels_file is not None:
        lines = read_text(Path(args.labels_file).expanduser()).splitlines()
        return [line.strip() for line in lines if line.strip()]
    labels = sorted({label for file in images if (label := folder_label(file)) is not None})
    if len(labels) < 2:
        raise InputError(f"{args.folder} has images in fewer than two subfolders, whose names would be the labels")
    return labels


def folder_label(file: SourceFile) -> str | None:
    """The name of the subfolder that an image lies in; None for one that lies in none."""
    label, inside, _ = file.name.partition("/")
    return label if inside else None


def classify_images(
    found: Found, classifier: ZeroShotClassifier, encoder: JinaClipEncoder, out: Output
) -> Classification:
    """All images against all labels; those that cannot be read go to `found.failed`, and their rows are NaN."""
    from ..retrieval.classification import Classification

    parts: list[Classification] = []
    with out.progress(len(found.images), "classifying") as bar:
        sizer = ChunkSizer()
        while bar.done < len(found.images):
            chunk = found.images[bar.done : bar.done + sizer.size]
            with sizer.measure(), telling_how_to_go_on(GO_ON):
                parts.append(classifier.classify([{"image": file.path} for file in chunk], on_error="skip"))
            for position, reason in encoder.last_errors.items():
                file = chunk[position]
                found.failed[file.name] = reason.message.removeprefix(f"{file.path}: ")
            bar.advance(len(chunk))
    scores = np.concatenate([part.scores for part in parts])
    probabilities = np.concatenate([part.probabilities for part in parts])
    return Classification(classifier.labels, scores, probabilities, classifier.logit_scale)


# What is printed and written


def shown_label(best: Sequence[Prediction], threshold: float) -> str | None:
    """The label of an image by its predictions, or that none is probable enough; None for one that was left out."""
    if not best:
        return None
    return best[0].label if best[0].probability >= threshold else UNSURE


def describe_result(found: Found, result: Classification, model: str, args: argparse.Namespace) -> dict[str, Any]:
    """Everything as JSON."""
    images = [
        {"name": file.name, "path": str(file.path), "label": shown_label(best, args.threshold)}
        | {"best": [vars(one) for one in best]}
        for file, best in zip(found.images, result.top(args.top), strict=True)
        if best
    ]
    return {
        "model": model,
        "labels": list(result.labels),
        "logit_scale": result.logit_scale,
        "images": images,
        "failed": found.left_out,
    }


def print_labels(out: Output, found: Found, result: Classification, args: argparse.Namespace) -> None:
    """A line per image with its most probable labels, and how many images each label has."""
    best = result.top(args.top)
    width = max(len(printable_name(file.name)) for file in found.images)
    for file, labels in zip(found.images, best, strict=True):
        if labels:
            unsure = f"{UNSURE}: " if labels[0].probability < args.threshold else ""
            shown = ", ".join(f"{printable_name(one.label)} {one.probability:.1%}" for one in labels)
            out.line(f"{printable_name(file.name).ljust(min(width, NAME_WIDTH))}  {unsure}{shown}")
    counts = Counter(label for labels in best if (label := shown_label(labels, args.threshold)) is not None)
    out.line()
    out.line(", ".join(f"{printable_name(label)} {count:,}" for label, count in counts.most_common()))


def measure(out: Output, found: Found, result: Classification) -> dict[str, Any]:
    """How often the subfolder's name was found, for people and as JSON.

    Images in no subfolder do not count, nor do those that could not be read.
    """
    truth = [None if file.name in found.failed else folder_label(file) for file in found.images]
    rows = [row for row, label in enumerate(truth) if label is not None]
    known = [label for label in truth if label is not None]
    part = result.rows(rows)
    shares = {k: part.accuracy(known, k=k) for k in (1, 5) if k < len(result.labels)}
    confusion = part.confusion(known)
    out.line()
    named = ", ".join(f"{share:.1%} {'right' if k == 1 else f'among the first {k}'}" for k, share in shares.items())
    out.line(f"Of {plural(len(rows), 'image')} in subfolders: {named or 'nothing to measure'}")
    out.table(["label", "images", "right", "most often taken for"], confusion_rows(result.labels, confusion))
    accuracies = {f"accuracy@{k}": share for k, share in shares.items()}
    return {"images": len(rows), **accuracies, "confusion": confusion.tolist()}


def confusion_rows(labels: Sequence[str], confusion: NDArray[np.int64]) -> list[list[str]]:
    """For every label how many images it has, the share that got it, and the label that the others got most often."""
    rows = []
    for number, (label, counts) in enumerate(zip(labels, confusion, strict=True)):
        wrong = np.where(np.arange(len(labels)) == number, 0, counts)
        most = f"{labels[int(wrong.argmax())]} ({wrong.max()})" if wrong.any() else ""
        share = f"{counts[number] / counts.sum():.1%}" if counts.any() else ""
        rows.append([label, f"{counts.sum():,}", share, most])
    return rows


def write_csv(path: Path, found: Found, result: Classification, threshold: float) -> None:
    """A row per image: its name, its label, and the probability of every label; left-out images have a name only."""
    with replace_file(path) as fresh, fresh.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["name", "label", *result.labels])
        for image, best, row in zip(found.images, result.top(1), result.probabilities, strict=True):
            shares = [f"{share:.6g}" for share in row] if best else []
            table.writerow([encode_name(image.name), shown_label(best, threshold) or "", *shares])
