"""What the picture of a GPU shows: the figures of the document, of those on the GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
from bundles import random_bundle

from vp3d_bench.document import Document, Member
from vp3d_bench.gpu_plots import energy_mj, gpu_figure, memory_mb
from vp3d_bench.plots import draw_all
from vp3d_bench.power.frames import FrameEnergy, PowerResult
from vp3d_bench.power.meter import Energy
from vp3d_bench.statistics import spread
from vp3d_deploy.spec import ModelSpec

pytest.importorskip("matplotlib", reason="needs matplotlib")

OURS, PEER, NATIVE = "cuda-stream-fp16@0", "torchcuda-graph-half", "native-stream-fp16@0"


def energy(millijoules: float) -> Energy:
    return Energy(2.0, millijoules, {}, {}, {}, 20, counted=True)


@pytest.fixture
def document(tmp_path: Path) -> Document:
    bundle = random_bundle(tmp_path / "net.vp3d", ModelSpec((3, 3), 8), precisions=("fp16",)).bundle
    made = Document(bundle, 1, {"cpu": "a processor"}, "vp3d-bench", (0,), {})
    for name in (OURS, PEER, NATIVE):
        family = name.split("-")[0]
        ours = family != "torchcuda"
        made.members[name] = Member(f"the {family}", family, "stream", "fp16", 0, ours)
    return made


def test_without_a_gpu_there_is_none(document: Document, tmp_path: Path) -> None:
    document.openings[NATIVE] = {"gpu_mb": None}
    assert gpu_figure(document) is None
    assert draw_all(document, tmp_path / "plots") == []
    assert not (tmp_path / "plots").exists()


def test_lines_are_of_medians_host_to_host_and_by_events(document: Document) -> None:
    for people, host, gpu in ((1, 0.025, 0.02), (64, 0.05, 0.04), (1024, 0.25, 0.2)):
        document.latency[people] = {OURS: spread([[host, host, 9 * host]])}
        document.gpu_ms[people] = {OURS: spread([[gpu, gpu, 9 * gpu]])}
    figure = gpu_figure(document)
    assert figure is not None
    (axes,) = figure.axes
    lines = {str(line.get_label()): line for line in axes.lines}
    assert set(lines) == {"fp16, host to host", "fp16, by events"}
    assert list(lines["fp16, host to host"].get_xdata()) == [1, 64, 1024]  # type: ignore[arg-type]
    assert list(lines["fp16, host to host"].get_ydata()) == [0.025, 0.05, 0.25]  # type: ignore[arg-type]
    assert list(lines["fp16, by events"].get_ydata()) == [0.02, 0.04, 0.2]  # type: ignore[arg-type]
    # The shade of the first ends at its 99th percentile.
    shade = axes.collections[0].get_paths()[0].vertices
    assert max(y for _, y in shade) == pytest.approx(document.latency[1024][OURS].p99)


def test_bars_are_of_those_on_the_gpu(document: Document, tmp_path: Path) -> None:
    document.power = PowerResult({"name": "NVML"}, energy(100.0))
    for name, used in ((OURS, 300.0), (PEER, 900.0), (NATIVE, 500.0)):
        document.power.frames[name] = FrameEnergy(100, energy(used), idle_mw=50.0)
        document.openings[name] = {"gpu_mb": used}
    assert energy_mj(document) == {OURS: 2.0, PEER: 8.0}
    assert memory_mb(document) == {OURS: 300.0, PEER: 900.0}
    figure = gpu_figure(document)
    assert figure is not None
    for axes, values in zip(figure.axes, ([8.0, 2.0], [900.0, 300.0]), strict=True):
        assert [bar.get_width() for bar in axes.patches] == values  # type: ignore[attr-defined]
        assert [tick.get_text() for tick in axes.get_yticklabels()] == ["the torchcuda", "the cuda"]
    written = draw_all(document, tmp_path / "plots")
    assert [path.name for path in written] == ["gpu.png", "gpu.svg"]
    assert all(path.stat().st_size > 1000 for path in written)
