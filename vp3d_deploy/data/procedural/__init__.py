"""Procedural motion: plausible people made from numbers, where no data set is at hand.

    from vp3d_deploy.data.procedural import make_clip
    clip = make_clip("walking", n_frames=500, seed=1, camera=2)

How a clip comes about, and where to read about it:

    timing.py      seeded random numbers and smooth functions of time
    body.py        a person: bone lengths
    steps.py, path.py, walking.py      gait: footholds that do not slide, walking, turning
    stance.py, standing.py, lowering.py    standing, reaching, waving; sitting, crouching
    kinematics.py  posture to joints: forward kinematics and two-bone legs
    detector.py    the faults of a 2D detector
    clips.py       all of it together, seen by a camera
"""

from vp3d_deploy.data.procedural.clips import ACTIONS, ProceduralError, make_clip, make_clips

__all__ = ["ACTIONS", "ProceduralError", "make_clip", "make_clips"]
