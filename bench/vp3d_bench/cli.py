"""vp3d-bench: how fast a bundle is on this machine, beside what one would use instead."""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from vp3d_bench.beside import busy_beside
from vp3d_bench.contenders.line_up import LineUp, line_up, on_gpu, select
from vp3d_bench.machine import default_threads, describe_machine
from vp3d_bench.options import FULL_LAG, PROGRAM, build_parser, check_usage
from vp3d_bench.settings import FULL, QUICK, Settings
from vp3d_bench.subject import Subject
from vp3d_deploy.bundle import Bundle
from vp3d_deploy.engines.gpu import count_gpus
from vp3d_deploy.evaluation.document import shown_command
from vp3d_deploy.formats.atomic import check_folder
from vp3d_deploy.progress import ProgressBar

EXIT_BAD_INPUT = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 1 if a soak found a fault, 2 for bad input."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = build_parser()
    options = parser.parse_args(given)
    check_usage(parser, options)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning  # type: ignore[assignment]
            return run(options, shown_command(PROGRAM, given))
    except OSError as error:
        known = error.filename is not None and error.strerror
        return _failed(f"{error.filename}: {error.strerror}" if known else str(error))
    except ModuleNotFoundError as error:
        return _failed(
            f"{error.name} is not installed; measuring needs the extra packages of "
            'pip install "vp3d-deploy[bench]"'
        )
    except (ValueError, ImportError) as error:
        return _failed(str(error))
    except KeyboardInterrupt:
        print(f"{PROGRAM}: stopped", file=sys.stderr)
        return 130


def run(options: argparse.Namespace, command: str) -> int:
    """Raises ValueError, OSError and ImportError in one sentence."""
    if options.compare is not None:
        from vp3d_bench.compare import print_comparison

        print_comparison(*options.compare)
        return 0
    _check_output(options)
    bundle = Bundle.open(options.bundle)
    lags = _lags(bundle, options.lags)
    everybody = line_up(bundle, lags)
    if options.list:
        print("\n".join(select(list(everybody), options.contenders)))
        return 0
    threads = options.threads or default_threads()
    with tempfile.TemporaryDirectory(prefix="vp3d-bench-") as folder:
        subject = Subject(bundle, threads, Path(folder))
        try:
            if options.paced is not None or options.soak is not None:
                return _live(subject, everybody, lags, options, command)
            return _benchmark(subject, everybody, lags, options, command)
        finally:
            subject.close()


def _benchmark(
    subject: Subject,
    everybody: LineUp,
    lags: tuple[int, ...],
    options: argparse.Namespace,
    command: str,
) -> int:
    from vp3d_bench.document import Document, write_json
    from vp3d_bench.measure import Run
    from vp3d_bench.power.frames import meter_if
    from vp3d_bench.ratios import all_ratios
    from vp3d_bench.report import print_report

    names = select(list(everybody), options.contenders)
    settings = _settings(options)
    document = Document(
        subject.bundle, subject.threads, describe_machine(), command, lags, asdict(settings)
    )
    if not options.contenders:
        left_out = _left_out(names, settings)
        document.unavailable.update(left_out)
        names = [name for name in names if name not in left_out]
    with (
        meter_if(options.power, options.power_gpu) as meter,
        busy_beside(options.beside),
        _Progress() as progress,
    ):
        Run(subject, settings, everybody, names, lags, progress, meter).measure(document)
    document.ratios = all_ratios(document)
    print_report(document)
    if options.output is not None:
        write_json(document.values(), options.output)
        print(f"wrote {options.output}")
        if not options.no_plots:
            from vp3d_bench.plots import draw_all

            for path in draw_all(document, options.output.with_suffix("")):
                print(f"wrote {path}")
    return 0


def _left_out(names: Sequence[str], settings: Settings) -> dict[str, str]:
    """Who takes part only if asked for by name, and why."""
    by_quick = "left out by --quick; name it with --contenders"
    found = dict.fromkeys((name for name in names if name in settings.without), by_quick)
    if count_gpus() == 0:
        no_gpu = "the CUDA driver sees no GPU here"
        found.update(dict.fromkeys((name for name in names if on_gpu(name)), no_gpu))
    return found


def _live(
    subject: Subject,
    everybody: LineUp,
    lags: tuple[int, ...],
    options: argparse.Namespace,
    command: str,
) -> int:
    """One of the modes that push frames to live streams."""
    from vp3d_bench.document import write_json
    from vp3d_bench.live import choose_streams, run_paced, run_soak
    from vp3d_bench.power.frames import meter_if

    streams = choose_streams(subject, everybody, options.contenders, lags)
    with (
        meter_if(options.power, options.power_gpu) as meter,
        busy_beside(options.beside),
        _Progress() as progress,
    ):
        if options.paced is not None:
            people = (options.people or [1])[0]
            seconds = options.seconds or 60.0
            values, faults = run_paced(
                subject, streams, options.paced, seconds, people, progress, meter
            )
        else:
            values, faults = run_soak(subject, streams, options.soak, progress)
    if options.output is not None:
        beside = {} if options.beside is None else {"beside": options.beside}
        head = {**_head(subject, command, values["kind"]), **beside}
        write_json({**head, **values}, options.output)
        print(f"wrote {options.output}")
    return 1 if faults else 0


def _head(subject: Subject, command: str, kind: str) -> dict[str, Any]:
    from vp3d_bench.document import header

    return {
        **header(kind, command, subject.bundle),
        "threads": subject.threads,
        "machine": describe_machine(),
    }


def _settings(options: argparse.Namespace) -> Settings:
    settings = QUICK if options.quick else FULL
    if options.people:
        settings = replace(settings, people=tuple(sorted({1, *options.people})))
    if options.frames:
        settings = replace(settings, frames=options.frames)
    if options.rounds:
        settings = replace(settings, latency=replace(settings.latency, rounds=options.rounds))
    return replace(settings, beside=options.beside)


def _lags(bundle: Bundle, wanted: Sequence[int | str] | None) -> tuple[int, ...]:
    """In frames. Raises ValueError for one that the network cannot have."""
    most = bundle.spec.lookahead
    lags = {most if lag == FULL_LAG else int(lag) for lag in wanted or (0, FULL_LAG)}
    if max(lags) > most:
        raise ValueError(
            f"--lags {max(lags)}: this network can trail the camera by 0 to {most} frames "
            f'("{FULL_LAG}")'
        )
    return tuple(sorted(lags))


def _check_output(options: argparse.Namespace) -> None:
    """Refuse now what could not be written after the work."""
    import rich  # noqa: F401  # missing, it is better said now than after the work

    if options.output is None:
        return
    check_folder(options.output)
    if options.no_plots or options.paced is not None or options.soak is not None:
        return
    import matplotlib  # noqa: F401

    folder = options.output.with_suffix("")
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder}: is a file; the plots' folder would have its name")


class _Progress:
    """One bar after the other: a new one whenever something else is being done."""

    def __init__(self) -> None:
        self._what = ""
        self._bar: ProgressBar | None = None

    def __call__(self, what: str, done: int, total: int) -> None:
        if what != self._what or self._bar is None:
            self._close()
            self._what = what
            self._bar = ProgressBar(what).__enter__()
        self._bar(done, total)

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None


def _failed(reason: str) -> int:
    print(f"{PROGRAM}: error: {reason}", file=sys.stderr)
    return EXIT_BAD_INPUT


def _show_warning(message: Warning | str, *_: object) -> None:
    """In one sentence, without the place in the code that Python adds."""
    print(f"{PROGRAM}: warning: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
