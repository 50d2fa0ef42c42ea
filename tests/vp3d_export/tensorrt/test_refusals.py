"""Every None, False and -1 with which TensorRT refuses a build becomes an error with its reason."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from bundles import random_bundle
from tensorrt_contract.installed import install
from tensorrt_contract.inventory import tensorrt_versions

from vp3d_deploy.engines.gpu import open_gpu
from vp3d_deploy.engines.tensorrt_api import TensorRTError
from vp3d_deploy.spec import ModelSpec
from vp3d_export.tensorrt.build import build_engine
from vp3d_export.tensorrt.options import EngineOptions, Span

OPTIONS = EngineOptions(batch=Span(1, 2, 4), frames=Span(1, 8, 16))


@pytest.mark.parametrize(
    ("call", "answer", "what"),
    [
        ("Builder.create_network", None, "has no network for"),
        ("Builder.create_builder_config", None, "has no configuration for"),
        ("Builder.create_optimization_profile", None, "has no optimisation profile for"),
        ("Builder.build_serialized_network", None, "cannot build"),
        ("IBuilderConfig.add_optimization_profile", -1, "refuses the optimisation profile of"),
        ("IBuilderConfig.set_timing_cache", False, "takes no timing cache for"),
        ("IBuilderConfig.create_timing_cache", None, "has no timing cache for"),
        ("ICudaEngine.create_engine_inspector", None, "has no inspector"),
        ("OnnxParser.parse", False, "cannot read"),
    ],
)
@pytest.mark.parametrize("version", [tensorrt_versions()[0], tensorrt_versions()[-1]])
def test_a_build_that_is_refused(
    version: str,
    call: str,
    answer: object,
    what: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bundle = random_bundle(tmp_path / "net.vp3d", ModelSpec((3,), 8)).bundle
    installed = install(monkeypatch, version)
    name, method = call.split(".")
    double = getattr(installed.trt, name)
    monkeypatch.setattr(double, f"do_{method}", lambda self, *_, **__: answer)
    gpu, graph = open_gpu(), bundle.graph("window", "fp32")
    options = dataclasses.replace(OPTIONS, timing_cache=True)
    with pytest.raises(TensorRTError, match=what), gpu.active():
        build_engine(installed.trt, gpu, bundle, graph, options, bundle.path)
    assert not list(bundle.path.glob("*.engine"))
