"""The architecture of a VideoPose3D network, and everything that follows from its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import accumulate
from operator import mul
from typing import Any

# torch.nn.BatchNorm1d's default, which every published network of this family was trained with;
# checkpoints do not store it.
BATCH_NORM_EPS = 1e-5

# Far above any network of this family; a file that claims more is damaged or hostile.
MAX_LEVELS = 16
MAX_RECEPTIVE_FIELD = 100_000
MAX_CHANNELS = 65_536
MAX_JOINTS = 1_024


@dataclass(frozen=True)
class ModelSpec:
    """One temporal convolutional network: `filter_widths` (f0 .. fn), all odd, `channels` wide.

    It reads `joints_in` joints of `features` values (x, y or x, y, score) per frame and writes
    `joints_out` joints of three coordinates. A `causal` network looks only back.

    Dilation of level k is d_k = f0 * .. * f(k-1), d_0 = 1; the receptive field is
    R = f0 * .. * fn frames.

    Raises ValueError for even or missing widths and for sizes that are not positive.
    """

    filter_widths: tuple[int, ...]
    channels: int
    joints_in: int = 17
    features: int = 2
    joints_out: int = 17
    causal: bool = False

    def __post_init__(self) -> None:
        widths = tuple(self.filter_widths)
        object.__setattr__(self, "filter_widths", widths)
        if not 1 <= len(widths) <= MAX_LEVELS:
            raise ValueError(
                f"a network has 1 to {MAX_LEVELS} filter widths, not {len(widths)}: {list(widths)}"
            )
        if any(not _is_int(width) or width < 1 or width % 2 == 0 for width in widths):
            raise ValueError(f"filter widths must be odd and positive, not {list(widths)}")
        for name, limit in (
            ("channels", MAX_CHANNELS),
            ("joints_in", MAX_JOINTS),
            ("features", 16),
            ("joints_out", MAX_JOINTS),
        ):
            value = getattr(self, name)
            if not _is_int(value) or not 1 <= value <= limit:
                raise ValueError(f"{name} must be a whole number from 1 to {limit}, not {value!r}")
        if self.receptive_field > MAX_RECEPTIVE_FIELD:
            raise ValueError(
                f"filter widths {list(widths)} give a receptive field of {self.receptive_field} "
                f"frames; at most {MAX_RECEPTIVE_FIELD} are supported"
            )
        if not isinstance(self.causal, bool):
            raise ValueError(f"causal must be true or false, not {self.causal!r}")

    @property
    def receptive_field(self) -> int:
        """R, the frames that one answer depends on."""
        product = 1
        for width in self.filter_widths:
            product *= width
        return product

    @property
    def dilations(self) -> tuple[int, ...]:
        """d_k, the spacing at which level k reads the level below, for k = 0 .. n."""
        return (1, *accumulate(self.filter_widths[:-1], mul))

    @property
    def lookahead(self) -> int:
        """Frames after t that the answer for t depends on: (R-1)/2, or 0 for a causal network.

        This is also the full lag, the largest that a live stream can have.
        """
        return 0 if self.causal else (self.receptive_field - 1) // 2

    @property
    def pad_left(self) -> int:
        """How often the first frame is repeated so that T frames in give T poses out."""
        return self.receptive_field - 1 - self.lookahead

    @property
    def pad_right(self) -> int:
        """How often the last frame is repeated so that T frames in give T poses out."""
        return self.lookahead

    def residual_tap(self, level: int) -> int:
        """Which of the `filter_widths[level]` taps the residual of `level` adds."""
        width = self.filter_widths[level]
        return width - 1 if self.causal else width // 2

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as stored in checkpoints and manifests."""
        return {**asdict(self), "filter_widths": list(self.filter_widths)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelSpec:
        """The inverse of `to_dict`. Raises ValueError naming missing and unknown fields."""
        if not isinstance(values, Mapping):
            raise ValueError(f"a network specification is a mapping, not {type(values).__name__}")
        fields = set(cls.__dataclass_fields__)
        missing = sorted({"filter_widths", "channels"} - set(values))
        unknown = sorted(str(name) for name in set(values) - fields)
        if missing or unknown:
            raise ValueError(
                f"network specification lacks {missing} and has the unknown fields {unknown}; "
                f"the fields are {sorted(fields)}"
            )
        widths = values["filter_widths"]
        if not isinstance(widths, (list, tuple)):
            raise ValueError(f"filter_widths must be a list of odd numbers, not {widths!r}")
        return cls(**{**values, "filter_widths": tuple(widths)})


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
