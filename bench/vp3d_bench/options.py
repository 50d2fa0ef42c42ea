"""The command line of vp3d-bench."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

PROGRAM = "vp3d-bench"
FULL_LAG = "full"
_EXAMPLES = """\
examples:
  vp3d-bench walker.vp3d
  vp3d-bench walker.vp3d -o results/walker.json            also draws results/walker/*.png, *.svg
  vp3d-bench walker.vp3d --quick --contenders 'native-*' onnxruntime-plain
  vp3d-bench --compare before.json after.json
  vp3d-bench walker.vp3d --paced 50 --seconds 60           a camera of 50 frames per second
  vp3d-bench walker.vp3d --beside 50                       while another program is busy
  vp3d-bench walker.vp3d --power                           millijoules per frame too
  vp3d-bench small.vp3d --soak 4300000                     a day of frames
"""


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Measure how fast a bundle runs on this machine, beside what one would use "
        "instead. Everybody's answers are held to the definition in millimetres first; then "
        "contenders take turns.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", type=Path, nargs="?", metavar="BUNDLE", help="NAME.vp3d")
    _add_work(parser.add_argument_group("what to do instead of a benchmark"))
    _add_measure(parser.add_argument_group("what to measure"))
    group = parser.add_argument_group("what to show")
    group.add_argument("-o", "--output", type=Path, metavar="FILE.json", help="write the result, "
                       "and plots into the folder FILE beside it")  # fmt: skip
    group.add_argument("--no-plots", action="store_true", help="draw nothing")
    return parser


def _add_work(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--compare", type=Path, nargs=2, metavar=("A.json", "B.json"), help="the ratios of two "
        "results side by side")  # fmt: skip
    add("--paced", type=_positive, metavar="HZ", help="feed a camera at this rate and count the "
        "answers that come too late")  # fmt: skip
    add("--seconds", type=_positive, metavar="S", help="for so long (default: 60)")
    add("--soak", type=_count, metavar="N", help="push N frames, watch the memory, and compare the "
        "last answers with a fresh stream's")  # fmt: skip
    add("--list", action="store_true", help="list the contenders' names")


def _add_measure(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--contenders", nargs="+", default=[], metavar="NAME", help="only these; names or patterns "
        "such as 'native-*'; with --paced and --soak, streams of ours")  # fmt: skip
    add("--quick", action="store_true", help="a first impression: few rounds, short clips, few "
        "openings, no torch.compile")  # fmt: skip
    add("--threads", type=_count, metavar="N", help="of every contender (default: one per core "
        "that it may use)")  # fmt: skip
    add("--lags", nargs="+", type=_lag, metavar="N", help="of live streams, frames (default: 0 "
        f"{FULL_LAG})")  # fmt: skip
    add("--people", nargs="+", type=_count, metavar="N", help="how many share a call (default: 1 2 "
        "4 8 16 32 64; with --paced: 1)")  # fmt: skip
    add("--frames", type=_count, metavar="N", help="of the long clip (default: 10000)")
    add("--beside", type=_percent, metavar="PERCENT", help="while another program takes this share "
        "of one core, as decoding a video would; also with --paced")  # fmt: skip
    add("--power", action="store_true", help="energy per frame too: of a Jetson (tegrastats) or an "
        "NVIDIA GPU (NVML); also with --paced")  # fmt: skip
    add("--power-gpu", type=_number, metavar="N", help="of this GPU, as nvidia-smi numbers them")
    add("--rounds", type=_count, metavar="N", help="how often everybody gets a turn with one "
        "person (default: 20)")  # fmt: skip


def check_usage(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Exits with code 2 and one sentence where options exclude each other."""
    work = [name for name in ("compare", "paced", "soak") if getattr(options, name) is not None]
    if options.list:
        work.append("list")
    if len(work) > 1:
        parser.error(f"--{work[0]} and --{work[1]} are two different things; give one of them")
    if options.compare is not None and options.bundle is not None:
        parser.error(f"--compare reads two results and no bundle; leave out {options.bundle}")
    if options.compare is None and options.bundle is None:
        parser.error("which bundle is to be measured? give the path of a NAME.vp3d, or --compare")
    if options.seconds is not None and options.paced is None:
        parser.error("--seconds belongs to --paced HZ")
    options.power = options.power or options.power_gpu is not None
    if options.power and work and work != ["paced"]:
        parser.error(f"--power measures the energy of frames; --{work[0]} does something else")
    if options.beside is not None and work and work != ["paced"]:
        parser.error(f"--beside keeps a core busy while frames are timed; --{work[0]} times none")
    if options.output is not None and options.compare is not None:
        parser.error("--compare writes nothing; leave out --output")
    if options.output is not None and options.output.suffix != ".json":
        parser.error(f"--output {options.output}: results are written as .json")
    if options.paced is not None and len(options.people or [1]) > 1:
        parser.error("--paced feeds one camera: give one number of --people")


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number above 0")
    return value


def _percent(text: str) -> float:
    value = _positive(text)
    if not 1 <= value <= 99:
        raise argparse.ArgumentTypeError(f"{text!r}: expected 1 to 99 percent of one core")
    return value


def _count(text: str) -> int:
    if not re.fullmatch(r"\d{1,12}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1 on")
    return int(text)


def _number(text: str) -> int:
    if not re.fullmatch(r"\d{1,3}", text):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 0 on")
    return int(text)


def _lag(text: str) -> int | str:
    if text == FULL_LAG:
        return FULL_LAG
    if not re.fullmatch(r"\d{1,6}", text):
        raise argparse.ArgumentTypeError(f'{text!r} is not a number of frames, nor "{FULL_LAG}"')
    return int(text)
