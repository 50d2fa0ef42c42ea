"""The parts that procedural motion is made of: easing, random tables, paths, legs, rotations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vp3d_deploy.data.procedural.body import sample_person
from vp3d_deploy.data.procedural.kinematics import (
    bend_leg,
    euler_rotation,
    rotation,
    swing_rotation,
)
from vp3d_deploy.data.procedural.path import Path
from vp3d_deploy.data.procedural.timing import (
    Draws,
    Timeline,
    Wander,
    bump,
    ease,
    glide,
    soft_min,
)


@pytest.mark.parametrize("step", [ease, glide, lambda x: glide(x, 0.25)])
def test_steps_go_smoothly_from_0_to_1(step) -> None:
    x = np.linspace(-0.5, 1.5, 4001)
    y = step(x)
    assert (y[x <= 0] == 0).all()
    assert (y[x >= 1] == 1).all()
    assert (np.diff(y) >= 0).all()
    np.testing.assert_allclose(y + y[::-1], 1, rtol=0, atol=1e-12)
    # Two continuous derivatives: neighbouring second differences nearly agree.
    second = np.diff(y, 2) / 5e-4**2
    assert np.abs(np.diff(second)).max() < 0.2


def test_glide_is_steadier_than_ease() -> None:
    x = np.linspace(0, 1, 1001)
    assert np.gradient(ease(x), x).max() == pytest.approx(1.875, abs=1e-3)
    assert np.gradient(glide(x), x).max() == pytest.approx(1 / 0.6, abs=1e-3)


def test_bump() -> None:
    assert bump(np.array([-1.0, 0.0, 0.5, 1.0, 2.0])).tolist() == [0, 0, 1, 0, 0]


def test_soft_min_stays_just_below_the_minimum() -> None:
    values = np.random.default_rng(0).uniform(0, 1, (1000, 3))
    values[0] = (1000.0, -1000.0, 0.0)
    low = values.min(axis=-1)
    soft = soft_min(values, 0.01)
    assert (soft <= low).all()
    assert (soft >= low - 0.01 * np.log(3) - 1e-12).all()


def test_draws() -> None:
    table = Draws(5)("a", 2.0, 3.0, (1000, 4))
    np.testing.assert_array_equal(Draws(5)("a", 2.0, 3.0, (10, 4)), table[:10])
    assert (table >= 2).all()
    assert (table < 3).all()
    assert table.mean() == pytest.approx(2.5, abs=0.02)
    assert len(np.unique(table)) == table.size
    assert Draws(5).one("b", 2.0, 3.0) != table[0, 0] != Draws(6).one("a", 2.0, 3.0)
    # The first number of PCG64 for this seed and label, as numpy 2.4 has it: other versions of
    # numpy must agree.
    assert Draws(5).one("a", 0.0, 1.0) == pytest.approx(0.6425760380529407, rel=0, abs=1e-15)


def test_wander_stays_within_its_bounds() -> None:
    noise = Wander(Draws(1), "w", 6, (1.0, 3.0))(np.arange(0, 300, 0.01))
    assert noise.shape == (30000, 6)
    assert np.abs(noise).max() <= 1
    assert 0.25 < noise.std() < 0.5


def test_timeline_holds_and_moves() -> None:
    timeline = Timeline(hold_s=np.array([1.0, 2.0]), move_s=np.array([0.5, 1.0]))
    keys = np.array([[0.0, 10.0], [1.0, 20.0], [5.0, 0.0]])
    time_s = np.array([0.0, 1.0, 1.25, 1.5, 3.4, 3.5, 4.0, 4.5, 99.0])
    values = timeline.at(time_s)(keys)
    np.testing.assert_allclose(values[:, 0], [0, 0, 0.5, 1, 1, 1, 3, 5, 5], rtol=0, atol=1e-12)
    np.testing.assert_allclose(values[2], [0.5, 15.0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_paths_are_walked_at_unit_speed(seed: int) -> None:
    length = np.linspace(0, 200, 200_001)
    point, direction, curvature = Path(Draws(seed), 200.0).at(length)
    velocity = np.diff(point) / 1e-3
    np.testing.assert_allclose(np.abs(velocity), 1, rtol=0, atol=2e-3)
    middle = (direction[1:] + direction[:-1]) / 2
    np.testing.assert_allclose(velocity / np.abs(velocity), middle, rtol=0, atol=1e-4)
    turning = np.angle(direction[1:] * np.conj(direction[:-1])) / 1e-3
    np.testing.assert_allclose(turning, curvature[1:], rtol=0, atol=0.02)
    # Turns that can be walked, within the capture volume, in one sense of rotation.
    assert np.abs(point).max() < 1.4
    assert np.abs(curvature).min() > 0.1
    assert np.abs(curvature).max() < 2.2


def test_rotations_agree_with_scipy() -> None:
    rng = np.random.default_rng(0)
    angles = rng.uniform(-3, 3, (50, 3))
    for axis, name in enumerate("xyz"):
        expected = Rotation.from_euler(name, angles[:, :1]).as_matrix()
        np.testing.assert_allclose(rotation(axis, angles[:, 0]), expected, rtol=0, atol=1e-12)
    expected = Rotation.from_euler("ZYX", angles).as_matrix()
    np.testing.assert_allclose(euler_rotation(angles), expected, rtol=0, atol=1e-12)
    angles[0] = 0.0
    vectors = angles * (1.0, 1.0, 0.0)
    expected = Rotation.from_rotvec(vectors).as_matrix()
    actual = swing_rotation(angles[:, 0], angles[:, 1])
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


def test_legs_keep_their_lengths_whatever_is_asked() -> None:
    person = sample_person(Draws(0))
    rng = np.random.default_rng(1)
    hip = np.zeros((500, 3))
    # From far out of reach to inside the hip.
    ankle = rng.normal(size=(500, 3)) * np.geomspace(1e-2, 10, 500)[:, None]
    knee, drawn = bend_leg(hip, ankle, rng.uniform(-1, 1, 500), person)
    np.testing.assert_allclose(np.linalg.norm(knee, axis=1), person.thigh, rtol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(drawn - knee, axis=1), person.shank, rtol=1e-9)
    reachable = np.linalg.norm(ankle, axis=1)
    reachable = (reachable > 0.15) & (reachable < 0.99 * person.leg)
    assert reachable.any()
    np.testing.assert_allclose(drawn[reachable], ankle[reachable], rtol=0, atol=1e-12)


def test_people_are_in_proportion() -> None:
    statures = []
    for seed in range(50):
        person = sample_person(Draws(seed))
        statures.append(person.stature)
        standing = person.ankle_height + person.leg + person.lumbar + person.chest
        standing += person.face[2] + person.crown[2]
        assert 0.93 < standing / person.stature < 1.02
        assert 0.9 < person.thigh / person.shank < 1.1
    assert 1.55 <= min(statures) < 1.62
    assert 1.83 < max(statures) <= 1.90
