from __future__ import annotations

import pytest

from vp3d_deploy.spec import ModelSpec


def test_numbers_of_the_published_243_frame_network() -> None:
    spec = ModelSpec((3, 3, 3, 3, 3), 1024)
    assert spec.receptive_field == 243
    assert spec.dilations == (1, 3, 9, 27, 81)
    assert (spec.pad_left, spec.pad_right, spec.lookahead) == (121, 121, 121)
    assert spec.residual_tap(1) == 1


def test_a_causal_network_looks_only_back() -> None:
    spec = ModelSpec((3, 5), 8, causal=True)
    assert (spec.pad_left, spec.pad_right, spec.lookahead) == (14, 0, 0)
    assert spec.residual_tap(1) == 4


def test_dictionary_round_trip() -> None:
    spec = ModelSpec((5, 3, 1), 8, 16, 3, 15, True)
    assert ModelSpec.from_dict(spec.to_dict()) == spec


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"filter_widths": (3, 2), "channels": 8}, r"odd and positive, not \[3, 2\]"),
        ({"filter_widths": (), "channels": 8}, "1 to 16 filter widths, not 0"),
        ({"filter_widths": (3.0,), "channels": 8}, "odd and positive"),
        ({"filter_widths": (3,), "channels": 0}, "channels must be a whole number"),
        ({"filter_widths": (3,), "channels": True}, "channels must be a whole number"),
        ({"filter_widths": (999,) * 3, "channels": 8}, "receptive field of 997002999"),
        ({"filter_widths": (3,), "channels": 8, "causal": "no"}, "causal must be true or false"),
        ({"filter_widths": "3", "channels": 8}, "must be a list of odd numbers, not '3'"),
        ({"channels": 8, "width": 3}, r"lacks \['filter_widths'\] .* unknown fields \['width'\]"),
    ],
)
def test_impossible_networks_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelSpec.from_dict(values)
