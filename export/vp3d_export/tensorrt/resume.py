"""vp3d-export --resume-engines BUNDLE: build TensorRT engines later, on the device itself.

Needs the bundle, TensorRT, pycuda and a GPU; neither torch nor the onnx package. Engines are
compared with PyTorch's answers that the export kept in the bundle (recorded.py).
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from vp3d_deploy.bundle import PARITY, Bundle, BundleError
from vp3d_deploy.engines.tensorrt_api import import_tensorrt, version_numbers
from vp3d_export.bundle_writer import LOCK, check_target, partial_directory, publish
from vp3d_export.parity import DEFAULT_LIMITS, Limits, ParityRow
from vp3d_export.tensorrt.api import STRONGLY_TYPED_FROM
from vp3d_export.tensorrt.engines import EngineReport, Progress, add_engines, why_absent
from vp3d_export.tensorrt.options import EngineOptions, add_engine_options, engine_options
from vp3d_export.tensorrt.recorded import load_recorded
from vp3d_export.tensorrt.trtexec import trtexec_command

OPTION = "--resume-engines"
TRTEXEC_OR_JSON = (
    "--trtexec prints commands, which --json would mix with its result: give one of them"
)
EXIT_BUILT, EXIT_FAILED, EXIT_BAD_INPUT = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if every engine was built and agrees with PyTorch, 1 if one does not, 2 if none can be,
    130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog=f"vp3d-export {OPTION}",
        description="Build TensorRT engines into a bundle, on the device that is to run them.",
    )
    parser.add_argument(OPTION, type=Path, required=True, metavar="BUNDLE", dest="bundle")
    parser.add_argument("--trtexec", action="store_true",
                        help="print the commands of trtexec instead")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_engine_options(parser)
    given = parser.parse_args(arguments)
    options = engine_options(parser, given)
    if given.trtexec and given.json:
        parser.error(TRTEXEC_OR_JSON)
    # Terminated, it clears up after itself too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        if given.trtexec:
            print_trtexec(Bundle.open(given.bundle), options)
            return EXIT_BUILT
        report = resume_engines(given.bundle, options, _to_stderr)
    except (ValueError, OSError, ImportError) as error:
        print(f"vp3d-export: error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("vp3d-export: interrupted; the bundle is as it was", file=sys.stderr)
        return 128 + signal.SIGINT
    if report.absent is not None:
        print(f"vp3d-export: error: no engines were built: {report.absent}", file=sys.stderr)
        return EXIT_BAD_INPUT
    print(json.dumps(report_values(report), indent=2) if given.json else report_text(report))
    return EXIT_FAILED if report.failures else EXIT_BUILT


def resume_engines(
    path: Path, options: EngineOptions, progress: Progress = lambda step: None
) -> EngineReport:
    """Build the bundle's engines and put them in it; the bundle changes whole or not at all.

    Raises BundleError for a bundle that is damaged or holds no recorded answers.
    """
    bundle = Bundle.open(path)
    absent = why_absent()
    if absent is not None:
        return EngineReport(absent=absent)
    expected = load_recorded(bundle)
    check_target(path)
    with partial_directory(path) as partial:
        for source in sorted(path.iterdir()):
            if source.name != LOCK:
                # No second names: readers of weights may refuse a file that has several.
                shutil.copyfile(source, partial / source.name)
        report = add_engines(partial, expected, export_limits(bundle), options, progress)
        if Bundle.open(partial, verify=False).engines != bundle.engines:
            publish(partial, path)
    return report


def export_limits(bundle: Bundle) -> dict[str, Limits]:
    """What the export was held to, which may be other than the defaults."""
    path = bundle.file(PARITY)
    try:
        report = json.loads(path.read_text("utf-8"))
        stored = {
            precision: Limits(**{name: float(value) for name, value in values.items()})
            for precision, values in report.get("limits", {}).items()
        }
    except (OSError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"{path} is damaged: {error}") from None
    return {**DEFAULT_LIMITS, **stored}


def print_trtexec(bundle: Bundle, options: EngineOptions) -> None:
    """One command for each graph, for the TensorRT at hand; without one for version 10, whose
    --stronglyTyped 11 still knows and has anyway."""
    try:
        version = import_tensorrt().__version__
    except ImportError:
        version = "10"
    for graph in bundle.graphs:
        if graph.precision == "int8" and version_numbers(version) < STRONGLY_TYPED_FROM:
            print(f"# {graph.file}: TensorRT {version} reads no weights of 8 bits")
        else:
            print(trtexec_command(bundle, graph, options, version))


def report_values(report: EngineReport) -> dict[str, object]:
    """The report as plain values, for --json."""
    return {
        "engines": [entry.file for entry in report.built],
        "rows": [row.to_dict() for row in report.rows],
        "failures": report.failures,
        "absent": report.absent,
    }


def report_text(report: EngineReport) -> str:
    """A line for each engine, and one for each that failed."""
    lines = [f"built {entry.file}" for entry in report.built]
    lines += [_row_text(row) for row in report.rows if row.passed]
    lines += [f"failed: {failure}" for failure in report.failures]
    if report.absent is not None:
        lines.append(f"TensorRT engines were not built: {report.absent}")
    return "\n".join(lines)


def _row_text(row: ParityRow) -> str:
    form = row.form if row.lag is None else f"{row.form} lag {row.lag}"
    return (
        f"{form} {row.precision}: mean distance to PyTorch {row.mean_distance:.5f} mm, largest "
        f"{row.max_distance:.5f} mm, over {row.n_frames} frames"
    )


def _to_stderr(step: str) -> None:
    print(step, file=sys.stderr)
