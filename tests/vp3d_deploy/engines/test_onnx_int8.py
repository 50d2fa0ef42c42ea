"""On which processors ONNX Runtime has to be told to be careful with 8-bit products."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bundles import random_bundle

from vp3d_deploy.engines import onnx
from vp3d_deploy.spec import ModelSpec


@pytest.mark.parametrize(
    ("machine", "flags", "overflows"),
    [
        ("x86_64", "fpu sse4_2 avx2 fma", True),
        ("AMD64", "avx2 avx512f avx512bw", True),
        ("x86_64", "avx2 avx512f avx512_vnni", False),
        ("x86_64", "avx2 avx_vnni", False),
        ("x86_64", None, True),
        ("aarch64", "asimd asimddp", False),
        ("arm64", None, False),
    ],
)
def test_who_overflows(
    machine: str,
    flags: str | None,
    overflows: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    if flags is not None:
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    assert onnx.overflows_in_int8(tmp_path / "cpuinfo") == overflows


def test_being_careful_changes_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = random_bundle(tmp_path / "x.vp3d", ModelSpec((3, 3), 24), precisions=("int8",)).bundle
    clip = np.random.default_rng(0).normal(0, 0.5, (2, 60, 17, 2)).astype(np.float32)
    answers = []
    for careful in (onnx.overflows_in_int8(), True):
        monkeypatch.setattr(onnx, "overflows_in_int8", lambda careful=careful: careful)
        answers.append(onnx.OnnxEngine(bundle, "int8").sequence(clip).pose)
    error = np.abs(answers[0] - answers[1])
    assert np.quantile(error, 0.9) < 1e-6
