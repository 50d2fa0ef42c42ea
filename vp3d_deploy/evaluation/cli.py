"""vp3d-eval: how accurate a bundle or a checkpoint is on motion with ground truth."""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from vp3d_deploy.data.clip import Clip
from vp3d_deploy.engines import ENGINES
from vp3d_deploy.evaluation.clips import prepare_clip
from vp3d_deploy.evaluation.contenders import PYTORCH, find_contenders
from vp3d_deploy.evaluation.document import Evaluation, shown_command
from vp3d_deploy.evaluation.lags import FULL_LAG, lags_to_measure
from vp3d_deploy.evaluation.measure import Task, measure_all
from vp3d_deploy.evaluation.model import Model, check_truth, open_model
from vp3d_deploy.evaluation.plots import SUFFIXES, check_plot, plot_errors, plot_lags
from vp3d_deploy.evaluation.selection import Selection, describe, doubts, load_selection
from vp3d_deploy.formats.atomic import check_folder
from vp3d_deploy.progress import ProgressBar

PROGRAM = "vp3d-eval"
STDOUT = Path("-")
EXIT_BAD_INPUT = 2
_EXAMPLES = """\
examples:
  vp3d-eval walker.vp3d --data h36m --keypoints cpn --flip
  vp3d-eval walker.vp3d --data h36m --ckpt walker.bin --json errors.json --plot errors.png
  vp3d-eval walker.bin --data h36m --lags --plot lags.svg
  vp3d-eval walker.vp3d --data my_clips --lags 0 5 full --actions Walking
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, or 2 for bad input."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = build_parser()
    options = parser.parse_args(given)
    _check_usage(parser, options)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            evaluation = run(options, shown_command(PROGRAM, given))
            _write(evaluation, options)
    except OSError as error:
        known = error.filename is not None and error.strerror
        named = f"{error.filename}: {error.strerror}" if known else str(error)
        print(f"{PROGRAM}: error: {named}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except ModuleNotFoundError as error:
        print(
            f"{PROGRAM}: error: {error.name} is not installed; evaluation needs the extra packages "
            'of pip install "vp3d-deploy[eval]", and checkpoints those of [export]',
            file=sys.stderr,
        )
        return EXIT_BAD_INPUT
    except (ValueError, ImportError) as error:
        print(f"{PROGRAM}: error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print(f"{PROGRAM}: stopped", file=sys.stderr)
        return 130
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Measure how accurate a network is, in millimetres: in PyTorch, and in every "
        "engine and precision of a bundle.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("model", type=Path, metavar="BUNDLE_OR_CHECKPOINT", help="NAME.vp3d, or a checkpoint of "
        "the original repository, MMPose or our own")  # fmt: skip
    _add_data(parser.add_argument_group("what to measure on"))
    _add_network(parser.add_argument_group("what to measure"))
    group = parser.add_argument_group("what to show")
    add = group.add_argument
    add("--per-action", action=argparse.BooleanOptionalAction, default=True,
        help="print a table of actions (default: yes)")  # fmt: skip
    add("--per-joint", action="store_true", help="print a table of joints, too")
    add("--json", type=Path, metavar="FILE", help="write all figures; - prints them instead of "
        "tables")  # fmt: skip
    add("--plot", type=Path, action="append", default=[], metavar="FILE",
        help=f"draw the errors per action and joint ({', '.join(SUFFIXES)}); with --lags accuracy "
        "against lag, and the former into a second --plot FILE")  # fmt: skip
    return parser


def _add_data(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="Human3.6M in either published "
        "layout, or clips of your own (docs/own-data.md)")  # fmt: skip
    add("--keypoints", default="gt", metavar="NAME", help="2D input: gt, cpn or another "
        "detector's name (default: gt)")  # fmt: skip
    add("--split", choices=("train", "test", "all"), default="test", help="default: test")
    add("--subjects", nargs="+", default=[], metavar="NAME", help="only these")
    add("--actions", nargs="+", default=[], metavar="NAME", help="only these")
    add("--max-frames", type=_count, metavar="N", help="about N frames, an equal share of each "
        "clip")  # fmt: skip


def _add_network(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--flip", action="store_true", help="average with the mirror image: slower, better")
    add("--lags", nargs="*", type=_lag, metavar="N", help="measure live answers that trail the "
        f'camera by N frames, "{FULL_LAG}" for as far as the network looks ahead; without N '
        "all there are, or about a dozen of many")  # fmt: skip
    add("--engine", nargs="+", default=[], metavar="NAME", help="only these of a bundle's "
        f"engines, and PyTorch: {', '.join((*ENGINES, PYTORCH))}")  # fmt: skip
    add("--precision", nargs="+", default=[], metavar="NAME", help="only these of a bundle's: "
        "fp32, fp16, int8")  # fmt: skip
    add("--ckpt", type=Path, metavar="FILE", help="the checkpoint that a bundle was exported from, "
        "to compare with; without it PyTorch runs the bundle's folded weights")  # fmt: skip
    add("--causal", action="store_true", default=None, help="a checkpoint's network looks only "
        "back (no file but ours says so)")  # fmt: skip
    add("--input-skeleton", metavar="NAME", help="whose joints a checkpoint's network reads "
        "(default: h36m17)")  # fmt: skip
    add("--output-skeleton", metavar="NAME", help="whose joints it writes (default: h36m17)")
    add("--device", type=_device, default="cpu", metavar="NAME", help="where PyTorch runs: cpu, "
        "cuda, cuda:1 (default: cpu)")  # fmt: skip
    add("--threads", type=_count, metavar="N", help="of the CPU (default: all)")


def run(options: argparse.Namespace, command: str) -> Evaluation:
    """All of the measuring. Raises ValueError, OSError and ImportError in one sentence."""
    _check_outputs(options)
    model = open_model(
        options.model,
        checkpoint=options.ckpt,
        causal=options.causal,
        input_skeleton=options.input_skeleton,
        output_skeleton=options.output_skeleton,
    )
    check_truth(model)
    lags = () if options.lags is None else lags_to_measure(model.spec, options.lags)
    _limit_threads(options.threads)
    contenders, missing = find_contenders(
        model, options.engine, options.precision, options.device, options.threads
    )
    selection = Selection(
        options.data,
        options.keypoints,
        options.split,
        tuple(options.subjects),
        tuple(options.actions),
        options.max_frames,
    )
    clips = load_selection(selection)
    description = describe(selection, clips)
    task = _task(model, clips, options.flip, lags)
    results, failed = measure_all(contenders, task, lambda label: ProgressBar(f"lifting, {label}"))
    return Evaluation(
        model=model,
        data=description,
        flip=options.flip,
        results=results,
        unavailable=[*missing, *failed],
        notes=doubts(model, clips, description),
        command=command,
    )


def _task(model: Model, clips: Sequence[Clip], flip: bool, lags: tuple[int, ...]) -> Task:
    skeletons = model.skeleton_in, model.skeleton_out
    prepared = [prepare_clip(clip, model.spec, *skeletons) for clip in clips]
    return Task(prepared, *skeletons, flip, lags)


def _limit_threads(threads: int | None) -> None:
    """Hold PyTorch to so many threads, where it is installed; engines are told by themselves."""
    if threads is None:
        return
    try:
        import torch
    except ModuleNotFoundError:
        return
    torch.set_num_threads(threads)


def _write(evaluation: Evaluation, options: argparse.Namespace) -> None:
    if options.json == STDOUT:
        print(evaluation.to_json(), end="")
    else:
        from vp3d_deploy.evaluation.report import print_report

        print_report(evaluation, options.per_action, options.per_joint)
    written = []
    if options.json is not None and options.json != STDOUT:
        evaluation.write_json(options.json)
        written.append(options.json)
    draws = (plot_errors,) if options.lags is None else (plot_lags, plot_errors)
    for path, draw in zip(options.plot, draws, strict=False):
        draw(evaluation, path)
        written.append(path)
    for path in written:
        print(f"wrote {path}", file=sys.stderr if options.json == STDOUT else sys.stdout)


def _check_usage(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    most = 1 if options.lags is None else 2
    if len(options.plot) > most:
        what = "two pictures with --lags" if most == 2 else "one picture, two with --lags"
        parser.error(f"--plot is given {len(options.plot)} times; there is {what}")


def _check_outputs(options: argparse.Namespace) -> None:
    """Refuse now what could not be written after the work."""
    for path in options.plot:
        check_plot(path)
    targets = list(options.plot)
    if options.json is not None and options.json != STDOUT:
        check_folder(options.json)
        targets.append(options.json)
    if options.plot:
        import matplotlib  # noqa: F401  # missing, it is better said now than after the work
    if options.json != STDOUT:
        import rich  # noqa: F401
    resolved = [path.resolve() for path in targets]
    for path in resolved:
        if resolved.count(path) > 1:
            raise ValueError(f"{path}: named twice as an output")


def _show_warning(message: Warning | str, *_: object) -> None:
    """In one sentence, without the place in the code that Python adds."""
    print(f"{PROGRAM}: warning: {message}", file=sys.stderr)


def _lag(text: str) -> int | str:
    if text == FULL_LAG:
        return FULL_LAG
    if not re.fullmatch(r"\d{1,6}", text):
        raise argparse.ArgumentTypeError(f'{text!r} is not a number of frames, nor "{FULL_LAG}"')
    return int(text)


def _count(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1 on")
    return int(text)


def _device(text: str) -> str:
    if not re.fullmatch(r"cpu|cuda(:\d{1,3})?", text):
        raise argparse.ArgumentTypeError(f"{text!r}: expected cpu, cuda or cuda:N")
    return text


if __name__ == "__main__":
    sys.exit(main())
