"""The benchmark of int8's accuracy, on a small network and few frames."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from checkpoint_files import write_checkpoint
from reference import random_parameters

from vp3d_bench import int8_accuracy
from vp3d_deploy.spec import ModelSpec
from vp3d_export import calibration, evaluation

SPEC = ModelSpec((3, 3), 32)


def test_what_is_measured(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "BUILT_IN_FRAMES", 40)
    monkeypatch.setattr(calibration, "BUILT_IN_FRAMES", 40)
    write_checkpoint(tmp_path / "x.bin", "videopose3d", random_parameters(SPEC, 1), spec=SPEC)
    out = tmp_path / "accuracy.json"
    data = shared_data / "motion" / "videopose3d"
    arguments = [f"small network={tmp_path / 'x.bin'}", "--data", str(data), "--max-frames", "200"]
    monkeypatch.setattr(sys, "argv", ["int8_accuracy", *arguments, "--out", str(out)])
    assert int8_accuracy.main() == 0
    text = out.read_text()
    assert str(tmp_path) not in text
    assert str(shared_data) not in text
    result = json.loads(text)
    command = 'int8_accuracy "small network=CHECKPOINT" --data videopose3d --max-frames 200'
    assert command in result["command"]
    sets = result["networks"]["small network"]["sets"]
    assert len(sets) == 3
    for figures in sets.values():
        assert figures.pop("frames") > 100
        assert set(figures) == {"fp32", "fp16", *int8_accuracy.METHODS, int8_accuracy.ORT_STATIC}
        assert figures["fp32"]["max_distance"] == 0
        for found in figures.values():
            means = found["mean_distance"], found["p95_distance"], found["max_distance"]
            assert tuple(sorted(means)) == means
            change = abs(found["mpjpe"] - figures["fp32"]["mpjpe"])
            assert change <= found["mean_distance"] + 1e-3  # the triangle's inequality
        assert 0 < figures["fp16"]["mean_distance"] < figures["int8"]["mean_distance"]
        assert figures["int8"]["mean_distance"] < figures["int8 by plain rounding"]["mean_distance"]
