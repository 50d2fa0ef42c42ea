"""Inspector JSON in the wording of each version, and what is made of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vp3d_deploy.engines.tensorrt_api import TensorRTError
from vp3d_export.tensorrt.inspection import Layer, layers_of, precision_problem

# As the documentation of 8.6 and 10 ("Format/Datatype") and 11 ("Format", "DataType") has them.
WORDINGS: list[tuple[dict[str, Any], str]] = [
    ({"Format/Datatype": "Row major linear FP32"}, "fp32"),
    ({"Format/Datatype": "Row major linear FP16 format"}, "fp16"),
    ({"Format/Datatype": "Channel major FP16 format where channel % 4 == 0"}, "fp16"),
    ({"Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format."}, "int8"),
    ({"Format/Datatype": "Half"}, "fp16"),
    ({"Format/Datatype": "Float"}, "fp32"),
    ({"Format/Datatype": "BFloat16"}, "bf16"),
    ({"Format": "Row major linear FP32 format (kLINEAR)", "DataType": "Float"}, "fp32"),
    ({"Format": "Row major linear", "DataType": "Half"}, "fp16"),
    ({"Format": "LINEAR", "Datatype": "Int8"}, "int8"),
]


def information(*layers: Any, **more: Any) -> str:
    return json.dumps({"Layers": list(layers), **more})


def layer(name: str, kind: str = "gemm", **types: str) -> Layer:
    return Layer(name, kind, tuple(sorted(types.values())))


@pytest.mark.parametrize(("tensor", "expected"), WORDINGS)
def test_a_tensors_type_in_every_versions_words(tensor: dict[str, Any], expected: str) -> None:
    one = {"Name": "a", "LayerType": "gemm", "Inputs": [tensor], "Outputs": []}
    assert layers_of(information(one, Bindings=["x"])) == [Layer("a", "gemm", (expected,))]


def test_tensors_whose_format_is_not_known_say_nothing() -> None:
    dynamic = {"Format/Datatype": "N/A due to dynamic shapes"}
    one = {"Name": "a", "LayerType": "gemm", "Inputs": [dynamic], "Outputs": [dynamic]}
    layers = layers_of(information(one))
    assert layers == [Layer("a", "gemm", ())]
    assert "says of no layer" in (precision_problem(layers, "fp16") or "")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Layers": 3}', '{"Layers": [3]}', "no JSON"])
def test_what_is_no_inspectors_json_is_an_error(text: str) -> None:
    with pytest.raises(TensorRTError, match="is not understood"):
        layers_of(text)
    with pytest.raises(TensorRTError, match="lists no layer"):
        layers_of(information())
    with pytest.raises(TensorRTError, match="names alone"):
        layers_of(information("pose.level1.conv"))


def test_an_fp16_engine_has_its_products_in_fp16() -> None:
    edges = [layer("pose.level0.conv", a="fp32"), layer("pose.shrink", a="fp32")]
    good = [*edges, layer("pose.level1.conv + pose.level1.relu", a="fp16")]
    assert precision_problem(good, "fp16") is None
    # Reformatting alone is no arithmetic.
    copies = [*edges, layer("Reformatting CopyNode", "Reformat", a="fp32", b="fp16")]
    assert "the builder chose fp32" in (precision_problem(copies, "fp16") or "")
    bad = [*good, layer("pose.level2.mix", a="fp32")]
    assert "'pose.level2.mix' is fp32, not fp16" in (precision_problem(bad, "fp16") or "")


def test_an_fp32_engine_has_nothing_smaller() -> None:
    good = [layer("pose.level1.conv", a="fp32")]
    assert precision_problem(good, "fp32") is None
    for low in ("fp16", "bf16", "int8"):
        problem = precision_problem([*good, layer("pose.level1.mix", a=low)], "fp32")
        assert f"is {low}, not fp32" in (problem or "")


def test_an_int8_engine_multiplies_in_int8() -> None:
    quantise = layer("pose.level1.conv.int8", "QuantizeLinear", a="fp32", b="int8")
    product = layer("pose.level1.conv.product", "gemm", a="int8", b="fp32")
    assert precision_problem([quantise, product], "int8") is None
    slow = layer("pose.level1.conv.product", "gemm", a="fp32")
    assert "no layer computes in int8" in (precision_problem([quantise, slow], "int8") or "")


def test_layers_that_were_merged_into_one_are_judged_by_the_engines_size() -> None:
    merged = [layer("{ForeignNode[pose.level0.conv...pose.shrink]}", "Myelin", a="fp32")]
    assert precision_problem(merged, "fp16", plan_bytes=40, weights_bytes=34) is None
    problem = precision_problem(merged, "fp16", plan_bytes=68, weights_bytes=34)
    assert "has 68 bytes where weights in fp16 have 34" in (problem or "")
    assert precision_problem(merged, "fp32") is None


def test_a_merged_layer_that_only_quantises_is_no_int8() -> None:
    """Its size tells: weights that stayed half precision are twice as large."""
    merged = layer("__myl_MulRouMaxMinCas", "kgen", a="fp16", b="int8")
    product = layer("__myl_Fc", "kgen", a="fp16")
    assert precision_problem([merged, product], "int8", 105, 100) is None
    assert "fp16" in (precision_problem([merged, product], "int8", 210, 100) or "")
    told = layer("pose.level1.conv", "gemm", a="int8")
    assert precision_problem([merged, told], "int8", 210, 100) is None
