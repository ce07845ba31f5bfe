"""How long importing takes, in fresh interpreters, and which packages it loads.

    python benchmarks/import_time.py [--runs 15] [--write benchmarks/results/import_time.md]

Every number is the median of `--runs` interpreters, measured inside each from before to after the statement, with a
warm disk cache. The ratio is that to an interpreter which starts and imports nothing, so that two machines, or one
under load, can be compared. The promise is that the first line stays under 200 ms.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from machine import describe

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
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def report(runs: int) -> str:
    """The table, with the machine on top."""
    bare = start_of_an_interpreter(runs)
    rows = [(statement, *measure(statement, runs)) for statement in STATEMENTS]
    lines = [
        f"# Import time\n\n{describe()}. An interpreter that imports nothing: {bare * 1000:.0f} ms.\n",
        "| statement | ms | ratio | loads |",
        "| --- | ---: | ---: | --- |",
    ]
    lines += [
        f"| `{name}` | {s * 1000:.0f} | {s / bare:.2f} | {', '.join(loaded) or '-'} |" for name, s, loaded in rows
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15, help="interpreters per statement")
    parser.add_argument("--write", type=Path, help="write the table there too")
    options = parser.parse_args()
    table = report(options.runs)
    print(table)
    if options.write is not None:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text(table, encoding="utf-8")


if __name__ == "__main__":
    main()
