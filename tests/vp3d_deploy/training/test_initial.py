"""Beginning from trained weights: the same network, and one that grows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from checkpoint_files import write_checkpoint
from reference import dilated_network, random_parameters

torch = pytest.importorskip("torch", reason="training needs PyTorch")
pytest.importorskip("lightning", reason="training needs Lightning")

from training_clips import clip  # noqa: E402

from vp3d_deploy.data import save_clip  # noqa: E402
from vp3d_deploy.spec import ModelSpec  # noqa: E402
from vp3d_deploy.training.cli_train import main  # noqa: E402
from vp3d_deploy.training.initial import InitialWeightsError, set_initial_weights  # noqa: E402
from vp3d_deploy.training.networks import TemporalModel, TemporalModelStrided  # noqa: E402

SMALL = ModelSpec((3, 3), 8)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("form", [TemporalModel, TemporalModelStrided])
def test_the_same_network_begins_with_the_same_answers(form: type, causal: bool) -> None:
    spec = replace(SMALL, causal=causal)
    tensors = random_parameters(spec, seed=3)
    network = form(spec).eval()
    set_initial_weights(network, spec, tensors)
    window = np.random.default_rng(0).normal(size=(9, 17, 2)).astype(np.float32)
    found = network(torch.from_numpy(window)[None]).detach().numpy().reshape(17, 3)
    np.testing.assert_allclose(found, dilated_network(spec, tensors, window)[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_a_grown_network_begins_near_the_smaller_one_and_learns_in_every_level(
    causal: bool,
) -> None:
    small = replace(SMALL, causal=causal)
    grown = replace(small, filter_widths=(3, 3, 5, 3))
    tensors = random_parameters(small, seed=3)
    torch.manual_seed(0)
    network, untrained = TemporalModelStrided(grown), TemporalModelStrided(grown)
    set_initial_weights(network, small, tensors)
    R, centre = grown.receptive_field, grown.pad_left
    windows = np.random.default_rng(0).normal(size=(6, R, 17, 2)).astype(np.float32)
    inner = windows[:, centre - small.pad_left : centre + small.lookahead + 1]
    expected = np.stack([dilated_network(small, tensors, window)[0] for window in inner])
    x = torch.from_numpy(windows)

    def distance(net: torch.nn.Module) -> float:
        return float(np.abs(net.eval()(x).detach().numpy() - expected).mean())

    assert distance(network) < 0.1 * distance(untrained)
    (network.train()(x) ** 2).sum().backward()
    for name, value in network.named_parameters():
        assert value.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"channels": 16}, "16 channels"),
        ({"filter_widths": (3, 5)}, r"filter widths \[3, 5\]"),
        ({"filter_widths": (3, 3, 3, 3)}, r"filter widths \[3, 3, 3, 3\]"),
        ({"causal": True}, "causal"),
        ({"joints_out": 1}, "1 out"),
    ],
)
def test_weights_of_another_network_are_refused(change: dict[str, object], says: str) -> None:
    other = replace(SMALL, **change)  # type: ignore[arg-type]
    network = TemporalModelStrided(replace(SMALL, filter_widths=(3, 3, 3)))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(InitialWeightsError, match=says):
        set_initial_weights(network, other, random_parameters(other, seed=1))
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("family", ["videopose3d", "mmpose-0.x"])
def test_vp3d_train_begins_from_a_checkpoint_of_any_family(
    family: str, frozen: bool, tmp_path: Path
) -> None:
    """With a learning rate of almost nothing the trained network is still the initial one."""
    tensors = random_parameters(SMALL, seed=3)
    write_checkpoint(tmp_path / "there.pth", family, tensors)
    (tmp_path / "data" / "train").mkdir(parents=True)
    save_clip(tmp_path / "data" / "train" / "S1.npz", clip(40, seed=1))
    words = f"""
        h36m-27f --data {tmp_path / "data"} --out {tmp_path / "run"} --init {tmp_path / "there.pth"}
        --widths 3,3 --channels 8 --epochs 2 --lr 1e-12 --check-every 0 --threads 1
    """
    code = main([*words.split(), "--bn-frozen" if frozen else "--no-bn-frozen"])
    assert code == 0
    trained = torch.load(tmp_path / "run" / "checkpoint.pth", weights_only=True)["pose"]
    for name, values in tensors.items():
        if frozen or "running" not in name:
            np.testing.assert_allclose(trained[name], values, rtol=0, atol=1e-6, err_msg=name)
    mean = "expand.bn.running_mean"
    assert np.array_equal(trained[mean].numpy(), tensors[mean]) == frozen
