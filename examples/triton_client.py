"""Lift keypoints through a Triton server that serves what `vp3d-export --triton` wrote.

    pip install numpy "tritonclient[grpc]"
    python triton_client.py keypoints.npy --image-size 1920x1080 --model walker_stream_lag0 \
        --url localhost:8001 -o poses.npy

keypoints.npy: (T, J, 2) pixels, or (T, J, 3) with a score, of the joints that the network reads.
poses.npy: (T, J_out, 3) float32 metres relative to the root joint, camera frame.

Works with both kinds of model: a stream is sent frame by frame, as a camera would, and a window
model gets the R frames around each frame. Nothing of vp3d-deploy is needed here.
"""

from __future__ import annotations

import argparse
import secrets
import sys

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException


class LiveStream:
    """One person before one camera: a sequence on the server.

    Answers trail the camera by the model's lag. A sequence that gets no frame for as long as the
    model's configuration says (a minute) is forgotten, and the next push fails.
    """

    def __init__(
        self, client: InferenceServerClient, model: str, image_size: tuple[int, int]
    ) -> None:
        config = client.get_model_config(model).config
        self.lag = int(config.parameters["vp3d_lag"].string_value)
        self._client, self._model, self._image_size = client, model, image_size
        self._features = config.input[0].dims[-1]
        # Unlikely to be another client's; 0 would mean no sequence.
        self._sequence = secrets.randbelow(2**62) + 1
        self._sent = 0
        self._last: np.ndarray | None = None

    def push(self, keypoints: np.ndarray) -> np.ndarray | None:
        """(J, 2) or (J, 3) pixels -> (J_out, 3) metres for the frame `lag` ago, None before."""
        self._last = normalised(keypoints, self._image_size, self._features)
        return self._send(self._last)

    def close(self) -> list[np.ndarray]:
        """End the sequence; the answers for the last `lag` frames, by repeating the last one."""
        if self._last is None:
            return []
        # A sequence ends with a request, so one is sent even if no answer is missing.
        count = max(self.lag, 1)
        answers = [self._send(self._last, end=n == count - 1) for n in range(count)]
        self._last = None
        return [answer for answer in answers if answer is not None][: self.lag]

    def _send(self, frame: np.ndarray, end: bool = False) -> np.ndarray | None:
        result = self._client.infer(
            self._model,
            [as_input(frame[None])],
            sequence_id=self._sequence,
            sequence_start=self._sent == 0,
            sequence_end=end,
        )
        self._sent += 1
        return result.as_numpy("pose")[0] if self._sent > self.lag else None


def lift_windows(
    client: InferenceServerClient, model: str, keypoints: np.ndarray, image_size: tuple[int, int]
) -> np.ndarray:
    """(T, J, 2 or 3) pixels -> (T, J_out, 3) metres: each frame from the R frames around it."""
    config = client.get_model_config(model).config
    window, _, features = config.input[0].dims
    after = int(config.parameters["vp3d_lookahead"].string_value)
    frames = normalised(keypoints, image_size, features)
    # As in training, the first and the last frame are repeated beyond the ends.
    frames = np.concatenate(
        [np.repeat(frames[:1], window - 1 - after, 0), frames, np.repeat(frames[-1:], after, 0)]
    )
    windows = np.lib.stride_tricks.sliding_window_view(frames, window, 0).transpose(0, 3, 1, 2)
    answers = []
    for start in range(0, len(windows), config.max_batch_size):
        batch = np.ascontiguousarray(windows[start : start + config.max_batch_size])
        answers.append(client.infer(model, [as_input(batch)]).as_numpy("pose"))
    return np.concatenate(answers)


def normalised(keypoints: np.ndarray, image_size: tuple[int, int], features: int) -> np.ndarray:
    """Pixels (..., J, 2 or 3) -> what the network reads, (..., J, features) float32: less half the
    image, divided by half its width."""
    if keypoints.shape[-1] < features:
        raise ValueError(
            f"keypoints have {keypoints.shape[-1]} values per joint; the model reads {features}"
        )
    width, height = image_size
    values = np.array(keypoints[..., :features], np.float32)
    values[..., :2] = (values[..., :2] - np.array([width / 2, height / 2])) / (width / 2)
    return values


def as_input(values: np.ndarray) -> InferInput:
    tensor = InferInput("keypoints", list(values.shape), "FP32")
    tensor.set_data_from_numpy(values)
    return tensor


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Lift keypoints through a Triton server.")
    parser.add_argument("keypoints", help=".npy of (T, J, 2) or (T, J, 3) pixels")
    parser.add_argument("--image-size", required=True, metavar="WxH")
    parser.add_argument("--model", required=True, help="for example walker_stream_lag0")
    parser.add_argument("--url", default="localhost:8001", help="of the server's gRPC port")
    parser.add_argument("-o", "--output", default="poses.npy")
    given = parser.parse_args(arguments)
    try:
        width, height = map(int, given.image_size.split("x"))
    except ValueError:
        parser.error(f"--image-size {given.image_size}: expected for example 1920x1080")
    try:
        poses = lift(given.url, given.model, np.load(given.keypoints), (width, height))
    except (InferenceServerException, ValueError, OSError) as error:
        print(f"triton_client: error: {error}", file=sys.stderr)
        return 1
    np.save(given.output, poses)
    print(f"wrote {given.output}: {poses.shape}")
    return 0


def lift(url: str, model: str, keypoints: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """(T, J, 2 or 3) pixels -> (T, J_out, 3), by whichever kind of model this is."""
    if keypoints.ndim != 3:
        raise ValueError(f"keypoints have shape {keypoints.shape}; expected (T, J, 2 or 3)")
    with InferenceServerClient(url) as client:
        if "vp3d_lag" not in client.get_model_config(model).config.parameters:
            return lift_windows(client, model, keypoints, image_size)
        stream = LiveStream(client, model, image_size)
        answers = [stream.push(frame) for frame in keypoints]
        return np.stack([a for a in (*answers, *stream.close()) if a is not None])


if __name__ == "__main__":
    sys.exit(main())
