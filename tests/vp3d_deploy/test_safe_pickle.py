"""safe_pickle: what writers of data write comes back; everything else is refused, and never run."""

from __future__ import annotations

import pickle
import random
import struct
import tracemalloc
from collections import OrderedDict, defaultdict
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_pickles import EXHAUSTING, FORGED_ARRAYS, RUNS_CODE, Call, marker
from hypothesis import given, settings
from hypothesis import strategies as st

from vp3d_deploy.pickles import machine
from vp3d_deploy.safe_pickle import Placeholder, UnsafePickleError, load_next, loads

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def same(a: Any, b: Any) -> bool:
    """Equal in type, dtype, order and value, whatever the nesting."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        if a.dtype == object:
            return all(same(x, y) for x, y in zip(a.flat, b.flat, strict=True))
        return a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return repr(a) == repr(b)  # unlike ==, tells NaN, 0.0 from -0.0, and 1 from True


def objects(*items: object) -> np.ndarray:
    array = np.empty(len(items), object)
    for index, item in enumerate(items):
        array[index] = item
    return array


VALUES: dict[str, object] = {
    "plain": [None, True, False, 0, -1, 255, 256, 65536, -(2**31), 2**31, 2**70, -(2**70)],
    "floats": [0.0, -0.0, 1.5, float("inf"), float("nan"), 1e-300],
    "complex": 1 + 2j,
    "text": ["", "joint", "é \u3042 \ud800 \n 'quoted\"", "x" * 300, "y" * 70_000],
    "bytes": [b"", b"\x00\xff", b"z" * 300, bytearray(b"abc"), bytearray()],
    "tuples": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), (((1,),),)],
    "sets": [set(), {1, 2}, frozenset(), frozenset({"a"})],
    "dictionaries": {"a": {("S1", 54138969): 1, 3: None, None: 2, 1.5: b"x", b"k": {}}},
    "ordered": OrderedDict([("b", 1), ("a", OrderedDict())]),
    "default": defaultdict(list, a=[1]),
    "numbers": [np.arange(6).reshape(2, 3), np.float32([1.5, np.nan]), np.array(3.5)],
    "byte orders": [np.arange(3, dtype=">i4"), np.array(["ab"], ">U2"), np.arange(2, dtype="<u2")],
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "strided": np.arange(20).reshape(4, 5)[::2, 1::2],
    "empty arrays": [np.zeros((0, 3)), np.zeros((3, 0), np.float32), np.array([], object)],
    "logic": np.array([True, False]),
    "complex array": np.array([1 + 2j], np.complex64),
    "half": np.float16([1.5, -2]),
    "text arrays": [np.array(["ab", "", "é\U0001f600"]), np.array([b"abc", b""])],
    "scalars": [np.float64(1.5), np.int64(-3), np.str_("walk"), np.bool_(True), np.bytes_(b"x")],
    "empty scalars": [np.str_(""), np.bytes_(b"")],
    "dtypes": [np.dtype("f8"), np.dtype(">i2"), np.dtype("U7")],
    "object array": objects({"a": np.arange(3.0)}, [1, (2,)], None, objects("x", np.ones((2, 2)))),
    "object array of arrays": objects(np.ones(3), np.ones(3)),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", VALUES)
def test_what_was_written_comes_back(name: str, protocol: int) -> None:
    value = VALUES[name]
    assert same(loads(pickle.dumps(value, protocol), "test"), value)


def test_two_dimensional_object_arrays_keep_shape_and_order() -> None:
    array = np.empty((2, 3), object)
    array[:] = [[1, "b", None], [[4], (5,), 6.0]]
    for value in (array, np.asfortranarray(array)):
        assert same(loads(pickle.dumps(value), "test"), array)


def test_sharing_is_kept_and_arrays_can_be_written_to() -> None:
    shared = np.arange(4.0)
    data = pickle.dumps({"a": shared, "b": [shared], "c": np.arange(4.0)})
    value: Any = loads(data, "test")
    assert value["a"] is value["b"][0]
    value["a"][0] = 9
    assert value["c"][0] == 0
    assert pickle.dumps({"a": shared, "b": [shared], "c": np.arange(4.0)}) == data


NUMPY_2_NAMES = [(b"numpy.core.", b"numpy._core."), (b"numpy._core.", b"numpy.core.")]


@pytest.mark.parametrize(("name", "other"), NUMPY_2_NAMES)
def test_numpy_1_and_2_call_their_modules_differently(name: bytes, other: bytes) -> None:
    value = [np.arange(3), np.float64(2)]
    assert same(loads(pickle.dumps(value, 2).replace(name, other), "test"), value)


# What Python 2.7 with numpy 1.16 writes for {'R': numpy.array([1., 2.]), 'id': 5L}, protocol 2.
PYTHON_2_ARRAY = (
    b"\x80\x02}q\x00(U\x01Rq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03"
    b"K\x00\x85q\x04U\x01bq\x05\x87q\x06Rq\x07(K\x01K\x02\x85q\x08cnumpy\ndtype\nq\x09U\x02f8q\x0a"
    b"K\x00K\x01\x87q\x0bRq\x0c(K\x03U\x01<q\x0dNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x0eb"
    b"\x89U\x10" + struct.pack("<2d", 1, 2) + b"q\x0ftq\x10bU\x02idq\x11\x8a\x01\x05u."
)


def test_pickles_of_python_2() -> None:
    expected = {"R": np.array([1.0, 2.0]), "id": 5}
    assert same(loads(PYTHON_2_ARRAY, "test"), expected)
    as_bytes: Any = loads(PYTHON_2_ARRAY, "test", encoding="bytes")
    assert list(as_bytes) == [b"R", b"id"]
    assert same(as_bytes[b"R"], expected["R"])
    text = b"(dp0\nS'walk \\'1\\xe9'\np1\nI01\nsS\"b\"\n(lp2\nI7\naL8L\naF1.5\nasV\\u3042\nI00\ns."
    assert same(loads(text, "test"), {"walk '1é": True, "b": [7, 8, 1.5], "\u3042": False})
    pairs = b"\x80\x02ccollections\nOrderedDict\nq\x00]q\x01(]q\x02(U\x01aK\x01eee\x85R."
    assert same(loads(pairs.replace(b"eee", b"ee"), "test"), OrderedDict(a=1))


def test_real_camera_file(shared_data: Path) -> None:
    cameras: Any = loads((shared_data / "h36m_sample/cameras.pkl").read_bytes(), "cameras.pkl")
    assert {subject for subject, _ in cameras} == {f"S{n}" for n in range(1, 12)}
    assert len(cameras) == 11 * 4
    for (_, camera_id), camera in cameras.items():
        assert camera_id.isdigit()
        np.testing.assert_allclose(camera["R"] @ camera["R"].T, np.eye(3), rtol=0, atol=1e-5)
        assert camera["T"].shape == (3, 1)


# -- refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RUNS_CODE)
def test_code_is_named_and_not_run(name: str, tmp_path: Path) -> None:
    data, wanted = RUNS_CODE[name]
    trace = marker(tmp_path)
    with pytest.raises(UnsafePickleError, match=r"^file\.pkl: it asks for ") as error:
        loads(data, "file.pkl")
    assert wanted in str(error.value)
    assert not trace.exists()


def test_the_hostile_pickles_do_work_on_a_careless_reader(tmp_path: Path) -> None:
    trace = marker(tmp_path)
    for name in ("system", "eval", "instance (INST)", "by stack"):
        pickle.loads(RUNS_CODE[name][0])
        assert trace.exists(), name
        trace.unlink()


@pytest.mark.parametrize("name", EXHAUSTING)
def test_bombs_are_refused_in_little_memory(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = EXHAUSTING[name]
    # Counting two million allocations takes tracemalloc 20 s; as many as this shows the same.
    monkeypatch.setattr(machine, "MAX_CONTAINERS", 150_000)
    tracemalloc.start()
    try:
        with pytest.raises(UnsafePickleError, match=r"^bomb: it "):
            loads(data, "bomb")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 70e6


@pytest.mark.parametrize("name", FORGED_ARRAYS)
def test_forged_arrays_are_refused(name: str) -> None:
    with pytest.raises(UnsafePickleError, match=r"^forged: it "):
        loads(FORGED_ARRAYS[name], "forged")


def test_flags_of_a_dtype_are_not_believed() -> None:
    """An int64 whose state says that it holds objects is read as the numbers that it names."""
    honest = pickle.dumps(np.arange(2), 2)
    forged = honest.replace(
        b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00", b"J\xff\xff\xff\xff" * 2 + b"K\x3f"
    )
    assert forged != honest
    assert same(loads(forged, "forged"), np.arange(2))


REFUSED = {
    "extension": (b"\x82\x01.", "0x82"),
    "out-of-band buffer": (b"\x97.", "0x97"),
    "unknown instruction": (b"\x00.", "0x00"),
    "newer protocol": (b"\x80\x06N.", "protocol 6"),
    "external object": (b"K\x01Q.", "outside the file"),
    "empty": (b"", "truncated"),
    "values left over": (b"NN.", "left over"),
    "mark left over": (b"(N.", "left over"),
    "bytes after the end": (b"N.N.", "2 bytes follow"),
    "memo never set": (b"h\x07.", "never gave"),
    "pop from nothing": (b"0.", "never gave"),
    "append to text": (b"X\x00\x00\x00\x00Na.", "appends to a str"),
    "items of a list": (b"]NNs.", "sets items of a list"),
    "key without value": (b"}(Nu.", "without a value"),
    "list as a key": (b"}]Ns.", "a list as a key"),
    "call of a list": (b"])R.", "calls a list"),
    "call without a tuple": (b"ccollections\nOrderedDict\n]R.", "calls a Constructor"),
    "state of a list": (b"]}b.", "sets the state of a list"),
    "call of a class": (b"cbuiltins\nlist\n)R.", "builtins.list"),
    "bad text": (b"X\x01\x00\x00\x00\xff.", "unknown encoding"),
    "bad number": (b"Iseven\n.", "number that is none"),
    "bad quotes": (b"Sword\n.", "without quotes"),
    "line without end": (b"I77", "line without an end"),
    "structured array": (pickle.dumps(np.zeros(2, "f4,i4")), "array"),
    "dates": (pickle.dumps(np.array(["2020-01-01"], "M8[D]")), "array"),
    "masked array": (pickle.dumps(np.ma.array([1.0])), "numpy.ma"),
    "random state": (pickle.dumps(np.random.RandomState(0)), "numpy.random"),
    "function": (pickle.dumps(len), "builtins.len"),
    "path": (pickle.dumps(Path("x")), "pathlib"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_reason(name: str) -> None:
    data, reason = REFUSED[name]
    with pytest.raises(UnsafePickleError) as error:
        loads(data, "file.npz (metadata)")
    message = str(error.value)
    assert message.startswith("file.npz (metadata): ")
    assert reason in message
    assert "\n" not in message


def test_a_large_memo_index_costs_nothing() -> None:
    tracemalloc.start()
    assert loads(b"\x80\x02]r\xff\xff\xff\xff\x85.", "test") == ([],)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def rich_pickle(protocol: int) -> bytes:
    return pickle.dumps({name: VALUES[name] for name in VALUES if name != "text"}, protocol)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_truncation_is_refused(protocol: int) -> None:
    data = rich_pickle(protocol)
    for length in [*range(100), *range(100 + protocol, len(data), 23), len(data) - 1]:
        with pytest.raises(UnsafePickleError):
            loads(data[:length], "test")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_corruption_gives_a_value_or_an_unsafe_pickle_error(protocol: int) -> None:
    data = rich_pickle(protocol)
    rng = random.Random(protocol)
    refused = 0
    positions = range(protocol, len(data), 11)
    for position in positions:
        damaged = bytearray(data)
        damaged[position] ^= 1 << rng.randrange(8)
        try:
            loads(bytes(damaged), "test")
        except UnsafePickleError:
            refused += 1
    assert refused > len(positions) // 4


# Mostly the instructions that move values about, so that more than the first few are reached.
_INSTRUCTIONS = (
    b"()]}NRbtlduesa012h\x00q\x00K\x05X\x01\x00\x00\x00a\x85\x86\x87\x8f\x90\x91\x93\x94\x81"
)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(_INSTRUCTIONS), st.integers(0, 255)), max_size=60))
def test_any_bytes_give_a_value_or_an_unsafe_pickle_error(codes: list[int]) -> None:
    for hooks in ({}, {"find_global": lambda m, n: Placeholder(n), "persistent_load": repr}):
        with suppress(UnsafePickleError):
            loads(bytes(codes) + b".", "test", **hooks)  # type: ignore[arg-type]


_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda items: st.lists(items, max_size=4) | st.dictionaries(st.text(), items, max_size=4),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(_PLAIN, st.sampled_from(PROTOCOLS))
def test_plain_values_come_back(value: object, protocol: int) -> None:
    assert same(loads(pickle.dumps(value, protocol), "test"), value)


# -- hooks --------------------------------------------------------------------------------------


class Custom(dict):
    """An object of a class that the reader does not have, with items and state."""

    def __init__(self) -> None:
        super().__init__(key="value")
        self.attribute = self


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_placeholders_stand_for_everything_else(protocol: int) -> None:
    asked = []

    def find_global(module: str, name: str) -> object:
        asked.append((module, name))
        return Placeholder(f"{module}.{name}")

    value = {"custom": Custom(), "call": Call(print, "x"), "array": np.zeros(2, "f4,i4"), "n": 1}
    read: Any = loads(pickle.dumps(value, protocol), "test", find_global=find_global)
    assert read["custom"].name == f"{__name__}.Custom"
    assert read["call"].name == "builtins.print"
    assert isinstance(read["array"], Placeholder)
    assert read["n"] == 1
    assert ("builtins", "print") in asked  # __builtin__ in protocols 0 to 2
    assert ("numpy", "ndarray") not in asked


def test_a_hook_can_refuse() -> None:
    def find_global(module: str, name: str) -> object:
        raise ValueError(f"not {name}, please")

    with pytest.raises(UnsafePickleError, match=r"^test: not system, please$"):
        loads(b"cos\nsystem\n.", "test", find_global=find_global)


def test_external_objects_come_from_the_hook() -> None:
    keys = []

    def persistent_load(key: object) -> object:
        keys.append(key)
        return Placeholder("storage")

    value: Any = loads(b"(K\x01K\x02\x86QPname\nl.", "test", persistent_load=persistent_load)
    assert keys == [(1, 2), "name"]
    assert [item.name for item in value] == ["storage", "storage"]


def test_load_next_reads_pickles_in_a_row() -> None:
    stream = BytesIO(pickle.dumps([1]) + pickle.dumps("two") + b"rest")
    size = len(stream.getvalue())
    assert load_next(stream, size, "test") == [1]
    assert load_next(stream, size - stream.tell(), "test") == "two"
    assert stream.read() == b"rest"


def test_load_next_does_not_read_past_its_limit() -> None:
    data = pickle.dumps(list(range(100)))
    with pytest.raises(UnsafePickleError, match="ends in the middle"):
        load_next(BytesIO(data), len(data) - 10, "test")
