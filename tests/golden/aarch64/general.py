"""General registers, atomic memory access, flags, and what has no result of its own."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.golden.aarch64.machine import HANDLERS, TARGET_ADDRESS, C, N, Operation, V, Z, handles
from tests.golden.machine import mask_of, signed


@handles("nop", "mov", "add")
def _plain(x: Operation) -> None:
    if x.name == "nop":
        return
    if x.text(0)[0] in "wx":
        x.write(x.read(1) + (x.read(2) if x.name == "add" else 0))
    elif x.name == "mov":
        HANDLERS["mova"](x)
    else:
        x.put([a + b for a, b in zip(x.lanes(1), x.lanes(2), strict=True)])


# --- atomics ------------------------------------------------------------------------------------

_ATOMIC: dict[str, Callable[[int, int, int], int]] = {
    "add": lambda a, b, bits: a + b,
    "clr": lambda a, b, bits: a & ~b,
    "eor": lambda a, b, bits: a ^ b,
    "set": lambda a, b, bits: a | b,
    "smax": lambda a, b, bits: max(a, b, key=lambda v: signed(v, bits)),
    "smin": lambda a, b, bits: min(a, b, key=lambda v: signed(v, bits)),
    "umax": lambda a, b, bits: max(a, b),
    "umin": lambda a, b, bits: min(a, b),
    "swp": lambda a, b, bits: b,
}


def _size(x: Operation, register: int) -> int:
    """Bytes in memory, by the end of the name or the register."""
    return {"b": 1, "h": 2}.get(x.name[-1], x.width(register) // 8)


def _atomic(x: Operation) -> None:
    operation = re.match(r"(?:ld)?(add|clr|eor|set|smax|smin|umax|umin|swp)", x.name)
    assert operation is not None
    size, address = _size(x, 0), x.address(2)
    old = x.state.load(address, size)
    operand = x.read(0) & mask_of(8 * size)
    x.state.store(address, _ATOMIC[operation[1]](old, operand, 8 * size), size)
    x.write(old, 1)


for _operation in _ATOMIC:
    for _order in ("", "a", "l", "al"):
        for _width in ("", "b", "h"):
            _prefix = "" if _operation == "swp" else "ld"
            handles(f"{_prefix}{_operation}{_order}{_width}")(_atomic)


@handles("cas", "casa", "casl", "casal", "casb", "cash")
def _compare_and_swap(x: Operation) -> None:
    size, address = _size(x, 0), x.address(2)
    old = x.state.load(address, size)
    if old == x.read(0) & mask_of(8 * size):
        x.state.store(address, x.read(1), size)
    x.write(old, 0)


@handles("casp", "caspal")
def _compare_and_swap_pair(x: Operation) -> None:
    size, address = x.width(0) // 8, x.address(4)
    old = [x.state.load(address + n * size, size) for n in range(2)]
    if old == [x.read(0), x.read(1)]:
        for n in range(2):
            x.state.store(address + n * size, x.read(2 + n), size)
    x.write(old[0], 0)
    x.write(old[1], 1)


@handles("ldclrp", "ldsetp", "swpp")
def _atomic_pair(x: Operation) -> None:
    function = _ATOMIC[x.name.removeprefix("ld").removesuffix("p")]
    address = x.address(2)
    for n in range(2):
        old = x.state.load(address + 8 * n, 8)
        x.state.store(address + 8 * n, function(old, x.read(n), 64), 8)
        x.write(old, n)


@handles("ldr", "ldar", "ldapr", "ldaprb", "ldaprh", "ldapur", "ldapurb", "ldxr", "ldaxr", "ldlar")
def _load(x: Operation) -> None:
    address = x.address(1)
    if x.text(0)[0] in "wx":
        x.write(x.state.load(address, _size(x, 0)))
    else:
        width = x.shape(0)[0]
        x.put([x.state.load(address, width // 8)])


@handles("ldapursw")
def _load_signed(x: Operation) -> None:
    x.write(signed(x.state.load(x.address(1), 4), 32))


@handles("str", "stlr", "stlur", "stlurb", "stllr")
def _store(x: Operation) -> None:
    address = x.address(1)
    if x.text(0)[0] in "wx":
        x.state.store(address, x.read(0), _size(x, 0))
    else:
        x.state.store(address, x.lanes(0)[0], x.shape(0)[0] // 8)


@handles("ldp", "ldiapp")
def _load_pair(x: Operation) -> None:
    size, address = x.width(0) // 8, x.address(2)
    for n in range(2):
        x.write(x.state.load(address + size * n, size), n)


@handles("stp", "stilp")
def _store_pair(x: Operation) -> None:
    size, address = x.width(0) // 8, x.address(2)
    for n in range(2):
        x.state.store(address + size * n, x.read(n), size)


@handles("ldap1")
def _load_element(x: Operation) -> None:
    x.insert(0, x.state.load(x.address(1), 8))


@handles("stl1")
def _store_element(x: Operation) -> None:
    x.state.store(x.address(1), x.lanes(0, 64, 1)[0], 8)


# --- memory copy and set ------------------------------------------------------------------------


@handles("cpyfp", "cpyp", "setp")
def _copy(x: Operation) -> None:
    """All of it at the prologue, as an implementation may: main part and epilogue find no rest.

    CPYFP copies forward only and areas may not overlap; CPYP reads what was there before.
    """
    target, second, third = (int(re.sub(r"\D", "", x.text(i))) for i in range(3))
    gpr = x.state.gpr
    count = gpr[second if x.name == "setp" else third]
    if x.name == "setp":
        values = [gpr[third]] * count
    else:
        values = [x.state.load(gpr[second] + n, 1) for n in range(count)]
    for n, value in enumerate(values):
        x.state.store(gpr[target] + n, value, 1)
    for offset in range(0, count, 64):
        start = gpr[target] + offset - TARGET_ADDRESS
        x.state.written["MEMORY", start] = min(64, count - offset)
    for key in [k for k in x.state.written if k[0] == "MEMORY" and k[1] % 64]:
        del x.state.written[key]


@handles("cpyfm", "cpyfe", "cpym", "cpye", "setm", "sete")
def _copied(x: Operation) -> None:
    """Nothing is left to do, or it is what the prologue's meaning has counted already."""


# --- common short sequences, flags, branches ---------------------------------------------------

_UNARY: dict[str, Callable[[int, int], int]] = {
    "abs": lambda a, bits: abs(signed(a, bits)),
    "cnt": lambda a, bits: a.bit_count(),
    "ctz": lambda a, bits: (a & -a).bit_length() - 1 if a else bits,
    "clz": lambda a, bits: bits - a.bit_length(),
}


def _unary(x: Operation) -> None:
    if x.text(0)[0] in "wx":
        x.write(_UNARY[x.name](x.read(1), x.width(0)))
        return
    width, count = x.shape(0)
    values = [_UNARY[x.name](a, width) for a in x.lanes(len(x.operands) - 1)]
    if len(x.operands) == 3:
        kept = x.lanes(0)
        active = x.active(1, width, count)
        values = [v if on else k for v, on, k in zip(values, active, kept, strict=True)]
    x.put(values)


for _name in _UNARY:
    handles(_name)(_unary)


@handles("cfinv")
def _invert_carry(x: Operation) -> None:
    x.state.set_flags(x.state.nzcv ^ C)


@handles("rmif")
def _rotate_into_flags(x: Operation) -> None:
    value, shift, mask = x.read(0), x.read(1), x.read(2)
    x.state.set_flags(value >> shift | value << 64 - shift, mask)


@handles("setf8", "setf16")
def _set_flags(x: Operation) -> None:
    bits = int(x.name[4:])
    value = x.read(0)
    result = N * (value >> bits - 1 & 1) | Z * (not value & mask_of(bits))
    result |= V * ((value >> bits ^ value >> bits - 1) & 1)
    x.state.set_flags(result, N | Z | V)


@handles("cmp")
def _compare(x: Operation) -> None:
    bits = x.width(0)
    a, b = x.read(0), x.read(1)
    value = a - b & mask_of(bits)
    overflow = ((a ^ b) & (a ^ value)) >> bits - 1
    x.state.set_flags(N * (value >> bits - 1) | Z * (not value) | C * (a >= b) | V * overflow)


@handles("axflag")
def _flags_from_arm(x: Operation) -> None:
    f = x.state.nzcv
    x.state.set_flags(Z * bool(f & Z or f & V) | C * bool(f & C and not f & V))


@handles("xaflag")
def _flags_to_arm(x: Operation) -> None:
    f = x.state.nzcv
    carry, zero = bool(f & C), bool(f & Z)
    n, z = not carry and not zero, zero and carry
    x.state.set_flags(N * n | Z * z | C * (carry or zero) | V * (not carry and zero))


@handles("bc.eq", "bc.ne", "bc.cs")
def _branch(x: Operation) -> None:
    taken = {"eq": Z, "ne": Z, "cs": C}[x.name[3:]] & x.state.nzcv
    if bool(taken) != (x.name == "bc.ne"):
        x.state.skip = int(x.text(0).removeprefix(".+").removeprefix("#"), 0) // 4 - 1


@handles("cbgt", "cbhi", "cbne", "cblt")
def _compare_and_branch(x: Operation) -> None:
    bits = x.width(0)
    a, b = x.read(0), x.read(1)
    taken = {
        "cbgt": signed(a, bits) > signed(b, bits),
        "cblt": signed(a, bits) < signed(b, bits),
        "cbhi": a > b,
        "cbne": a != b,
    }[x.name]
    if taken:
        x.state.skip = int(x.text(2).removeprefix(".+").removeprefix("#"), 0) // 4 - 1


# --- system registers ---------------------------------------------------------------------------

_FLAG_OF = {"dit": 24, "ssbs": 12}


@handles("msr")
def _to_system(x: Operation) -> None:
    name, value = x.text(0).lower(), x.read(1)
    if name in _FLAG_OF:
        place = _FLAG_OF[name]
        value = (value << place if x.text(1).startswith("#") else value) & 1 << place
    if name == "nzcv":
        x.state.nzcv = value >> 28 & 15
    x.state.system[name] = value


@handles("mrs")
def _from_system(x: Operation) -> None:
    x.write(x.state.system.get(x.text(1).lower(), 0))


# --- memory tagging and pointer authentication --------------------------------------------------

_ADDRESS = mask_of(56)


@handles("irg")
def _insert_tag(x: Operation) -> None:
    """The tag is random, or zero: it is not compared."""
    x.write(x.read(1))


@handles("addg", "subg")
def _add_tagged(x: Operation) -> None:
    """The tag depends on what the process excludes: it is not compared."""
    change = x.read(2) if x.name == "addg" else -x.read(2)
    x.write(x.read(1) & ~_ADDRESS | x.read(1) + change & _ADDRESS)


@handles("subp", "subps")
def _subtract_pointers(x: Operation) -> None:
    a, b = (signed(x.read(i) & _ADDRESS, 56) & mask_of(64) for i in (1, 2))
    value = a - b & mask_of(64)
    x.write(value)
    if x.name == "subps":
        overflow = ((a ^ b) & (a ^ value)) >> 63
        x.state.set_flags(N * (value >> 63) | Z * (not value) | C * (a >= b) | V * overflow)


@handles("gmi")
def _insert_mask(x: Operation) -> None:
    x.write(x.read(2) | 1 << (x.read(1) >> 56 & 15))


@handles("ldg")
def _load_tag(x: Operation) -> None:
    """Memory that is not tagged has the tag 0."""
    x.write(x.read(0) & ~(15 << 56))


_SIGNING = ("pacia", "pacib", "pacda", "pacdb", "autia", "autib", "autda", "autdb")


@handles("xpaci", "xpacd", *_SIGNING)
def _authenticate(x: Operation) -> None:
    """Of a signature that is undone, or of its low half, nothing depends on the key."""
    if not x.name.startswith("xpac"):
        x.write(x.read(0))


@handles("pacia1716", "pacib1716", "autia1716")
def _authenticate_hint(x: Operation) -> None:
    x.state.written["GPR", 17] = 8


@handles("pacga")
def _generic_code(x: Operation) -> None:
    x.write(0)
