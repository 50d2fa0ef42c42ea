"""PyTorch on an NVIDIA GPU: eager, compiled, and captured in a CUDA graph.

All go from keypoints in the host's memory to poses in the host's memory, as a live program would:
copied into page-locked memory, up, through the network, down. In half precision ("half") the whole
network is, as `.half()` makes it. float32 is float32: TF32 is off.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vp3d_bench.contenders.base import (
    SEQUENCE,
    WINDOW,
    Contender,
    TimedRunner,
    UnavailableError,
)
from vp3d_bench.contenders.plain import module
from vp3d_bench.contenders.plain_files import DILATED, STRIDED
from vp3d_bench.contenders.strided_products import StridedProducts
from vp3d_bench.subject import Subject
from vp3d_deploy.engines.base import Output

FAMILY = "torchcuda"
FP32, HALF = "fp32", "half"
TYPES = {FP32: torch.float32, HALF: torch.float16}
# Calls before a capture: libraries choose their kernels and allocate in them.
_WARM_CALLS = 5

Network = Callable[[Tensor], tuple[Tensor, ...]]


class CudaRunner:
    """A module on whole batches of one shape.

    graph: copies and network as one captured CUDA graph. timed: CUDA events around each call.
    squeeze: the network has a time axis, which over one window has length 1.
    """

    def __init__(
        self,
        network: Network,
        shape: tuple[int, ...],
        dtype: torch.dtype,
        *,
        graph: bool = False,
        timed: bool = False,
        squeeze: bool = False,
    ) -> None:
        self._network, self._dtype, self._squeeze = network, dtype, squeeze
        self._host_in = torch.zeros(shape).pin_memory()
        self._device_in = torch.zeros(shape, device="cuda")
        with torch.inference_mode():
            answers = network(self._device_in.to(dtype))
        self._host_out = [torch.zeros(answer.shape).pin_memory() for answer in answers]
        self._stream = torch.cuda.current_stream()
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(2)] if timed else []
        self.gpu_ms: float | None = None
        self._graph = self._captured() if graph else None

    def prepare(self, keypoints: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(keypoints))

    def run(self, prepared: Tensor) -> list[Tensor]:
        self._host_in.copy_(prepared)
        if self._events:
            self._events[0].record(self._stream)
        if self._graph is None:
            self._work()
        else:
            self._graph.replay()
        if self._events:
            self._events[1].record(self._stream)
        self._stream.synchronize()
        if self._events:
            self.gpu_ms = self._events[0].elapsed_time(self._events[1])
        return self._host_out

    def answer(self, result: list[Tensor]) -> Output:
        arrays = [part.numpy().copy() for part in result]
        if self._squeeze:
            arrays = [array[:, 0] for array in arrays]
        return Output(arrays[0], arrays[1] if len(arrays) > 1 else None)

    def close(self) -> None:
        self._graph = None

    def _work(self) -> None:
        """Everything that happens on the GPU, in the current stream."""
        with torch.inference_mode():
            self._device_in.copy_(self._host_in, non_blocking=True)
            answers = self._network(self._device_in.to(self._dtype))
            for host, answer in zip(self._host_out, answers, strict=True):
                host.copy_(answer.float(), non_blocking=True)

    def _captured(self) -> Any:
        side = torch.cuda.Stream()
        side.wait_stream(self._stream)
        with torch.cuda.stream(side):
            for _ in range(_WARM_CALLS):
                self._work()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=side):
            self._work()
        return graph


def strided_fp32() -> Contender:
    return _window("strided", "strided", FP32, partial(_convolutions, FP32))


def strided_half() -> Contender:
    return _window("strided", "strided", HALF, partial(_convolutions, HALF))


def compiled_half() -> Contender:
    """torch.compile in its mode for small batches, which captures CUDA graphs itself."""
    return _window("compiled", "torch.compile, strided", HALF, _compiled)


def graph_fp32() -> Contender:
    return _window("graph", "CUDA graph, strided", FP32, partial(_convolutions, FP32), graph=True)


def graph_half() -> Contender:
    return _window("graph", "CUDA graph, strided", HALF, partial(_convolutions, HALF), graph=True)


def products_graph_half() -> Contender:
    """What one gets by hand: norms folded, convolutions as matrix products, all captured."""
    return _window("products-graph", "CUDA graph, products", HALF, _products, graph=True)


def sequence_fp32() -> Contender:
    return _sequence(FP32)


def sequence_half() -> Contender:
    return _sequence(HALF)


def _window(
    name: str,
    label: str,
    precision: str,
    network: Callable[[Subject], Network],
    graph: bool = False,
) -> Contender:
    def opener(subject: Subject, shape: tuple[int, ...], timed: bool = False) -> TimedRunner:
        need_gpu()
        return CudaRunner(network(subject), shape, TYPES[precision], graph=graph, timed=timed)

    full = f"{FAMILY}-{name}-{precision}"
    return Contender(
        full, f"PyTorch GPU, {label}, {precision}", FAMILY, WINDOW, precision, opener,
        timed_opener=partial(opener, timed=True),
    )  # fmt: skip


def _sequence(precision: str) -> Contender:
    def opener(subject: Subject, shape: tuple[int, ...], timed: bool = False) -> TimedRunner:
        need_gpu()
        network = _on_gpu(module(subject, DILATED), precision)
        return CudaRunner(network, shape, TYPES[precision], timed=timed)

    return Contender(
        f"{FAMILY}-sequence-{precision}", f"PyTorch GPU, dilated, {precision}", FAMILY, SEQUENCE,
        precision, opener, timed_opener=partial(opener, timed=True),
    )  # fmt: skip


def need_gpu() -> None:
    """Raises UnavailableError where PyTorch has no GPU; sets what all contenders here share."""
    if not torch.cuda.is_available():
        raise UnavailableError("PyTorch has no CUDA here, or sees no GPU")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True


def _on_gpu(network: nn.Module, precision: str) -> nn.Module:
    return network.to("cuda", TYPES[precision]).eval()


def _convolutions(precision: str, subject: Subject) -> Network:
    return _on_gpu(module(subject, STRIDED), precision)


def _products(subject: Subject) -> Network:
    networks = [
        StridedProducts(spec, subject.folded(name, "fp32"))
        for name, spec in subject.bundle.networks.items()
    ]
    moved = [_on_gpu(network, HALF) for network in networks]
    return lambda keypoints: tuple(network(keypoints) for network in moved)


def _compiled(subject: Subject) -> Network:
    network: Any = torch.compile(_convolutions(HALF, subject), mode="reduce-overhead")
    return network
