"""Which filter widths may be those of the original repository's --dense networks.

Shapes that are wrong or missing are in test_checkpoint.py, with the messages about them.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from checkpoint_files import FAMILIES, write_checkpoint
from reference import random_parameters

from vp3d_deploy.spec import ModelSpec
from vp3d_export.checkpoint import CheckpointError, CheckpointWarning, load_checkpoint

# Filter widths -> the -arch of a --dense network with the same shapes.
EITHER = {(3, 7): "3,3", (3, 7, 1): "3,3,1", (1, 3, 7): "1,3,3", (3, 13): "3,5", (5, 11): "5,3"}
MIXED = [(3, 5, 3), (5, 3), (3, 5), (3, 7, 3), (7, 3), (3, 3, 7), (5, 1, 3), (1, 3), (3, 9), (7,)]


@pytest.mark.parametrize("widths", EITHER, ids=str)
def test_what_may_be_dense_is_read_with_a_warning(widths: tuple[int, ...], tmp_path: Path) -> None:
    spec = ModelSpec(widths, 4)
    pose = random_parameters(spec, 0)
    write_checkpoint(tmp_path / "x.bin", "videopose3d", pose)
    frames = f"\\({spec.receptive_field} frames\\)"
    message = rf"x\.bin: read as .* {frames}; if .* -arch {EITHER[widths]} --dense,"
    with pytest.warns(CheckpointWarning, match=message) as caught:
        checkpoint = load_checkpoint(tmp_path / "x.bin")
    assert [warning.filename for warning in caught] == [__file__]
    assert checkpoint.pose.spec == spec
    for name, array in pose.items():
        np.testing.assert_array_equal(checkpoint.pose.tensors[name], array)


@pytest.mark.parametrize(
    ("family", "widths"),
    [
        *(("videopose3d", widths) for widths in MIXED),
        *((family, widths) for family in FAMILIES[1:] for widths in [(3, 7), (3, 7, 19)]),
    ],
    ids=str,
)
def test_mixed_widths_are_read_without_a_word(
    family: str, widths: tuple[int, ...], tmp_path: Path
) -> None:
    """Only the original repository trains dense networks."""
    spec = ModelSpec(widths, 4)
    write_checkpoint(tmp_path / "x.pth", family, random_parameters(spec, 0), spec=spec)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_checkpoint(tmp_path / "x.pth").pose.spec == spec


@pytest.mark.parametrize(
    ("widths", "arch"),
    [((3, 7, 19), "3,3,3"), ((3, 7, 37), "3,3,5"), ((3, 7, 1, 19), "3,3,1,3")],
    ids=str,
)
def test_what_two_levels_show_to_be_dense_is_refused(
    widths: tuple[int, ...], arch: str, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path / "x.bin", "videopose3d", random_parameters(ModelSpec(widths, 4), 0))
    with pytest.raises(CheckpointError, match=rf"-arch {arch} --dense; only dilated"):
        load_checkpoint(tmp_path / "x.bin")
