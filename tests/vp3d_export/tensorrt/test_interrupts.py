"""Ctrl-C, and what else may stop a build that takes minutes: soon, and without a trace.

The double builds as TensorRT does, outside the interpreter: the thread that waits for it hears a
signal only when it is over, and what its callbacks raise is printed and otherwise lost.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bundles import random_bundle
from checkpoint_files import write_checkpoint
from reference import random_parameters
from tensorrt_contract.installed import Installed, install
from tensorrt_contract.inventory import tensorrt_versions

from vp3d_deploy.bundle import PARITY, Bundle
from vp3d_deploy.engines.base import Output
from vp3d_deploy.evaluation.clips import EvaluationClip, EvaluationSet
from vp3d_deploy.spec import ModelSpec
from vp3d_export import cli, compare, evaluation
from vp3d_export.bundle_writer import write_manifest
from vp3d_export.compare import Expected
from vp3d_export.parity import DEFAULT_LIMITS
from vp3d_export.tensorrt.engines import add_engines
from vp3d_export.tensorrt.options import EngineOptions, Span
from vp3d_export.tensorrt.recorded import RECORDED, load_recorded, write_recorded
from vp3d_export.tensorrt.resume import main as resume

SPEC = ModelSpec((3, 3), 16)
OPTIONS = EngineOptions(batch=Span(1, 2, 4), frames=Span(1, 8, 16))
OLDEST, NEWEST = tensorrt_versions()[0], tensorrt_versions()[-1]
N_STEPS = 2000
STEP_S = 0.002


class Zeros:
    """In the place of PyTorch; no comparison here gets as far as its answers."""

    def sequence(self, keypoints: np.ndarray) -> Output:
        frames = keypoints.shape[1] - SPEC.receptive_field + 1
        return Output(np.zeros((len(keypoints), frames, 17, 3), np.float32), None)


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    (tmp_path / "bundles").mkdir()
    made = random_bundle(tmp_path / "bundles" / "net.vp3d", SPEC, lags=(0,)).bundle
    clip = EvaluationClip("one", np.zeros((20, 17, 2), np.float32), None)
    write_recorded(
        made.path / RECORDED, Expected(SPEC, Zeros(), EvaluationSet("a set", [clip])), (0,)
    )
    (made.path / PARITY).write_text('{"data": "a set", "rows": []}', "utf-8")
    parts = (made.skeleton_in, made.skeleton_out, 50.0, list(made.graphs))
    write_manifest(made.path, made.networks, *parts, {})
    return Bundle.open(made.path)


def slow(installed: Installed, number: int | None, n_steps: int = N_STEPS) -> None:
    """A build of many steps, in whose third the main thread gets a signal of this number."""
    main = threading.main_thread().ident
    assert main is not None

    def at_step() -> None:
        if installed.trt.n_done == 2 and number is not None:
            signal.pthread_kill(main, number)
        time.sleep(STEP_S)

    installed.trt.n_steps, installed.trt.at_step = n_steps, at_step


def contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


@pytest.mark.parametrize("version", [v for v in tensorrt_versions() if not v.startswith("8.")])
def test_ctrl_c_stops_a_build_at_its_next_step_and_leaves_the_bundle_as_it_was(
    version: str,
    bundle: Bundle,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    installed = install(monkeypatch, version)
    slow(installed, signal.SIGINT)
    before, threads = contents(bundle.path), threading.active_count()
    assert resume(["--resume-engines", str(bundle.path)]) == 128 + signal.SIGINT
    assert "vp3d-export: interrupted; the bundle is as it was" in capsys.readouterr().err
    assert 2 < installed.trt.n_done < N_STEPS
    # No other engine was begun, nothing builds on, and nothing is left of what was.
    assert installed.trt.calls.count("Builder.build_serialized_network") == 1
    assert threading.active_count() == threads
    assert contents(bundle.path) == before
    assert [path.name for path in bundle.path.parent.iterdir()] == [bundle.path.name]
    assert not cache.exists()
    assert installed.gpu.leaks == {}
    assert installed.gpu.stack == []


def test_ctrl_c_before_a_build_begins_begins_none(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While its thread starts, which an executor then does not wait for."""
    installed = install(monkeypatch, NEWEST)
    start = threading.Thread.start

    def interrupted(self: threading.Thread) -> None:
        start(self)
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and "OnnxParser.parse" in installed.trt.calls:
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    assert resume(["--resume-engines", str(bundle.path)]) == 128 + signal.SIGINT
    time.sleep(0.2)
    assert "OnnxParser.parse" in installed.trt.calls
    assert "Builder.build_serialized_network" not in installed.trt.calls


def test_tensorrt_8_which_asks_nobody_builds_to_the_end_and_no_further(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = install(monkeypatch, OLDEST)
    slow(installed, signal.SIGINT, n_steps=20)
    before = contents(bundle.path)
    assert resume(["--resume-engines", str(bundle.path)]) == 128 + signal.SIGINT
    assert installed.trt.n_done == 20
    assert installed.trt.calls.count("Builder.build_serialized_network") == 1
    assert contents(bundle.path) == before
    assert [path.name for path in bundle.path.parent.iterdir()] == [bundle.path.name]


def test_a_build_that_is_terminated_clears_up_too(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = install(monkeypatch, NEWEST)
    slow(installed, signal.SIGTERM)
    before, handler = contents(bundle.path), signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as exit_:
            resume(["--resume-engines", str(bundle.path)])
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert exit_.value.code == 128 + signal.SIGTERM
    assert installed.trt.n_done < N_STEPS
    assert contents(bundle.path) == before
    assert [path.name for path in bundle.path.parent.iterdir()] == [bundle.path.name]


def test_ctrl_c_in_an_export_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(evaluation, "BUILT_IN_FRAMES", 60)
    monkeypatch.setattr(compare, "STREAM_ANSWERS", (8, 20))
    folder = tmp_path / "folder"
    folder.mkdir()
    write_checkpoint(folder / "x.pth", "videopose3d", random_parameters(SPEC, 1), spec=SPEC)
    installed = install(monkeypatch, NEWEST)
    slow(installed, signal.SIGINT)
    assert cli.main(["--ckpt", str(folder / "x.pth"), "--forms", "window"]) == 130
    assert "interrupted; nothing was written" in capsys.readouterr().err
    assert 2 < installed.trt.n_done < N_STEPS
    assert [path.name for path in folder.iterdir()] == ["x.pth"]


@pytest.mark.parametrize("error", [OSError("no terminal"), KeyboardInterrupt()])
def test_what_the_progress_display_raises_ends_the_build_and_is_raised(
    error: BaseException,
    bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And not "TensorRT gives no reason", with the reason somewhere above in another's words."""
    installed = install(monkeypatch, NEWEST)
    slow(installed, None)
    with pytest.raises(type(error)) as raised:
        add_engines(
            bundle.path,
            load_recorded(bundle),
            DEFAULT_LIMITS,
            OPTIONS,
            advance=_raising(error),
        )
    assert raised.value is error
    assert installed.trt.n_done < 2
    assert "Exception caught" not in capsys.readouterr().err


def _raising(error: BaseException) -> Callable[[int, int], None]:
    def advance(done: int, total: int) -> None:
        raise error

    return advance
