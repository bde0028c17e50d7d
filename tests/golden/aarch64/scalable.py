"""What only SVE and SME have: predicates, whole registers, outer products in ZA."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from tests.golden.aarch64.floats import exact_sum, merged, part_format
from tests.golden.aarch64.machine import SEGMENT, Operation, State, handles
from tests.golden.floats import FORMATS, value
from tests.golden.machine import mask_of, signed


@handles("ptrue", "pfalse")
def _all_lanes(x: Operation) -> None:
    width, count = x.shape(0)
    x.put_predicate([x.name == "ptrue"] * count, width)


@handles("cmpgt", "cmphi", "cmpeq")
def _compare(x: Operation) -> None:
    """Flags depend on the whole register: they are not modelled."""
    width, _ = x.shape(0)
    test: Callable[[int, int], bool] = {
        "cmpgt": lambda a, b: signed(a, width) > signed(b, width),
        "cmphi": lambda a, b: a > b,
        "cmpeq": lambda a, b: a == b,
    }[x.name]
    rows = zip(x.lanes(2), x.lanes(3), x.active(1, width), strict=True)
    x.put_predicate([on and test(a, b) for a, b, on in rows], width)


@handles("match")
def _match(x: Operation) -> None:
    width, _ = x.shape(0)
    wanted = set(x.lanes(3))
    rows = zip(x.lanes(2), x.active(1, width), strict=True)
    x.put_predicate([on and a in wanted for a, on in rows], width)


@handles("sel")
def _select(x: Operation) -> None:
    width, count = x.shape(0)
    rows = zip(x.active(1, width, count), x.lanes(2), x.lanes(3), strict=True)
    x.put([a if on else b for on, a, b in rows])


@handles("index")
def _index(x: Operation) -> None:
    _, count = x.shape(0)
    x.put([x.read(1) + n * x.read(2) for n in range(count)])


@handles("ld1w", "ld1d", "ld1b", "ld1rqb", "ld1rob")
def _load(x: Operation) -> None:
    """Contiguous, zeroing, widened to lanes; of a quadword that is repeated, the first."""
    width, count = x.shape(0)
    address = x.address(2)
    active = x.active(1, width)
    size = {"b": 1, "w": 4, "d": 8}[x.name[-1]]
    x.put([x.state.load(address + n * size, size) if active[n] else 0 for n in range(count)])


@handles("st1w", "st1b")
def _store(x: Operation) -> None:
    """Only what the predicate keeps within the first segment."""
    width, count = x.shape(0)
    address = x.address(2)
    for n, (lane, on) in enumerate(zip(x.lanes(0), x.active(1, width, count), strict=True)):
        if on:
            x.state.store(address + n * width // 8, lane, width // 8)


@handles("umullb", "umullt", "smullb")
def _multiply_long(x: Operation) -> None:
    width, count = x.shape(0)
    part, odd = width // 2, x.name.endswith("t")
    a, b = x.lanes(1, part)[odd::2], x.lanes(2, part)[odd::2]
    if x.name[0] == "s":
        a, b = [signed(v, part) for v in a], [signed(v, part) for v in b]
    x.put([p * q for p, q in zip(a[:count], b[:count], strict=True)])


@handles("sclamp", "uclamp")
def _clamp(x: Operation) -> None:
    width, _ = x.shape(0)
    key = (lambda v: signed(v, width)) if x.name[0] == "s" else (lambda v: v)
    rows = zip(x.lanes(0), x.lanes(1), x.lanes(2), strict=True)
    x.put([min(max(d, low, key=key), high, key=key) for d, low, high in rows])


@handles("zip1", "trn1", "trn2", "uzp1")
def _permute_segments(x: Operation) -> None:
    """Of quadwords the first: it is one of the first source's."""
    whole = x.state.vector[x.number(1)]
    x.put([whole >> (SEGMENT if x.name == "trn2" else 0) & mask_of(SEGMENT)], SEGMENT)


@handles("compact", "expand")
def _move_active(x: Operation) -> None:
    """In the first segment; a compaction that reaches beyond it is the list's fault."""
    width, count = x.shape(0)
    active, source = x.active(1, width, count), x.lanes(2)
    if x.name == "expand":
        rest = iter(source)
        x.put([next(rest) if on else 0 for on in active])
    else:
        kept = [a for a, on in zip(source, active, strict=True) if on]
        x.put([*kept, *[0] * (count - len(kept))])


@handles("cls")
def _count_signs(x: Operation) -> None:
    """Zeroing: what is not active becomes zero."""
    width, count = x.shape(0)
    values = []
    for v in x.lanes(2):
        number = signed(v, width)
        values.append(width - 1 - (number if number >= 0 else ~number).bit_length())
    x.put([v if on else 0 for v, on in zip(values, x.active(1, width, count), strict=True)])


@handles("fexpa")
def _exponential(x: Operation) -> None:
    """The exponent from the upper bits, and of two to the power of 64ths the fraction."""
    assert x.shape(0)[0] == 32
    fractions = [round((2 ** (n / 64) - 1) * 2**23) for n in range(64)]
    x.put([(a >> 6 & 0xFF) << 23 | fractions[a & 63] for a in x.lanes(1)])


@handles("setffr", "smstart", "smstop", "rdvl")
def _state(x: Operation) -> None:
    """No result of its own that is compared."""


# --- ZA -----------------------------------------------------------------------------------------


def _tile(x: Operation, i: int) -> tuple[int, int]:
    found = re.match(r"za(\d+)[hv]?\.(\w)", x.text(i))
    assert found is not None
    return {"b": 8, "h": 16, "s": 32, "d": 64, "q": 128}[found[2]], int(found[1])


def _rows(state: State, tile: tuple[int, int]) -> list[list[int]]:
    """The part of a tile that one segment reaches, and so many rows of it."""
    count = SEGMENT // tile[0]
    return state.tiles.setdefault(tile, [[0] * count for _ in range(count)])


@handles("zero")
def _zero(x: Operation) -> None:
    x.state.tiles.clear()


@handles("mova", "movaz")
def _from_tile(x: Operation) -> None:
    """One horizontal slice; its number stands in a register that is zero."""
    place = next(i for i, text in enumerate(x.operands) if text.startswith("za"))
    tile = _tile(x, place)
    found = re.search(r"\[w(\d+), (\d+)", x.text(place))
    assert found is not None
    rows = _rows(x.state, tile)
    row = (x.state.gpr[int(found[1])] & mask_of(32)) + int(found[2])
    x.put(merged(x, list(rows[row])))
    if x.name == "movaz":
        rows[row] = [0] * len(rows[row])


@handles("addha")
def _add_to_rows(x: Operation) -> None:
    width, _ = x.shape(3)
    down, along = x.active(1, width), x.active(2, width)
    for i, row in enumerate(_rows(x.state, _tile(x, 0))):
        for j, a in enumerate(x.lanes(3)):
            if down[i] and along[j]:
                row[j] = row[j] + a & mask_of(width)


@handles("fmopa", "bfmopa", "smopa", "umopa", "usmopa", "bmopa", "fmops", "smops")
def _outer_product(x: Operation) -> None:
    width, number = _tile(x, 0)
    part = x.shape(3)[0]
    ways = 1 if x.name == "bmopa" else width // part
    down, along = (x.active(i, part, SEGMENT // part) for i in (1, 2))
    a, b = x.lanes(3), x.lanes(4)
    for i, row in enumerate(_rows(x.state, (width, number))):
        for j in range(len(row)):
            pairs = [
                (a[i * ways + k], b[j * ways + k])
                for k in range(ways)
                if down[i * ways + k] and along[j * ways + k]
            ]
            if pairs:
                row[j] = _accumulate(x, width, part, row[j], pairs)


def _accumulate(x: Operation, width: int, part: int, d: int, pairs: list[tuple[int, int]]) -> int:
    sign = -1 if x.name.endswith("s") else 1
    if x.name == "bmopa":
        return d + sum((~(p ^ q) & mask_of(part)).bit_count() for p, q in pairs) & mask_of(width)
    if x.name[0] in "su":
        first, second = x.name[0] == "s", x.name[0] == "s" or x.name[1] == "s"
        terms = [
            (signed(p, part) if first else p) * (signed(q, part) if second else q) for p, q in pairs
        ]
        return d + sign * sum(terms) & mask_of(width)
    f, target = part_format(x, 3), FORMATS[width]
    if width == part and x.name.startswith("bf"):
        target = f
    products = [sign * value(f, p) * value(f, q) for p, q in pairs]
    return exact_sum(target, [value(target, d), *products, Fraction(0)])


@handles("whilelo")
def _while_lower(x: Operation) -> None:
    width, count = x.shape(0)
    x.put_predicate([x.read(1) + n < x.read(2) for n in range(count)], width)
