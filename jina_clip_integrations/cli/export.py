"""`jina-clip export`: a model as graphs for ONNX Runtime, OpenVINO and browsers."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..backends.exported.folder import DTYPES, GRAPH_SUFFIX
from ..settings import DEFAULT_MODEL
from .messages import OK
from .options import add_output_options, open_output

MEGABYTE = 1_000_000


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `jina-clip export`."""
    parser.add_argument("output", metavar="FOLDER", help="new folder for graphs, tokenizer and description")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="as for the local backend (default: %(default)s)")
    parser.add_argument("--format", choices=list(GRAPH_SUFFIX), default="onnx", help="default: %(default)s")
    parser.add_argument(
        "--dtype", choices=DTYPES, default="float32", help="type of the stored weights (default: %(default)s)"
    )
    parser.add_argument("--revision", help="branch, tag or commit of a Hub id")
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    """Export, and say what was written and how well it agrees."""
    from ..export import export_model

    out = open_output(args)
    out.note(f"exporting {args.model}; a model of the published size takes some minutes")
    options = {} if args.revision is None else {"revision": args.revision}
    report = export_model(args.model, args.output, format=args.format, dtype=args.dtype, **options)
    for name, size in report.files.items():
        out.line(f"{size / MEGABYTE:12,.1f} MB  {Path(args.output) / name}")
    worst = ", ".join(f"{modality} {cosine:.5f}" for modality, cosine in report.agreement.items())
    out.line(f"smallest cosine with the model in float32: {worst}")
    out.line(f"use it as: JinaClipEncoder({str(report.folder)!r}, backend={args.format!r})")
    out.result(
        {
            "folder": str(report.folder),
            "model": args.model,
            "format": args.format,
            "dtype": args.dtype,
            "files": report.files,
            "agreement": report.agreement,
        }
    )
    return OK
