"""The table of training runs says what their results say."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from vp3d_bench.training_results import main


def errors(mm: float) -> dict[str, Any]:
    names = ("mpjpe_mm", "p_mpjpe_mm", "n_mpjpe_mm", "mpjve_mm")
    return {
        average: {name: mm + i + 10 * j for i, name in enumerate(names)}
        for j, average in enumerate(("frames", "actions"))
    }


def finished(folder: Path, mm: float) -> Path:
    folder.mkdir()
    results = {
        "preset": "h36m-27f",
        "command": f"vp3d-train h36m-27f --out {folder.name}",
        "settings": {"channels": 256, "epochs": 8, "causal": False},
        "errors": {"frames": 1234, "recorded": errors(mm), "recorded, flip": errors(mm - 1),
                   "lag 0": errors(mm + 2)},
        "training_seconds": 150,
        "epochs": [],
    }  # fmt: skip
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "curves.png").write_bytes(b"a picture")
    return folder


def test_runs_are_kept_and_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "kept"
    monkeypatch.setattr(sys, "argv", ["x", str(finished(tmp_path / "one", 50)), "--out", str(out)])
    assert main() == 0
    monkeypatch.setattr(sys, "argv", ["x", str(finished(tmp_path / "two", 60)), "--out", str(out)])
    assert main() == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md", "one.json", "one.png", "two.json", "two.png",
    ]  # fmt: skip
    text = (out / "README.md").read_text()
    row = "| one | h36m-27f | 256 | 8 | 50.00 | 60.00 | 59.00 | 61.00 | 62.00 | 63.00 | 52.00 | 2 |"
    assert row in text.splitlines()
    assert "| two | h36m-27f | 256 | 8 | 60.00 | 70.00 |" in text
    assert "vp3d-train h36m-27f --out one" in text
    assert "1,234 test frames" in text


def test_a_run_that_is_not_finished_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(sys, "argv", ["x", str(tmp_path / "run"), "--out", str(tmp_path / "kept")])
    with pytest.raises(SystemExit, match=r"results.json is not there"):
        main()
