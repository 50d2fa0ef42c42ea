"""Whether the kernels for Hopper's warpgroups may be taken: where they answer as the others do.

Their instruction (wgmma) reads its operands from shared memory by itself, in an order that only
hardware can prove. So a GPU that has warpgroups is shown a clip by both kinds of kernels first.
"""

from __future__ import annotations

import numpy as np

from vp3d_deploy.engines.cuda_clips import Clips
from vp3d_deploy.engines.cuda_driver import CudaDriverError
from vp3d_deploy.engines.gpu import Gpu
from vp3d_deploy.engines.warn_once import warn_once
from vp3d_deploy.spec import ModelSpec

# The only GPUs that have them, and the precisions in which there are such kernels.
_CAPABILITY = "9.0"
_PRECISIONS = ("fp16", "int8")
# More columns than a tile has, so that several tiles take part and the last is not full.
_ANSWERS = 300
# Of the mean size of answers. Sums in another order differ by less than a hundredth of this;
# operands in another order by something like their size.
_TOLERANCE = 0.02


def has_warpgroups(gpu: Gpu, precision: str) -> bool:
    return gpu.compute_capability == _CAPABILITY and precision in _PRECISIONS


def agree(clips: Clips, spec: ModelSpec) -> bool:
    """Do both kinds of kernels give the same answers? Warns, once, where they do not."""
    shape = (1, spec.receptive_field - 1 + _ANSWERS, spec.joints_in, spec.features)
    shown = np.random.default_rng(0).normal(0, 0.5, shape).astype(np.float32)
    expected = clips.answers_of("tile", shown)
    try:
        found = clips.answers_of("group", shown)
    except CudaDriverError as error:
        reason = str(error)
    else:
        apart = float(np.abs(found - expected).mean())
        size = float(np.abs(expected).mean())
        if apart <= _TOLERANCE * size:
            return True
        reason = f"its answers are {apart:.3g} m from the others', which are {size:.3g} m large"
    warn_once(
        f"the CUDA engine does without the kernels for warpgroups, which takes longer: {reason}; "
        "please report this, with the output of nvidia-smi"
    )
    return False
