"""vp3d-export: checkpoint -> bundle, checked against PyTorch in millimetres."""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vp3d_deploy.bundle import FORMS, Bundle
from vp3d_deploy.evaluation.lags import FULL_LAG
from vp3d_export.exporter import export_bundle
from vp3d_export.options import ExportOptions
from vp3d_export.parity import DEFAULT_LIMITS, Limits
from vp3d_export.report import StepProgress, print_report, report_values
from vp3d_export.tensorrt.options import EngineOptions, add_engine_options, engine_options
from vp3d_export.tensorrt.resume import TRTEXEC_OR_JSON, print_trtexec
from vp3d_export.triton.command import serve
from vp3d_export.triton.options import TritonOptions, add_triton_options, triton_options

EXIT_PASSED = 0
EXIT_BEYOND_LIMIT = 1
EXIT_BAD_INPUT = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 if every comparison is within its limit, 1 if not, 2 for bad input.

    A TensorRT engine that fails is left out of the bundle, which is written, and makes it 1 too.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    engines = engine_options(parser, given)
    options = _options(parser, given, engines)
    triton = _triton(parser, given, options)
    if given.trtexec and given.json:
        parser.error(TRTEXEC_OR_JSON)
    # A terminated export clears up after itself; one that is killed is cleared by the next.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with StepProgress() as progress, warnings.catch_warnings():
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            result = export_bundle(options, progress, progress.advance)
        if given.json:
            print(json.dumps(report_values(result), indent=2))
        else:
            print_report(result)
        if result.passed:
            _after(Bundle.open(result.target, verify=False), engines, given.trtexec, triton)
    except (ValueError, OSError, ImportError) as error:
        print(f"vp3d-export: error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("vp3d-export: interrupted; nothing was written", file=sys.stderr)
        return 128 + signal.SIGINT
    passed = result.passed and not result.engines.failures
    return EXIT_PASSED if passed else EXIT_BEYOND_LIMIT


def _after(
    bundle: Bundle, engines: EngineOptions, trtexec: bool, triton: TritonOptions | None
) -> None:
    """What was asked for beside the bundle, which is there whatever becomes of this."""
    if trtexec:
        print_trtexec(bundle, engines)
    if triton is not None:
        serve(bundle, triton)


def _show_warning(message: Warning | str, *_: object) -> None:
    """In one sentence, without the place in the code that Python adds."""
    print(f"vp3d-export: warning: {message}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vp3d-export",
        description="Turn a VideoPose3D checkpoint (the original repository's, MMPose's or ours) "
        "into a bundle that was checked against PyTorch.",
    )
    _add_export(parser)
    _add_check(parser)
    add_engine_options(parser)
    parser.add_argument("--no-engines", action="store_true", help="build no TensorRT engines")
    parser.add_argument("--trtexec", action="store_true", help="print the commands with which "
        "NVIDIA's trtexec would build them")  # fmt: skip
    add_triton_options(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def _add_export(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--ckpt", type=Path, required=True, metavar="FILE", help="the checkpoint: .bin, .pth, .pt")
    add("--out", type=Path, metavar="DIR", help="the bundle (default: CKPT's name with .vp3d)")
    add("--fp16", action="store_true", help="write half precision too")
    add("--int8", action="store_true", help="write 8-bit weights and products too")
    add("--no-fp32", action="store_true", help="write no single precision")
    add(
        "--forms",
        type=_forms,
        default=FORMS,
        metavar="LIST",
        help=f"which of {','.join(FORMS)} to write (default: all)",
    )
    add(
        "--lag",
        type=_lag,
        nargs="+",
        metavar="FRAMES",
        help=f'how far live answers trail the camera; several allowed, "{FULL_LAG}" for the '
        "network's whole lookahead (default: 0)",
    )
    add(
        "--causal",
        action="store_true",
        default=None,
        help="the network was trained to look only back (no checkpoint but ours says so)",
    )
    add("--input-skeleton", metavar="NAME", help="whose joints the network reads (default: "
        "what our own checkpoints say, else h36m17)")  # fmt: skip
    add("--output-skeleton", metavar="NAME", help="whose joints it writes (default: h36m17)")
    add("--fps", type=float, help="frame rate of its training data (default: what our own "
        "checkpoints say, else 50)")  # fmt: skip

    add(
        "--calibration",
        type=Path,
        nargs="+",
        default=(),
        metavar="PATH",
        help="what to fit int8 and fp16 to, motion like that which the network will meet: clips "
        "(.npz, see docs/own-data.md) or folders of motion, of which the training part is taken "
        "(default: built-in motion)",
    )


def _add_check(parser: argparse.ArgumentParser) -> None:
    check = parser.add_argument_group("accuracy check")
    add = check.add_argument
    add("--h36m", type=Path, metavar="DIR", help="check on Human3.6M, in either published layout")
    add("--keypoints", choices=("gt", "cpn"), help="2D input with --h36m (default: gt)")
    add("--max-frames", type=int, metavar="N", help="check on at most N frames of --h36m")
    for precision, limits in DEFAULT_LIMITS.items():
        for name, meaning in (
            ("mpjpe_change", "|change of MPJPE|"),
            ("mean_distance", "mean distance to PyTorch's joints"),
            ("trajectory_distance", "mean distance to PyTorch's root position"),
        ):
            option = f"--{precision}-{name.replace('_', '-')}"
            value = getattr(limits, name)
            text = f"limit in {precision}: {meaning} (default: {value:g} mm)"
            add(option, type=float, default=value, metavar="MM", help=text)


def _options(
    parser: argparse.ArgumentParser, given: argparse.Namespace, engines: EngineOptions
) -> ExportOptions:
    _refuse_contradictions(parser, given)
    wanted = (("fp32", not given.no_fp32), ("fp16", given.fp16), ("int8", given.int8))
    return ExportOptions(
        checkpoint=given.ckpt,
        out=given.out,
        precisions=tuple(precision for precision, take in wanted if take),
        forms=given.forms,
        lags=(0,) if given.lag is None else tuple(given.lag),
        causal=given.causal,
        input_skeleton=given.input_skeleton,
        output_skeleton=given.output_skeleton,
        fps=given.fps,
        h36m=given.h36m,
        keypoints=given.keypoints or "gt",
        max_frames=given.max_frames,
        calibration=tuple(given.calibration),
        limits=_limits(parser, given),
        engines=None if given.no_engines else engines,
    )


def _refuse_contradictions(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    if given.no_fp32 and not (given.fp16 or given.int8):
        parser.error("--no-fp32 without --fp16 or --int8 leaves nothing to write")
    if given.calibration and not (given.fp16 or given.int8):
        parser.error("--calibration is for --int8 and --fp16, neither of which is given")
    if given.h36m is None and (given.keypoints is not None or given.max_frames is not None):
        parser.error("--keypoints and --max-frames say how to use --h36m, which is not given")
    if given.lag is not None and "stream" not in given.forms:
        parser.error("--lag is for the stream form, which --forms leaves out")
    if given.max_frames is not None and given.max_frames < 1:
        parser.error(f"--max-frames must be at least 1, not {given.max_frames}")
    if given.fps is not None and not 0 < given.fps < 1000:
        parser.error(f"--fps must be between 0 and 1000, not {given.fps:g}")


def _limits(parser: argparse.ArgumentParser, given: argparse.Namespace) -> dict[str, Limits]:
    limits = {}
    for precision, default in DEFAULT_LIMITS.items():
        names = Limits.__dataclass_fields__
        values = {name: getattr(given, f"{precision}_{name}") for name in names}
        for name, value in values.items():
            if not 0 <= value < math.inf:
                option = f"--{precision}-{name.replace('_', '-')}"
                parser.error(f"{option} must be a distance in mm from 0, not {value:g}")
        limits[precision] = replace(default, **values)
    return limits


def _triton(
    parser: argparse.ArgumentParser, given: argparse.Namespace, options: ExportOptions
) -> TritonOptions | None:
    """Refuses now what could not be served after the export."""
    triton = triton_options(parser, given)
    if triton is not None and not {"window", "stream"} & set(options.forms):
        parser.error("--triton serves the window and the stream, both of which --forms leaves out")
    if triton is not None and triton.precision not in (None, *options.precisions):
        parser.error(
            f"--triton-precision {triton.precision} is not exported: "
            f"{', '.join(options.precisions)} would be"
        )
    return triton


def _forms(text: str) -> tuple[str, ...]:
    wanted = [form.strip() for form in text.split(",") if form.strip()]
    unknown = [form for form in wanted if form not in FORMS]
    if unknown or not wanted:
        raise argparse.ArgumentTypeError(f"{text!r}: choose from {','.join(FORMS)}")
    return tuple(form for form in FORMS if form in wanted)


def _lag(text: str) -> int | str:
    if text == FULL_LAG:
        return FULL_LAG
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f'{text!r} is not a number of frames, nor "{FULL_LAG}"'
        ) from None


if __name__ == "__main__":
    sys.exit(main())
