"""How many processors there are to use, in containers too, and whether the user has given a number of threads."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from jina_clip_integrations.concurrency import processors as module
from jina_clip_integrations.concurrency.processors import cpu_quota, processors, threads_are_given


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
    return root


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2.0),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {}, None),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "150000 100000", "cpu.max": "800000 100000"}, 1.5),
        ("0::/not/mounted/here\n", {"cpu.max": "50000 100000"}, 0.5),
        (
            "4:memory:/x\n1:cpu,cpuacct:/\n0::/\n",
            {"cpu/cpu.cfs_quota_us": "300", "cpu/cpu.cfs_period_us": "100"},
            3,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ("1:cpu:/docker/1\n", {"cpu/docker/1/cpu.cfs_quota_us": "100000"}, None),
        ("3:cpuset:/\n", {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("0::/\n", {"cpu.max": "what is this"}, None),
        ("0::/\n", {"cpu.max": "100000 0"}, None),
        ("nonsense\n", {"cpu.max": "100000 100000"}, None),
    ],
)
def test_the_quota_of_a_container(tmp_path: Path, membership: str, files: dict[str, str], quota: float | None) -> None:
    group = tree(tmp_path / "cgroup", files)
    member = tree(tmp_path, {"membership": membership}) / "membership"
    assert cpu_quota(group, member) == quota


def test_no_control_groups_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path, tmp_path / "absent") is None


@pytest.mark.parametrize(("quota", "count"), [(None, 4), (0.2, 1), (1.0, 1), (1.5, 2), (2.0, 2), (64.0, 4)])
@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="affinity cannot be read here")
def test_affinity_and_quota_both_limit(monkeypatch: pytest.MonkeyPatch, quota: float | None, count: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 5, 7})
    monkeypatch.setattr(module, "cpu_quota", lambda: quota)
    assert processors() == count


def test_this_machine_has_at_least_one() -> None:
    quota = cpu_quota()
    assert 1 <= processors() <= (os.cpu_count() or 1)
    assert quota is None or processors() <= math.ceil(quota)


@pytest.mark.parametrize(
    ("environment", "given"),
    [({}, False), ({"OMP_NUM_THREADS": ""}, False), ({"OMP_NUM_THREADS": "4"}, True), ({"MKL_NUM_THREADS": "1"}, True)],
)
def test_the_users_number_of_threads_is_noticed(environment: dict[str, str], given: bool) -> None:
    assert threads_are_given(environment) is given
