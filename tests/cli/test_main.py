"""The command itself: what it loads, what it prints where, what its exit codes mean."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from jina_clip_integrations import __version__
from jina_clip_integrations.cli import main as command
from jina_clip_integrations.cli.messages import EXIT_CODES
from jina_clip_integrations.errors import BackendError, ConfigurationError
from tests.command_line import word_ids

ROOT = Path(__file__).parents[2]


def run_process(*arguments: str, code: str | None = None, **settings: Any) -> subprocess.CompletedProcess[str]:
    start = ["-c", code] if code else ["-m", "jina_clip_integrations.cli"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, *start, *arguments], capture_output=True, encoding="utf-8", env=environment, **settings
    )


def test_version_and_help_come_from_a_process_of_their_own() -> None:
    ran = run_process("--version")
    assert (ran.returncode, ran.stdout) == (0, f"jina-clip {__version__}\n")
    assert ran.stderr == ""


def test_help_loads_nothing_heavy() -> None:
    code = """
import sys
from jina_clip_integrations.cli.main import main
try:
    main(["--help"])
except SystemExit:
    pass
heavy = {"torch", "transformers", "httpx", "numpy", "PIL", "qdrant_client", "pyarrow", "tqdm", "pydantic"}
print("LOADED", sorted(heavy & set(sys.modules)))
"""
    ran = run_process(code=code)
    assert "LOADED []" in ran.stdout
    for name in command.COMMANDS:
        assert re.search(rf"\n    {name}\s", ran.stdout)


def test_a_whole_run_in_a_process_keeps_stdout_clean(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "colour_backend.py").write_text(
        (Path(__file__).parent / "colour_backend.py").read_text("utf-8") + "\nshared = ColourBackend\n", "utf-8"
    )
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from jina_clip_integrations.cli.main import main; "
    code += "sys.exit(main())"
    arguments = ["embed", "--images", str(folder), "--backend", "colour_backend:shared"]
    ran = run_process(*arguments, code=code)
    assert ran.returncode == 0, ran.stderr
    assert [line[:17] for line in ran.stdout.splitlines()] == ['{"kind": "image",'] * 3
    assert "embedding: 3/3" in ran.stderr


def test_a_reader_that_went_away_is_no_traceback() -> None:
    code = """
import sys
from jina_clip_integrations.cli import main
from tests.command_line import word_ids
class Gone:
    def configure(self, parser): pass
    def run(self, args): raise BrokenPipeError
main.import_module = lambda *_: Gone()
sys.exit(main.main(["doctor"]))
"""
    ran = run_process(code=code)
    assert (ran.returncode, ran.stderr) == (141, "")


@pytest.fixture
def command_that(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`command_that(action)` puts `action` in place of `doctor`."""

    def replace(action: Any) -> None:
        module = type("Module", (), {"configure": lambda parser: None, "run": lambda args: action()})
        monkeypatch.setattr(command, "import_module", lambda *_: module)

    return replace


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigurationError("no such\nmodel"), 2, "no such model"),
        (BackendError("it broke"), 1, "it broke"),
        (ImportError('install it with: pip install "x[y]"'), 2, 'install it with: pip install "x[y]"'),
        (FileNotFoundError(2, "No such file or directory", "a.txt"), 2, "a.txt: No such file or directory"),
        (PermissionError(13, "Permission denied"), 2, "Permission denied"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (KeyboardInterrupt("interrupted: 3 of 5"), 130, "interrupted: 3 of 5"),
        (ZeroDivisionError("oops"), 1, "ZeroDivisionError: oops (set JINA_CLIP_DEBUG=1 to see where)"),
    ],
    ids=word_ids,
)
def test_errors_are_one_line_and_a_code(
    run: Any, command_that: Any, error: BaseException, code: int, line: str
) -> None:
    def fail() -> int:
        raise error

    command_that(fail)
    ran = run("doctor")
    assert (ran.code, ran.out, ran.err) == (code, "", f"jina-clip: {line}\n")
    assert code in EXIT_CODES


def test_debug_shows_where(run: Any, command_that: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JINA_CLIP_DEBUG", "1")
    command_that(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        run("doctor")


@pytest.mark.filterwarnings("default::UserWarning")
def test_warnings_are_one_line_on_stderr(run: Any, command_that: Any) -> None:
    def warn() -> int:
        warnings.warn("three texts\nwere cut", stacklevel=1)
        return 0

    command_that(warn)
    before = warnings.showwarning
    ran = run("doctor")
    assert ran.err == "warning: three texts were cut\n"
    assert warnings.showwarning is before


@pytest.mark.parametrize("arguments", [(), ("no-such-command",), ("doctor", "--no-such-option")], ids=word_ids)
def test_usage_errors_exit_with_2(run: Any, arguments: tuple[str, ...]) -> None:
    ran = run(*arguments)
    assert ran.code == 2
    assert "usage: jina-clip" in ran.err
    assert ran.out == ""


@pytest.mark.parametrize("name", command.COMMANDS)
def test_every_command_explains_itself(run: Any, name: str) -> None:
    ran = run(name, "--help")
    assert ran.code == 0
    assert f"usage: jina-clip {name}" in ran.out
    assert "--json" in ran.out or name in ("serve", "app", "mcp")  # they run until they are stopped


@pytest.mark.parametrize("name", ["embed", "index", "search", "evaluate"])
def test_model_options_are_the_same_everywhere(run: Any, name: str) -> None:
    shown = run(name, "--help").out
    for option in ("model", "backend", "dimensions", "device", "dtype", "batch-size", "cache", "base-url", "quiet"):
        assert f"--{option}" in shown


def test_a_terminal_that_cannot_show_a_character_gets_a_question_mark() -> None:
    code = "from jina_clip_integrations.cli import main; main.replace_unencodable_characters(); print('日本 ok')"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii:strict"}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert ran.stdout.strip() == b"?? ok"
