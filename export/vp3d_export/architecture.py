"""A network's architecture, read off its shapes: a convolution's weight is (C_out, C_in, taps)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from vp3d_deploy.spec import ModelSpec

Shapes = dict[str, tuple[int, ...]]

# What a size is called where it cannot be told, by canonical name of the parameter.
_WORDS = {
    "expand.conv.weight": ("channels", "inputs", "an odd number of taps"),
    "shrink.weight": ("three per joint", "channels", "1"),
    "shrink.bias": ("three per joint",),
}
_WORDS_OF_LEVELS = ("channels", "channels", "an odd number of taps")


@dataclass(frozen=True)
class Sizes:
    """The numbers that all shapes of a network follow from. 0 where the tensors do not tell."""

    widths: tuple[int, ...]
    channels: int
    inputs: int
    outputs: int

    def shapes(self) -> Shapes:
        """Canonical name -> shape of every parameter; convolutions (C_out, C_in, taps)."""
        c = self.channels
        shapes: Shapes = {"expand.conv.weight": (c, self.inputs, self.widths[0])}
        norms = ["expand.bn"]
        for level, width in enumerate(self.widths[1:], 1):
            shapes[f"levels.{level}.conv.weight"] = (c, c, width)
            shapes[f"levels.{level}.mix.weight"] = (c, c, 1)
            norms += [f"levels.{level}.conv_bn", f"levels.{level}.mix_bn"]
        for norm in norms:
            for part in ("weight", "bias", "running_mean", "running_var"):
                shapes[f"{norm}.{part}"] = (c,)
        return {**shapes, "shrink.weight": (self.outputs, c, 1), "shrink.bias": (self.outputs,)}

    def misshapen(self, found: Shapes) -> dict[str, str]:
        """Canonical name -> its shape and the one it should have, of those that disagree."""
        return {
            name: f"{list(found[name])}, expected {_described(name, shape)}"
            for name, shape in self.shapes().items()
            if name in found and (found[name] != shape or 0 in shape)
        }


def sizes_of(spec: ModelSpec) -> Sizes:
    """The sizes of a network of which everything is known."""
    inputs = spec.joints_in * spec.features
    return Sizes(spec.filter_widths, spec.channels, inputs, 3 * spec.joints_out)


def parameter_shapes(spec: ModelSpec) -> Shapes:
    """Canonical name -> shape of every parameter of a network; convolutions (C_out, C_in, taps)."""
    return sizes_of(spec).shapes()


def read_sizes(found: Shapes, n_levels: int) -> Sizes:
    """The sizes that the shapes of a network's parameters tell, although some may be missing or
    wrong: what only a missing or wrong one could tell is 0."""
    weights = {name: shape for name, shape in found.items() if len(shape) == 3}
    nothing = (0, 0, 0)
    convs = ["expand.conv.weight", *(f"levels.{n}.conv.weight" for n in range(1, n_levels + 1))]
    taps = [weights.get(name, nothing)[2] for name in convs]
    # By majority, so that of two layers that disagree the one is named that differs from the rest.
    hidden = Counter(
        shape[0] for name, shape in found.items() if not name.startswith("shrink") and shape
    )
    outputs = [weights.get("shrink.weight", nothing)[0], *found.get("shrink.bias", ())[:1]]
    return Sizes(
        widths=tuple(width if width % 2 else 0 for width in taps),
        channels=hidden.most_common(1)[0][0] if hidden else 0,
        inputs=weights.get("expand.conv.weight", nothing)[1],
        outputs=next((n for n in outputs if n and n % 3 == 0), 0),
    )


def spec_of(sizes: Sizes, pose: ModelSpec | None, causal: bool) -> ModelSpec:
    """The network of these sizes, all known. pose: the pose network's, for a trajectory network.

    Raises ValueError for sizes that no network of this kind has.
    """
    joints_out = sizes.outputs // 3
    joints_in, features = _split_inputs(sizes.inputs, joints_out)
    if pose is not None and sizes.inputs == pose.joints_in * pose.features:
        joints_in, features = pose.joints_in, pose.features
    return ModelSpec(sizes.widths, sizes.channels, joints_in, features, joints_out, causal)


def dense_reading(widths: Sequence[int]) -> tuple[tuple[int, ...], int] | None:
    """The -arch with which the original repository's --dense gives `widths`, and how many of its
    numbers are others than `widths`; None if there is none, or if --dense changes nothing.

    --dense replaces the dilated convolution of level k by a plain one as long as that one's span,
    (f_k - 1) f_0 .. f_(k-1) + 1 taps: 3 7 19 55 for 3 3 3 3 (the ablation in the appendix of
    Pavllo et al. 2019, arXiv 1811.11742). No dilation is stored, so shapes are all there is.
    """
    arch = [widths[0]]
    for width in widths[1:]:
        steps, rest = divmod(width - 1, prod(arch))
        if rest or steps % 2:
            return None
        arch.append(steps + 1)
    changed = sum(f != width for f, width in zip(arch, widths, strict=True))
    return (tuple(arch), changed) if changed else None


def _split_inputs(inputs: int, joints_out: int) -> tuple[int, int]:
    """Joints and features per joint, of which the weights show only the product: as many joints as
    come out if they then have two or three features, else x and y, else x, y and a score."""
    if inputs in (2 * joints_out, 3 * joints_out):
        return joints_out, inputs // joints_out
    features = 2 if inputs % 2 == 0 else 3 if inputs % 3 == 0 else 1
    return inputs // features, features


def _described(name: str, shape: tuple[int, ...]) -> str:
    words = _WORDS.get(name, _WORDS_OF_LEVELS)
    sizes = (str(size or word) for size, word in zip(shape, words, strict=False))
    return f"[{', '.join(sizes)}]"
