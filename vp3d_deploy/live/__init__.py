"""Live lifting: a camera's frames in, one by one, and the answers that are ready out.

    stream.py   LiveStream, what an application holds: push, flush, reset, close
    pushed.py   what may be pushed: one person or a dict of people, in pixels
    clock.py    when frames were taken, and which frames of the network they reach
    people.py   who is there: from pixels to what the network is shown, and to answers
    rows.py     the rows of the engine: who is in which, whose answer comes when

What a frame costs here is small beside the network (bench/vp3d_bench/push_share.py measures it),
because the usual frame, in which everybody is there and seen from head to foot, needs few calls of
numpy: a call on so little data costs a microsecond whatever it does.
"""

from __future__ import annotations

from vp3d_deploy.live.stream import LiveStream

__all__ = ["LiveStream"]
