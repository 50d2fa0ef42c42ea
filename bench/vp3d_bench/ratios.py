"""The figures that sum a benchmark up, each by its name: ratios of times within one run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

from vp3d_bench.contenders.base import SEQUENCE
from vp3d_bench.contenders.ours import stream_name
from vp3d_bench.document import Document, NamedRatio
from vp3d_bench.floors import ARITHMETIC, arithmetic_name, read_name
from vp3d_bench.statistics import Spread, fastest, ratio, scaled
from vp3d_bench.work import (
    column_multiply_adds,
    most_columns,
    multiply_adds,
    sequence_multiply_adds,
)

# The strided network as one would export it; the fastest of them counts.
PLAIN = ("onnxruntime-plain", "onnxruntime-plain-dynamo", "openvino-f32", "openvino-f32-dynamo")
PYTORCH = ("pytorch-strided", "pytorch-dilated", "pytorch-compiled")
ENGINE = "native"
# On GPUs: the engine that others are compared with, and what one would use instead.
GPU_ENGINE = "cuda"
GPU_PEERS = ("torchcuda-strided-half", "torchcuda-compiled-half", "torchcuda-graph-half",
             "torchcuda-products-graph-half")  # fmt: skip

# Of a precision on a GPU, the kind of product that its rate is measured of (gpu_rates.py).
RATE_OF = {"fp32": "fp32", "fp16": "fp16", "half": "fp16", "int8": "int8"}

Timed = Mapping[str, Spread]


@dataclass(frozen=True)
class _Row:
    """One of our contenders that others are compared with."""

    group: str
    row: str
    key: str
    times: Spread

    def faster_than(self, name: str, words: str, other: Spread | None) -> Iterator[Named]:
        """How many times faster than `other`, where that was measured."""
        if other is not None:
            column = f"× faster than {name}"
            yield self._named(name, column, f"times faster than {words}", "higher",
                              other, self.times)  # fmt: skip

    def over(self, name: str, words: str, floor: Spread | None) -> Iterator[Named]:
        """How many times as long as `floor`, where that was measured."""
        if floor is not None:
            yield self._named(name, f"time / {name}", f"time over that of {words}", "lower",
                              self.times, floor)  # fmt: skip

    def _named(
        self, name: str, column: str, text: str, better: str, one: Spread, other: Spread
    ) -> Named:
        figures = asdict(ratio(one, other))
        full = f"{self.group}, {self.row}: {text}"
        return f"{self.key} {name}", NamedRatio(
            self.group, self.row, column, full, better, **figures
        )


Named = tuple[str, NamedRatio]


def all_ratios(document: Document) -> dict[str, NamedRatio]:
    """Every one of which both sides were measured."""
    found = list(_one_person(document))
    for people in sorted(document.latency):
        if people > 1:
            found += _crowd(document, people)
    for people in sorted(document.latency):
        found += _on_gpu(document, people)
    return dict([*found, *_throughput(document), *_shares_of_rate(document)])


def _one_person(document: Document) -> Iterator[Named]:
    timed = document.latency.get(1, {})
    alone = [*_streams(document, timed, "1 person")]
    ahead = [*_streams(document, timed, "1 person", prepared=True)]
    for _, _, row in [*alone, *ahead]:
        yield from row.faster_than("plain export", _PLAIN_WORDS, _plain(timed))
        for name in PYTORCH:
            words = f"{document.members[name].label}" if name in document.members else name
            yield from row.faster_than(name, words, timed.get(name))
    for precision, _, row in alone:
        yield from row.over("read", "reading its weights once", timed.get(read_name(precision)))


def _crowd(document: Document, people: int) -> Iterator[Named]:
    timed = document.latency[people]
    networks = list(document.bundle.networks.values())
    for precision, lag, row in _streams(document, timed, f"{people} people"):
        floor = timed.get(f"{arithmetic_name(ARITHMETIC[precision])}@{lag}")
        in_fp32 = timed.get(f"{arithmetic_name('fp32')}@{lag}")
        # Not every level needs as many columns as the widest one.
        every = most_columns(networks, lag) * column_multiply_adds(networks)
        factor = every / multiply_adds(networks, lag)
        yield from row.over("arithmetic", "the arithmetic alone", floor)
        words = "the arithmetic alone if every level had as many columns as the widest"
        yield from row.over("arithmetic of all columns", words, floor and scaled(floor, factor))
        if ARITHMETIC[precision] != "fp32":
            yield from row.faster_than("fp32 arithmetic", "fp32 arithmetic alone", in_fp32)
            yield from row.faster_than("fp32 arithmetic of all columns", "the same, if every level "
                                       "had as many columns as the widest",
                                       in_fp32 and scaled(in_fp32, factor))  # fmt: skip
        yield from row.faster_than("plain export", _PLAIN_WORDS, _plain(timed))


def _on_gpu(document: Document, people: int) -> Iterator[Named]:
    """The CUDA engine's live answers beside PyTorch's windows and TensorRT's streams; in int8
    beside its own in fp16, too."""
    timed = document.latency[people]
    group = "1 person" if people == 1 else f"{people} people"
    for precision, lag, row in _streams(document, timed, group, GPU_ENGINE):
        others = {name: timed.get(name) for name in GPU_PEERS}
        others |= {
            f"tensorrt {held}": timed.get(stream_name("tensorrt", held, lag))
            for held in (precision, "fp16")
        }
        if precision == "int8":
            others[f"{GPU_ENGINE} fp16"] = timed.get(stream_name(GPU_ENGINE, "fp16", lag))
        for name, other in others.items():
            words = document.members[name].label if name in document.members else name
            yield from row.faster_than(name, words, other)


def _shares_of_rate(document: Document) -> Iterator[Named]:
    """Of clips: how close their products come, by the GPU's own time, to the rate of large ones."""
    timed: Timed = document.throughput.get("gpu_ms", {})
    networks = list(document.bundle.networks.values())
    for name, times in timed.items():
        member = document.members[name]
        rate = document.gpu_rates.get(f"{RATE_OF[member.precision]}_tera_per_s")
        if rate is None:
            continue
        count = document.throughput["frames"] * sequence_multiply_adds(networks)
        # Two operations per multiply-add; tera per second is giga per millisecond.
        least_ms = 2 * count / (1e9 * rate)
        yield f"clip {name} rate", NamedRatio(
            "long clip on the GPU", member.label, "share of the matrix rate",
            f"long clip, {member.label}: share of the GPU's measured rate of {member.precision} "
            "products", "higher", round(least_ms / times.min, 4), round(least_ms / times.p50, 4),
            None, None,
        )  # fmt: skip


def _throughput(document: Document) -> Iterator[Named]:
    timed: Timed = document.throughput.get("milliseconds", {})
    members = document.members
    best = fastest(
        one for name, one in timed.items()
        if name in members and members[name].family != ENGINE and members[name].precision == "fp32"
    )  # fmt: skip
    words = "the fastest of PyTorch, ONNX Runtime and OpenVINO in fp32"
    for precision in document.bundle.precisions:
        ours = timed.get(f"{ENGINE}-{SEQUENCE}-{precision}")
        if ours is not None:
            row = _Row("long clip", f"{ENGINE} {precision}", f"{SEQUENCE} {precision}", ours)
            floor = timed.get(arithmetic_name(ARITHMETIC[precision]))
            yield from row.faster_than("fastest peer", words, best)
            yield from row.over("arithmetic", "the arithmetic alone", floor)


_PLAIN_WORDS = "the fastest of ONNX Runtime and OpenVINO f32 on plain exports, legacy or dynamo"


def _plain(timed: Timed) -> Spread | None:
    return fastest(timed[name] for name in PLAIN if name in timed)


def _streams(
    document: Document, timed: Timed, group: str, engine: str = ENGINE, prepared: bool = False
) -> Iterator[tuple[str, int, _Row]]:
    """An engine's live streams that were timed: precision, lag, row. prepared: those that use the
    time between two frames."""
    ending, words = ("-prepared", ", prepared") if prepared else ("", "")
    key = group if engine == ENGINE else f"{group} {engine}"
    for precision in document.bundle.precisions:
        for lag in document.lags:
            name = stream_name(engine, precision, lag, prepared)
            if name in timed:
                row = f"{engine} {precision}, lag {lag}{words}"
                full = f"{key} {precision}@{lag}{ending}"
                yield precision, lag, _Row(group, row, full, timed[name])
