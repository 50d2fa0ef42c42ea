"""Do the procedural people move like people? Measured on joints alone, not on how they were made.

Limits of joints follow the ranges of motion of healthy adults (American Academy of Orthopaedic
Surgeons, "Joint Motion: Method of Measuring and Recording", 1965), rounded outwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from vp3d_deploy.camera import camera_to_world
from vp3d_deploy.data.procedural import ACTIONS, make_clip
from vp3d_deploy.skeleton import H36M_17

FPS = 50.0
SEEDS = (0, 1, 2, 3, 4)
INDEX = {name: i for i, name in enumerate(H36M_17.joints)}


@dataclass(frozen=True)
class Body:
    """World joints (T, 17, 3) of one clip and the frames of its pelvis and chest."""

    world: np.ndarray

    def __getitem__(self, name: str) -> np.ndarray:
        return self.world[:, INDEX[name]]

    def frame(self, part: str) -> np.ndarray:
        """(T, 3, 3): rows are forward, left and up of the pelvis or the chest."""
        pair, bone = {
            "pelvis": (("left_hip", "right_hip"), ("pelvis", "spine")),
            "chest": (("left_shoulder", "right_shoulder"), ("spine", "thorax")),
        }[part]
        up = unit(self[bone[1]] - self[bone[0]])
        across = self[pair[0]] - self[pair[1]]
        left = unit(across - (across * up).sum(-1, keepdims=True) * up)
        return np.stack([np.cross(left, up), left, up], axis=1)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def angle_deg(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.degrees(np.arccos(np.clip((unit(a) * unit(b)).sum(-1), -1, 1)))


def make_bodies(action: str, n_frames: int = 1500) -> list[Body]:
    bodies = []
    for seed in SEEDS:
        clip = make_clip(action, n_frames, seed=seed, camera=seed % 4, fps=FPS)
        assert clip.pose_m is not None
        assert clip.camera is not None
        bodies.append(Body(camera_to_world(clip.pose_m.astype(np.float64), clip.camera)))
    return bodies


@pytest.fixture(scope="module", params=ACTIONS)
def bodies(request: pytest.FixtureRequest) -> list[Body]:
    return make_bodies(request.param)


@pytest.fixture(scope="module")
def walkers() -> list[Body]:
    return make_bodies("walking")


def test_bones_keep_their_lengths(bodies: list[Body]) -> None:
    statures = set()
    for body in bodies:
        parents = list(H36M_17.parents[1:])
        lengths = np.linalg.norm(body.world[:, 1:] - body.world[:, parents], axis=-1)
        assert np.ptp(lengths, axis=0).max() < 1e-4
        bone = dict(zip(H36M_17.joints[1:], lengths[0], strict=True))
        for name in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist"):
            assert bone[f"left_{name}"] == pytest.approx(bone[f"right_{name}"], abs=1e-4)
        assert 0.35 < bone["left_knee"] < 0.55
        assert 0.22 < bone["left_elbow"] < 0.36
        statures.add(round(float(lengths[0].sum()), 4))
    assert len(statures) == len(SEEDS)


def test_knees_and_elbows_bend_one_way_only(bodies: list[Body]) -> None:
    for body in bodies:
        left = body.frame("pelvis")[:, 1]
        for side in ("left", "right"):
            thigh = body[f"{side}_knee"] - body[f"{side}_hip"]
            shank = body[f"{side}_ankle"] - body[f"{side}_knee"]
            bend = angle_deg(thigh, shank)
            assert bend.min() > 5
            assert bend.max() < 140
            # A knee bent forwards turns about the axis to the left; behind, about its opposite.
            hinge = (unit(np.cross(thigh, shank)) * left).sum(-1)
            assert hinge.min() > 0.5
            upper = body[f"{side}_elbow"] - body[f"{side}_shoulder"]
            lower = body[f"{side}_wrist"] - body[f"{side}_elbow"]
            elbow = angle_deg(upper, lower)
            assert elbow.min() > 1
            assert elbow.max() < 150


def test_upper_arms_turn_within_their_range(bodies: list[Body]) -> None:
    """The turn about the upper arm is where the forearm points once the arm is brought down."""
    for body in bodies:
        chest = body.frame("chest")
        for side, outward in (("left", 1.0), ("right", -1.0)):
            upper = body[f"{side}_elbow"] - body[f"{side}_shoulder"]
            lower = body[f"{side}_wrist"] - body[f"{side}_elbow"]
            upper = np.einsum("tij,tj->ti", chest, unit(upper))
            lower = np.einsum("tij,tj->ti", chest, unit(lower))
            raised = angle_deg(upper, np.array([0.0, 0.0, -1.0]))
            assert raised.max() < 172
            # Never far behind the back, never far across the chest.
            assert upper[:, 0].min() > -0.75
            assert (outward * upper[:, 1]).min() > -0.55
            axis = unit(np.cross(upper, [0.0, 0.0, -1.0]))
            hanging = rotate(lower, axis, np.radians(raised))
            bent = np.hypot(hanging[:, 0], hanging[:, 1]) > 0.25
            inward = np.degrees(np.arctan2(-outward * hanging[:, 1], hanging[:, 0]))[bent]
            assert inward.min() > -100
            assert inward.max() < 100


def rotate(vectors: np.ndarray, axis: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Rodrigues' formula, (T, 3) about (T, 3)."""
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    along = (axis * vectors).sum(-1, keepdims=True) * axis
    return vectors * cos + np.cross(axis, vectors) * sin + along * (1 - cos)


def test_trunk_hips_and_head_stay_within_their_range(bodies: list[Body]) -> None:
    for body in bodies:
        lumbar = body["spine"] - body["pelvis"]
        chest = body["thorax"] - body["spine"]
        assert angle_deg(lumbar, chest).max() < 40
        assert angle_deg(chest, np.array([0.0, 0.0, 1.0])).max() < 80
        pelvis, ribs = body.frame("pelvis"), body.frame("chest")
        assert angle_deg(pelvis[:, 1], ribs[:, 1]).max() < 50
        face = np.einsum("tij,tj->ti", ribs, body["neck"] - body["thorax"])
        assert face[:, 0].min() > 0
        assert face[:, 2].min() > 0
        looks = np.degrees(np.arctan2(np.abs(face[:, 1]), face[:, 0]))
        assert looks.max() < 75
        crown = np.einsum("tij,tj->ti", ribs, body["head"] - body["neck"])
        assert crown[:, 2].min() > 0
        for side, outward in (("left", 1.0), ("right", -1.0)):
            thigh = unit(body[f"{side}_knee"] - body[f"{side}_hip"])
            thigh = np.einsum("tij,tj->ti", pelvis, thigh)
            raised = np.degrees(np.arctan2(thigh[:, 0], -thigh[:, 2]))
            assert raised.min() > -40
            assert raised.max() < 130
            spread = np.degrees(np.arcsin(outward * thigh[:, 1]))
            assert spread.min() > -32
            assert spread.max() < 50


def test_movement_is_smooth(bodies: list[Body]) -> None:
    for body in bodies:
        speed = np.linalg.norm(np.diff(body.world, axis=0), axis=-1) * FPS
        acceleration = np.linalg.norm(np.diff(body.world, 2, axis=0), axis=-1) * FPS**2
        # A swinging foot is the fastest thing here; sprinters' feet reach 20 m/s.
        assert speed.max() < 6.5
        assert acceleration.max() < 85
        # Parts that carry weight move calmly.
        for joint in ("pelvis", "thorax"):
            assert acceleration[:, INDEX[joint]].max() < 24
        assert speed.max() > 0.3


def test_feet_are_on_the_floor(bodies: list[Body]) -> None:
    for body in bodies:
        height = np.stack([body["left_ankle"][:, 2], body["right_ankle"][:, 2]])
        flat = height.min()
        assert 0.06 < flat < 0.1
        # The lower of the two is flat or up on its toes, never in the air; all else is above it.
        assert height.min(axis=0).max() < flat + 0.10
        assert body.world[..., 2].min() == flat


def test_legs_do_not_cross(bodies: list[Body]) -> None:
    for body in bodies:
        left = body.frame("pelvis")[:, 1]
        for joint, apart in (("knee", 0.05), ("ankle", 0.02)):
            across = body[f"left_{joint}"] - body[f"right_{joint}"]
            assert (across * left).sum(-1).min() > apart


def test_standing_feet_do_not_slide(bodies: list[Body]) -> None:
    for body in bodies:
        for side in ("left", "right"):
            ankle = body[f"{side}_ankle"]
            flat = ankle[:, 2] < ankle[:, 2].min() + 5e-4
            down = flat[1:] & flat[:-1]
            assert down.mean() > 0.05
            speed = np.linalg.norm(np.diff(ankle[:, :2], axis=0), axis=-1) * FPS
            assert speed[down].max() < 0.03


def sides_agree(body: Body) -> np.ndarray:
    """(T,) whether knees and face are in front of a body whose left is on its left."""
    forward = body.frame("pelvis")[:, 0]
    knees = np.zeros(len(forward))
    for side in ("left", "right"):
        middle = (body[f"{side}_hip"] + body[f"{side}_ankle"]) / 2
        knees += ((body[f"{side}_knee"] - middle) * forward).sum(-1)
    return knees > 0


def test_left_is_left(bodies: list[Body]) -> None:
    for body in bodies:
        assert sides_agree(body).all()
        assert not sides_agree(Body(body.world[:, list(H36M_17.flip_order)])).any()
        ahead = body.frame("chest")[:, 0]
        face = body["neck"] - (body["thorax"] + body["head"]) / 2
        assert ((face * ahead).sum(-1) > 0).all()


def test_left_is_left_in_recorded_people_by_the_same_measure(shared_data: Path) -> None:
    with np.load(shared_data / "h36m_sample" / "test_h36m_body3d.npz") as real:
        recorded = Body(real["S"][..., :3].astype(np.float64))
    assert sides_agree(recorded).all()
    assert not sides_agree(Body(recorded.world[:, list(H36M_17.flip_order)])).any()


def test_walkers_walk(walkers: list[Body]) -> None:
    for body in walkers:
        velocity = np.diff(body["pelvis"][:, :2], axis=0) * FPS
        speed = np.linalg.norm(velocity, axis=-1)
        assert speed.min() > 0.7
        assert speed.max() < 1.7
        forward = body.frame("pelvis")[:-1, 0, :2]
        assert ((forward * velocity).sum(-1) / speed).min() > 0.9
        assert 0.01 < np.ptp(body["pelvis"][:, 2]) < 0.11
        turned = np.unwrap(np.arctan2(forward[:, 1], forward[:, 0]))
        assert abs(turned[-1] - turned[0]) > 2 * np.pi


def test_walkers_swing_arms_against_legs(walkers: list[Body]) -> None:
    for body in walkers:
        forward = body.frame("pelvis")[:, 0]
        legs = ((body["left_ankle"] - body["right_ankle"]) * forward).sum(-1)
        arms = ((body["left_wrist"] - body["right_wrist"]) * forward).sum(-1)
        assert np.corrcoef(legs, arms)[0, 1] < -0.8
        # Steps of both feet, alternately: 1.6 to 1.95 of them a second.
        steps = np.count_nonzero(np.diff(np.sign(legs)))
        assert 1.5 < steps / (len(legs) / FPS) < 2.1
        for side in ("left", "right"):
            ankle = body[f"{side}_ankle"]
            lifted = ankle[:, 2] > ankle[:, 2].min() + 0.01
            assert 0.4 < lifted.mean() < 0.75


def test_each_action_is_what_it_says() -> None:
    for body in make_bodies("sitting", 3000):
        height = body["pelvis"][:, 2] / body["pelvis"][:, 2].max()
        assert (height < 0.65).mean() > 0.3
        assert (height > 0.95).mean() > 0.03
    for body in make_bodies("crouching"):
        thigh = body["left_knee"] - body["left_hip"]
        assert angle_deg(thigh, body["left_ankle"] - body["left_knee"]).max() > 85
    for body in make_bodies("turning"):
        forward = body.frame("pelvis")[:, 0]
        yaw = np.degrees(np.unwrap(np.arctan2(forward[:, 1], forward[:, 0])))
        assert np.ptp(yaw) > 90
        assert np.ptp(body["pelvis"][:, :2], axis=0).max() < 0.6
    for body in make_bodies("waving", 3000):
        wrists = np.maximum(body["left_wrist"][:, 2], body["right_wrist"][:, 2])
        assert (wrists > body["neck"][:, 2]).mean() > 0.1
        assert (wrists < body["spine"][:, 2]).mean() > 0.1
    for body in make_bodies("reaching", 3000):
        reach = [
            np.linalg.norm((body[f"{side}_wrist"] - body["pelvis"])[:, :2], axis=-1)
            for side in ("left", "right")
        ]
        assert np.max(reach) > 0.55
        assert np.ptp(np.maximum(body["left_wrist"], body["right_wrist"])[:, 2]) > 0.7
    for body in make_bodies("standing"):
        assert np.ptp(body["left_ankle"], axis=0).max() < 1e-4
        assert np.ptp(body["left_wrist"], axis=0).max() > 0.1
