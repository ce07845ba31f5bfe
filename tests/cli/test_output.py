"""What is printed where."""

from __future__ import annotations

import json

import pytest

from jina_clip_integrations.cli.output import Output, format_duration, format_table, plural


def test_people_get_lines_and_machines_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    for as_json in (False, True):
        out = Output(as_json=as_json)
        out.line("for people")
        out.result({"für": "machines"})
    assert capsys.readouterr().out == 'for people\n{\n  "für": "machines"\n}\n'
    assert json.loads('{"für": "machines"}')


def test_quiet_keeps_warnings_only(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(quiet=True)
    out.note("a note")
    out.warn("something is off")
    with out.progress(3, "counting") as bar:
        bar.advance(3)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "warning: something is off\n")


def test_progress_elsewhere_than_on_a_terminal_is_now_and_then_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with Output().progress(40, "counting") as bar:
        for _ in range(40):
            now[0] += 0.5
            bar.advance()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "counting: 10/40 (25%) after 5.0 s, 2 a second, 15.0 s left"
    assert lines[-1] == "counting: 40/40 (100%) after 20.0 s, 2 a second"
    assert len(lines) == 4


def test_what_was_finished_before_makes_a_run_no_faster(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with Output().progress(1_000_000, "counting") as bar:
        bar.skip(900_000)
        now[0] += 10
        bar.advance(100)
    assert capsys.readouterr().err == "counting: 900100/1000000 (90%) after 10.0 s, 10 a second, 3 h left\n"


@pytest.mark.parametrize(("seconds", "text"), [(0.04, "0.0 s"), (99.9, "99.9 s"), (600, "10 min"), (36_000, "10 h")])
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_progress_on_a_terminal_is_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with Output().progress(3, "counting") as bar:
        bar.skip(1)
        bar.advance(2)
    captured = capsys.readouterr()
    assert "counting: 100%" in captured.err
    assert captured.out == ""


def test_progress_shows_where_an_interruption_ended_it(capsys: pytest.CaptureFixture[str]) -> None:
    def count() -> None:
        with Output().progress(5, "counting") as bar:
            bar.advance(2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        count()
    assert "counting: 2/5 (40%)" in capsys.readouterr().err


def test_tables_align() -> None:
    lines = format_table(["name", "R@1"], [["a", "10.0"], ["longer", "9.5"]])
    assert lines == ["name     R@1", "a       10.0", "longer   9.5"]


@pytest.mark.parametrize(("count", "text"), [(1, "1 image"), (0, "0 images"), (1428, "1,428 images")])
def test_plural(count: int, text: str) -> None:
    assert plural(count, "image") == text
