"""Pictures: that they are drawn, say what they should, and repeat."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("matplotlib", reason="drawing needs matplotlib")

from vp3d_deploy.evaluation.document import Evaluation
from vp3d_deploy.evaluation.errors import ActionErrors, ErrorReport, Errors
from vp3d_deploy.evaluation.measure import LagPoint, Result
from vp3d_deploy.evaluation.plots import _labelled, check_plot, plot_errors, plot_lags
from vp3d_deploy.evaluation.selection import Description
from vp3d_deploy.skeleton import H36M_17
from vp3d_deploy.spec import ModelSpec


def errors(mpjpe_mm: float) -> Errors:
    return Errors(mpjpe_mm, 0.8 * mpjpe_mm, 0.9 * mpjpe_mm, 3.0)


def evaluation(
    labels: tuple[str, ...], lags: tuple[int, ...], fps: float | None = 50.0
) -> Evaluation:
    actions = {name: ActionErrors(4, 100, errors(40)) for name in ("Walking", "Sitting")}
    joints = {joint: 10.0 + i for i, joint in enumerate(H36M_17.joints)}
    report = ErrorReport(8, 200, errors(41.25), errors(42.5), actions, joints)
    points = tuple(LagPoint(lag, "window", errors(50 - lag / 10), errors(50)) for lag in lags)
    results = [Result(label, "x", "fp32", "sequence", report, None, points) for label in labels]
    model = SimpleNamespace(name="demo.vp3d", spec=ModelSpec((3, 3, 3), 4), fps=fps)
    data = Description("motion", "gt", "test", ("S9",), ("Walking",), 8, 200, None)
    return Evaluation(model, data, True, results, [], [], "vp3d-eval")  # type: ignore[arg-type]


def test_errors_are_drawn_with_every_name(tmp_path: Path) -> None:
    path = tmp_path / "errors.svg"
    plot_errors(evaluation(("PyTorch", "onnx fp16"), ()), path)
    text = path.read_text("utf-8")
    for word in ("PyTorch", "onnx fp16", "Walking", "Sitting", "right wrist", "P-MPJPE",
                 "demo.vp3d", "motion, S9, gt keypoints", "mirror image", "42.5"):  # fmt: skip
        assert f"<!-- {word}" in text or word in text, word
    plot_errors(evaluation(("PyTorch", "onnx fp16"), ()), tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_text("utf-8") == text


@pytest.mark.parametrize("lags", [(0,), (0, 1, 5, 13), (0, 1, 2, 3, 4, 7, 11, 18, 29, 121)])
@pytest.mark.parametrize("fps", [50.0, None])
def test_lags_are_drawn_in_frames_and_milliseconds(
    lags: tuple[int, ...], fps: float | None, tmp_path: Path
) -> None:
    path = tmp_path / "lags.svg"
    plot_lags(evaluation(("PyTorch", "onnx fp16"), lags, fps), path)
    text = path.read_text("utf-8")
    assert ("milliseconds at 50 frames/s" in text) == (fps is not None)
    assert ("square-root scale" in text) == (max(lags) > 13)
    assert "looks ahead 13 frames" in text
    assert f"{50 - lags[-1] / 10:.1f} mm" in text


@pytest.mark.parametrize(("suffix", "begins"), [(".png", b"\x89PNG"), (".pdf", b"%PDF")])
def test_other_formats(suffix: str, begins: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    plot_lags(evaluation(("PyTorch",), (0, 13)), path)
    assert path.read_bytes().startswith(begins)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_figures_on_the_axis_do_not_touch() -> None:
    dozen = [0, 1, 2, 3, 4, 7, 11, 18, 29, 46, 75, 121]
    assert _labelled(dozen) == [0, 1, 2, 4, 7, 11, 18, 29, 46, 75, 121]
    assert _labelled([0, 1, 50, 119, 120, 121]) == [0, 1, 50, 121]
    assert _labelled([3]) == [3]


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"x\.jpg: pictures are \.png, \.svg, \.pdf"):
        check_plot(tmp_path / "x.jpg")
    with pytest.raises(OSError, match="nowhere"):
        check_plot(tmp_path / "nowhere" / "x.png")
    with pytest.raises(ValueError, match="no lags were measured"):
        plot_lags(evaluation(("PyTorch",), ()), tmp_path / "x.png")
