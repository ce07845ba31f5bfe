"""Create the virtual environment and install this package with some of its extras: `python3 tools/bootstrap.py test`.

Needs only Python and pip. Torch comes first and separately, because a plain install takes a CUDA build of several
gigabytes on Linux: on a machine without an NVIDIA driver a CPU build is asked for, and the plain one is the fallback.
Point pip at an index that has CPU builds in the usual ways (PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS) if yours has none.
Everything else is installed by uv, which resolves in seconds what takes pip minutes, from the indexes that pip is
configured with; where uv cannot be had or does not succeed, pip installs it. Running it again does nothing unless
pyproject.toml has changed.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH = "2.13.0"
"""The torch release that the project is tested with."""
UV = "uv>=0.5"
"""The installer of everything else: one wheel, without dependencies."""
UV_VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "constraint": "UV_CONSTRAINT",
    "cert": "SSL_CERT_FILE",
}
"""What uv calls the settings of pip that say where packages come from; it reads none of pip's own."""


def main() -> int:
    """Set up the environment for the extras named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("extras", nargs="+", help="extras of pyproject.toml, such as demo or test")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv")
    parser.add_argument("--lowest", action="store_true", help="the lowest versions that pyproject.toml declares")
    arguments = parser.parse_args()
    python = create_environment(arguments.venv)
    stamp = arguments.venv / f".installed-{'-'.join(sorted(arguments.extras))}{'-lowest' * arguments.lowest}"
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == wanted:
        say(f"{arguments.venv.name} is up to date for [{','.join(arguments.extras)}]")
        return 0
    install_torch(python, lowest_torch() if arguments.lowest else TORCH)
    install_package(python, arguments.extras, lowest=arguments.lowest)
    stamp.write_text(wanted)
    return 0


def create_environment(folder: Path) -> Path:
    """Path of the environment's Python; the environment is made if it is not there."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        say(f"creating {folder.name} with Python {sys.version.split()[0]}")
        venv.create(folder, with_pip=True, clear=folder.exists())
    return python


def lowest_torch() -> str:
    """The lowest torch that pyproject.toml declares."""
    [version] = re.findall(r'"torch>=([\d.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return f"{version}.0" if version.count(".") == 1 else str(version)


def install_torch(python: Path, version: str) -> None:
    """Install torch unless some torch is there: a CPU build where the machine has no NVIDIA driver."""
    if subprocess.run([python, "-c", "import torch"], capture_output=True).returncode == 0:
        return
    if shutil.which("nvidia-smi") is None and sys.platform == "linux":
        say(f"installing torch {version}, CPU build (no NVIDIA driver here)")
        if pip(python, "install", "--quiet", f"torch=={version}+cpu", check=False):
            return
        say("no CPU build in the configured indexes; taking the plain build, which may be large")
    say(f"installing torch {version}")
    pip(python, "install", "--quiet", f"torch=={version}")


def install_package(python: Path, extras: list[str], *, lowest: bool) -> None:
    """Install this package and some of its extras: by uv if that works, or else by pip, which knows no `lowest`."""
    wanted = ("--editable", f"{ROOT}[{','.join(extras)}]")
    resolution = ("--resolution", "lowest-direct") if lowest else ()
    say(f"installing this package with [{','.join(extras)}]")
    if pip(python, "install", "--quiet", UV, check=False) and uv(python, "install", "--quiet", *resolution, *wanted):
        return
    if lowest:
        sys.exit("only uv finds the lowest versions, and it did not succeed")
    say("uv did not succeed; pip takes a few minutes")
    pip(python, "install", "--quiet", *wanted)


def uv(python: Path, *arguments: str) -> bool:
    """Run uv's pip for the environment; True if it succeeded. Torch that is there already stays as it is."""
    command = [str(python), "-m", "uv", "pip", *arguments, "--python", str(python)]
    return subprocess.run(command, env={**pip_settings(python), **os.environ}).returncode == 0


def pip_settings(python: Path) -> dict[str, str]:
    """Where pip is told to find packages, in files or variables, as variables for uv."""
    listed = subprocess.run([python, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
    found = {"UV_INDEX_STRATEGY": "unsafe-best-match"}  # as pip does: the newest of all indexes
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        variable = UV_VARIABLES.get(name.rpartition(".")[2])
        if variable:
            separator = "," if variable == "UV_FIND_LINKS" else " "
            found[variable] = separator.join(ast.literal_eval(value).split())
    return found


def pip(python: Path, *arguments: str, check: bool = True) -> bool:
    """Run pip; True if it succeeded. Exits with pip's message on failure if `check`."""
    command = [str(python), "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, stderr=None if check else subprocess.DEVNULL)
    if check and done.returncode:
        sys.exit(f"pip failed: {' '.join(arguments)}")
    return done.returncode == 0


def say(text: str) -> None:
    """One line of progress."""
    print(f"==> {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
