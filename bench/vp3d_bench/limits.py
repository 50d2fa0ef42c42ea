"""How far a contender's answers may lie from the definition and still be timed."""

from __future__ import annotations

from vp3d_export.parity import DEFAULT_LIMITS, Limits

# What our own precisions may do stands in vp3d_export/parity.py. OpenVINO takes bfloat16 by itself
# where the processor has it: eight bits of mantissa, as coarse as whole numbers of eight bits.
# "half" is a network that is half precision throughout, its answers too: metres between a half and
# one are multiples of 0.5 mm there, roots at four metres of 4 mm. Our fp16 has its output layer in
# float32.
_OTHERS = {
    "bf16": Limits(mpjpe_change=0.5, mean_distance=3.0, trajectory_distance=30.0),
    "half": Limits(mpjpe_change=0.5, mean_distance=1.0, trajectory_distance=10.0),
}


def limits_of(precision: str) -> Limits:
    """Raises KeyError for a precision that nothing is known of."""
    return DEFAULT_LIMITS[precision] if precision in DEFAULT_LIMITS else _OTHERS[precision]
