"""AMX tiles, x87, MMX, and AMD's 3DNow!, SSE4A, XOP and FMA4 (SDM vol. 2; APM vol. 3 to 6)."""

from __future__ import annotations

from iced_x86 import Register

from tests.golden import floats as fp
from tests.golden.integers import rotate_left
from tests.golden.machine import (
    Operation,
    UnsupportedInstruction,
    handles,
    mask_of,
    signed,
    split,
)
from tests.golden.packed_floats import dot_exact


def _tile(x: Operation, i: int) -> int:
    return x.instruction.op_register(i) - Register.TMM0


@handles("ldtilecfg")
def _load_tile_configuration(x: Operation) -> None:
    """Palette, then bytes a row as words at 16, rows as bytes at 48 (SDM vol. 1, table 18-1)."""
    data = x.state.load(x.address(), 64)
    if data[0] != 1:
        raise UnsupportedInstruction("palette other than 1")
    for n in range(8):
        rows, width = data[48 + n], int.from_bytes(data[16 + 2 * n : 18 + 2 * n], "little")
        x.state.tile_config[n] = (rows, width)
        x.state.tiles[n] = [bytearray(width) for _ in range(rows)]


@handles("sttilecfg")
def _store_tile_configuration(x: Operation) -> None:
    data = bytearray(64)
    data[0] = 1
    for n, (rows, width) in x.state.tile_config.items():
        data[16 + 2 * n : 18 + 2 * n] = width.to_bytes(2, "little")
        data[48 + n] = rows
    x.state.store(x.address(), bytes(data))


@handles("tilezero")
def _zero_tile(x: Operation) -> None:
    n = _tile(x, 0)
    rows, width = x.state.tile_config[n]
    x.state.tiles[n] = [bytearray(width) for _ in range(rows)]


@handles("tilerelease", "emms", "femms")
def _release(x: Operation) -> None:
    """Nothing that is compared afterwards changes."""


def _rows(x: Operation, tile: int) -> list[tuple[int, int]]:
    """Address and size of each row: the index register is the stride."""
    ins = x.instruction
    stride = x.register(ins.memory_index) * ins.memory_index_scale
    base = x.register(ins.memory_base) + ins.memory_displacement
    rows, width = x.state.tile_config[tile]
    return [(base + r * stride, width) for r in range(rows)]


@handles("tileloadd", "tileloaddt1")
def _load_tile(x: Operation) -> None:
    n = _tile(x, 0)
    x.state.tiles[n] = [bytearray(x.state.load(a, size)) for a, size in _rows(x, n)]


@handles("tilestored")
def _store_tile(x: Operation) -> None:
    n = _tile(x, 1)
    for (address, _), row in zip(_rows(x, n), x.state.tiles[n], strict=True):
        x.state.store(address, bytes(row))


def _lanes(row: bytearray, element: int) -> list[int]:
    return split(int.from_bytes(row, "little"), element, len(row) * 8 // element)


def _accumulate(x: Operation) -> None:
    """Multiply tile 1 by tile 2 and add to tile 0, a dword of parts at a time."""
    target, a, b = (x.state.tiles[_tile(x, i)] for i in range(3))
    for m, row in enumerate(target):
        out = _lanes(row, 32)
        for k, group in enumerate(_lanes(a[m], 32)):
            others = _lanes(b[k], 32)
            out = [_dot(x, acc, group, others[n]) for n, acc in enumerate(out)]
        row[:] = b"".join((v & mask_of(32)).to_bytes(4, "little") for v in out)


def _dot(x: Operation, acc: int, a: int, b: int) -> int:
    if x.name == "tdpbf16ps":
        return dot_exact(fp.BF16, acc, a, b)
    if x.name == "tdpfp16ps":
        return dot_exact(fp.F16, acc, a, b)
    if x.name.startswith("tcmm"):
        real, imaginary = split(b, 16, 2)
        if x.name == "tcmmimfp16ps":
            return dot_exact(fp.F16, acc, a, imaginary | real << 16)
        return dot_exact(fp.F16, acc, a, real | (imaginary ^ fp.F16.sign) << 16)
    for p, q in zip(split(a, 8, 4), split(b, 8, 4), strict=True):
        left = signed(p, 8) if x.name[4] == "s" else p
        acc += left * (signed(q, 8) if x.name[5] == "s" else q)
    return acc & mask_of(32)


@handles(
    "tdpbssd",
    "tdpbsud",
    "tdpbusd",
    "tdpbuud",
    "tdpbf16ps",
    "tdpfp16ps",
    "tcmmimfp16ps",
    "tcmmrlfp16ps",
)
def _tile_product(x: Operation) -> None:
    _accumulate(x)


@handles("fld")
def _x87_load(x: Operation) -> None:
    """The model keeps exact values; candidates choose operands whose results are exact."""
    x.state.x87.append(fp.value(fp.FORMATS[x.width(0)], x.read(0)))


@handles("fadd", "fmul")
def _x87_arithmetic(x: Operation) -> None:
    last = x.operands - 1
    operand = fp.value(fp.FORMATS[x.width(last)], x.read(last))
    top = x.state.x87.pop()
    x.state.x87.append(top + operand if x.name == "fadd" else top * operand)


@handles("fstp")
def _x87_store(x: Operation) -> None:
    f = fp.FORMATS[x.width(0)]
    exact = x.state.x87.pop()
    pattern = fp.encode(f, exact)
    if fp.value(f, pattern) != exact:
        raise ValueError("an x87 result is not exact")
    x.write(0, pattern)


_3DNOW = {"pfadd": fp.add, "pfsub": fp.subtract, "pfmul": fp.multiply}


@handles(*_3DNOW)
def _3dnow(x: Operation) -> None:
    """3DNow! truncates or rounds as the implementation likes (APM vol. 5): exact results only."""
    out = []
    for a, b in zip(x.lanes(0, 32, 2), x.lanes(1, 32, 2), strict=True):
        nearest, truncated = (_3DNOW[x.name](fp.F32, a, b, mode) for mode in (fp.NEAREST, fp.ZERO))
        if nearest != truncated:
            raise ValueError("a 3DNow! result is not exact")
        out.append(nearest)
    x.put(out, 32)


@handles("pswapd")
def _swap(x: Operation) -> None:
    x.put(x.lanes(1, 32, 2)[::-1], 32)


def _field(length: int, start: int) -> tuple[int, int]:
    length, start = length & 63, start & 63
    return length or 64, start


@handles("extrq")
def _extract_field(x: Operation) -> None:
    """Bits 127:64 become undefined (APM vol. 4, EXTRQ), so only the low half is compared."""
    if x.operands == 3:
        length, start = x.read(1), x.read(2)
    else:
        length, start = x.read(1) & 0xFF, x.read(1) >> 8 & 0xFF
    length, start = _field(length, start)
    x.put([x.read(0, 64) >> start & mask_of(length)], 64)


@handles("insertq")
def _insert_field(x: Operation) -> None:
    if x.operands == 4:
        length, start = x.read(2), x.read(3)
    else:
        length, start = x.read(1) >> 64 & 0xFF, x.read(1) >> 72 & 0xFF
    length, start = _field(length, start)
    hole = mask_of(length) << start
    x.put([x.read(0, 64) & ~hole | x.read(1, 64) << start & hole], 64)


@handles("pcmov")
def _select_bits(x: Operation) -> None:
    a, b, selector = (x.read(i) for i in (1, 2, 3))
    x.put([a & selector | b & ~selector], x.vector_width)


@handles("pperm")
def _permute_bytes(x: Operation) -> None:
    table = x.lanes(1, 8, 16) + x.lanes(2, 8, 16)
    out = []
    for control in x.lanes(3, 8, 16):
        byte = table[control & 31]
        turned = int(f"{byte:08b}"[::-1], 2)
        sign = 0xFF if byte & 0x80 else 0
        kinds = (byte, ~byte, turned, ~turned, 0, 0xFF, sign, ~sign)
        out.append(kinds[control >> 5] & 0xFF)
    x.put(out, 8)


@handles("protb", "protw", "protd", "protq")
def _rotate_lanes(x: Operation) -> None:
    element = {"b": 8, "w": 16, "d": 32, "q": 64}[x.name[-1]]
    count = 128 // element
    counts = [x.immediate] * count if x.is_immediate(2) else x.lanes(2, element, count)
    out = [
        rotate_left(a, signed(c & 0xFF, 8), element)
        for a, c in zip(x.lanes(1, element, count), counts, strict=True)
    ]
    x.put(out, element)


_WIDTHS = {"b": 8, "w": 16, "d": 32, "q": 64}
_HORIZONTAL = {
    f"phadd{u}{a}{b}": (_WIDTHS[a], _WIDTHS[b], not u)
    for u in ("", "u")
    for a, b in ("bw", "bd", "bq", "wd", "wq", "dq")
}


@handles(*_HORIZONTAL)
def _add_neighbours(x: Operation) -> None:
    narrow, wide, sign = _HORIZONTAL[x.name]
    lanes = x.lanes(1, narrow, 128 // narrow)
    values = [signed(a, narrow) if sign else a for a in lanes]
    group = wide // narrow
    x.put([sum(values[i : i + group]) for i in range(0, len(values), group)], wide)


@handles("pmacsdd", "pmacsww")
def _multiply_accumulate(x: Operation) -> None:
    element = _WIDTHS[x.name[-1]]
    triples = zip(*(x.lanes(i, element, 128 // element) for i in (1, 2, 3)), strict=True)
    x.put([a * b + c for a, b, c in triples], element)


@handles(*(f"pcom{u}{s}" for u in ("", "u") for s in "bwdq"))
def _compare_lanes(x: Operation) -> None:
    element = _WIDTHS[x.name[-1]]
    lanes = [x.lanes(i, element, 128 // element) for i in (1, 2)]
    if x.name[4] != "u":
        lanes = [[signed(a, element) for a in side] for side in lanes]
    out = []
    for a, b in zip(*lanes, strict=True):
        results = (a < b, a <= b, a > b, a >= b, a == b, a != b, False, True)
        out.append(-results[x.immediate & 7] & mask_of(element))
    x.put(out, element)


_FMA4 = {
    f"f{n}m{op}{s}": (n == "n", op == "sub", w)
    for n in ("", "n")
    for op in ("add", "sub")
    for s, w in (("ps", 32), ("pd", 64))
}


@handles(*_FMA4)
def _fused_four_operands(x: Operation) -> None:
    negative, subtract, element = _FMA4[x.name]
    f = fp.FORMATS[element]
    out = []
    triples = zip(*(x.lanes(i, element, x.vector_width // element) for i in (1, 2, 3)), strict=True)
    for a, b, c in triples:
        factor = fp.negate(f, a) if negative else a
        out.append(fp.fused_multiply_add(f, factor, b, fp.negate(f, c) if subtract else c))
    x.put(out, element)
