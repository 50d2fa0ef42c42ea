"""Which lags are measured."""

from __future__ import annotations

import pytest

from vp3d_deploy.evaluation.lags import lags_to_measure
from vp3d_deploy.spec import ModelSpec


@pytest.mark.parametrize(
    ("widths", "causal", "expected"),
    [
        ((3, 3, 3), False, tuple(range(14))),
        ((3, 3, 3), True, (0,)),
        ((1, 1, 1), False, (0,)),
        ((3, 3, 3, 3), False, (0, 1, 2, 3, 4, 6, 9, 13, 19, 28, 40)),
        ((3, 3, 3, 3, 3), False, (0, 1, 2, 3, 4, 7, 11, 18, 29, 46, 75, 121)),
    ],
)
def test_unless_asked_all_or_a_dozen(
    widths: tuple[int, ...], causal: bool, expected: tuple[int, ...]
) -> None:
    assert lags_to_measure(ModelSpec(widths, 4, causal=causal)) == expected


def test_those_asked_for_once_and_in_order() -> None:
    assert lags_to_measure(ModelSpec((3, 3), 4), (3, "full", 0, 3, 4)) == (0, 3, 4)


@pytest.mark.parametrize(
    ("lag", "causal", "says"),
    [
        (5, False, 'lag 5 is not possible: a network of 9 frames .* 0 to 4 frames \\("full"\\)'),
        (-1, False, "lag -1"),
        (1, True, "a causal network can trail the camera by 0 to 0 frames"),
    ],
)
def test_lags_that_a_network_cannot_have(lag: int, causal: bool, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        lags_to_measure(ModelSpec((3, 3), 4, causal=causal), (lag,))
