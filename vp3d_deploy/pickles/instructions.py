"""The instructions of pickle protocols 0 to 5, as Python's `pickletools` documents them."""

from __future__ import annotations

import struct
from collections.abc import Callable

from vp3d_deploy.pickles.machine import MAX_NAME_BYTES, Machine, as_keys, as_pairs, number


def _packed(code: str, n_bytes: int) -> Callable[[Machine], None]:
    number = struct.Struct(code)
    return lambda m: m.push(number.unpack(m.read(n_bytes))[0])


def _utf8(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")  # as Python's own pickles are written


# Left out: registered extensions (0x82 to 0x84) and out-of-band buffers (0x97, 0x98), which
# mean nothing without the process that wrote the file.
INSTRUCTIONS: dict[int, Callable[[Machine], None]] = {
    # values
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("I"): Machine.decimal_line,
    ord("L"): Machine.decimal_line,
    ord("J"): _packed("<i", 4),
    ord("K"): lambda m: m.push(m.unsigned(1)),
    ord("M"): lambda m: m.push(m.unsigned(2)),
    0x8A: lambda m: m.long(m.unsigned(1)),
    0x8B: lambda m: m.long(m.unsigned(4)),
    ord("F"): lambda m: m.push(number(float, m.line(MAX_NAME_BYTES))),
    ord("G"): _packed(">d", 8),
    ord("S"): Machine.quoted_line,
    ord("T"): lambda m: m.old_text(m.read(m.unsigned(4))),
    ord("U"): lambda m: m.old_text(m.read(m.unsigned(1))),
    ord("V"): lambda m: m.push(m.line().decode("raw-unicode-escape")),
    ord("X"): lambda m: m.push(_utf8(m.read(m.unsigned(4)))),
    0x8C: lambda m: m.push(_utf8(m.read(m.unsigned(1)))),
    0x8D: lambda m: m.push(_utf8(m.read(m.unsigned(8)))),
    ord("B"): lambda m: m.push(m.read(m.unsigned(4))),
    ord("C"): lambda m: m.push(m.read(m.unsigned(1))),
    0x8E: lambda m: m.push(m.read(m.unsigned(8))),
    0x96: lambda m: m.push(bytearray(m.read(m.unsigned(8)))),
    # containers
    ord("]"): lambda m: m.push_container([]),
    ord("}"): lambda m: m.push_container({}),
    ord(")"): lambda m: m.push_container(()),
    0x8F: lambda m: m.push_container(set()),
    ord("l"): lambda m: m.push_container(m.to_mark()),
    ord("t"): lambda m: m.push_container(tuple(m.to_mark())),
    ord("d"): lambda m: m.push_container(dict(as_pairs(m.to_mark()))),
    0x91: lambda m: m.push_container(frozenset(as_keys(m.to_mark()))),
    0x85: lambda m: m.take_tuple(1),
    0x86: lambda m: m.take_tuple(2),
    0x87: lambda m: m.take_tuple(3),
    ord("a"): lambda m: m.append([m.stack.pop()]),
    ord("e"): lambda m: m.append(m.to_mark()),
    ord("s"): lambda m: m.set_items(m.pop_pair()),
    ord("u"): lambda m: m.set_items(m.to_mark()),
    0x90: Machine.add_items,
    # stack and memo
    ord("("): Machine.mark,
    ord("0"): Machine.drop,
    ord("1"): lambda m: m.to_mark().clear(),
    ord("2"): lambda m: m.push(m.stack[-1]),
    ord("p"): lambda m: m.remember(m.memo_line()),
    ord("q"): lambda m: m.remember(m.unsigned(1)),
    ord("r"): lambda m: m.remember(m.unsigned(4)),
    0x94: lambda m: m.remember(len(m.memo)),
    ord("g"): lambda m: m.recall(m.memo_line()),
    ord("h"): lambda m: m.recall(m.unsigned(1)),
    ord("j"): lambda m: m.recall(m.unsigned(4)),
    # globals and calls
    ord("c"): Machine.global_by_lines,
    0x93: Machine.global_by_stack,
    ord("R"): lambda m: m.call(m.stack.pop()),
    0x81: lambda m: m.call(m.stack.pop()),
    ord("i"): Machine.call_named,
    ord("o"): Machine.call_first,
    0x92: Machine.new_with_names,
    ord("b"): Machine.build,
    ord("P"): lambda m: m.external(m.line(MAX_NAME_BYTES).decode()),
    ord("Q"): lambda m: m.external(m.stack.pop()),
    # framing
    0x80: Machine.protocol,
    0x95: Machine.frame,
}
