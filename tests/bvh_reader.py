"""A small BVH reader and forward kinematics, written from the format's description alone.

Shares nothing with the writer under test: rotations are multiplied channel by channel, in the
order in which the file lists them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass
class Joint:
    name: str
    parent: int
    offset: np.ndarray
    channels: list[str] = field(default_factory=list)


@dataclass
class Bvh:
    joints: list[Joint]
    frame_time: float
    motion: np.ndarray  # (T, all channels)
    end_sites: int

    def index(self, name: str) -> int:
        return [joint.name for joint in self.joints].index(name)

    def positions(self) -> np.ndarray:
        """(T, joints, 3) in the file's units and axes."""
        T = len(self.motion)
        rotations = np.zeros((T, len(self.joints), 3, 3))
        positions = np.zeros((T, len(self.joints), 3))
        column = 0
        for i, joint in enumerate(self.joints):
            local = np.tile(np.eye(3), (T, 1, 1))
            moved = np.tile(joint.offset, (T, 1))
            for channel in joint.channels:
                values = self.motion[:, column]
                column += 1
                axis = "XYZ".index(channel[0])
                if channel.endswith("position"):
                    moved[:, axis] += values
                else:
                    local = local @ _about(axis, np.radians(values))
            if joint.parent < 0:
                rotations[:, i], positions[:, i] = local, moved
            else:
                up = rotations[:, joint.parent]
                rotations[:, i] = up @ local
                positions[:, i] = positions[:, joint.parent] + np.einsum("tij,tj->ti", up, moved)
        assert column == self.motion.shape[1]
        return positions


def _about(axis: int, angle: np.ndarray) -> np.ndarray:
    a, b = (axis + 1) % 3, (axis + 2) % 3
    R = np.zeros((len(angle), 3, 3))
    R[:, axis, axis] = 1
    R[:, a, a] = R[:, b, b] = np.cos(angle)
    R[:, a, b], R[:, b, a] = -np.sin(angle), np.sin(angle)
    return R


def read_bvh(path: Path) -> Bvh:
    words = iter(path.read_text().split())
    joints: list[Joint] = []
    stack: list[int] = []
    end_sites = 0
    assert next(words) == "HIERARCHY"
    in_end_site = False
    pending: str | None = None
    for word in words:
        if word in ("ROOT", "JOINT"):
            assert (word == "ROOT") == (not joints)
            pending = next(words)
        elif word == "End":
            assert next(words) == "Site"
            in_end_site, end_sites = True, end_sites + 1
        elif word == "{":
            if not in_end_site:
                assert pending is not None
                joints.append(Joint(pending, stack[-1] if stack else -1, np.zeros(3)))
                stack.append(len(joints) - 1)
                pending = None
        elif word == "}":
            if in_end_site:
                in_end_site = False
            else:
                stack.pop()
        elif word == "OFFSET":
            offset = np.array([float(next(words)) for _ in range(3)])
            if not in_end_site:
                joints[stack[-1]].offset = offset
        elif word == "CHANNELS":
            joints[stack[-1]].channels = [next(words) for _ in range(int(next(words)))]
        elif word == "MOTION":
            break
        else:
            raise AssertionError(f"unknown word {word}")
    assert not stack
    assert next(words) == "Frames:"
    n_frames = int(next(words))
    assert [next(words), next(words)] == ["Frame", "Time:"]
    frame_time = float(next(words))
    n_channels = sum(len(joint.channels) for joint in joints)
    motion = np.array([float(word) for word in words]).reshape(n_frames, n_channels)
    return Bvh(joints, frame_time, motion, end_sites)
