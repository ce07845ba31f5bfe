"""Execute notebooks from top to bottom: `python tools/run_notebooks.py notebooks [--write]`.

Without `--write` nothing is changed; the run fails if a cell raises or if a notebook was saved without its outputs.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError


def main() -> int:
    """Execute every notebook in the given files and folders."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--write", action="store_true", help="save the outputs into the notebooks")
    parser.add_argument("--timeout", type=int, default=600, help="seconds that one cell may take")
    arguments = parser.parse_args()
    notebooks = [
        path for given in arguments.paths for path in (sorted(given.glob("*.ipynb")) if given.is_dir() else [given])
    ]
    failures = sum(not run(path, write=arguments.write, timeout=arguments.timeout) for path in notebooks)
    print(f"{len(notebooks) - failures} passed, {failures} failed")
    return 1 if failures or not notebooks else 0


def run(path: Path, *, write: bool, timeout: int) -> bool:
    """Execute one notebook; True if every cell ran and the saved file has the outputs of a run."""
    notebook = nbformat.read(path, as_version=4)
    unrun = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.execution_count is None]
    started = time.perf_counter()
    client = NotebookClient(
        notebook, timeout=timeout, kernel_name="python3", resources={"metadata": {"path": path.parent}}
    )
    try:
        client.execute()
    except CellExecutionError as error:
        print(f"{path.name}: FAILED\n{error}")
        return False
    print(f"{path.name}: {time.perf_counter() - started:.1f} s")
    if write:
        nbformat.write(notebook, path)
    elif unrun:
        print(f"{path.name}: FAILED, saved with {len(unrun)} cells that were never run; use --write")
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
