"""How many threads a benchmark takes by itself: cores, and what a control group grants of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from vp3d_bench import machine


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The control group of this process, on a machine of eight cores."""
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.setattr(machine, "_own_cgroup", lambda: tmp_path / "own")
    monkeypatch.setattr(machine, "available_cores", lambda: 8)
    (tmp_path / "own").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("quota", "threads"),
    [
        ("max 100000", 8),
        ("150000 100000", 2),
        ("200000 100000", 2),
        ("25000 100000", 1),
        ("100 100000", 1),
        ("1600000 100000", 8),
    ],
)
def test_threads_follow_the_quota_of_cgroup_2(cgroup: Path, quota: str, threads: int) -> None:
    (cgroup / "own/cpu.max").write_text(f"{quota}\n")
    assert machine.default_threads() == threads


def test_a_container_sees_its_own_group_as_the_root(cgroup: Path) -> None:
    (cgroup / "cpu.max").write_text("300000 100000\n")
    assert machine.default_threads() == 3


@pytest.mark.parametrize(("quota", "threads"), [("-1", 8), ("250000", 3)])
def test_threads_follow_the_quota_of_cgroup_1(cgroup: Path, quota: str, threads: int) -> None:
    (cgroup / "cpu").mkdir()
    (cgroup / "cpu/cpu.cfs_quota_us").write_text(f"{quota}\n")
    (cgroup / "cpu/cpu.cfs_period_us").write_text("100000\n")
    assert machine.default_threads() == threads


def test_without_control_groups_cores_alone_count(cgroup: Path) -> None:
    assert machine.default_threads() == 8
