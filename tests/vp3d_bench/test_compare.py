"""Two results side by side, and which are refused."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from vp3d_bench.cli import main
from vp3d_bench.compare import ComparisonError, print_comparison

NETWORKS = {"pose": {"filter_widths": [3, 3], "channels": 16, "causal": False}}


def ratio_of(p50: float, /, **changes: Any) -> dict[str, Any]:
    return {
        "group": "1 person", "row": "native fp32, lag 0", "column": "time / read",
        "text": "time over that of reading its weights once", "better": "lower",
        "min": p50 / 2, "p50": p50, "low": 0.9 * p50, "high": 1.1 * p50, **changes,
    }  # fmt: skip


def result(path: Path, **changes: Any) -> Path:
    values = {
        "format": "vp3d-bench", "version": 1, "kind": "benchmark", "created": "2026-01-01",
        "networks": NETWORKS, "threads": 2, "machine": {"cpu": "some processor"},
        "ratios": {"read": ratio_of(1.2)}, **changes,
    }  # fmt: skip
    path.write_text(json.dumps(values))
    return path


def printed(first: Path, second: Path) -> str:
    console = Console(record=True, width=120, file=StringIO())
    print_comparison(first, second, console)
    return console.export_text()


def test_ratios_of_both_stand_side_by_side_with_their_spread(tmp_path: Path) -> None:
    one = result(tmp_path / "a.json")
    other = result(
        tmp_path / "b.json",
        ratios={"read": ratio_of(1.5, low=None, high=None), "new": ratio_of(3.0)},
    )
    text = printed(one, other)
    row = next(line for line in text.splitlines() if "time / read" in line)
    assert "1.20 (1.08 to 1.32)" in row
    assert "1.50 (–)" in row
    assert row.split()[-2:] == ["1.25", "1.25"]
    assert "1 person: native fp32, lag 0" in text
    assert "3.00" not in text


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format": "other"}, "is not a result of vp3d-bench"),
        ({"version": 2}, "has version 2 of the result format, this program reads 1"),
        ({"kind": "paced"}, "is the result of 'paced'; only benchmarks are compared"),
        ({"networks": {"pose": {**NETWORKS["pose"], "channels": 32}}}, "32 channels"),
        ({"ratios": {}}, "no ratio in common"),
        ({"ratios": [1]}, "is damaged: ratios is missing"),
        ({"ratios": {"read": {"p50": 1}}}, "is damaged: the ratio 'read' is not described"),
        ({"ratios": {"read": ratio_of(1.0, p50="1")}}, "has figures that are none"),
        ({"ratios": {"read": ratio_of(1.0, p50=0)}}, "has figures that are none"),
        ({"threads": None}, "threads or created is missing"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_sentence(
    changes: dict[str, Any], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = result(tmp_path / "a.json"), result(tmp_path / "b.json", **changes)
    with pytest.raises(ComparisonError, match=reason):
        printed(one, other)
    assert main(["--compare", str(one), str(other)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("vp3d-bench: error: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    path.write_bytes(content)
    with pytest.raises(ComparisonError, match="b.json is not"):
        printed(result(tmp_path / "a.json"), path)


def test_a_file_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--compare", str(result(tmp_path / "a.json")), str(tmp_path / "no.json")]) == 2
    assert "no.json: No such file" in capsys.readouterr().err
