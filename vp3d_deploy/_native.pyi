"""The native engine as compiled from kernels/python; vp3d_deploy/engines/native.py is for users.

Arrays are dense float32; those of answers are written into, one per network.
"""

from collections.abc import Sequence
from os import PathLike

import numpy as np

from vp3d_deploy.engines.cuda_processing import Tables
from vp3d_deploy.spec import ModelSpec

class WeightsError(ValueError):
    """A weights file is damaged, or does not hold the network that was asked for."""

class Engine:
    def __init__(
        self,
        weights: str | PathLike[str],
        networks: dict[str, ModelSpec],
        precision: str,
        *,
        threads: int = 0,
        pin_threads: bool = False,
        isa: str = "auto",
    ) -> None: ...
    @property
    def isa(self) -> str: ...
    @property
    def threads(self) -> int: ...
    @property
    def weight_bytes(self) -> int: ...
    def window(self, keypoints: np.ndarray, answers: tuple[np.ndarray, ...]) -> None:
        """(B, R, J_in, F) -> (B, J_out, 3)."""

    def sequence(self, keypoints: np.ndarray, answers: tuple[np.ndarray, ...]) -> None:
        """(B, T+R-1, J_in, F) -> (B, T, J_out, 3)."""

    def open_stream(self, lag: int) -> Stream: ...
    def close(self) -> None: ...

class Stream:
    @property
    def n_rows(self) -> int: ...
    @property
    def lag(self) -> int: ...
    @property
    def bytes_per_row(self) -> int: ...
    def add_rows(self, count: int) -> None: ...
    def remove_rows(self, rows: Sequence[int]) -> None: ...
    def step(self, keypoints: np.ndarray, answers: tuple[np.ndarray, ...]) -> None:
        """(n_rows, J_in, F) -> (n_rows, J_out, 3)."""

    def prepare(self) -> None: ...
    def close(self) -> None: ...

class CudaDevice:
    """What launches are planned for. shared_bytes: the most that a block may ask for.

    warpgroups: kernels for those of sm_90a may be taken. shape: kernels of this shape alone, for
    example "tile"; for tests. splits: of products along their inputs in steps of many streams, as
    many as can be of these; 0 for what is done first.
    """

    def __init__(
        self,
        multiprocessors: int,
        shared_bytes: int,
        *,
        warpgroups: bool = False,
        shape: str = "",
        splits: int = 0,
    ) -> None: ...

class CudaLaunch:
    """One launch of a plan; its arguments' first 8-byte words are to be addresses."""

    @property
    def kernel(self) -> str: ...
    @property
    def blocks(self) -> int: ...
    @property
    def threads(self) -> int: ...
    @property
    def shared_bytes(self) -> int: ...
    @property
    def workspace_bytes(self) -> int:
        """What a launch of `wide_launches` needs of its workspace; 0 for none."""

    @property
    def arguments(self) -> bytes: ...

class CudaImage:
    """What the CUDA kernels are told of live streams at one lag; needs no GPU.

    FIXED_BYTES: shared memory of a block, beside `staged_bytes` of the cooperative kernel.
    MOST_WARPS: of a block. NEAR_FRAME_BYTES: frames up to this size are copied to shared memory.
    WIDE_COLUMNS: with so many columns `wide_launches` are to be preferred. ARGUMENT_BYTES: of the
    first parameter of kernels that have no more than addresses there. SPLIT_COUNT_BYTES: a
    workspace begins with so many zeros.
    """

    FIXED_BYTES: int
    MOST_WARPS: int
    NEAR_FRAME_BYTES: int
    WIDE_COLUMNS: int
    ARGUMENT_BYTES: int
    SPLIT_COUNT_BYTES: int

    def __init__(
        self,
        weights: str | PathLike[str],
        networks: dict[str, ModelSpec],
        precision: str,
        lag: int,
        *,
        blocks: int,
        shared_bytes: int = 0,
        tensor_columns: int = 0,
        cache_bytes: int = 0,
        processing: Tables | None = None,
    ) -> None: ...
    @property
    def blocks(self) -> int: ...
    @property
    def phases(self) -> int: ...
    @property
    def staged_bytes(self) -> int: ...
    @property
    def place_bytes(self) -> int:
        """Of one stream's state on the device; zeros before its first frame."""

    @property
    def answer_floats(self) -> int:
        """Of one row: the networks' answers one behind the other, J_out * 3 each."""

    def take_bytes(self) -> np.ndarray:
        """The image, uint8, not copied; once, for the host keeps its header alone afterwards."""

    def columns(self, n_rows: int) -> int:
        """How many columns the widest layer computes for so many streams."""

    def frame_bytes(self, n_rows: int) -> int:
        """Of a frame of so many streams."""

    def write_frame(
        self,
        into: np.ndarray,
        rows: np.ndarray,
        keypoints: np.ndarray,
        views: np.ndarray | None = None,
    ) -> int:
        """into: (at least frame_bytes,) uint8. rows: (n, 2) uint32, frames seen and place.
        keypoints: (n, J_in, F), with processing of the joints seen. views: (n, 16), where there is
        processing that needs them. Returns frame_bytes(n); allocates nothing."""

    def advance(self, rows: np.ndarray) -> None:
        """After a frame: what the rows have seen by then."""

    def wide_launches(self, n_rows: int, device: CudaDevice) -> list[CudaLaunch]:
        """Addresses are those of image, places, frame, answers and workspace. This is of the most
        bytes that one of the launches needs, or null; its first SPLIT_COUNT_BYTES are zeros before
        its first frame."""

class CudaClips:
    """Packed weights for windows and sequences by the CUDA kernels; needs no GPU."""

    def __init__(
        self,
        weights: str | PathLike[str],
        networks: dict[str, ModelSpec],
        precision: str,
        *,
        processing: Tables | None = None,
    ) -> None: ...
    def take_bytes(self) -> np.ndarray:
        """The image, uint8, not copied; once."""

    def plan_window(self, batch: int, device: CudaDevice) -> CudaPlan: ...
    def plan_sequence(self, batch: int, frames: int, device: CudaDevice) -> CudaPlan: ...

class CudaPlan:
    """The launches of one shape of input, with memory of these sizes; answers: where each network's
    begin, in bytes. Addresses of launches are those of image, input, workspace and answers. With
    processing that needs views the input begins with them, (batch, 16)."""

    @property
    def answer_frames(self) -> int: ...
    @property
    def input_bytes(self) -> int: ...
    @property
    def workspace_bytes(self) -> int: ...
    @property
    def answer_bytes(self) -> int: ...
    @property
    def answers(self) -> list[int]: ...
    @property
    def launches(self) -> list[CudaLaunch]: ...

class MemoryReader:
    """Reads the same `n_bytes` of memory again and again, as a network's weights are read."""

    def __init__(self, n_bytes: int, threads: int) -> None: ...
    def read(self) -> float:
        """Seconds of one pass, all threads together."""

def multiply_add_rates(kind: str, threads: int) -> list[float]:
    """Multiply-adds per second of all threads when nothing is read from memory, piece by piece for
    a tenth of a second; kind: "fp32" or "int8"."""

def available_isas() -> list[str]:
    """Instruction sets that were built and that this processor runs, best first."""
