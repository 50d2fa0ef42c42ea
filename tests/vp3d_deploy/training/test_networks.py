"""The two forms of the network against an independent definition, in values and gradients."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="the training networks need PyTorch")

from vp3d_deploy.spec import ModelSpec  # noqa: E402
from vp3d_deploy.training.networks import (  # noqa: E402
    ByteDropout,
    TemporalModel,
    TemporalModelStrided,
    twin,
)

Float64 = NDArray[np.float64]
SPECS = [
    ModelSpec((3, 3, 3), 8, joints_in=5, joints_out=4),
    ModelSpec((3, 3, 3), 8, joints_in=5, joints_out=4, causal=True),
    ModelSpec((5, 3), 6, joints_in=4, features=3, joints_out=1),
    ModelSpec((3, 5), 6, joints_in=4, joints_out=4, causal=True),
    ModelSpec((1, 1), 6, joints_in=4, joints_out=4),
    ModelSpec((7,), 6, joints_in=4, joints_out=4),
]
IDS = [f"{list(s.filter_widths)}{' causal' if s.causal else ''}" for s in SPECS]


def randomised(network: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Random parameters, batch-norm scales and statistics: the identity hides mistakes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var"):
                value.copy_(0.5 + torch.rand(value.shape, generator=generator))
            elif value.is_floating_point():
                value.copy_(0.4 * torch.randn(value.shape, generator=generator))
    return network


def pair(spec: ModelSpec, seed: int = 1) -> tuple[TemporalModel, TemporalModelStrided]:
    dilated = randomised(TemporalModel(spec, dropout=0.0), seed)
    strided = TemporalModelStrided(spec, dropout=0.0)
    strided.load_state_dict(dilated.state_dict())
    return dilated, strided


def inputs(spec: ModelSpec, batch: int, extra_frames: int = 0, seed: int = 2) -> torch.Tensor:
    shape = (batch, spec.receptive_field + extra_frames, spec.joints_in, spec.features)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Definition:
    """The network written out in float64, one number at a time, from DESIGN-style formulas.

    A column is computed where it is asked for: `columns(level)` are the times that the level
    above reads. Batch statistics, if used, are those over the columns that exist.
    """

    def __init__(self, spec: ModelSpec, state: dict[str, torch.Tensor], training: bool) -> None:
        self.spec, self.training = spec, training
        self.state = {name: value.double().numpy().copy() for name, value in state.items()}

    def norm(self, name: str, h: dict[tuple[int, int], Float64]) -> dict[tuple[int, int], Float64]:
        s = self.state
        if self.training:
            values = np.array(list(h.values()))
            mean, var = values.mean(axis=0), values.var(axis=0)
        else:
            mean, var = s[f"{name}.running_mean"], s[f"{name}.running_var"]
        scale, shift = s[f"{name}.weight"], s[f"{name}.bias"]
        return {
            key: np.maximum((v - mean) / np.sqrt(var + 1e-5) * scale + shift, 0.0)
            for key, v in h.items()
        }

    def convolve(
        self, name: str, h: dict[tuple[int, int], Float64], times: list[int], spacing: int
    ) -> dict[tuple[int, int], Float64]:
        weight = self.state[name]
        c_out, c_in, width = weight.shape
        out = {}
        for b in sorted({key[0] for key in h}):
            for t in times:
                value = np.zeros(c_out)
                for o in range(c_out):
                    for tap in range(width):
                        column = h[b, t + tap * spacing]
                        for c in range(c_in):
                            value[o] += weight[o, c, tap] * column[c]
                out[b, t] = value
        return out

    def __call__(self, keypoints: torch.Tensor, only_needed: bool) -> Float64:
        """(B, T, J, F) -> (B, T-R+1, J_out, 3); `only_needed` computes the strided columns."""
        spec = self.spec
        batch, n_frames = keypoints.shape[:2]
        x = keypoints.double().numpy()
        h = {
            (b, t): np.array([x[b, t, j, f] for j in range(spec.joints_in)
                              for f in range(spec.features)])
            for b in range(batch)
            for t in range(n_frames)
        }  # fmt: skip
        field = 1
        for k, width in enumerate(spec.filter_widths):
            spacing = spec.dilations[k]
            field += (width - 1) * spacing
            step = spacing * width if only_needed else 1
            times = list(range(0, n_frames - field + 1, step))
            name = "expand" if k == 0 else f"levels.{k}"
            first_norm = "expand.bn" if k == 0 else f"{name}.conv_bn"
            g = self.norm(first_norm, self.convolve(f"{name}.conv.weight", h, times, spacing))
            if k > 0:
                g = self.norm(f"{name}.mix_bn", self.convolve(f"{name}.mix.weight", g, times, 1))
                tap = width - 1 if spec.causal else (width - 1) // 2
                g = {(b, t): h[b, t + tap * spacing] + v for (b, t), v in g.items()}
            h = g
        times = sorted({t for _, t in h})
        y = self.convolve("shrink.weight", h, times, 1)
        bias = self.state["shrink.bias"]
        rows = [[(y[b, t] + bias).reshape(spec.joints_out, 3) for t in times] for b in range(batch)]
        return np.array(rows)


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
def test_dilated_is_the_definition(spec: ModelSpec) -> None:
    dilated, _ = pair(spec)
    x = inputs(spec, batch=2, extra_frames=3)
    expected = Definition(spec, dilated.state_dict(), training=False)(x, only_needed=False)
    with torch.no_grad():
        found = dilated.eval()(x).numpy()
    assert found.shape == (2, 4, spec.joints_out, 3)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
@pytest.mark.parametrize("form", ["dilated", "strided"])
def test_training_mode_uses_the_statistics_of_the_columns_computed(
    spec: ModelSpec, form: str
) -> None:
    dilated, strided = pair(spec)
    x = inputs(spec, batch=6)
    definition = Definition(spec, dilated.state_dict(), training=True)
    expected = definition(x, only_needed=form == "strided")[:, 0]
    found = strided.train()(x) if form == "strided" else dilated.train()(x)[:, 0]
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_strided_equals_dilated_in_values_and_gradients(spec: ModelSpec, training: bool) -> None:
    """In train mode the networks train and the batch norms use their running statistics.

    The forms' own batch statistics differ by construction; the test above pins both.
    """
    dilated, strided = pair(spec)
    results = []
    for network in (dilated, strided):
        network.train(training)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.eval()
        x = inputs(spec, batch=4).requires_grad_()
        y = network(x).reshape(4, spec.joints_out, 3)
        (y * torch.linspace(-1, 1, y.numel()).reshape(y.shape)).sum().backward()
        gradients = {name: p.grad for name, p in network.named_parameters()}
        results.append((y.detach(), {**gradients, "input": x.grad}))
    (y_dilated, g_dilated), (y_strided, g_strided) = results
    torch.testing.assert_close(y_strided, y_dilated, rtol=0, atol=1e-5)
    assert g_dilated.keys() == g_strided.keys()
    for name, gradient in g_dilated.items():
        assert gradient.abs().max() > 0, f"nothing flows into {name}"
        torch.testing.assert_close(
            g_strided[name], gradient, rtol=1e-5, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("spec", [SPECS[4], SPECS[5]], ids=[IDS[4], IDS[5]])
def test_forms_train_alike_where_they_compute_the_same_columns(spec: ModelSpec) -> None:
    """With one column per level batch statistics agree too, and so do the running ones."""
    dilated, strided = pair(spec)
    x = inputs(spec, batch=5)
    y_dilated, y_strided = dilated.train()(x)[:, 0], strided.train()(x)
    torch.testing.assert_close(y_strided, y_dilated, rtol=0, atol=1e-5)
    for y in (y_dilated, y_strided):
        (y**2).sum().backward()
    for (name, a), b in zip(dilated.named_parameters(), strided.parameters(), strict=True):
        torch.testing.assert_close(b.grad, a.grad, rtol=1e-4, atol=1e-4, msg=name)
    for (name, a), b in zip(dilated.named_buffers(), strided.buffers(), strict=True):
        torch.testing.assert_close(b, a, rtol=0, atol=1e-5, msg=name)


def test_the_strided_form_on_every_window_is_the_dilated_form_on_the_clip() -> None:
    dilated, strided = pair(SPECS[0])
    x = inputs(SPECS[0], batch=1, extra_frames=9)
    windows = x[0].unfold(0, SPECS[0].receptive_field, 1).permute(0, 3, 1, 2)
    with torch.no_grad():
        torch.testing.assert_close(strided.eval()(windows), dilated.eval()(x)[0], rtol=0, atol=1e-5)


def test_a_causal_network_ends_on_its_last_frame_and_a_symmetric_one_does_not() -> None:
    for spec, tap in ((SPECS[0], 13), (SPECS[1], 26)):
        assert (spec.pad_left, spec.residual_tap(1)) == (tap, 2 if spec.causal else 1)
        network, _ = pair(spec)
        x = inputs(spec, batch=1)
        with torch.no_grad():
            for name, value in network.named_parameters():
                if "levels" in name and "mix.weight" in name:
                    value.zero_()  # what is left is the path of the residuals
                if "mix_bn.bias" in name:
                    value.zero_()
            for name, value in network.named_buffers():
                if "mix_bn.running_mean" in name:
                    value.zero_()
            changed = x.clone()
            changed[:, tap] += 1.0
            far = x.clone()
            far[:, tap - 5] += 1.0
            y, y_changed, y_far = (network.eval()(v) for v in (x, changed, far))
        assert not torch.equal(y, y_changed)
        assert torch.equal(y, y_far)


def test_state_dict_has_the_names_that_the_checkpoint_reader_expects() -> None:
    spec = ModelSpec((3, 5), 8, joints_in=4, features=2, joints_out=3)
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = {
        "expand.conv.weight": (8, 8, 3),
        "levels.1.conv.weight": (8, 8, 5),
        "levels.1.mix.weight": (8, 8, 1),
        "shrink.weight": (9, 8, 1),
        "shrink.bias": (9,),
    }
    for prefix in ("expand.bn", "levels.1.conv_bn", "levels.1.mix_bn"):
        expected |= {f"{prefix}.{part}": (8,) for part in norm[:-1]}
        expected[f"{prefix}.{norm[-1]}"] = ()
    for network in pair(spec):
        assert {n: tuple(v.shape) for n, v in network.state_dict().items()} == expected


@pytest.mark.parametrize(
    ("form", "shape", "message"),
    [
        (TemporalModel, (2, 27, 17, 2), r"\(2, 27, 17, 2\).*\(B, T, 5, 2\)"),
        (TemporalModel, (27, 5, 2), r"\(27, 5, 2\)"),
        (TemporalModel, (2, 26, 5, 2), "26 frames.*27"),
        (TemporalModelStrided, (2, 28, 5, 2), "28 frames.*exactly 27"),
        (TemporalModelStrided, (2, 2, 5, 27), r"\(B, T, 5, 2\)"),
    ],
)
def test_wrong_shapes_are_refused(form: type, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        form(SPECS[0])(torch.zeros(shape))


def test_dropout_keeps_the_mean_drops_its_share_and_is_off_in_evaluation() -> None:
    torch.manual_seed(3)
    drop = ByteDropout(0.25)
    x = torch.ones(1001, 77, requires_grad=True)
    y = drop(x)
    assert abs(float((y == 0).float().mean()) - 0.25) < 0.01
    assert y.detach().unique().tolist() == pytest.approx([0.0, 4 / 3])
    # Neighbours must be independent although eight of them come from one draw.
    zero = (y == 0).float()
    assert abs(float((zero[:, 1:] * zero[:, :-1]).mean()) - 0.0625) < 0.005
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())
    assert drop.eval()(x) is x
    with pytest.raises(ValueError, match="1.0"):
        ByteDropout(1.0)


def test_momentum_reaches_every_batch_norm() -> None:
    network, _ = pair(SPECS[0])
    network.set_batch_norm_momentum(0.25)
    momenta = [m.momentum for m in network.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    assert momenta == [0.25] * 5


def test_autocast_keeps_keypoints_and_coordinates_in_float32() -> None:
    """Only the layers between may round: where they have nothing to round, nothing is lost."""
    _, strided = pair(SPECS[0])
    x = inputs(SPECS[0], batch=3)
    strided.eval()
    with torch.no_grad():
        plain = strided(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = strided(x)
        assert rounded.dtype == torch.float32
        assert 0 < (rounded - plain).abs().max() < 0.02 * plain.abs().max()
        for name, value in strided.named_parameters():
            if name == "expand.bn.bias":
                value.fill_(2.0)  # every activation is exactly 2
            elif not name.startswith("shrink"):
                value.zero_()
        expected = 2 * strided.shrink.weight[:, :, 0].sum(1) + strided.shrink.bias
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = strided(x)
    torch.testing.assert_close(
        found, expected.reshape(1, -1, 3).expand(3, -1, -1), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
@pytest.mark.parametrize("to_strided", [False, True], ids=["to dilated", "to strided"])
def test_a_twin_is_the_same_network_in_another_form(spec: ModelSpec, to_strided: bool) -> None:
    dilated, strided = pair(spec)
    one, form = (dilated, TemporalModelStrided) if to_strided else (strided, TemporalModel)
    other = twin(form, one)
    assert type(other) is form
    assert other.spec == spec
    ours, theirs = one.state_dict(keep_vars=True), other.state_dict(keep_vars=True)
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert theirs[name] is value, name

    def same(x: torch.Tensor) -> None:
        with torch.no_grad():
            y, y_other = (n.eval()(x).reshape(3, -1) for n in (one, other))
        torch.testing.assert_close(y_other, y, rtol=0, atol=1e-5)

    x = inputs(spec, batch=3)
    same(x)
    # What one learns the other knows: parameters, batch statistics and their momentum.
    before = {name: value.detach().clone() for name, value in ours.items()}
    other.set_batch_norm_momentum(0.7)
    assert one.expand.bn.momentum == 0.7
    other.train()
    optimiser = torch.optim.Adam(other.parameters(), 0.01)
    other(x).square().sum().backward()
    optimiser.step()
    for name, value in one.state_dict().items():
        assert not torch.equal(value, before[name]), name
    same(x)


def test_a_twin_drops_as_much_and_shares_its_mode() -> None:
    strided = TemporalModelStrided(SPECS[0], dropout=0.5)
    other = twin(TemporalModel, strided)
    assert other.dropout.dropped_of_256 == 128
    other.eval()
    assert not any(module.training for module in strided.children())


@pytest.mark.parametrize("spec", [SPECS[0], SPECS[3], SPECS[5]], ids=[IDS[0], IDS[3], IDS[5]])
@pytest.mark.parametrize("form", ["dilated", "strided"])
def test_autocast_reads_and_writes_in_float32(spec: ModelSpec, form: str) -> None:
    """Inputs differ by less than bfloat16 can tell from 1, and all that the layers between pass on
    are whole numbers below 8, which it holds: only a rounded first or last layer shows."""
    network = dict(zip(("dilated", "strided"), pair(spec), strict=True))[form].eval()
    n_inputs, middle = spec.joints_in * spec.features, spec.filter_widths[0] // 2
    generator = torch.Generator().manual_seed(5)
    steps = torch.randint(
        8, (3, spec.receptive_field, spec.joints_in, spec.features), generator=generator
    )
    x = 1 + steps / 1024
    with torch.no_grad():
        exact = network(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert not torch.equal(network(x), exact), "nothing is computed in bfloat16"
        for name, value in network.named_parameters():
            if "mix_bn" in name:
                value.zero_()  # levels add nothing to what they pass on
        network.expand.conv.weight.zero_()
        for channel in range(spec.channels):  # the difference of two inputs
            network.expand.conv.weight[channel, channel % n_inputs, middle] = 1
            network.expand.conv.weight[channel, (channel + 3) % n_inputs, middle] = -1
        norm = network.expand.bn
        for value, number in (
            (norm.weight, 1024), (norm.bias, 0), (norm.running_mean, 0), (norm.running_var, 1)
        ):  # fmt: skip
            value.fill_(number)
        exact = network.double()(x.double())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = network.float()(x)
    assert found.dtype == torch.float32
    assert exact.std() > 0.5
    # The norm's eps moves whole numbers by 5e-6 of themselves.
    np.testing.assert_allclose(found.numpy(), exact.numpy(), rtol=0, atol=2e-4)
