"""Presets against the published figures, schedules against their formulas, and what is refused."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace

import pytest

from vp3d_deploy.training.presets import PRESETS
from vp3d_deploy.training.settings import SettingsError, TrainingSettings

ALL: tuple[str, ...] = ()
SEMI = ("S5", "S6", "S7", "S8")

# As published: 2D, widths, epochs, batch, unlabelled batch, rate, factor, epochs with that factor,
# labelled subjects, part of their clips, unlabelled subjects, (MPJPE, P-MPJPE, N-MPJPE) in mm.
PUBLISHED = {
    "h36m-27f": (
        "gt", (3, 3, 3), 160, 1024, 0, 1e-3, 0.975, 80, ALL, 1.0, ALL, (40.1, 30.1, None)
    ),
    "h36m-81f": (
        "gt", (3, 3, 3, 3), 160, 1024, 0, 1e-3, 0.975, 80, ALL, 1.0, ALL, (39.1, 29.3, None)
    ),
    "h36m-243f": (
        "gt", (3, 3, 3, 3, 3), 160, 1024, 0, 1e-3, 0.975, 80, ALL, 1.0, ALL, (37.6, 28.3, None)
    ),
    "h36m-1f-cpn": (
        "cpn", (1, 1, 1, 1, 1), 160, 1024, 0, 1e-4, 0.98, 80, ALL, 1.0, ALL, (53.0, 41.3, None)
    ),
    "h36m-243f-cpn": (
        "cpn", (3, 3, 3, 3, 3), 200, 1024, 0, 1e-4, 0.98, 200, ALL, 1.0, ALL, (47.9, 38.0, None)
    ),
    "h36m-27f-semi": (
        "gt", (3, 3, 3), 200, 512, 512, 1e-3, 0.98, 200, ("S1",), 0.1, SEMI, (57.2, 42.4, 54.2)
    ),
    "h36m-27f-semi-cpn": (
        "cpn", (3, 3, 3), 200, 512, 512, 1e-3, 0.98, 200, ("S1",), 0.1, SEMI, (67.3, 50.4, 63.6)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_preset_is_the_published_system(name: str) -> None:
    (keypoints, widths, epochs, batch, unlabelled_batch, rate, factor, until, subjects, subset,
     unlabelled, errors_mm) = PUBLISHED[name]  # fmt: skip
    s = PRESETS[name].settings
    assert PRESETS[name].published == errors_mm
    assert (s.keypoints, s.filter_widths, s.epochs) == (keypoints, widths, epochs)
    assert (s.batch_size, s.unlabelled_batch_size) == (batch, unlabelled_batch)
    assert (s.subjects, s.subset, s.unlabelled_subjects) == (subjects, subset, unlabelled)
    for epoch in (0, 1, 2, 79, 80, 81, epochs - 1):
        expected = rate
        for _ in range(min(epoch, until)):
            expected *= factor
        assert s.learning_rate_at(epoch) == pytest.approx(expected, rel=1e-12), epoch
    # What all seven have in common.
    assert (s.channels, s.dropout, s.causal, s.flip, s.chunk) == (1024, 0.25, False, "random", 1)
    assert (s.amsgrad, s.weight_decay, s.views, s.lag_zero, s.lag_any) == (False, 0, False, 0, 0)
    assert [s.bn_momentum_at(epoch) for epoch in (0, epochs - 1)] == [0.1, 0.1]
    assert s.has_trajectory == s.semi_supervised == (unlabelled_batch > 0)
    assert (s.warmup_epochs, s.projection_weight, s.bone_weight) == (5, 1.0, 1.0)
    spec = s.pose_spec(17, 2, 17)
    field = {27: (3, 3, 3), 81: (3,) * 4, 243: (3,) * 5, 1: (1,) * 5}[spec.receptive_field]
    assert (spec.filter_widths, spec.channels, spec.causal) == (field, 1024, False)
    assert f"-{spec.receptive_field}f" in name


def test_our_own_presets_differ_from_a_published_one_by_what_they_are_for() -> None:
    assert set(PRESETS) - set(PUBLISHED) == {"h36m-243f-causal", "h36m-27f-lag"}
    causal, lag = PRESETS["h36m-243f-causal"], PRESETS["h36m-27f-lag"]
    assert causal.settings == replace(PRESETS["h36m-243f"].settings, causal=True)
    assert causal.settings.pose_spec(17, 2, 17).lookahead == 0
    assert lag.settings == replace(PRESETS["h36m-27f"].settings, lag_zero=1.0)
    assert causal.published == lag.published == (None, None, None)


def test_the_schedules_of_the_original_repository() -> None:
    settings = TrainingSettings(
        epochs=60, lr_decay=0.95, lr_decay_epochs=60, bn_momentum=(0.1, 0.001)
    )
    for epoch in range(60):
        rate = 1e-3 * 0.95**epoch
        momentum = 0.1 * math.exp(-epoch / 60 * math.log(0.1 / 0.001))
        assert settings.learning_rate_at(epoch) == pytest.approx(rate, rel=1e-9)
        assert settings.learning_rate_at(epoch + 0.999) == pytest.approx(rate, rel=1e-9)
        assert settings.bn_momentum_at(epoch) == pytest.approx(momentum, rel=1e-9)


def test_the_cosine_rises_for_a_fiftieth_of_the_run_and_falls_to_nothing() -> None:
    settings = TrainingSettings(epochs=50, schedule="cosine", learning_rate=0.01)
    assert settings.learning_rate_at(0) == 0
    for epoch in (0.25, 0.5, 0.75):  # of the first epoch, a fiftieth
        falling = 0.01 * 0.5 * (1 + math.cos(math.pi * epoch / 50))
        assert settings.learning_rate_at(epoch) == pytest.approx(epoch * falling)
    assert settings.learning_rate_at(25) == pytest.approx(0.005)
    assert settings.learning_rate_at(37.5) == pytest.approx(0.01 * (1 - math.sqrt(0.5)) / 2)
    assert 0 <= settings.learning_rate_at(49.999) < 1e-8


# A value that differs from the default, for every field.
CHANGED = {
    "keypoints": "cpn", "filter_widths": (3, 5), "channels": 64, "causal": True, "dropout": 0.1,
    "epochs": 3, "batch_size": 32, "unlabelled_batch_size": 16, "chunk": 4,
    "learning_rate": 0.5, "schedule": "cosine", "lr_decay": 0.5, "lr_decay_epochs": 2,
    "amsgrad": True, "weight_decay": 0.01, "bn_momentum": (0.2, 0.01), "bn_frozen": True,
    "foreign_joints": True,
    "flip": "both",
    "subjects": ("S1",), "subset": 0.5, "unlabelled_subjects": ("S5", "S6"), "trajectory": True,
    "warmup_epochs": 1, "projection_weight": 0.5, "bone_weight": 2.0, "lag_zero": 0.25,
    "lag_any": 0.5, "views": True, "procedural_clips": 3, "precision": "bf16-mixed", "seed": 7,
}  # fmt: skip
# Fields that only go together with others.
WITH = {
    "unlabelled_subjects": ("unlabelled_batch_size", "subjects"),
    "procedural_clips": ("views",),
    "foreign_joints": ("views",),
}


def test_settings_survive_json() -> None:
    defaults = TrainingSettings()
    assert set(CHANGED) == {field.name for field in fields(TrainingSettings)}
    for name, value in CHANGED.items():
        assert getattr(defaults, name) != value, name
        changes = {other: CHANGED[other] for other in (name, *WITH.get(name, ()))}
        settings = replace(defaults, **changes)
        read = json.loads(json.dumps(settings.to_dict()))
        again = TrainingSettings.from_dict(read)
        assert again == settings, name
        assert again != defaults, name
        assert hash(again) == hash(settings), name  # no lists
    assert TrainingSettings.from_dict({}) == defaults


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"colour": 1, "anchor": 2}, "unknown fields anchor, colour"),
        ({"epochs": "ten"}, "epochs is 'ten', expected a whole number"),
        ({"learning_rate": None}, "learning_rate is None, expected a number"),
        ({"bn_momentum": 0.1}, "bn_momentum is 0.1, expected a list"),
    ],
)
def test_damaged_settings_are_refused(values: dict[str, object], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        TrainingSettings.from_dict(values)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", 1),
        ("unlabelled_batch_size", -1),
        ("chunk", 0),
        ("chunk", 1025),
        ("learning_rate", 0.0),
        ("learning_rate", math.inf),
        ("learning_rate", math.nan),
        ("schedule", "linear"),
        ("lr_decay", 0.0),
        ("lr_decay", 1.01),
        ("lr_decay_epochs", -1),
        ("weight_decay", -0.1),
        ("weight_decay", 1.0),
        ("dropout", -0.1),
        ("dropout", 1.0),
        ("bn_momentum", (0.1, 0.0)),
        ("bn_momentum", (0.01, 0.1)),
        ("bn_momentum", (1.1, 0.1)),
        ("bn_momentum", (0.1,)),
        ("bn_momentum", (0.1, 0.1, 0.1)),
        ("flip", "always"),
        ("subset", 0.0),
        ("subset", 1.5),
        ("warmup_epochs", -1),
        ("projection_weight", -1.0),
        ("projection_weight", math.inf),
        ("bone_weight", math.nan),
        ("lag_zero", -0.1),
        ("lag_zero", 1.1),
        ("lag_any", -0.1),
        ("lag_any", 1.1),
        ("procedural_clips", -1),
        ("precision", "fp8"),
        ("seed", -1),
        ("seed", 2**31),
    ],
)
def test_a_wrong_value_is_named(name: str, value: object) -> None:
    with pytest.raises(SettingsError) as caught:
        TrainingSettings(**{name: value})
    assert str(caught.value).startswith(f"{name} is {value!r}, expected ")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"unlabelled_subjects": ("S5",)}, "unlabelled_batch_size is 0; give both"),
        ({"unlabelled_batch_size": 8, "views": True}, "views"),
        ({"procedural_clips": 1}, "procedural_clips.*views"),
        ({"lag_zero": 0.5, "chunk": 2}, "chunk 1"),
        ({"lag_any": 0.5, "causal": True}, "looks ahead"),
        ({"lag_zero": 0.6, "lag_any": 0.6}, "lag_zero is 0.6, expected"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    values: dict[str, object], says: str
) -> None:
    with pytest.raises(SettingsError, match=says):
        TrainingSettings(**values)


def test_all_windows_may_be_cut_in_any_parts() -> None:
    """1 - 0.9 is not 0.1 in floating point."""
    for tenths in range(11):
        settings = TrainingSettings(lag_zero=tenths / 10, lag_any=(10 - tenths) / 10)
        assert settings.lag_zero + settings.lag_any == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"filter_widths": (3, 4)}, "odd"),
        ({"filter_widths": ()}, "widths"),
        ({"channels": 0}, "channels"),
    ],
)
def test_a_network_that_is_none_is_refused_when_it_is_asked_for(
    change: dict[str, object], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        TrainingSettings(**change).pose_spec(17, 2, 17)


@pytest.mark.parametrize(
    ("field", "value"),
    [("epochs", 2.5), ("seed", 1.5), ("channels", True), ("subjects", "S1"), ("causal", "no"),
     ("learning_rate", "fast"), ("keypoints", 3), ("bn_momentum", 0.1)],
)  # fmt: skip
def test_a_value_of_the_wrong_type_is_named(field: str, value: object) -> None:
    with pytest.raises(SettingsError, match=f"{field} is {value!r}, expected"):
        TrainingSettings(**{field: value})  # type: ignore[arg-type]


def test_nobody_is_seen_both_with_labels_and_without() -> None:
    with pytest.raises(SettingsError, match="S5 cannot be seen both"):
        TrainingSettings(
            subjects=("S1", "S5"), unlabelled_subjects=("S5", "S6"), unlabelled_batch_size=8
        )
