"""`jina-clip embed --ray --output FOLDER`: a folder, a bucket or a text file into a folder of partitions."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import InputError
from .embed_job import STDIN
from .embed_ray import RayProgress, attach, describe_run, worker_settings
from .messages import INCOMPLETE, OK
from .output import Output, plural


def embed_partitions(args: argparse.Namespace, out: Output) -> int:
    """Embed a folder, a bucket or a text file into a folder of partitions, none of which goes through this process."""
    from ..ray import embed_dataset

    source, format = find_dataset(args)
    with attach(args, out), RayProgress(out, args.output, total=None) as progress:
        report = embed_dataset(
            source,
            args.output,
            format=format,
            workers=args.workers,
            on_progress=progress.show,
            **worker_settings(args),
        )
    if report.failed:
        out.warn(f"left out {plural(report.failed, 'input')}; which and why is in {report.failed_rows}")
    out.line(f"{plural(report.rows, 'vector')} of {report.dimensions} dimensions in {report.sink}")
    out.line(describe_run(report.to_dict()))
    out.result(
        {
            "model": report.model,
            "dimensions": report.dimensions,
            "output": report.sink,
            "count": report.rows,
            "ray": report.to_dict(),
        }
    )
    return INCOMPLETE if args.strict and report.failed else OK


def find_dataset(args: argparse.Namespace) -> tuple[str, str]:
    """What a folder of partitions is made from, and its format. Raises `InputError` for more than one source."""
    named = [*((one, "images") for one in args.images), *([(args.texts, "text")] if args.texts else [])]
    if args.items or len(named) != 1 or args.texts == STDIN:
        raise InputError(
            f"--output {args.output} is a folder of partitions, which is made from one source: --images FOLDER or "
            "--texts FILE; for several, name a file"
        )
    [(source, format)] = named
    return (source if "://" in source else str(Path(source).expanduser())), format
