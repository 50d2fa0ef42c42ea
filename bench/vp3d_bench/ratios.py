"""The figures that sum a benchmark up, each by its name: ratios of times within one run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from vp3d_bench.contenders.base import SEQUENCE
from vp3d_bench.contenders.ours import stream_name
from vp3d_bench.document import Document, NamedRatio
from vp3d_bench.floors import ARITHMETIC, arithmetic_name, read_name
from vp3d_bench.statistics import Spread, fastest, ratio
from vp3d_bench.work import column_multiply_adds, most_columns, multiply_adds

# The strided network as one would export it today; the faster of the two counts.
PLAIN = ("onnxruntime-plain", "openvino-f32")
ENGINE = "native"

Named = tuple[str, NamedRatio]


def all_ratios(document: Document) -> dict[str, NamedRatio]:
    """Every one of which both sides were measured."""
    return dict(
        [*_one_person(document), *_crowds(document), *_throughput(document)]
    )


def _one_person(document: Document) -> Iterator[Named]:
    timed = document.latency.get(1, {})
    plain = fastest(timed[name] for name in PLAIN if name in timed)
    rivals = {
        "plain-export": (plain, "the faster of ONNX Runtime and OpenVINO f32 on the plain export"),
        "pytorch-strided": (timed.get("pytorch-strided"), "PyTorch's strided network"),
        "pytorch-dilated": (timed.get("pytorch-dilated"), "PyTorch's dilated network"),
        "pytorch-compiled": (timed.get("pytorch-compiled"), "torch.compile on the strided network"),
    }
    for precision, lag, ours in _streams(document, timed):
        what = f"{ENGINE} stream, {precision}, lag {lag}"
        for name, (rival, words) in rivals.items():
            if rival is not None:
                yield _named(f"{precision}@{lag} over {name}", f"{what}: times faster than {words}",
                             "higher", rival, ours)  # fmt: skip
        read = timed.get(read_name(precision))
        if read is not None:
            yield _named(f"{precision}@{lag} / read", f"{what}: time over that of reading its "
                         "weights once", "lower", ours, read)  # fmt: skip


def _crowds(document: Document) -> Iterator[Named]:
    networks = list(document.bundle.networks.values())
    for people in sorted(document.latency):
        timed = document.latency[people]
        if people == 1:
            continue
        for precision, lag, ours in _streams(document, timed):
            what = f"{people} people, {precision}, lag {lag}"
            key = f"{precision}@{lag} x{people}"
            base = timed.get(f"{arithmetic_name('fp32')}@{lag}")
            own = timed.get(f"{arithmetic_name(ARITHMETIC[precision])}@{lag}")
            if own is not None:
                yield _named(f"{key} / arithmetic", f"{what}: time over that of the arithmetic "
                             "alone", "lower", ours, own)  # fmt: skip
                every = most_columns(networks, lag) * column_multiply_adds(networks)
                all_columns = _scaled(own, every / multiply_adds(networks, lag))
                yield _named(f"{key} / arithmetic of all columns", f"{what}: the same if every "
                             "level computed as many columns as the widest", "lower", ours,
                             all_columns)  # fmt: skip
            if base is not None and base is not own:
                yield _named(f"{key} over fp32 arithmetic", f"{what}: times faster than fp32 "
                             "arithmetic alone", "higher", base, ours)  # fmt: skip
            peers = [timed[name] for name in PLAIN if name in timed]
            best = fastest(peers)
            if best is not None:
                yield _named(f"{key} over plain-export", f"{what}: times faster than the faster of "
                             "ONNX Runtime and OpenVINO f32 on the plain export", "higher", best,
                             ours)  # fmt: skip


def _throughput(document: Document) -> Iterator[Named]:
    timed: dict[str, Spread] = document.throughput.get("milliseconds", {})
    members = document.members
    peers = [
        one for name, one in timed.items()
        if name in members and members[name].family != ENGINE and members[name].precision == "fp32"
    ]  # fmt: skip
    best = fastest(peers)
    for precision in document.bundle.precisions:
        ours = timed.get(f"{ENGINE}-{SEQUENCE}-{precision}")
        if ours is None:
            continue
        if best is not None:
            yield _named(f"sequence {precision} over fastest", f"long clip, {precision}: times "
                         "faster than the fastest of PyTorch, ONNX Runtime and OpenVINO in fp32",
                         "higher", best, ours)  # fmt: skip
        floor = timed.get(arithmetic_name(ARITHMETIC[precision]))
        if floor is not None:
            yield _named(f"sequence {precision} / arithmetic", f"long clip, {precision}: time over "
                         "that of the arithmetic alone", "lower", ours, floor)  # fmt: skip


def _streams(
    document: Document, timed: dict[str, Spread]
) -> Iterable[tuple[str, int, Spread]]:
    """Our live streams that were timed: precision, lag, times."""
    for precision in document.bundle.precisions:
        for lag in document.lags:
            ours = timed.get(stream_name(ENGINE, precision, lag))
            if ours is not None:
                yield precision, lag, ours


def _named(key: str, text: str, better: str, one: Spread, other: Spread) -> Named:
    return key, NamedRatio.of(text, better, ratio(one, other))


def _scaled(times: Spread, factor: float) -> Spread:
    figures: Sequence[float] = [
        factor * value for value in (times.min, times.p50, times.p95, times.p99, times.worst)
    ]
    return Spread(*figures, calls=times.calls, rounds=tuple(factor * m for m in times.rounds))
