"""Live answers of whole clips against their definition: the full network on edited clips."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")

from reference import live_answers, random_parameters  # noqa: E402

from vp3d_deploy.spec import ModelSpec  # noqa: E402
from vp3d_deploy.training.lagged import TemporalModelLagged  # noqa: E402
from vp3d_deploy.training.networks import TemporalModel, twin  # noqa: E402

# Different numbers everywhere, so that no axis can stand in for another.
SIZES = {"channels": 6, "joints_in": 4, "features": 3, "joints_out": 5}
WIDTHS = [(3, 3, 3), (3, 5), (5, 3, 3), (1, 1, 1), (3,), (3, 1, 5), (7, 3)]


def network(spec: ModelSpec, tensors: dict[str, np.ndarray]) -> TemporalModelLagged:
    lagged = TemporalModelLagged(spec, dropout=0.0).double()
    state = {name: torch.from_numpy(array).double() for name, array in tensors.items()}
    lagged.load_state_dict(state, strict=False)
    return lagged.eval()


def clips(spec: ModelSpec, batch: int, n_frames: int) -> np.ndarray:
    shape = (batch, n_frames, spec.joints_in, spec.features)
    return np.random.default_rng(3).normal(0, 0.5, shape)


def lags(spec: ModelSpec) -> list[int]:
    full = spec.lookahead
    return sorted({0, 1, 2, full // 3, full // 2, full - 1, full} & set(range(full + 1)))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
def test_every_lag_is_the_network_on_the_edited_clip(widths: tuple[int, ...], causal: bool) -> None:
    spec = ModelSpec(widths, causal=causal, **SIZES)
    tensors = random_parameters(spec, 1)
    lagged = network(spec, tensors)
    R = spec.receptive_field
    for n_frames in sorted({1, 2, max(1, R // 2), R + 7}):
        x = clips(spec, 3, n_frames)
        for lag in lags(spec):
            with torch.no_grad():
                found = lagged(torch.from_numpy(x), lag).numpy()
            expected = np.array([live_answers(spec, tensors, clip, lag) for clip in x])
            # float64 all through; answers are of size 1
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_the_full_lag_is_the_padded_clip_and_weights_are_shared() -> None:
    spec = ModelSpec((3, 5, 3), **SIZES)
    lagged = network(spec, random_parameters(spec, 2)).float()
    dilated = twin(TemporalModel, lagged)
    x = torch.from_numpy(clips(spec, 2, 30).astype(np.float32))
    first, last = x[:, :1], x[:, -1:]
    padded = torch.cat([first] * spec.pad_left + [x] + [last] * spec.pad_right, dim=1)
    with torch.no_grad():
        torch.testing.assert_close(lagged(x, spec.lookahead), dilated(padded), rtol=0, atol=2e-6)


@pytest.mark.parametrize("lag", [2, 3])
def test_training_learns_from_all_columns(lag: int) -> None:
    """Batch statistics move to those of the columns, and every parameter gets a gradient."""
    spec = ModelSpec((3, 3), **SIZES)
    lagged = network(spec, random_parameters(spec, 3)).train()
    lagged.set_batch_norm_momentum(1.0)
    x = torch.from_numpy(clips(spec, 2, 9))
    lagged(x, lag).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in lagged.parameters())

    # The columns of level 0 at frame t: true (t-2, t-1, t), straddling (t-1, t, t), and constant
    # (t, t, t). Its answers read two of them: which, depends on the lag.
    held = torch.cat([x[:, :1]] * 2 + [x] + [x[:, -1:]] * lag, dim=1).flatten(2)
    older, old, newest = held[:, :-2], held[:, 1:-1], held[:, 2:]
    second = {2: [newest, newest, newest], 3: [old, newest, newest]}[lag]
    matrix = lagged.expand.conv.weight.detach().permute(2, 1, 0).flatten(0, 1)
    columns = [torch.cat(taps, dim=2) @ matrix for taps in ([older, old, newest], second)]
    rows = torch.cat([column.flatten(0, 1) for column in columns])
    torch.testing.assert_close(lagged.expand.bn.running_mean, rows.mean(0))
    torch.testing.assert_close(lagged.expand.bn.running_var, rows.var(0))


def test_autocast_keeps_the_ends_precise() -> None:
    spec = ModelSpec((3, 3), **SIZES)
    lagged = network(spec, random_parameters(spec, 4)).float()
    x = torch.from_numpy(clips(spec, 2, 9).astype(np.float32))
    with torch.no_grad():
        exact = lagged(x, 1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = lagged(x, 1)
    assert found.dtype == torch.float32
    assert 0 < (found - exact).abs().max() < 0.05


@pytest.mark.parametrize(
    ("shape", "lag", "says"),
    [
        ((2, 9, 4), 0, r"\(B, T, 4, 3\)"),
        ((2, 9, 4, 2), 0, r"\(B, T, 4, 3\)"),
        ((2, 0, 4, 3), 0, "at least one"),
        ((2, 9, 4, 3), 5, "0 to 4"),
        ((2, 9, 4, 3), -1, "0 to 4"),
    ],
)
def test_wrong_input_is_refused(shape: tuple[int, ...], lag: int, says: str) -> None:
    lagged = TemporalModelLagged(ModelSpec((3, 3), **SIZES))
    with pytest.raises(ValueError, match=says):
        lagged(torch.zeros(shape), lag)
