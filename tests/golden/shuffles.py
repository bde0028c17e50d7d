"""Moves, shuffles, permutes, blends, inserts and extracts (SDM vol. 2, chapters 3 to 5)."""

from __future__ import annotations

from tests.golden.machine import (
    Operation,
    UnsupportedInstruction,
    handles,
    join,
    mask_of,
    signed,
    split,
)

_WIDTHS = {"b": 8, "w": 16, "d": 32, "q": 64}

_MOVES = {
    **dict.fromkeys(("movaps", "movups", "movntps"), 32),
    **dict.fromkeys(("movapd", "movupd", "movntpd"), 64),
    **dict.fromkeys(("movdqa", "movdqu", "lddqu", "movntdq", "movntdqa"), 64),
    "movdqa32": 32,
    "movdqa64": 64,
    "movdqu8": 8,
    "movdqu16": 16,
    "movdqu32": 32,
    "movdqu64": 64,
}


@handles(*_MOVES)
def _move(x: Operation) -> None:
    element = _MOVES[x.name]
    x.put(x.lanes(1, element, x.vector_width // element), element)


@handles("movd", "movq", "movw")
def _move_scalar(x: Operation) -> None:
    """Zero-extends into a vector register; MOVQ between registers keeps the low 64 bits."""
    bits = {"movd": 32, "movq": 64, "movw": 16}[x.name]
    if x.width(0) >= 128:
        _write_whole(x, x.read(1, bits))
    else:
        x.write(0, x.read(1, bits), None if not x.is_memory(0) else bits)


def _write_whole(x: Operation, value: int) -> None:
    """Legacy loads that zero the rest of the 128-bit register."""
    x.put([value], 128)


@handles("movss", "movsd", "movsh")
def _move_low(x: Operation) -> None:
    element = {"movss": 32, "movsd": 64, "movsh": 16}[x.name]
    if x.is_memory(0):
        k = x.writemask()
        if k is None or k & 1:
            x.write(0, x.read(1, element), element)
    elif x.is_memory(1):
        value = x.read(1, element)
        k = x.writemask()
        if k is not None and not k & 1:
            value = 0 if x.instruction.zeroing_masking else x.read(0, element)
        _write_whole(x, value)
    else:
        x.put_scalar(x.read(x.first + 1, element), element, x.first)


@handles("movntss", "movntsd")
def _store_scalar_nontemporal(x: Operation) -> None:
    bits = 32 if x.name == "movntss" else 64
    x.write(0, x.read(1, bits), bits)


@handles("movlps", "movlpd", "movhps", "movhpd", "movlhps", "movhlps")
def _move_half(x: Operation) -> None:
    high_to_low = x.name == "movhlps"
    if x.is_memory(0):
        x.write(0, x.read(1) >> (64 if x.name[3] == "h" else 0), 64)
        return
    low, high = x.lanes(x.first, 64, 2)
    last = x.operands - 1
    value = split(x.read(last), 64, 2)[1] if high_to_low else x.read(last, 64)
    if x.name in ("movhps", "movhpd", "movlhps"):
        high = value
    else:
        low = value
    x.put([low, high], 64)


@handles("movddup", "movsldup", "movshdup")
def _duplicate(x: Operation) -> None:
    element = 64 if x.name == "movddup" else 32
    count = x.vector_width // element
    if x.name == "movddup" and x.vector_width == 128:
        x.put([x.read(1, 64)] * 2, 64)
        return
    lanes = x.lanes(1, element, count)
    odd = x.name == "movshdup"
    x.put([lanes[i | 1 if odd else i & ~1] for i in range(count)], element)


_BROADCASTS = {
    **{f"pbroadcast{s}": w for s, w in _WIDTHS.items()},
    "broadcastss": 32,
    "broadcastsd": 64,
    "broadcastf128": 128,
    "broadcasti128": 128,
    "broadcastf32x2": 64,
    "broadcasti32x2": 64,
    "broadcastf32x4": 128,
    "broadcasti32x4": 128,
    "broadcastf64x2": 128,
    "broadcasti64x2": 128,
    "broadcastf32x8": 256,
    "broadcasti32x8": 256,
    "broadcastf64x4": 256,
    "broadcasti64x4": 256,
}


@handles(*_BROADCASTS)
def _broadcast(x: Operation) -> None:
    bits = _BROADCASTS[x.name]
    element = bits
    if "x" in x.name:
        element = int(x.name[len("broadcastf") :].split("x")[0])
    x.put(split(x.read(1, bits), element, bits // element) * (x.width(0) // bits), element)


@handles("pbroadcastmb2q", "pbroadcastmw2d")
def _broadcast_mask(x: Operation) -> None:
    element, bits = (64, 8) if x.name.endswith("q") else (32, 16)
    x.put([x.read(1) & mask_of(bits)] * (x.width(0) // element), element)


_UNPACKS = {
    f"punpck{h}{a}": w for h in "lh" for a, w in (("bw", 8), ("wd", 16), ("dq", 32), ("qdq", 64))
}
_UNPACKS |= {"unpcklps": 32, "unpckhps": 32, "unpcklpd": 64, "unpckhpd": 64}


@handles(*_UNPACKS)
def _unpack(x: Operation) -> None:
    element = _UNPACKS[x.name]
    block = min(x.vector_width, 128) // element
    count = x.vector_width // element
    high = "pckh" in x.name
    a, b = x.lanes(x.first, element, count), x.lanes(x.first + 1, element, count)
    out: list[int] = []
    for start in range(0, count, block):
        middle = start + block // 2
        for i in range(middle, start + block) if high else range(start, middle):
            out += [a[i], b[i]]
    x.put(out, element)


@handles("pshufb")
def _shuffle_bytes(x: Operation) -> None:
    count = x.vector_width // 8
    block = min(count, 16)
    a, control = x.lanes(x.first, 8, count), x.lanes(x.first + 1, 8, count)
    x.put(
        [0 if c & 0x80 else a[i // block * block + c % block] for i, c in enumerate(control)],
        8,
    )


@handles("pshufd", "pshuflw", "pshufhw", "pshufw")
def _shuffle_by_immediate(x: Operation) -> None:
    element = 32 if x.name == "pshufd" else 16
    count = x.vector_width // element
    a = x.lanes(1, element, count)
    block = min(x.vector_width, 128) // element
    skip = 4 if x.name == "pshufhw" else 0
    out = list(a)
    for start in range(0, count, block):
        for i in range(4):
            out[start + skip + i] = a[start + skip + (x.immediate >> 2 * i & 3)]
    x.put(out, element)


@handles("shufps", "shufpd")
def _shuffle_two(x: Operation) -> None:
    wide = x.name == "shufpd"
    element = 64 if wide else 32
    count = x.vector_width // element
    a, b = x.lanes(x.first, element, count), x.lanes(x.first + 1, element, count)
    out = []
    for i in range(count):
        per = 128 // element
        start = i // per * per
        select = x.immediate >> i & 1 if wide else x.immediate >> 2 * (i % 4) & 3
        source = a if i % per < per // 2 else b
        out.append(source[start + select])
    x.put(out, element)


@handles("shuff32x4", "shufi32x4", "shuff64x2", "shufi64x2")
def _shuffle_128(x: Operation) -> None:
    count = x.vector_width // 128
    a, b = x.lanes(1, 128, count), x.lanes(2, 128, count)
    bits = count // 2
    picks = [x.immediate >> bits * i & mask_of(bits) for i in range(count)]
    blocks = [(a if i < count // 2 else b)[p] for i, p in enumerate(picks)]
    element = int(x.name[5:7])
    x.put(split(join(blocks, 128), element, x.vector_width // element), element)


@handles("perm2f128", "perm2i128")
def _permute_128(x: Operation) -> None:
    blocks = x.lanes(1, 128, 2) + x.lanes(2, 128, 2)
    x.put([0 if x.immediate >> (s + 3) & 1 else blocks[x.immediate >> s & 3] for s in (0, 4)], 128)


@handles("permq", "permpd")
def _permute_quads(x: Operation) -> None:
    count = x.vector_width // 64
    if x.is_immediate(2):
        a = x.lanes(1, 64, count)
        x.put([a[i & ~3 | x.immediate >> 2 * (i % 4) & 3] for i in range(count)], 64)
    else:
        control, a = x.lanes(1, 64, count), x.lanes(2, 64, count)
        x.put([a[c % count] for c in control], 64)


_PERMUTES = {"permd": 32, "permps": 32, "permw": 16, "permb": 8}


@handles(*_PERMUTES)
def _permute(x: Operation) -> None:
    element = _PERMUTES[x.name]
    count = x.vector_width // element
    control, a = x.lanes(1, element, count), x.lanes(2, element, count)
    x.put([a[c % count] for c in control], element)


_TWO_TABLES = {
    f"perm{k}2{s}": w for k in "it" for s, w in (*_WIDTHS.items(), ("ps", 32), ("pd", 64))
}


@handles(*_TWO_TABLES)
def _permute_two(x: Operation) -> None:
    element = _TWO_TABLES[x.name]
    count = x.vector_width // element
    old, a, b = (x.lanes(i, element, count) for i in range(3))
    control, table = (old, a + b) if x.name[4] == "i" else (a, old + b)
    x.put([table[c % (2 * count)] for c in control], element)


@handles("permilps", "permilpd")
def _permute_in_lane(x: Operation) -> None:
    wide = x.name == "permilpd"
    element = 64 if wide else 32
    per = 128 // element
    count = x.vector_width // element
    a = x.lanes(1, element, count)
    out = []
    control = None if x.is_immediate(2) else x.lanes(2, element, count)
    for i in range(count):
        if control is not None:
            select = control[i] >> 1 & 1 if wide else control[i] & 3
        else:
            select = x.immediate >> i & 1 if wide else x.immediate >> 2 * (i % 4) & 3
        out.append(a[i // per * per + select])
    x.put(out, element)


@handles("palignr")
def _align_bytes(x: Operation) -> None:
    block = min(x.vector_width, 128)
    count = x.vector_width // block
    shift = x.immediate * 8
    pairs = zip(x.lanes(x.first, block, count), x.lanes(x.first + 1, block, count), strict=True)
    value = join([(a << block | b) >> shift & mask_of(block) for a, b in pairs], block)
    x.put(split(value, 8, x.vector_width // 8), 8)


@handles("alignd", "alignq")
def _align_elements(x: Operation) -> None:
    element = 32 if x.name.endswith("d") else 64
    count = x.vector_width // element
    lanes = x.lanes(2, element, count) + x.lanes(1, element, count)
    start = x.immediate % count
    x.put(lanes[start : start + count], element)


_IMMEDIATE_BLENDS = {"pblendw": 16, "pblendd": 32, "blendps": 32, "blendpd": 64}


@handles(*_IMMEDIATE_BLENDS)
def _blend(x: Operation) -> None:
    element = _IMMEDIATE_BLENDS[x.name]
    count = x.vector_width // element
    a, b = x.lanes(x.first, element, count), x.lanes(x.first + 1, element, count)
    x.put([b[i] if x.immediate >> (i % 8) & 1 else a[i] for i in range(count)], element)


_VARIABLE_BLENDS = {"pblendvb": 8, "blendvps": 32, "blendvpd": 64}


@handles(*_VARIABLE_BLENDS)
def _blend_variable(x: Operation) -> None:
    """The legacy form takes its selector from XMM0, the VEX form from operand 3."""
    element = _VARIABLE_BLENDS[x.name]
    count = x.vector_width // element
    a, b = x.lanes(x.first, element, count), x.lanes(x.first + 1, element, count)
    top = element - 1
    xmm0 = split(x.state.vector[0], element, count)
    selector = xmm0 if x.legacy else x.lanes(3, element, count)
    x.put([q if s >> top else p for p, q, s in zip(a, b, selector, strict=True)], element)


_MASK_BLENDS = {f"pblendm{s}": w for s, w in _WIDTHS.items()} | {"blendmps": 32, "blendmpd": 64}


@handles(*_MASK_BLENDS)
def _blend_mask(x: Operation) -> None:
    """The writemask selects; what it excludes is zero or the first source, never the old value."""
    element = _MASK_BLENDS[x.name]
    count = x.vector_width // element
    k = x.writemask()
    k = mask_of(64) if k is None else k
    a, b = x.lanes(1, element, count), x.lanes(2, element, count)
    if x.instruction.zeroing_masking:
        a = [0] * count
    x.write(0, join([b[i] if k >> i & 1 else a[i] for i in range(count)], element))


_ELEMENTS = {
    "pinsrb": 8,
    "pinsrw": 16,
    "pinsrd": 32,
    "pinsrq": 64,
    "pextrb": 8,
    "pextrw": 16,
    "pextrd": 32,
    "pextrq": 64,
    "extractps": 32,
}


@handles(*_ELEMENTS)
def _element(x: Operation) -> None:
    element = _ELEMENTS[x.name]
    if x.name.startswith("pinsr"):
        width = x.width(0)
        lanes = x.lanes(x.first, element, width // element)
        lanes[x.immediate % len(lanes)] = x.read(x.first + 1, element)
        x.put(lanes, element)
        return
    lanes = split(x.read(1), element, x.width(1) // element)
    value = lanes[x.immediate % len(lanes)]
    x.write(0, value, element if x.is_memory(0) else None)
    if not x.is_memory(0) and x.width(0) < element:
        raise UnsupportedInstruction(x.mnemonic)


@handles("insertps")
def _insert_single(x: Operation) -> None:
    lanes = x.lanes(x.first, 32, 4)
    source = x.first + 1
    i = x.immediate
    value = x.read(source, 32) if x.is_memory(source) else x.lanes(source, 32, 4)[i >> 6 & 3]
    lanes[i >> 4 & 3] = value
    x.put([0 if i >> n & 1 else lane for n, lane in enumerate(lanes)], 32)


def _block_of(name: str) -> tuple[int, int]:
    """Block width and masking element of e.g. `inserti32x4`, `extractf128`."""
    text = name[len("inserti") :] if name.startswith("insert") else name[len("extracti") :]
    if text == "128":
        return 128, 128
    element, count = text.split("x")
    return int(element) * int(count), int(element)


_BLOCKS = [f"{t}{s}" for t in "fi" for s in ("128", "32x4", "64x2", "32x8", "64x4")]


@handles(*(f"insert{b}" for b in _BLOCKS))
def _insert_block(x: Operation) -> None:
    block, element = _block_of(x.name)
    blocks = x.lanes(1, block, x.vector_width // block)
    blocks[x.immediate % len(blocks)] = x.read(2, block)
    x.put(split(join(blocks, block), element, x.vector_width // element), element)


@handles(*(f"extract{b}" for b in _BLOCKS))
def _extract_block(x: Operation) -> None:
    block, element = _block_of(x.name)
    blocks = x.lanes(1, block, x.width(1) // block)
    value = blocks[x.immediate % len(blocks)]
    x.put(split(value, element, block // element), element)


_PACKED_BY_MASK = {f"{k}{s}": w for k in ("pcompress", "pexpand") for s, w in _WIDTHS.items()}
_PACKED_BY_MASK |= {"compressps": 32, "compresspd": 64, "expandps": 32, "expandpd": 64}


@handles(*_PACKED_BY_MASK)
def _compress_or_expand(x: Operation) -> None:
    element = _PACKED_BY_MASK[x.name]
    count = x.vector_width // element
    k = x.writemask()
    k = mask_of(64) if k is None else k
    zero = x.instruction.zeroing_masking
    if "compress" in x.name:
        chosen = [v for i, v in enumerate(x.lanes(1, element, count)) if k >> i & 1]
        if x.is_memory(0):
            x.write(0, join(chosen, element), element * len(chosen))
            return
        rest = [0] * count if zero else x.lanes(0, element, count)
        x.write(0, join(chosen + rest[len(chosen) :], element))
        return
    source = iter(x.lanes(1, element, count))
    rest = [0] * count if zero else x.lanes(0, element, count)
    x.write(0, join([next(source) if k >> i & 1 else rest[i] for i in range(count)], element))


@handles("maskmovps", "maskmovpd", "pmaskmovd", "pmaskmovq")
def _mask_move(x: Operation) -> None:
    element = 32 if x.name[-1] in "sd" and not x.name.endswith("pd") else 64
    count = x.vector_width // element
    keep = [bool(m >> (element - 1)) for m in x.lanes(1, element, count)]
    data = x.lanes(2, element, count)
    if x.is_memory(0):
        old = x.lanes(0, element, count)
        x.write(0, join([d if k else o for d, k, o in zip(data, keep, old, strict=True)], element))
        return
    x.put([d if k else 0 for d, k in zip(data, keep, strict=True)], element)


_GATHERS = {
    f"{stem}{i}{e}": (_WIDTHS[i], w)
    for stem, e, w in (
        ("pgather", "d", 32),
        ("pgather", "q", 64),
        ("gather", "ps", 32),
        ("gather", "pd", 64),
    )
    for i in "dq"
}


@handles(*_GATHERS)
def _gather(x: Operation) -> None:
    """AVX2 form: operand 2 holds one mask element a lane and ends as zero; EVEX form: a mask."""
    index_bits, element = _GATHERS[x.name]
    ins = x.instruction
    index = x.register(ins.memory_index)
    index_width = 128 << (ins.memory_index - 77) // 32
    count = min(index_width // index_bits, x.width(0) // element)
    old = split(x.read(0), element, count)
    k = x.writemask()
    if k is None:
        selector = [m >> (element - 1) for m in split(x.read(2), element, count)]
    else:
        selector = [k >> i & 1 for i in range(count)]
    base = x.register(ins.memory_base) + ins.memory_displacement
    out = []
    for i in range(count):
        offset = signed(index >> i * index_bits & mask_of(index_bits), index_bits)
        address = base + offset * ins.memory_index_scale
        data = x.state.load(address, element // 8) if selector[i] else b""
        out.append(int.from_bytes(data, "little") if selector[i] else old[i])
    x.write(0, join(out, element))
    if k is None:
        x.write(2, 0)
    else:
        x.set_register(ins.op_mask, 0)


@handles("zeroupper", "zeroall")
def _zero(x: Operation) -> None:
    keep = mask_of(128) if x.name == "zeroupper" else 0
    x.state.vector[:16] = [v & keep for v in x.state.vector[:16]]
