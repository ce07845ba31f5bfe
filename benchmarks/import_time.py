"""How long importing takes, in fresh interpreters, and which packages it loads.

    python benchmarks/import_time.py [--runs 15] [--write]

Every number is the median of `--runs` interpreters, measured inside each from before to after the statement, with a
warm disk cache. The ratio is that to an interpreter which starts and imports nothing, so that two machines, or one
under load, can be compared. The promise is that the first line stays under 200 ms.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

from reporting import Option, heading, run, table
from timing import seconds

STATEMENTS = (
    "import jina_clip_integrations",
    "from jina_clip_integrations import JinaClipEncoder",
    "from jina_clip_integrations import ApiBackend",
    "from jina_clip_integrations.llama_index import JinaClipEmbedding",
    "from jina_clip_integrations.langchain import JinaClipEmbeddings",
)
WATCHED = ("numpy", "PIL", "httpx", "pydantic", "torch", "transformers", "llama_index", "langchain_core")
PROBE = """
import json, sys, time
start = time.perf_counter()
{statement}
took = time.perf_counter() - start
print(json.dumps([took, sorted({{name.partition(".")[0] for name in sys.modules}})]))
"""


def measure(statement: str, runs: int) -> tuple[float, list[str]]:
    """Median seconds of `statement`, and which of the watched packages it loads."""
    probe = PROBE.format(statement=statement)
    answers = [json.loads(subprocess.check_output([sys.executable, "-c", probe])) for _ in range(runs + 1)]
    loaded = [name for name in WATCHED if name in answers[0][1]]
    return statistics.median(took for took, _ in answers[1:]), loaded


def start_of_an_interpreter(runs: int) -> float:
    """Median seconds to start Python and end it again."""
    command = [sys.executable, "-c", "pass"]
    return statistics.median(seconds(lambda: subprocess.run(command, check=True)) for _ in range(runs))


def report(runs: int) -> str:
    """The table, with the machine on top."""
    bare = start_of_an_interpreter(runs)
    figures = [(statement, *measure(statement, runs)) for statement in STATEMENTS]
    rows = [
        (f"`{name}`", f"{took * 1000:.0f}", f"{took / bare:.2f}", ", ".join(loaded) or "-")
        for name, took, loaded in figures
    ]
    note = f"An interpreter that imports nothing: {bare * 1000:.0f} ms."
    return f"{heading('Import time', __file__)}\n{note}\n\n{table(('statement', '>ms', '>ratio', 'loads'), rows)}"


if __name__ == "__main__":
    run(report, doc=__doc__, runs=Option(15, "interpreters per statement"))
