"""Who is who from frame to frame, for files that do not say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vp3d_deploy.formats.tracks import Detection

# A detection further than this from where a person was last seen is somebody else. In units of
# the person's size (square root of the area of their box); grows with the frames in between.
MAX_DISTANCE = 0.5
# A person unseen for longer than this many frames is somebody new when they come back.
MAX_GAP = 30


@dataclass
class _Person:
    track_id: int
    frame: int
    points: np.ndarray  # (J, 2), the last place of every joint that was ever seen
    size: float


def associate(detections: Sequence[Detection]) -> list[Detection]:
    """The same detections, each with a track id: 0, 1, 2 .. in order of appearance.

    Frame by frame, the pair of person and detection with the smallest distance is joined first
    (greedy matching). The distance is the mean over the joints that both have, of pixels divided
    by the person's size, as in COCO's object keypoint similarity. Ids that the file gave are
    ignored. Detections without any joint are dropped.
    """
    by_frame: dict[int, list[Detection]] = defaultdict(list)
    for detection in detections:
        if _seen(detection.keypoints).any():
            by_frame[detection.frame].append(detection)
    people: list[_Person] = []
    named: list[Detection] = []
    n_ids = 0
    for frame in sorted(by_frame):
        found = by_frame[frame]
        people = [person for person in people if frame - person.frame <= MAX_GAP]
        owners = _match(people, found, frame)
        for index, detection in enumerate(found):
            person = owners.get(index)
            if person is None:
                person = _Person(n_ids, frame, np.full_like(detection.keypoints[:, :2], np.nan), 0)
                people.append(person)
                n_ids += 1
            _update(person, detection)
            named.append(replace(detection, track_id=person.track_id))
    return named


def _match(people: list[_Person], found: list[Detection], frame: int) -> dict[int, _Person]:
    """The person of each detection that belongs to one, by index into `found`."""
    pairs = []
    for row, person in enumerate(people):
        # Twice the distance after ten frames: people move on while they are hidden.
        limit = MAX_DISTANCE * (1 + (frame - person.frame - 1) / 10)
        for column, detection in enumerate(found):
            distance = _distance(person, detection.keypoints)
            if distance <= limit:
                pairs.append((distance, row, column))
    owners: dict[int, _Person] = {}
    taken: set[int] = set()
    for _, row, column in sorted(pairs):
        if row not in taken and column not in owners:
            taken.add(row)
            owners[column] = people[row]
    return owners


def _distance(person: _Person, keypoints: np.ndarray) -> float:
    both = np.isfinite(person.points).all(-1) & _seen(keypoints)
    if not both.any():
        return np.inf
    offsets = person.points[both] - keypoints[both, :2]
    return float(np.sqrt((offsets**2).sum(-1)).mean() / person.size)


def _update(person: _Person, detection: Detection) -> None:
    seen = _seen(detection.keypoints)
    points = detection.keypoints[seen, :2]
    person.points[seen] = points
    width, height = points.max(0) - points.min(0)
    # A few joints in a line, or one alone, say little about the size: never let it collapse.
    size = max(float(np.sqrt(width * height)), 0.25 * float(max(width, height)), 4.0)
    person.size = size if person.size == 0 else max(0.8 * person.size, size)
    person.frame = detection.frame


def _seen(keypoints: np.ndarray) -> np.ndarray:
    """(J,) bool: finite, and not scored zero."""
    return np.isfinite(keypoints[:, :2]).all(-1) & ~(keypoints[:, 2] <= 0)
