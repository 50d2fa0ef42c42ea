"""What the GPU can do at most, measured by PyTorch: large products, and copies of its memory."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

# A product of this size fills any GPU; of the memory a share of what there is, this at most.
SIZE = 8192
MOST_BYTES, SHARE = 1 << 30, 1 / 8
REPEATS = 10


def gpu_rates() -> dict[str, float]:
    """Tera-operations per second of products (two per multiply-add) in "fp16", "int8" and "fp32"
    (without TF32), and "memory_gb_s", read and written together; those that could be measured.

    The median of several; empty without PyTorch or a GPU.
    """
    try:
        import torch
    except ImportError:
        return {}
    if not torch.cuda.is_available():
        return {}
    torch.backends.cuda.matmul.allow_tf32 = False
    operations = 2 * SIZE**3 / 1e12
    found: dict[str, float] = {}
    for name, product in _products(torch).items():
        try:
            found[f"{name}_tera_per_s"] = round(operations / _seconds(torch, product), 2)
        except RuntimeError:  # a kind of number that this GPU or its library does not multiply
            continue
    free, _ = torch.cuda.mem_get_info()
    count = int(min(MOST_BYTES, SHARE * free))
    source = torch.zeros(count, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    found["memory_gb_s"] = round(2e-9 * count / _seconds(torch, lambda: target.copy_(source)), 1)
    return found


def _products(torch: Any) -> dict[str, Callable[[], Any]]:
    """Inputs are made in the call, outside of what is timed: after its first run."""

    def of(dtype: Any, multiply: Callable[[Any, Any], Any]) -> Callable[[], Any]:
        held: list[Any] = []

        def run() -> Any:
            if not held:
                shape = (SIZE, SIZE)
                held.append(torch.randint(-9, 9, shape, device="cuda").to(dtype))
            return multiply(held[0], held[0])

        return run

    return {
        "fp16": of(torch.float16, torch.mm),
        "int8": of(torch.int8, torch._int_mm),
        "fp32": of(torch.float32, torch.mm),
    }


def _seconds(torch: Any, work: Callable[[], Any]) -> float:
    work()
    times = []
    for _ in range(REPEATS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return median(times)
