"""A load that is killed in the middle, and goes on."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from jina_clip_integrations.loading.load import load_files
from tests.loading.test_load import check_rows

ROOT = Path(__file__).parents[2]
ROWS, BATCH_ROWS = 1200, 20
KILLS = 2
"""Times `--effort`."""


def kill_while_loading(path: str, into: str, *, after_rows: int, delay_s: float) -> int:
    """Kill a loading process a moment after it has told of so many rows. The rows that it told of."""
    command = [sys.executable, "-m", "tests.loading.killed", path, into, str(BATCH_ROWS)]
    told = 0
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            assert line != "done\n", "it was too quick to be killed"
            told = int(line)
            if told >= after_rows:
                break
        time.sleep(delay_s)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    return told


def test_a_killed_load_goes_on_with_no_row_lost_or_doubled(store: Any, table: Any, effort: int) -> None:
    gaps = (5, 700)
    path = table(rows=ROWS, gaps=gaps)
    rng = random.Random(13)
    told = 0
    for number in range(KILLS * effort):
        after = (number + 1) * ROWS // (KILLS * effort + 2)
        told = kill_while_loading(path, store.into, after_rows=after, delay_s=rng.uniform(0, 0.01))
    report = load_files([path], into=store.into)
    assert report.already >= told - BATCH_ROWS
    assert report.count == ROWS - len(gaps)
    check_rows(store, [number for number in range(ROWS) if number not in gaps])
