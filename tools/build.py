"""Build what is published into `dist/`: the wheel, the source archive and a CycloneDX list of what they depend on.

`python tools/build.py [--output FOLDER]`. The same commit gives the same bytes, whenever and wherever it is built: the
time in the archives is that of the commit, or SOURCE_DATE_EPOCH. Nothing is fetched; hatchling and cyclonedx-bom come
with the extra `release`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]

WITHOUT_A_COMMIT = "1577836800"
"""The time of a build outside a repository: the first second of 2020, as hatchling has it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Build, and print the digests."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="folder for the files (default: dist)")
    parser.add_argument("--source", type=Path, default=ROOT, help="the tree to build (default: this one)")
    args = parser.parse_args(argv)
    for file in build(args.source, args.output):
        print(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file}")
    return 0


def build(source: Path, output: Path) -> list[Path]:
    """Build the tree `source` into `output`. The three files."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": commit_time(source, os.environ)}
    output.mkdir(parents=True, exist_ok=True)
    # Each from the tree itself, and not the wheel from the source archive, which takes a second build environment.
    for kind in ("sdist", "wheel"):
        run("-m", "hatchling", "build", "-t", kind, "-d", str(output.resolve()), cwd=source, env=environment)
    wheel = newest(output, "*.whl")
    bom = output / f"{wheel.name.rsplit('-', 3)[0]}.cdx.json"
    write_bom(source, bom, environment)
    return [wheel, newest(output, "*.tar.gz"), bom]


def write_bom(source: Path, bom: Path, environment: Mapping[str, str]) -> None:
    """The declared dependencies, those of the extras that users install included, as a CycloneDX document."""
    run(
        *("-m", "cyclonedx_py", "requirements", "-", "--pyproject", "pyproject.toml", "--mc-type", "library"),
        *("--output-reproducible", "--of", "JSON", "-o", str(bom.resolve())),
        cwd=source,
        env=environment,
        stdin="\n".join(declared(source)),
    )


def declared(source: Path) -> list[str]:
    """Every requirement of the package and of its extra `all`, sorted."""
    project = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    own = f"{project['name']}["
    found, waiting = set(project["dependencies"]), ["all"]
    while waiting:
        for requirement in extras[waiting.pop()]:
            if requirement.startswith(own):  # an extra that is made of others
                waiting += requirement.removeprefix(own).rstrip("]").split(",")
            else:
                found.add(requirement)
    return sorted(found)


def commit_time(source: Path, environment: Mapping[str, str]) -> str:
    """Seconds since 1970 that the archives carry."""
    if environment.get("SOURCE_DATE_EPOCH"):
        return environment["SOURCE_DATE_EPOCH"]
    command = ["git", "-C", str(source), "log", "-1", "--format=%ct"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        return WITHOUT_A_COMMIT
    return asked.stdout.strip() if asked.returncode == 0 and asked.stdout.strip() else WITHOUT_A_COMMIT


def newest(folder: Path, pattern: str) -> Path:
    return max(folder.glob(pattern), key=lambda file: file.stat().st_mtime_ns)


def run(*arguments: str, cwd: Path, env: Mapping[str, str], stdin: str = "") -> None:
    """Run a module of this interpreter. Exits with what it wrote if it fails."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=cwd, env=env, input=stdin, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(arguments[:3])} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
