"""All engines of a bundle over the doubles: built, compared, listed, or deleted with a reason."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from bundles import random_bundle
from reference import dilated_network
from tensorrt_contract.installed import Installed, install
from tensorrt_contract.inventory import tensorrt_versions

from vp3d_deploy.bundle import MANIFEST, PARITY, Bundle, BundleError
from vp3d_deploy.engines import open_engine
from vp3d_deploy.engines.base import Output
from vp3d_deploy.engines.gpu import open_gpu
from vp3d_deploy.evaluation.clips import EvaluationClip, EvaluationSet
from vp3d_deploy.lifter import Lifter
from vp3d_deploy.spec import ModelSpec
from vp3d_export.bundle_writer import write_manifest
from vp3d_export.compare import Expected
from vp3d_export.parity import DEFAULT_LIMITS, Limits
from vp3d_export.tensorrt.api import EngineBuilder
from vp3d_export.tensorrt.build import shape_profiles
from vp3d_export.tensorrt.engines import EngineReport, add_engines, record_engines
from vp3d_export.tensorrt.options import EngineOptions, Span
from vp3d_export.tensorrt.recorded import RECORDED, load_recorded, write_recorded
from vp3d_export.tensorrt.resume import main as resume
from vp3d_export.tensorrt.resume import resume_engines
from vp3d_export.tensorrt.trtexec import trtexec_command

SPEC = ModelSpec(filter_widths=(3, 3), channels=12, joints_in=17, joints_out=17)
OPTIONS = EngineOptions(batch=Span(1, 4, 32), frames=Span(1, 8, 16), timing_cache=False)
NEWEST = tensorrt_versions()[-1]


class Definition:
    """The network by its definition, in the place of PyTorch."""

    def __init__(self, parameters: dict[str, dict[str, np.ndarray]]) -> None:
        self._tensors = parameters["pose"]

    def sequence(self, keypoints: np.ndarray) -> Output:
        poses = [dilated_network(SPEC, self._tensors, clip) for clip in keypoints]
        return Output(np.array(poses, np.float32), None)


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """With PyTorch's answers recorded, as an export leaves it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = random_bundle(tmp_path / "net.vp3d", SPEC, precisions=("fp32", "fp16"), lags=(0, 4))
    path = made.bundle.path
    write_recorded(path / RECORDED, expected_of(Definition(made.parameters)), (0, 4))
    (path / PARITY).write_text(json.dumps({"data": "a set", "rows": []}), "utf-8")
    parts = (made.bundle.skeleton_in, made.bundle.skeleton_out, 50.0, list(made.bundle.graphs))
    write_manifest(path, made.bundle.networks, *parts, {})
    return Bundle.open(path)


def expected_of(reference: Definition) -> Expected:
    rng = np.random.default_rng(2)
    clips = [
        EvaluationClip(
            name,
            rng.normal(0, 0.3, (n, 17, 2)).astype(np.float32),
            rng.normal(0, 0.3, (n, 17, 3)).astype(np.float32),
        )
        for name, n in (("one", 40), ("two", 30))
    ]
    return Expected(SPEC, reference, EvaluationSet("a set", clips))


def build(
    bundle: Bundle, limits: dict[str, Limits] | None = None, options: EngineOptions = OPTIONS
) -> EngineReport:
    return add_engines(bundle.path, load_recorded(bundle), limits or dict(DEFAULT_LIMITS), options)


@pytest.mark.parametrize("version", tensorrt_versions())
def test_every_engine_is_built_compared_and_listed(
    version: str, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = install(monkeypatch, version)
    report = build(bundle)
    assert report.failures == []
    assert len(report.built) == len(bundle.graphs) == len(report.rows)
    assert all(row.engine == "tensorrt" and row.mean_distance < 0.5 for row in report.rows)
    assert installed.gpu.leaks == {}
    again = Bundle.open(bundle.path)  # sizes and hashes of every file
    for entry in again.engines:
        assert (entry.gpu, entry.compute_capability) == ("Orin", "8.7")
        assert entry.tensorrt == version
        assert entry.file.endswith(f".sm87.trt{version}.engine")
        details = entry.details
        assert details["cuda"] == "12.6"
        assert details["options"]["batch"] == "1:4:32"
        assert details["build_seconds"] >= 0
        assert {"driver", "built", "profile", "layers", "graph"} <= set(details)
        if entry.form == "sequence":
            assert details["profile"]["keypoints"] == [
                [1, 9, 17, 2], [4, 16, 17, 2], [32, 24, 17, 2]]  # fmt: skip
        assert ("keypoints" in details["profile"]) == (entry.form != "stream")
        assert entry.rows == (1 if entry.form == "stream" else None)
        assert entry.precision in {
            kind for _, _, kinds in details["layers"] for kind in kinds.split("+")
        }
    rows = json.loads((bundle.path / PARITY).read_text("utf-8"))["rows"]
    assert {row["gpu"] for row in rows} == {"Orin"}
    lifter = Lifter.open(bundle.path)
    assert lifter.engine.name == "tensorrt"
    assert lifter.engine.precision == "fp16"
    lifter.engine.close()


def test_an_engine_beyond_a_limit_is_deleted_and_said_by_how_much(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, NEWEST)
    limits = dict(DEFAULT_LIMITS) | {"fp16": Limits(0.0, 1e-6, 0.0)}
    report = build(bundle, limits)
    assert {entry.precision for entry in report.built} == {"fp32"}
    assert any(
        "window.fp16" in failure and "mean distance is" in failure and "beyond its limit" in failure
        for failure in report.failures
    )
    assert not list(bundle.path.glob("*.fp16.*.engine"))
    assert {entry.precision for entry in Bundle.open(bundle.path).engines} == {"fp32"}


def test_a_wrong_engine_never_stays(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, NEWEST)
    configure = EngineBuilder.configure

    def with_tf32(self: EngineBuilder, precision: str, options: EngineOptions) -> None:
        configure(self, precision, options)
        self._config.set_flag(self._trt.BuilderFlag.TF32)

    monkeypatch.setattr(EngineBuilder, "configure", with_tf32)
    report = build(bundle)
    assert any("window.fp32" in failure and "deleted" in failure for failure in report.failures)
    assert not list(bundle.path.glob("*.fp32.*.engine"))


def test_without_tensorrt_or_a_gpu_nothing_is_built_and_the_reason_is_told(bundle: Bundle) -> None:
    before = (bundle.path / MANIFEST).read_bytes()
    report = build(bundle)
    assert report.absent is not None
    assert "TensorRT is not installed" in report.absent
    assert (bundle.path / MANIFEST).read_bytes() == before


def test_recorded_answers_are_those_that_were_computed(bundle: Bundle, tmp_path: Path) -> None:
    recorded = load_recorded(bundle)
    assert recorded.data.title == "a set"
    assert [len(clip.keypoints) for clip in recorded.data.clips] == [40, 30]
    assert recorded.whole().pose.shape == (70, 17, 3)
    assert recorded.whole().truth is not None
    for lag in (0, 4):
        live = recorded.live(lag)
        assert live.truth is not None
        assert live.truth.shape == live.pose.shape
    # The bundle's own graphs agree with them, so they are PyTorch's and not something else's.
    engine = open_engine(bundle, "onnx", "fp32")
    from vp3d_export.parity import check_parity

    rows = check_parity(bundle, engine, recorded, DEFAULT_LIMITS["fp32"])
    assert all(row.mean_distance < 0.01 for row in rows)
    (bundle.path / RECORDED).write_bytes(b"damaged")
    with pytest.raises(BundleError, match="is damaged"):
        load_recorded(bundle)
    plain = random_bundle(tmp_path / "plain.vp3d", SPEC).bundle
    with pytest.raises(BundleError, match="holds no pytorch.safetensors.*export the checkpoint"):
        load_recorded(plain)


def test_engines_are_built_later_into_a_bundle_that_is_never_half_changed(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = bundle.file("weights.fp32.safetensors")
    before = weights.read_bytes()
    assert resume(["--resume-engines", str(bundle.path)]) == 2
    assert "no engines were built: TensorRT is not installed" in capsys.readouterr().err
    assert not Bundle.open(bundle.path).engines
    install(monkeypatch, "10.3.0")
    arguments = ["--resume-engines", str(bundle.path), "--no-timing-cache"]
    assert resume(arguments) == 0
    assert "built window.fp16.sm87.trt10.3.0.engine" in capsys.readouterr().out
    assert len(Bundle.open(bundle.path).engines) == len(bundle.graphs)
    # A second version's stand beside the first's; the same version's take their place.
    install(monkeypatch, "11.4.0.106")
    assert resume(arguments) == 0
    assert resume([*arguments, "--json"]) == 0
    assert len(Bundle.open(bundle.path).engines) == 2 * len(bundle.graphs)
    assert Lifter.open(bundle.path).engine.name == "tensorrt"
    assert weights.read_bytes() == before
    assert [p.name for p in bundle.path.parent.iterdir() if p.name.startswith(".")] == []


def test_engines_that_are_built_later_are_held_to_the_limits_of_the_export(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, NEWEST)
    limits = {"fp16": dataclasses.asdict(Limits(0.0, 1e-6, 0.0))}
    (bundle.path / PARITY).write_text(json.dumps({"rows": [], "limits": limits}), "utf-8")
    record_engines(bundle.path, [], {}, open_gpu())
    report = resume_engines(bundle.path, OPTIONS)
    assert {entry.precision for entry in report.built} == {"fp32"}
    assert all("fp16" in failure for failure in report.failures)


def test_a_resume_that_fails_leaves_the_bundle_as_it_was(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, NEWEST)
    monkeypatch.setattr(EngineBuilder, "_network_flags", lambda self: 1 << 30)
    before = {path.name: path.read_bytes() for path in bundle.path.iterdir()}
    report = resume_engines(bundle.path, OPTIONS)
    assert len(report.failures) == len(bundle.graphs)
    assert "has no network for window.fp32.onnx: unknown flags" in report.failures[0]
    assert {path.name: path.read_bytes() for path in bundle.path.iterdir()} == before


def test_an_engine_that_fails_when_it_is_built_again_is_gone(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, NEWEST)
    build(bundle)
    monkeypatch.setattr(EngineBuilder, "build", lambda self: b"no plan")
    assert len(resume_engines(bundle.path, OPTIONS).failures) == len(bundle.graphs)
    assert len(Bundle.open(bundle.path).engines) == len(bundle.graphs)  # nothing took their place
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(bundle.path.parent))
    install(monkeypatch, NEWEST)
    configure = EngineBuilder.configure

    def with_tf32(self: EngineBuilder, precision: str, options: EngineOptions) -> None:
        configure(self, precision, options)
        if precision == "fp32":
            self._config.set_flag(self._trt.BuilderFlag.TF32)

    monkeypatch.setattr(EngineBuilder, "configure", with_tf32)
    failures = resume_engines(bundle.path, OPTIONS).failures
    assert any("window.fp32" in failure for failure in failures)
    again = Bundle.open(bundle.path)
    assert ("window", "fp32") not in {(e.form, e.precision) for e in again.engines}
    assert ("window", "fp16") in {(e.form, e.precision) for e in again.engines}
    assert not list(bundle.path.glob("window.fp32.*.engine"))


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--batch", "4:2:1"], "give MIN:LIKELY:MAX"),
        (["--batch", "0"], "give MIN:LIKELY:MAX"),
        (["--frames", "1:2"], "give MIN:LIKELY:MAX"),
        (["--stream-rows", "0"], "must be from 1"),
        (["--workspace", "-1"], "at least 1 MiB"),
        (["--optimization-level", "9"], "invalid choice"),
        (["--hardware-compatible", "all"], "invalid choice"),
    ],
)
def test_options_that_do_not_fit(
    arguments: list[str], what: str, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        resume(["--resume-engines", str(bundle.path), *arguments])
    assert exit_.value.code == 2
    assert what in capsys.readouterr().err


def test_every_option_reaches_the_builder(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = install(monkeypatch, "10.13.3.9")
    kept: list[EngineBuilder] = []
    init = EngineBuilder.__init__

    def keeping(self: EngineBuilder, trt: object, what: str) -> None:
        init(self, trt, what)
        kept.append(self)

    monkeypatch.setattr(EngineBuilder, "__init__", keeping)
    options = dataclasses.replace(
        OPTIONS,
        optimization_level=5,
        workspace_mib=256,
        version_compatible=True,
        hardware_compatible="same_compute_capability",
        refit=True,
        detailed=True,
    )
    report = build(bundle, options=options)
    assert report.failures == []
    config = kept[0]._config
    assert config.set_flags == {"VERSION_COMPATIBLE", "REFIT"}
    assert config.limits == {"WORKSPACE": 256 << 20}
    assert config.builder_optimization_level == 5
    level = installed.trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY
    assert config.hardware_compatibility_level == level
    inspectors = list(bundle.path.glob("*.engine.inspector.json"))
    assert len(inspectors) == len(bundle.graphs)
    assert set(Bundle.open(bundle.path).manifest["files"]) >= {path.name for path in inspectors}


def test_an_option_that_a_version_lacks_is_named(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, "10.3.0")
    options = dataclasses.replace(OPTIONS, hardware_compatible="same_compute_capability")
    failures = build(bundle, options=options).failures
    assert "10.3.0 has no --hardware-compatible same_compute_capability" in failures[0]


def test_what_the_builder_learns_is_kept_per_gpu_and_version(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    options = dataclasses.replace(OPTIONS, timing_cache=True)
    install(monkeypatch, "10.3.0")
    build(bundle, options=options)
    cache = tmp_path / "cache" / "vp3d-deploy" / "timing.Orin.sm87.trt10.3.0.cache"
    first = cache.read_bytes()
    assert first.count(b"a tactic;") == len(bundle.graphs)
    build(bundle, options=options)
    assert cache.read_bytes().count(b"a tactic;") == 2 * len(bundle.graphs)
    # A damaged one is left out, and written anew.
    cache.write_bytes(b"damaged")
    assert build(bundle, options=options).failures == []
    assert cache.read_bytes() == first


def test_progress_is_that_of_the_outermost_phase(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vp3d_export.tensorrt.api import make_monitor

    installed = install(monkeypatch, NEWEST)
    seen: list[tuple[int, int]] = []
    monitor = make_monitor(installed.trt, lambda done, total: seen.append((done, total)))
    monitor.phase_start("build", None, 2)
    monitor.phase_start("tactics", "build", 100)
    assert monitor.step_complete("tactics", 0) is True
    assert monitor.step_complete("build", 0) is True
    monitor.phase_finish("tactics")
    assert monitor.step_complete("build", 1) is True
    monitor.phase_finish("build")
    assert seen == [(1, 2), (2, 2)]


@pytest.mark.parametrize("version", ["8.6.1", NEWEST])
def test_a_parsers_complaint_names_the_node(
    version: str, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnx

    install(monkeypatch, version)
    path = bundle.file("window.fp32.onnx")
    model = onnx.load(path, load_external_data=False)
    node = next(n for n in model.graph.node if n.name == "pose.level1.mix_relu")
    node.op_type = "Rely"
    onnx.save(model, path)
    report = build(bundle)
    (failure,) = [f for f in report.failures if "window.fp32" in f]
    assert f"TensorRT {version} cannot read window.fp32.onnx: node pose.level1.mix_relu" in failure
    assert "Rely" in failure
    assert len(report.built) == len(bundle.graphs) - 1


def test_clips_share_a_call_as_far_as_memory_is_bounded(bundle: Bundle) -> None:
    options = EngineOptions()
    sequence = bundle.graph("sequence", "fp32")
    _, _, largest = shape_profiles(bundle, sequence, options)["keypoints"]
    assert largest == (2, 2048 + SPEC.receptive_field - 1, 17, 2)
    _, _, largest = shape_profiles(bundle, bundle.graph("window", "fp32"), options)["keypoints"]
    assert largest == (32, SPEC.receptive_field, 17, 2)


def test_a_graph_that_reads_other_files_is_not_built(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(monkeypatch, NEWEST)
    path = bundle.file("window.fp32.onnx")
    hostile = path.read_bytes().replace(b"weights.fp32.safetensors", b"/etc/hostile.safetensors")
    assert len(hostile) == path.stat().st_size
    path.write_bytes(hostile)
    with pytest.raises(BundleError, match="reads weights from '/etc/hostile.safetensors'"):
        build(bundle)
    assert resume(["--resume-engines", str(bundle.path)]) == 2
    assert "SHA-256" in capsys.readouterr().err


def test_trtexec_commands_say_the_same(bundle: Bundle) -> None:
    options = dataclasses.replace(OPTIONS, workspace_mib=64, version_compatible=True)
    window = bundle.graph("window", "fp16")
    eight, ten, eleven = (
        shlex.split(trtexec_command(bundle, window, options, version))
        for version in ("8.6.1", "10.3.0", "11.0.0")
    )
    assert {"--fp16", "--precisionConstraints=obey"} <= set(eight)
    kept = next(part for part in eight if part.startswith("--layerPrecisions="))
    assert kept.replace("Precisions", "OutputTypes") in eight
    for text in ("level0.conv", "level1.out", "shrink"):
        assert re.search(rf"{text}[^,]*:fp32", kept)
    assert "level1.conv" not in kept
    assert "--stronglyTyped" not in eight
    assert "--stronglyTyped" in ten
    assert "--fp16" not in ten
    assert not {"--fp16", "--stronglyTyped"} & set(eleven)
    for command in (eight, ten, eleven):
        assert command[0] == "trtexec"
        assert f"--onnx={bundle.file('window.fp16.onnx')}" in command
        assert "--minShapes=keypoints:1x9x17x2" in command
        assert "--maxShapes=keypoints:32x9x17x2" in command
        assert {"--noTF32", "--versionCompatible", "--memPoolSize=workspace:64M"} <= set(command)
    for hardware, text in (("ampere_plus", "ampere+"), ("none", None)):
        options = dataclasses.replace(options, hardware_compatible=hardware, refit=text is not None)
        command = shlex.split(trtexec_command(bundle, window, options, "10.3.0"))
        assert (f"--hardwareCompatibilityLevel={text}" in command) == (text is not None)
        assert ("--refit" in command) == (text is not None)
    sequence = trtexec_command(bundle, bundle.graph("sequence", "fp32"), options, "11.0")
    assert "--optShapes=keypoints:4x16x17x2" in sequence
    stream = trtexec_command(bundle, bundle.graph("stream", "fp32", 0), options, "11.0")
    assert "--minShapes=keypoints:1x17x2,started_in:1x1x1" in stream


def test_installed_doubles_are_gone_after_a_test() -> None:
    with pytest.raises(ImportError):
        import tensorrt  # noqa: F401
    assert Installed is not None


@pytest.mark.parametrize(
    ("version", "strongly", "int8"), [(None, True, True), ("8.6.1", False, False)]
)
def test_trtexec_commands_for_the_tensorrt_at_hand(
    version: str | None,
    strongly: bool,
    int8: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without one they are for 10, whose flag 11 ignores: weakly typed, fp16 might become fp32."""
    path = tmp_path / "net.vp3d"
    random_bundle(path, ModelSpec((3,), 8), precisions=("fp16", "int8"), lags=(0,))
    if version is not None:
        install(monkeypatch, version)
    assert resume(["--resume-engines", str(path), "--trtexec"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 6
    assert all(("--stronglyTyped" in line) == strongly for line in printed)
    commands = [line for line in printed if line.startswith("trtexec ")]
    assert any("int8" in command for command in commands) == int8
    assert len(commands) == (6 if int8 else 3)


def test_a_bundle_that_is_not_there_is_named_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert resume(["--resume-engines", str(tmp_path / "nothere")]) == 2
    assert "nothere is not there" in capsys.readouterr().err
