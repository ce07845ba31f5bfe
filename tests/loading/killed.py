"""Load a file and say how far it is after every batch: `python -m tests.loading.killed FILE INTO BATCH_ROWS`.

Run as a process of its own, to be killed.
"""

from __future__ import annotations

import sys

from jina_clip_integrations.loading.load import load_files

if __name__ == "__main__":
    path, into, batch_rows = sys.argv[1:]
    load_files([path], into=into, batch_rows=int(batch_rows), on_progress=lambda report: print(report.done, flush=True))
    print("done", flush=True)
