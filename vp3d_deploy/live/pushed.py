"""What may be pushed to a live stream: one person or a dict of people, in pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vp3d_deploy.keypoints import KeypointsError, check_frame, check_pixels
from vp3d_deploy.skeleton import Skeleton


class PushedPeople:
    """Checks what is pushed, and remembers what it has to agree with: what was pushed before.

    Attribute: `one_person`, whether the stream is of one person without a track id; None as long
    as nobody has been pushed.
    """

    def __init__(self, skeleton: Skeleton) -> None:
        self._skeleton = skeleton
        self._shapes = frozenset({(skeleton.n_joints, 2), (skeleton.n_joints, 3)})
        self.begin()

    def begin(self) -> None:
        """Forget what was pushed before."""
        self.one_person: bool | None = None
        self._in_pixels = False

    def checked(self, keypoints: Any) -> dict[Any, np.ndarray]:
        """The pushed arrays (J, 2|3) by track id, None being the id of a single person.

        Raises KeypointsError for other shapes and types, and for one person after a dict.
        """
        if keypoints is None:
            return {}
        # Of an array nobody needs to ask whether it is a Mapping, which takes as long as the rest.
        many = type(keypoints) is not np.ndarray and isinstance(keypoints, Mapping)
        if many is self.one_person:
            before, now = ("one person", "a dict") if many else ("a dict of people", "one person")
            raise KeypointsError(
                f"this stream was begun with {before} and now gets {now}; keep to one of them, or "
                "begin again with reset()"
            )
        return self._many(keypoints) if many else {None: self._array(keypoints)}

    def accept(self, people: dict[Any, np.ndarray], image_size: tuple[float, float]) -> None:
        """Remember a frame of the stream, from `checked`.

        Raises KeypointsError where the stream begins with keypoints that are not pixels.
        """
        if not self._in_pixels:
            self._in_pixels = _are_pixels(people, image_size)
        self.one_person = None in people

    def _many(self, keypoints: Mapping[Any, Any]) -> dict[Any, np.ndarray]:
        people = {}
        for track_id, array in keypoints.items():
            if type(track_id) is not int and type(track_id) is not str:
                _check_id(track_id)
            try:
                people[track_id] = self._array(array)
            except KeypointsError as error:
                raise KeypointsError(f"person {track_id!r}: {error}") from None
        return people

    def _array(self, keypoints: Any) -> np.ndarray:
        """`check_frame`, which is not called for what it returns as it is."""
        if (
            type(keypoints) is np.ndarray
            and keypoints.shape in self._shapes
            and keypoints.dtype.kind in "fiu"
        ):
            return keypoints
        return check_frame(keypoints, self._skeleton)


def _check_id(track_id: Any) -> None:
    if not isinstance(track_id, (int, str, np.integer)) or isinstance(track_id, bool):
        raise KeypointsError(f"track id {track_id!r}: expected a whole number or a string")


def _are_pixels(people: dict[Any, np.ndarray], image_size: tuple[float, float]) -> bool:
    """`check_pixels` of everyone in the frame together; the first to tell is the last asked."""
    if not people:
        return False
    points = np.concatenate([array[:, :2] for array in people.values()])
    scores = [
        array[:, 2] if array.shape[1] == 3 else np.ones(len(array)) for array in people.values()
    ]
    return check_pixels(points, np.concatenate(scores), image_size)
