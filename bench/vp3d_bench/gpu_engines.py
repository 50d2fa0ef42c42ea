"""TensorRT engines for a bundle of random weights, to be measured.

    python -m vp3d_bench.gpu_engines net.vp3d [--out crowd.vp3d --forms stream --stream-rows 256]

vp3d-export compares engines with PyTorch as it builds them; a bundle of random weights has no
answers of PyTorch's to compare with, and vp3d-bench holds every answer to the definition itself.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from vp3d_deploy.bundle import FORMS, Bundle, BundleError, EngineEntry
from vp3d_deploy.engines.gpu import GpuError, open_gpu
from vp3d_deploy.engines.tensorrt_api import TensorRTError, import_tensorrt
from vp3d_export.tensorrt.build import build_engine
from vp3d_export.tensorrt.engines import record_engines
from vp3d_export.tensorrt.options import add_engine_options, engine_options

EXIT_ALL, EXIT_SOME, EXIT_NONE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if an engine was built for every graph, 1 if some were not, 2 if none can be here."""
    parser = argparse.ArgumentParser(description="Build TensorRT engines to measure.")
    parser.add_argument("bundle", type=Path, help="NAME.vp3d")
    parser.add_argument("--out", type=Path, help="a copy to put them into; what is there is kept")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=FORMS)
    add_engine_options(parser)
    given = parser.parse_args(arguments)
    options = engine_options(parser, given)
    target: Path = given.out or given.bundle
    try:
        trt, gpu = import_tensorrt(), open_gpu()
    except (ImportError, GpuError) as error:
        print(f"no engines were built: {error}", file=sys.stderr)
        return EXIT_NONE
    if not target.exists():
        shutil.copytree(given.bundle, target)
    bundle = Bundle.open(target)
    built: list[EngineEntry] = []
    failures = 0
    for graph in bundle.graphs:
        if graph.form not in given.forms:
            continue
        print(f"building {graph.file}", flush=True)
        try:
            with gpu.active():
                built.append(build_engine(trt, gpu, bundle, graph, options, target))
        except (TensorRTError, GpuError, BundleError) as error:
            failures += 1
            print(f"failed: {error}", flush=True)
    record_engines(target, built, {}, gpu)
    print(f"built {len(built)} engines into {target}")
    return EXIT_SOME if failures else EXIT_ALL


if __name__ == "__main__":
    raise SystemExit(main())
