"""`jina-clip embed --ray`: the file of the plain path, however the work was spread, stopped and gone on with."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from jina_clip_integrations.cli import embed_ray
from jina_clip_integrations.errors import BackendError, ConfigurationError
from tests.command_line import run

__all__ = ["run"]

BACKEND = ["--backend", "tests.fakes:BlockingBackend"]
TEXTS = 700


@pytest.fixture
def named(tmp_path: Path) -> list[str]:
    """Texts, lines of a file and images: several partitions."""
    lines = tmp_path / "lines.txt"
    lines.write_text("\n".join(f"line {number} – 黒" for number in range(TEXTS)), "utf-8")
    rng = np.random.default_rng(0)
    (tmp_path / "mine").mkdir()
    for number in range(5):
        Image.fromarray(rng.integers(0, 256, (5, 6, 3), np.uint8)).save(tmp_path / "mine" / f"{number}.png")
    return ["a word", "a word", "--texts", str(lines), "--images", str(tmp_path / "mine")]


def content(path: Path) -> Any:
    """Everything that a file says."""
    if path.suffix == ".parquet":
        table = parquet.read_table(path)
        return table.schema.metadata, table.schema, table.to_pylist()
    beside = path.with_suffix(".json")
    return path.read_bytes(), beside.read_bytes() if beside.exists() else None


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("extension", [".parquet", ".npy"])
def test_the_file_is_that_of_the_plain_path(run: Any, named: list[str], tmp_path: Path, extension: str) -> None:
    plain, on_ray = tmp_path / "a" / f"x{extension}", tmp_path / "b" / f"x{extension}"
    for path in (plain, on_ray):
        path.parent.mkdir()
    assert run("embed", *named, *BACKEND, "--output", plain).code == 0
    ran = run("embed", *named, *BACKEND, "--output", on_ray, "--ray", "--workers", 2, "--json")
    assert ran.code == 0, ran.err
    assert content(on_ray) == content(plain)
    assert (ran.json["count"], ran.json["failed"]) == (TEXTS + 7, {})
    assert (ran.json["ray"]["rows"], ran.json["ray"]["partitions"], ran.json["ray"]["workers"]) == (TEXTS + 7, 3, 2)
    assert ran.err.startswith("starting a Ray cluster on this machine for this run\n")
    assert f"embedding: {TEXTS + 7}/{TEXTS + 7} (100%)" in ran.err
    assert [path.name for path in on_ray.parent.iterdir() if path.suffix in (".ray", ".part")] == []


@pytest.mark.usefixtures("here")
def test_bad_inputs_are_left_out_alike(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.png").write_bytes(b"no image")
    Path("empty.png").touch()
    Image.new("RGB", (4, 4), "red").save("red.png")
    named = ["fine", "half \ud83d", "--images", "broken.png", "red.png", "empty.png"]
    ran = run("embed", *named, *BACKEND, "--output", "x.parquet", "--ray")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "input 1: a text with a lone surrogate" in ran.err
    del named[1]
    ran = run("embed", *named, *BACKEND, "--output", "x.parquet", "--ray")
    assert ran.code == 2
    assert "input 1: broken.png: not an image" in ran.err
    assert "(and 1 other input); the other vectors are kept" in ran.err
    found = {}
    for output, options in (("x.parquet", ["--ray"]), ("y.parquet", [])):
        ran = run("embed", *named, *BACKEND, "--output", output, "--skip-errors", "--strict", "--json", *options)
        assert ran.code == 3, ran.err
        found[output] = (ran.json["failed"], content(Path(output)))
        if options:
            assert ran.json["ray"]["new_rows"] == 0  # what is needed was computed by the run before
    assert found["x.parquet"] == found["y.parquet"]


@pytest.mark.usefixtures("here")
def test_an_interruption_is_a_line_and_the_next_run_goes_on(
    run: Any, named: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    show = embed_ray.RayProgress.show

    def stop(progress: Any, of: Any) -> None:
        show(progress, of)
        raise KeyboardInterrupt

    output = tmp_path / "x.parquet"
    with monkeypatch.context() as stopping:
        stopping.setattr(embed_ray.RayProgress, "show", stop)
        ran = run("embed", *named, *BACKEND, "--output", output, "--ray", "--workers", 1)
    assert ran.code == 130
    assert ran.err.endswith("are kept in x.parquet.ray; the same command again goes on from there\n")
    assert not output.exists()
    ran = run("embed", *named, *BACKEND, "--output", output, "--ray", "--workers", 1, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["ray"]["resumed_partitions"] >= 1
    assert ran.json["ray"]["new_rows"] < TEXTS
    assert run("embed", *named, *BACKEND, "--output", tmp_path / "plain.parquet").code == 0
    assert content(output) == content(tmp_path / "plain.parquet")


@pytest.mark.usefixtures("ray_driver")
def test_ctrl_c_in_a_terminal(
    run: Any, ray_cluster: Any, named: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program in a process of its own, attached by the address; the cluster goes on, and the next run too."""
    monkeypatch.chdir(tmp_path)
    named.append("mine/0.png")  # found by workers, which run elsewhere
    output = Path("x.parquet")
    options = ["--output", str(output), "--workers", "1"]
    command = [sys.executable, "-m", "jina_clip_integrations.cli", "embed", *named, *options]
    command += ["--backend", "tests.ray.fake:make_slow", "--address", ray_cluster.address]
    receipts = output.with_name("x.parquet.ray") / "vectors" / "_jina_clip" / "done"
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ray_cluster.environment) as process:
        while not list(receipts.glob("*.json")):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    # Threads of Ray that were cut off may say so behind it.
    assert sum(line.startswith("jina-clip: interrupted: ") for line in said.splitlines()) == 1
    assert "Traceback" not in said
    ran = run("embed", *named, "--output", output, "--workers", 2, *BACKEND, "--ray", "--json")
    assert ran.code == 0, ran.err
    assert (ran.json["ray"]["resumed_partitions"] >= 1, ran.json["count"]) == (True, TEXTS + 8)
    assert run("embed", *named, *BACKEND, "--output", "plain.parquet").code == 0
    assert content(output) == content(Path("plain.parquet"))


@pytest.mark.usefixtures("here")
def test_a_folder_takes_the_partitions_themselves(run: Any, named: list[str], tmp_path: Path) -> None:
    lines, folder = named[3], named[5]
    (Path(folder) / "broken.png").write_bytes(b"no image")
    for source, count, code in ((["--texts", lines], TEXTS, 0), (["--images", folder], 5, 3)):
        output = f"{tmp_path}/{count}/"
        ran = run("embed", *source, *BACKEND, "--output", output, "--ray", "--strict", "--json")
        assert ran.code == code, ran.err
        assert (ran.json["count"], ran.json["dimensions"]) == (count, 8)
        assert len(parquet.read_table(output)) == count
        loaded = run("load", output, "--into", tmp_path / f"store{count}", "--json")
        assert loaded.json["loaded"] == count
    assert "left out 1 input; which and why is in" in ran.err
    ran = run("embed", *named, *BACKEND, "--output", f"{tmp_path}/mixed/", "--ray")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "made from one source" in ran.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ray"], "--ray needs --output"),
        (["--workers", "2"], "--workers is the number of processes with --ray"),
        (["--address", "127.0.0.1:1"], "--ray needs --output"),
    ],
)
def test_options_that_do_not_fit(run: Any, options: list[str], message: str) -> None:
    ran = run("embed", "a word", *BACKEND, *options)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert message in ran.err


def test_without_the_extra_a_line_says_what_to_install(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ray" else found(name))
    ran = run("embed", "a word", *BACKEND, "--output", tmp_path / "x.npy", "--ray")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert 'pip install "jina-clip-integrations[ray]"' in ran.err


def test_the_plain_path_loads_nothing_of_ray(tmp_path: Path) -> None:
    program = (
        "import json, sys; from jina_clip_integrations.cli.main import main; "
        "words = ['embed', 'a word', '--backend', 'tests.fakes:BlockingBackend', '--output']; "
        f"main([*words, {str(tmp_path / 'x.npy')!r}]); "
        "print(json.dumps('ray' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) is False


@pytest.mark.parametrize("address", ["nonsense", "ray://", "host:", ":1", "host:no"])
def test_an_address_of_no_form(address: str) -> None:
    from jina_clip_integrations.ray.cluster import check_reachable

    with pytest.raises(ConfigurationError, match="is none of auto"):
        check_reachable(address)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "[::1]:1", "127.0.0.1:99999"])
def test_nobody_at_an_address(address: str) -> None:
    from jina_clip_integrations.ray.cluster import check_reachable

    with pytest.raises(BackendError, match="no Ray cluster at"):
        check_reachable(address)


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[dict[str, Any]]]:
    """`starts(2)` lets the first two attempts to reach a cluster fail; what each was asked for is returned."""
    import ray

    def arrange(failures: int) -> list[dict[str, Any]]:
        asked: list[dict[str, Any]] = []

        def init(**options: Any) -> None:
            asked.append(options)
            if len(asked) <= failures:
                raise Exception("The current node timed out\nduring startup.")

        monkeypatch.setattr(ray, "is_initialized", lambda: False)
        monkeypatch.setattr(ray, "init", init)
        monkeypatch.setattr(ray, "shutdown", lambda: asked.append({"shutdown": True}))
        return asked

    return arrange


def test_a_local_cluster_is_the_default_whatever_the_environment_names(
    starts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jina_clip_integrations.ray.cluster import attached

    monkeypatch.setenv("RAY_ADDRESS", "elsewhere:6379")
    asked = starts(0)
    with attached():
        assert asked[0]["address"] == "local"
        assert asked[0]["include_dashboard"] is False
    assert asked[-1] == {"shutdown": True}


def test_a_cluster_that_does_not_start_is_tried_again(starts: Any) -> None:
    from jina_clip_integrations.ray.cluster import attached

    starts(1)
    with attached():
        pass
    starts(9)
    with pytest.raises(BackendError, match=r"does not start: The current node timed out during startup\."), attached():
        raise AssertionError("there is no cluster")
