"""Every WebAssembly operator as a function of its own, in several shapes.

A compiler emits different instructions for one operator depending on where its operands come from
and where its result goes: a load may fold into a memory operand, a constant into an immediate, a
comparison into the branch behind it. So each operator comes in several *shapes*, and each
(operator, shape) pair is one exported function, named like ``i32x4.mul/load-rhs``.

Calling convention, the same for all functions, so that one runner can drive them and compare two
engines:

- operand ``i`` lies in linear memory at ``INPUT_OFFSET + SLOT_SIZE * i`` (little endian);
- operands that are not ``v128`` are passed as plain parameters too, in order;
- a ``v128`` result is stored at ``OUTPUT_OFFSET``, any other result is returned;
- some operators write memory: compare the whole exported ``memory`` as well. A trap is a result.

Source of names and signatures: WebAssembly Core Specification 3.0, sections 5.4 (instructions) and
appendix A.7 (index of instructions), with the threads and wide-arithmetic proposals.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

INPUT_OFFSET = 1024
"""Address of operand slot 0."""
SLOT_SIZE = 16
"""Bytes from one operand slot to the next."""
OUTPUT_OFFSET = 2048
"""Address a v128 result is stored at; also the target of the store shapes."""
COPY_OFFSET = 3072
"""Where operands are copied to: a second use, which keeps a load from folding into the operator."""
ADDRESS_MASK = 1023
"""Addresses made from a parameter are cut to this many bytes: always inside the first page."""

_INTEGERS = ("i32", "i64")
_FLOATS = ("f32", "f64")
_LANES = {"i8x16": 16, "i16x8": 8, "i32x4": 4, "i64x2": 2, "f32x4": 4, "f64x2": 2}
_LANE_TYPE = {
    "i8x16": "i32",
    "i16x8": "i32",
    "i32x4": "i32",
    "i64x2": "i64",
    "f32x4": "f32",
    "f64x2": "f64",
}
_SPLAT_LOAD = {
    "i8x16": "v128.load8_splat",
    "i16x8": "v128.load16_splat",
    "i32x4": "v128.load32_splat",
    "i64x2": "v128.load64_splat",
    "f32x4": "v128.load32_splat",
    "f64x2": "v128.load64_splat",
}
_SIDES = {1: ("",), 2: ("-lhs", "-rhs"), 3: ("-1st", "-2nd", "-3rd"), 4: ("-1", "-2", "-3", "-4")}


@dataclass(frozen=True, slots=True)
class OperatorFunction:
    """One exported function that exercises one operator in one shape.

    Attributes:
        name: stable export name, ``operator/shape``.
        operator: the operator's text-format name, for example ``i32x4.mul``.
        operands: value types of the operand slots in memory.
        outputs: value types produced, ``v128`` through memory, the others returned.
        body: WAT of the function's locals and instructions.
    """

    name: str
    operator: str
    operands: tuple[str, ...]
    outputs: tuple[str, ...]
    body: str

    @property
    def params(self) -> tuple[str, ...]:
        """Types of the plain parameters: every operand that is not a v128, in order."""
        return tuple(kind for kind in self.operands if kind != "v128")

    @property
    def results(self) -> tuple[str, ...]:
        """Types of the returned values: every output that is not a v128."""
        return tuple(kind for kind in self.outputs if kind != "v128")

    @property
    def relaxed(self) -> bool:
        """Whether the specification lets engines differ in this result (relaxed SIMD)."""
        return ".relaxed_" in self.body

    @property
    def atomic(self) -> bool:
        """Whether it needs the threads proposal, which wasmtime's Pulley does not support.

        Asking a Pulley engine for it (``wasm_threads``) ends the process with wasmtime 50.
        """
        return "atomic." in self.body

    @property
    def wat(self) -> str:
        """The whole function as WAT, exported under its name."""
        params = "".join(
            f" (param $a{index} {kind})"
            for index, kind in enumerate(self.operands)
            if kind != "v128"
        )
        results = "".join(f" (result {kind})" for kind in self.results)
        return f'(func (export "{self.name}"){params}{results}\n  {self.body})'


def _local(index: int) -> str:
    return f"(local.get $a{index})"


def _from_memory(kind: str, index: int) -> str:
    return f"({kind}.load offset={INPUT_OFFSET + SLOT_SIZE * index} (i32.const 0))"


def _apply(operator: str, arguments: Iterable[str]) -> str:
    return f"({' '.join([operator, *arguments])})"


def _function(
    name: str,
    operator: str,
    operands: tuple[str, ...],
    outputs: tuple[str, ...],
    expression: str,
) -> OperatorFunction:
    """Wraps an expression over ``$a0``, ``$a1`` in loads of v128 operands and result stores."""
    in_registers = [
        index
        for index, kind in enumerate(operands)
        if kind == "v128" and f"$a{index})" in expression
    ]
    lines = [f"(local $a{index} v128)" for index in in_registers]
    lines += [f"(local $r{index} {kind})" for index, kind in enumerate(outputs)]
    lines += [f"(local.set $a{i} {_from_memory('v128', i)})" for i in in_registers]
    lines.append(expression)
    lines += [f"(local.set $r{index})" for index in reversed(range(len(outputs)))]
    lines += [
        f"(v128.store offset={COPY_OFFSET + SLOT_SIZE * i} (i32.const 0) {_local(i)})"
        for i in in_registers
    ]
    for index, kind in enumerate(outputs):
        if kind == "v128":
            offset = OUTPUT_OFFSET + SLOT_SIZE * index
            lines.append(f"(v128.store offset={offset} (i32.const 0) (local.get $r{index}))")
        else:
            lines.append(f"(local.get $r{index})")
    return OperatorFunction(name, operator, operands, outputs, "\n  ".join(lines))


# --- signatures ------------------------------------------------------------------------------


def _signed(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}_{sign}" for name in names for sign in "su")


_INTEGER_ORDER = _signed("lt", "gt", "le", "ge")
_FLOAT_COMPARE = ("eq", "ne", "lt", "gt", "le", "ge")


def _scalar_signatures() -> Iterator[tuple[str, tuple[str, ...], str]]:
    for kind in _INTEGERS:
        for name in ("clz", "ctz", "popcnt", "extend8_s", "extend16_s"):
            yield f"{kind}.{name}", (kind,), kind
        yield f"{kind}.eqz", (kind,), "i32"
        for name in ("eq", "ne", *_INTEGER_ORDER):
            yield f"{kind}.{name}", (kind, kind), "i32"
        for name in ("add", "sub", "mul", "and", "or", "xor", "shl", "rotl", "rotr"):
            yield f"{kind}.{name}", (kind, kind), kind
        for name in _signed("div", "rem", "shr"):
            yield f"{kind}.{name}", (kind, kind), kind
        for source in _FLOATS:
            for name in _signed(f"trunc_{source}", f"trunc_sat_{source}"):
                yield f"{kind}.{name}", (source,), kind
    yield "i64.extend32_s", ("i64",), "i64"
    yield "i32.wrap_i64", ("i64",), "i32"
    for name in _signed("i64.extend_i32"):
        yield name, ("i32",), "i64"
    for kind in _FLOATS:
        for name in ("abs", "neg", "ceil", "floor", "trunc", "nearest", "sqrt"):
            yield f"{kind}.{name}", (kind,), kind
        for name in ("add", "sub", "mul", "div", "min", "max", "copysign"):
            yield f"{kind}.{name}", (kind, kind), kind
        for name in _FLOAT_COMPARE:
            yield f"{kind}.{name}", (kind, kind), "i32"
        for source in _INTEGERS:
            for name in _signed(f"{kind}.convert_{source}"):
                yield name, (source,), kind
    yield "f32.demote_f64", ("f64",), "f32"
    yield "f64.promote_f32", ("f32",), "f64"
    for target, source in (("i32", "f32"), ("i64", "f64"), ("f32", "i32"), ("f64", "i64")):
        yield f"{target}.reinterpret_{source}", (source,), target


def _simd_names() -> Iterator[tuple[str, int, str]]:
    """Yields (operator, number of v128 operands, result type) for operators on v128 alone."""
    for shape in ("i8x16", "i16x8", "i32x4", "i64x2"):
        for name in ("abs", "neg"):
            yield f"{shape}.{name}", 1, "v128"
        for name in ("all_true", "bitmask"):
            yield f"{shape}.{name}", 1, "i32"
        order = _INTEGER_ORDER if shape != "i64x2" else ("lt_s", "gt_s", "le_s", "ge_s")
        for name in ("add", "sub", "eq", "ne", *order):
            yield f"{shape}.{name}", 2, "v128"
        if shape != "i64x2":
            for name in _signed("min", "max"):
                yield f"{shape}.{name}", 2, "v128"
        if shape != "i8x16":
            yield f"{shape}.mul", 2, "v128"
        yield f"{shape}.relaxed_laneselect", 3, "v128"
    for shape, half in (("i8x16", "i16x8"), ("i16x8", "i32x4")):
        for name in (*_signed("add_sat", "sub_sat"), "avgr_u", *_signed(f"narrow_{half}")):
            yield f"{shape}.{name}", 2, "v128"
    for shape, half in (("i16x8", "i8x16"), ("i32x4", "i16x8"), ("i64x2", "i32x4")):
        for name in _signed(f"extend_low_{half}", f"extend_high_{half}"):
            yield f"{shape}.{name}", 1, "v128"
        for name in _signed(f"extmul_low_{half}", f"extmul_high_{half}"):
            yield f"{shape}.{name}", 2, "v128"
        if shape != "i64x2":
            for name in _signed(f"extadd_pairwise_{half}"):
                yield f"{shape}.{name}", 1, "v128"
    yield "i8x16.popcnt", 1, "v128"
    yield "i8x16.swizzle", 2, "v128"
    yield "i8x16.relaxed_swizzle", 2, "v128"
    yield "i16x8.q15mulr_sat_s", 2, "v128"
    yield "i16x8.relaxed_q15mulr_s", 2, "v128"
    yield "i16x8.relaxed_dot_i8x16_i7x16_s", 2, "v128"
    yield "i32x4.relaxed_dot_i8x16_i7x16_add_s", 3, "v128"
    yield "i32x4.dot_i16x8_s", 2, "v128"
    for prefix in ("trunc_sat", "relaxed_trunc"):
        for name in (*_signed(f"{prefix}_f32x4"),):
            yield f"i32x4.{name}", 1, "v128"
        for name in _signed(f"{prefix}_f64x2"):
            yield f"i32x4.{name}_zero", 1, "v128"
    for shape in ("f32x4", "f64x2"):
        for name in ("ceil", "floor", "trunc", "nearest", "abs", "neg", "sqrt"):
            yield f"{shape}.{name}", 1, "v128"
        for name in ("add", "sub", "mul", "div", "min", "max", "pmin", "pmax", *_FLOAT_COMPARE):
            yield f"{shape}.{name}", 2, "v128"
        for name in ("relaxed_min", "relaxed_max"):
            yield f"{shape}.{name}", 2, "v128"
        for name in ("relaxed_madd", "relaxed_nmadd"):
            yield f"{shape}.{name}", 3, "v128"
    for name in _signed("f32x4.convert_i32x4", "f64x2.convert_low_i32x4"):
        yield name, 1, "v128"
    yield "f32x4.demote_f64x2_zero", 1, "v128"
    yield "f64x2.promote_low_f32x4", 1, "v128"
    yield "v128.not", 1, "v128"
    for name in ("and", "andnot", "or", "xor"):
        yield f"v128.{name}", 2, "v128"
    yield "v128.bitselect", 3, "v128"
    yield "v128.any_true", 1, "i32"


def _simd_signatures() -> Iterator[tuple[str, tuple[str, ...], str]]:
    for operator, count, result in _simd_names():
        yield operator, ("v128",) * count, result
    for shape in ("i8x16", "i16x8", "i32x4", "i64x2"):
        for name in ("shl", "shr_s", "shr_u"):
            yield f"{shape}.{name}", ("v128", "i32"), "v128"
    for shape, lane in _LANE_TYPE.items():
        yield f"{shape}.splat", (lane,), "v128"


# --- shapes of plain value operators -----------------------------------------------------------

_SCALAR_CONSTANTS = {
    "i32": {"": "5", "-zero": "0", "-one": "1", "-ones": "-1", "-pow2": "16", "-imm32": "123456789",
            "-negative": "-7", "-min": "0x80000000", "-seven": "7", "-width": "31",
            "-ff": "255", "-ffff": "65535", "-imm8": "-128", "-odd": "25", "-3": "3", "-9": "9"},
    "i64": {"": "5", "-zero": "0", "-one": "1", "-ones": "-1", "-pow2": "16", "-imm32": "123456789",
            "-negative": "-7", "-min": "0x8000000000000000", "-seven": "7", "-width": "63",
            "-ff": "255", "-ffff": "65535", "-low32": "0xffffffff", "-imm64": "0x123456789abcdef0",
            "-pow2-40": "0x10000000000", "-bit32": "0x80000000", "-3": "3", "-9": "9"},
    "f32": {"": "1.5", "-zero": "0", "-minus-zero": "-0", "-one": "1", "-two": "2",
            "-inf": "inf", "-nan": "nan"},
    "f64": {"": "1.5", "-zero": "0", "-minus-zero": "-0", "-one": "1", "-two": "2",
            "-inf": "inf", "-nan": "nan"},
}  # fmt: skip
_VECTOR_CONSTANTS = {
    "": "i32x4 0x01234567 0x89abcdef 0x00112233 0xc4d5e6f7",
    "-zero": "i64x2 0 0",
    "-ones": "i64x2 -1 -1",
    "-bytes": "i8x16 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15",
    "-high-bits": "i8x16 128 0 128 0 128 0 128 0 128 0 128 0 128 0 128 0",
    "-lanes16": "i16x8 1 -1 2 -2 300 -300 32767 -32768",
    "-ones16": "i16x8 1 1 1 1 1 1 1 1",
    "-ones8": "i8x16 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
    "-splat8": "i8x16 3 3 3 3 3 3 3 3 3 3 3 3 3 3 3 3",
    "-splat32": "i32x4 7 7 7 7",
    "-splat64": "i64x2 9 9",
    "-low32": "i64x2 0xffffffff 0xffffffff",
    "-floats": "f32x4 1.5 -2.5 nan 0",
    "-doubles": "f64x2 1.5 -2.5",
}


def _constants(kind: str) -> Iterator[tuple[str, str]]:
    if kind == "v128":
        for label, value in _VECTOR_CONSTANTS.items():
            yield label, f"(v128.const {value})"
    else:
        for label, value in _SCALAR_CONSTANTS[kind].items():
            yield label, f"({kind}.const {value})"


def _splat_shapes(operator: str) -> tuple[str, ...]:
    prefix = operator.partition(".")[0]
    return ("i8x16", "i64x2") if prefix == "v128" else (prefix,)


def _scalar_uses(kind: str, value: str) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Yields (shape, outputs, expression) for consumers a scalar result may fuse with."""
    truth = value if kind == "i32" else _apply(f"{kind}.ne", (value, f"({kind}.const 0)"))
    if kind in _INTEGERS:
        # The arms come from memory, so that select and branch do not turn into arithmetic.
        i, j = _from_memory("i32", 6), _from_memory("i32", 7)
        yield "if", ("i32",), f"(if (result i32) {truth} (then (call $seven)) (else {j}))"
        yield "br_if", (), f"(block (br_if 0 {truth}) (call $poke))"
        yield "select", ("i32",), f"(select {i} {j} {truth})"
        for arm in ("i64", "f32", "f64", "v128"):
            arms = (_from_memory(arm, 6), _from_memory(arm, 7))
            yield f"select-{arm}", (arm,), _apply("select", (*arms, truth))
        yield "eqz", ("i32",), _apply(f"{kind}.eqz", (value,))
        yield "eqz-if", (), f"(block (br_if 0 ({kind}.eqz {value})) (call $poke))"
        yield (
            "negative-if",
            (),
            (f"(block (br_if 0 ({kind}.lt_s {value} ({kind}.const 0))) (call $poke))"),
        )
    yield "store", (), f"({kind}.store offset={OUTPUT_OFFSET} (i32.const 0) {value})"


def _vector_uses(shape: str, value: str) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Yields (shape, outputs, expression) for consumers a v128 result may fuse with."""
    six, seven = _from_memory("v128", 6), _from_memory("v128", 7)
    yield "not", ("v128",), f"(v128.not {value})"
    yield "bitselect-mask", ("v128",), f"(v128.bitselect {six} {seven} {value})"
    yield "any_true-if", (), f"(block (br_if 0 (v128.any_true {value})) (call $poke))"
    if shape in ("i8x16", "i16x8", "i32x4", "i64x2"):
        yield "all_true-if", (), f"(block (br_if 0 ({shape}.all_true {value})) (call $poke))"
        yield "bitmask", ("i32",), f"({shape}.bitmask {value})"
    yield "extract", ("i64",), f"(i64x2.extract_lane 1 {value})"
    yield "select", ("v128",), f"(select {value} {six} {_from_memory('i32', 5)})"


def _value_shapes(
    operator: str, operands: tuple[str, ...], result: str
) -> Iterator[OperatorFunction]:
    def make(shape: str, expression: str, outputs: tuple[str, ...] = (result,)) -> OperatorFunction:
        return _function(f"{operator}/{shape}", operator, operands, outputs, expression)

    plain = [_local(index) for index in range(len(operands))]
    value = _apply(operator, plain)
    sides = _SIDES[len(operands)]
    yield make("param", value)
    for index, kind in enumerate(operands):
        swapped = list(plain)
        swapped[index] = _from_memory(kind, index)
        yield make(f"load{sides[index]}", _apply(operator, swapped))
        for label, constant in _constants(kind):
            swapped[index] = constant
            yield make(f"const{sides[index]}{label}", _apply(operator, swapped))
        if kind == "v128":
            for shape in _splat_shapes(operator):
                lane = _LANE_TYPE[shape]
                offset = INPUT_OFFSET + SLOT_SIZE * index
                scalar = f"({lane}.load offset={offset} (i32.const 4))"
                swapped[index] = f"({shape}.splat {scalar})"
                yield make(f"splat{sides[index]}-{shape}", _apply(operator, swapped))
                swapped[index] = f"({_SPLAT_LOAD[shape]} offset={offset} (i32.const 0))"
                yield make(f"load-splat{sides[index]}-{shape}", _apply(operator, swapped))
    if len(operands) > 1:
        loads = [_from_memory(kind, index) for index, kind in enumerate(operands)]
        yield make("load-all", _apply(operator, loads))
        if len(set(operands)) == 1:
            yield make("same", _apply(operator, [plain[0]] * len(operands)))
    if result == "v128":
        uses = _vector_uses(operator.partition(".")[0], value)
    else:
        uses = _scalar_uses(result, value)
    for shape, outputs, expression in uses:
        yield make(shape, expression, outputs)
    if operands[0] == result and result in _INTEGERS:
        # store(op(load)) at one address: the read-modify-write form of an ALU instruction.
        target = f"offset={OUTPUT_OFFSET} (i32.const 0)"
        for bits in ("", "8", "16", "32"):
            if bits == "32" and result == "i32":
                continue
            load = f"{result}.load{bits}_u" if bits else f"{result}.load"
            loaded = f"({load} {target})"
            updated = _apply(operator, [loaded, *plain[1:]])
            yield make(f"read-modify-write{bits}", f"({result}.store{bits} {target} {updated})", ())
            constant = _apply(operator, [loaded, *[f"({result}.const 3)"] * (len(plain) - 1)])
            yield make(
                f"read-modify-write{bits}-const", f"({result}.store{bits} {target} {constant})", ()
            )
    if result == "i32" and operands == ("i32", "i32"):
        for bits in ("8", "16"):
            for sign in "su":
                narrow = [
                    f"(i32.load{bits}_{sign} offset={INPUT_OFFSET + SLOT_SIZE * i} (i32.const 0))"
                    for i in range(2)
                ]
                yield make(f"load{bits}_{sign}", _apply(operator, narrow))
                yield make(f"load{bits}_{sign}-rhs", _apply(operator, [plain[0], narrow[1]]))
            mask = "255" if bits == "8" else "65535"
            masked = [f"(i32.and {argument} (i32.const {mask}))" for argument in plain]
            yield make(f"masked{bits}", _apply(operator, masked))
            extended = [f"(i32.extend{bits}_s {argument})" for argument in plain]
            yield make(f"extended{bits}", _apply(operator, extended))


# --- memory, lanes, shuffles -------------------------------------------------------------------

_ADDRESSES = {
    "const": "(i32.const 0)",
    "index": f"(i32.and (local.get $a0) (i32.const {ADDRESS_MASK}))",
    "scaled": "(i32.shl (i32.and (local.get $a0) (i32.const 31)) (i32.const 3))",
    "sum": "(i32.add (i32.and (local.get $a0) (i32.const 63)) (i32.const 17))",
}


def _narrow_bits(kind: str) -> tuple[str, ...]:
    return {"i32": ("8", "16"), "i64": ("8", "16", "32")}.get(kind, ())


def _memory_functions() -> Iterator[OperatorFunction]:
    loads: list[tuple[str, str]] = []
    stores: list[tuple[str, str]] = []
    for kind in (*_INTEGERS, *_FLOATS, "v128"):
        loads.append((f"{kind}.load", kind))
        stores.append((f"{kind}.store", kind))
        for bits in _narrow_bits(kind):
            loads += [(f"{kind}.load{bits}_{sign}", kind) for sign in "su"]
            stores.append((f"{kind}.store{bits}", kind))
    loads += [(f"v128.load{bits}_splat", "v128") for bits in (8, 16, 32, 64)]
    loads += [(f"v128.load{bits}_zero", "v128") for bits in (32, 64)]
    loads += [
        (f"v128.load{lanes}_{sign}", "v128") for lanes in ("8x8", "16x4", "32x2") for sign in "su"
    ]
    for operator, kind in loads:
        for label, address in _ADDRESSES.items():
            value = f"({operator} offset={INPUT_OFFSET} {address})"
            yield _function(f"{operator}/{label}", operator, ("i32",), (kind,), value)
        plain = f"({operator} offset={INPUT_OFFSET} (i32.const 0))"
        uses = _vector_uses("i16x8", plain) if kind == "v128" else _scalar_uses(kind, plain)
        for shape, outputs, expression in uses:
            yield _function(f"{operator}/{shape}", operator, ("i32",), outputs, expression)
        if kind in _INTEGERS:
            for target in _FLOATS:
                for sign in "su":
                    name = f"{target}.convert_{kind}_{sign}"
                    yield _function(
                        f"{operator}/{name}", operator, ("i32",), (target,), f"({name} {plain})"
                    )
        if kind == "i32":
            for name in ("i64.extend_i32_s", "i64.extend_i32_u"):
                yield _function(
                    f"{operator}/{name}", operator, ("i32",), ("i64",), f"({name} {plain})"
                )
    for operator, kind in stores:
        for label, address in _ADDRESSES.items():
            stored = f"({operator} offset={OUTPUT_OFFSET} {address} (local.get $a1))"
            yield _function(f"{operator}/{label}", operator, ("i32", kind), (), stored)
        for label, constant in _constants(kind):
            stored = f"({operator} offset={OUTPUT_OFFSET} (i32.const 0) {constant})"
            yield _function(f"{operator}/value{label}", operator, ("i32", kind), (), stored)


def _lane_functions() -> Iterator[OperatorFunction]:
    for shape, lanes in _LANES.items():
        lane = _LANE_TYPE[shape]
        signs = ("_s", "_u") if shape in ("i8x16", "i16x8") else ("",)
        bits = {"i8x16": "8", "i16x8": "16"}.get(shape, "")
        for n in range(lanes):
            for sign in signs:
                operator = f"{shape}.extract_lane{sign}"
                immediate = f"{operator} {n}"
                value = f"({immediate} (local.get $a0))"
                one = ("v128",)
                yield _function(f"{operator}/param-{n}", operator, one, (lane,), value)
                loaded = f"({immediate} {_from_memory('v128', 0)})"
                yield _function(f"{operator}/load-{n}", operator, one, (lane,), loaded)
                stored = f"({lane}.store{bits} offset={OUTPUT_OFFSET} (i32.const 0) {value})"
                yield _function(f"{operator}/store-{n}", operator, one, (), stored)
                again = f"({shape}.splat {value})"
                yield _function(f"{operator}/splat-{n}", operator, one, ("v128",), again)
                if lane in _INTEGERS:
                    widened = value if lane == "i64" else f"(i64.extend_i32_u {value})"
                    yield _function(f"{operator}/widen-{n}", operator, one, ("i64",), widened)
            operator = f"{shape}.replace_lane"
            two = ("v128", lane)
            narrow = f"{lane}.load{bits}{'_u' if bits else ''}"
            offset = INPUT_OFFSET + SLOT_SIZE
            sources = {
                "param": "(local.get $a1)",
                "load": f"({narrow} offset={offset} (i32.const 0))",
                "zero": f"({lane}.const 0)",
                "const": f"({lane}.const 3)",
                "extract": f"({shape}.extract_lane{signs[0]} 0 {_from_memory('v128', 2)})",
                "extract-last": (
                    f"({shape}.extract_lane{signs[0]} {lanes - 1} {_from_memory('v128', 2)})"
                ),
            }
            for label, source in sources.items():
                value = f"({operator} {n} (local.get $a0) {source})"
                name = f"{operator}/{label}-{n}"
                yield _function(name, operator, (*two, "v128"), ("v128",), value)
            value = f"({operator} {n} (v128.const i64x2 0 0) (local.get $a1))"
            yield _function(f"{operator}/into-zero-{n}", operator, two, ("v128",), value)
            value = f"({operator} {n} {_from_memory('v128', 0)} (local.get $a1))"
            yield _function(f"{operator}/load-vector-{n}", operator, two, ("v128",), value)
    for bits_wide in (8, 16, 32, 64):
        for n in range(128 // bits_wide):
            address = f"offset={OUTPUT_OFFSET}"
            for label, index in (("const", "(i32.const 0)"), ("index", _ADDRESSES["index"])):
                operator = f"v128.load{bits_wide}_lane"
                value = f"({operator} {address} {n} {index} (local.get $a1))"
                name = f"{operator}/{label}-{n}"
                yield _function(name, operator, ("i32", "v128"), ("v128",), value)
                operator = f"v128.store{bits_wide}_lane"
                value = f"({operator} {address} {n} {index} (local.get $a1))"
                name = f"{operator}/{label}-{n}"
                yield _function(name, operator, ("i32", "v128"), (), value)


def _lanes_to_bytes(width: int, lanes: Iterable[int]) -> tuple[int, ...]:
    return tuple(lane * width + byte for lane in lanes for byte in range(width))


def shuffle_masks() -> dict[str, tuple[int, ...]]:
    """Named masks for ``i8x16.shuffle``, one for each pattern an x86 shuffle instruction covers.

    Returns:
        Mask name to 16 byte indices, 0 to 15 from the first operand, 16 to 31 from the second.
    """
    masks: dict[str, tuple[int, ...]] = {
        "identity": tuple(range(16)),
        "second": tuple(range(16, 32)),
        "reverse": tuple(reversed(range(16))),
        "reverse-second": tuple(reversed(range(16, 32))),
        "general-one": (3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3),
        "general-two": (3, 17, 4, 17, 5, 25, 2, 22, 5, 19, 5, 24, 9, 23, 9, 30),
        "even-bytes": tuple(range(0, 32, 2)),
        "odd-bytes": tuple(range(1, 32, 2)),
        "even-words": _lanes_to_bytes(2, range(0, 16, 2)),
        "odd-words": _lanes_to_bytes(2, range(1, 16, 2)),
        "blend-bytes": tuple(i + 16 * (i % 2) for i in range(16)),
        "blend-bytes-uneven": tuple(i + 16 * (i in (1, 5, 6, 11)) for i in range(16)),
        "pblendw": _lanes_to_bytes(2, (0, 9, 2, 3, 12, 5, 14, 7)),
        "blendps": _lanes_to_bytes(4, (0, 5, 2, 7)),
        "blendps-one": _lanes_to_bytes(4, (4, 1, 2, 3)),
        "blendpd": _lanes_to_bytes(8, (0, 3)),
        "movsd": _lanes_to_bytes(8, (2, 1)),
        "shufpd-1": _lanes_to_bytes(8, (1, 2)),
        "shufpd-3": _lanes_to_bytes(8, (1, 3)),
        "shufpd-swapped": _lanes_to_bytes(8, (3, 0)),
        "swap-quads": _lanes_to_bytes(8, (1, 0)),
        "movlhps": _lanes_to_bytes(8, (0, 2)),
        "movhlps": _lanes_to_bytes(8, (3, 1)),
        "shufps": _lanes_to_bytes(4, (3, 1, 6, 4)),
        "shufps-swapped": _lanes_to_bytes(4, (6, 4, 3, 1)),
        "shufps-even": _lanes_to_bytes(4, (0, 2, 4, 6)),
        "shufps-odd": _lanes_to_bytes(4, (1, 3, 5, 7)),
        "mixed-dwords": _lanes_to_bytes(4, (0, 5, 6, 1)),
        "pshufd-rotate": _lanes_to_bytes(4, (1, 2, 3, 0)),
        "pshufd-reverse": _lanes_to_bytes(4, (3, 2, 1, 0)),
        "pshufd-second": _lanes_to_bytes(4, (7, 5, 6, 4)),
        "movsldup": _lanes_to_bytes(4, (0, 0, 2, 2)),
        "movshdup": _lanes_to_bytes(4, (1, 1, 3, 3)),
        "pshuflw": _lanes_to_bytes(2, (3, 2, 1, 0, 4, 5, 6, 7)),
        "pshufhw": _lanes_to_bytes(2, (0, 1, 2, 3, 7, 5, 6, 4)),
        "pshuflw-second": _lanes_to_bytes(2, (11, 10, 9, 8, 12, 13, 14, 15)),
        "pshufhw-second": _lanes_to_bytes(2, (8, 9, 10, 11, 15, 13, 14, 12)),
        "swap-bytes-16": tuple(i ^ 1 for i in range(16)),
        "swap-bytes-32": tuple(i ^ 3 for i in range(16)),
        "swap-bytes-64": tuple(i ^ 7 for i in range(16)),
        "swap-words": _lanes_to_bytes(2, (1, 0, 3, 2, 5, 4, 7, 6)),
        "rotate-dwords-8": tuple(4 * (i // 4) + (i + 1) % 4 for i in range(16)),
        "low-byte-of-dwords": tuple(range(0, 32, 4)) * 2,
    }
    for width in (1, 2, 4, 8):
        half = 8 // width
        low = [
            lane
            for pair in zip(range(half), range(2 * half, 3 * half), strict=False)
            for lane in pair
        ]
        high = [lane + half for lane in low]
        masks[f"unpck-low-{8 * width}"] = _lanes_to_bytes(width, low)
        masks[f"unpck-high-{8 * width}"] = _lanes_to_bytes(width, high)
        flip = 2 * half
        masks[f"unpck-low-{8 * width}-swapped"] = _lanes_to_bytes(width, [n ^ flip for n in low])
        masks[f"unpck-high-{8 * width}-swapped"] = _lanes_to_bytes(width, [n ^ flip for n in high])
        same = [lane % flip for lane in low]
        masks[f"unpck-low-{8 * width}-same"] = _lanes_to_bytes(width, same)
        masks[f"unpck-high-{8 * width}-same"] = _lanes_to_bytes(width, [n + half for n in same])
        for lane in (0, 1, 2 * half - 1, 2 * half, 4 * half - 1):
            masks[f"broadcast-{8 * width}-{lane}"] = _lanes_to_bytes(width, [lane] * (2 * half))
    for shift in range(1, 16):
        masks[f"palignr-{shift}"] = tuple(range(shift, shift + 16))
        masks[f"palignr-{shift}-swapped"] = tuple((i + 16) % 32 for i in range(shift, shift + 16))
        masks[f"rotate-{shift}"] = tuple(i % 16 for i in range(shift, shift + 16))
    return masks


def _shuffle_functions() -> Iterator[OperatorFunction]:
    operator = "i8x16.shuffle"
    operands = ("v128", "v128")
    zero = "(v128.const i64x2 0 0)"
    for label, mask in shuffle_masks().items():
        immediate = f"{operator} {' '.join(map(str, mask))}"
        arguments = {
            "": (_local(0), _local(1)),
            "-load-lhs": (_from_memory("v128", 0), _local(1)),
            "-load-rhs": (_local(0), _from_memory("v128", 1)),
            "-one-operand": (_local(0), _local(0)),
            "-zero-lhs": (zero, _local(1)),
            "-zero-rhs": (_local(0), zero),
        }
        for source, pair in arguments.items():
            value = _apply(immediate, pair)
            yield _function(f"{operator}/{label}{source}", operator, operands, ("v128",), value)


# --- combinations a compiler may fuse ------------------------------------------------------------


# Name, operand types, result type, expression; the name's first part is the operator.
_Combination = tuple[str, tuple[str, ...], str, str]


def _integer_combinations(t: str) -> Iterator[_Combination]:
    x, y, z = (f"(local.get $a{i})" for i in range(3))
    m = _from_memory(t, 0)
    n = _from_memory(t, 1)
    one, minus_one, zero = (f"({t}.const {c})" for c in (1, -1, 0))
    two, three = (t, t), (t, t, t)
    minus_x = f"({t}.sub {zero} {x})"
    for label, v in (("", x), ("-load", m)):
        yield f"and/blsr{label}", (t,), t, f"({t}.and {v} ({t}.sub {v} {one}))"
        yield (
            f"and/blsr-add{label}",
            (t,),
            t,
            f"({t}.and ({t}.add {v} {minus_one}) {v})",
        )
        yield f"and/blsi{label}", (t,), t, f"({t}.and {v} ({t}.sub {zero} {v}))"
        yield f"xor/blsmsk{label}", (t,), t, f"({t}.xor {v} ({t}.sub {v} {one}))"
        yield (
            f"xor/blsmsk-add{label}",
            (t,),
            t,
            f"({t}.xor ({t}.add {v} {minus_one}) {v})",
        )
    yield "and/blsi-swapped", (t,), t, f"({t}.and {minus_x} {x})"
    yield "and/blsr-test", (t,), "i32", f"({t}.eqz ({t}.and {x} ({t}.sub {x} {one})))"
    not_x, not_y = (f"({t}.xor {v} {minus_one})" for v in (x, y))
    for label, v, w in (("", x, y), ("-load", x, n), ("-load-not", m, y)):
        inverted = f"({t}.xor {v} {minus_one})"
        yield f"and/andn{label}", two, t, f"({t}.and {inverted} {w})"
        yield f"and/andn-rhs{label}", two, t, f"({t}.and {w} {inverted})"
        yield f"or/orn{label}", two, t, f"({t}.or {w} {inverted})"
        yield f"xor/xnor{label}", two, t, f"({t}.xor {w} {inverted})"
    yield "and/nor", two, t, f"({t}.and {not_x} {not_y})"
    yield "and/andn-test", two, "i32", f"({t}.eqz ({t}.and {not_x} {y}))"
    yield (
        "and/test-bit",
        two,
        "i32",
        (f"({t}.ne ({t}.and {x} ({t}.shl {one} {y})) {zero})"),
    )
    yield "and/bzhi", two, t, (f"({t}.and {x} ({t}.sub ({t}.shl {one} {y}) {one}))")
    yield (
        "and/bzhi-load",
        two,
        t,
        (f"({t}.and {m} ({t}.sub ({t}.shl {one} {y}) {one}))"),
    )
    yield (
        "and/bzhi-add",
        two,
        t,
        (f"({t}.and {x} ({t}.add ({t}.shl {one} {y}) {minus_one}))"),
    )
    yield (
        "and/bzhi-swapped",
        two,
        t,
        (f"({t}.and ({t}.sub ({t}.shl {one} {y}) {one}) {x})"),
    )
    yield "and/bextr", two, t, f"({t}.and ({t}.shr_u {x} {y}) ({t}.const 63))"
    yield (
        "add/lea",
        two,
        t,
        f"({t}.add ({t}.add {x} ({t}.shl {y} ({t}.const 3))) ({t}.const 40))",
    )
    yield "add/three", three, t, f"({t}.add ({t}.add {x} {y}) {z})"
    yield "sub/neg", (t,), t, minus_x
    yield "xor/not", (t,), t, not_x
    yield "mul/add", three, t, f"({t}.add ({t}.mul {x} {y}) {z})"
    yield "mul/load-imm", (t,), t, f"({t}.mul {m} ({t}.const 1000))"
    yield (
        "popcnt/of-trailing-ones",
        (t,),
        t,
        (f"({t}.popcnt ({t}.sub ({t}.and {x} {minus_x}) {one}))"),
    )
    # A shift by a masked or negated amount needs no mask on x86: SHLX takes the count as it is.
    width = "31" if t == "i32" else "63"
    for name in ("shl", "shr_s", "shr_u", "rotl", "rotr"):
        yield (
            f"{name}/masked",
            two,
            t,
            (f"({t}.{name} {x} ({t}.and {y} ({t}.const {width})))"),
        )
        yield f"{name}/by-negated", two, t, f"({t}.{name} {x} ({t}.sub {zero} {y}))"
        for amount in (1, 2, 7, 8, 16, 24, 31):
            for label, v in (("", x), ("-load", m)):
                yield (
                    f"{name}/by-{amount}{label}",
                    (t,),
                    t,
                    (f"({t}.{name} {v} ({t}.const {amount}))"),
                )
        yield f"{name}/load-by-load", two, t, f"({t}.{name} {m} {n})"
    yield (
        "or/rotl-from-shifts",
        two,
        t,
        (f"({t}.or ({t}.shl {x} ({t}.const 5)) ({t}.shr_u {x} ({t}.const {int(width) - 4})))"),
    )
    yield (
        "or/shld",
        two,
        t,
        (f"({t}.or ({t}.shl {x} ({t}.const 5)) ({t}.shr_u {y} ({t}.const {int(width) - 4})))"),
    )
    for relation in ("lt_s", "lt_u", "gt_s", "gt_u"):
        yield (
            f"{relation}/min-max",
            two,
            t,
            (f"(select {x} {y} ({t}.{relation} {x} {y}))"),
        )
        both = f"(i32.and ({t}.{relation} {x} {y}) ({t}.ne {y} {z}))"
        yield (
            f"{relation}/and-ne",
            three,
            "i32",
            f"(select (i32.const 4) (i32.const 9) {both})",
        )
    yield "lt_s/abs", (t,), t, f"(select {minus_x} {x} ({t}.lt_s {x} {zero}))"
    yield (
        "div_u/with-rem",
        two,
        t,
        (f"({t}.add ({t}.div_u {x} {y}) ({t}.rem_u {x} {y}))"),
    )
    yield "clz/of-or", (t,), t, f"({t}.clz ({t}.or {x} {one}))"
    yield "ctz/of-or", (t,), t, f"({t}.ctz ({t}.or {x} ({t}.const 256)))"
    # Byte swap written out with shifts and masks.
    if t == "i32":
        yield (
            "or/bswap",
            ("i32",),
            "i32",
            (
                f"(i32.or (i32.or (i32.shl {x} (i32.const 24))"
                f" (i32.shl (i32.and {x} (i32.const 0xff00)) (i32.const 8)))"
                f" (i32.or (i32.and (i32.shr_u {x} (i32.const 8)) (i32.const 0xff00))"
                f" (i32.shr_u {x} (i32.const 24))))"
            ),
        )


def _wide_combinations() -> Iterator[_Combination]:
    x, y = "(local.get $a0)", "(local.get $a1)"
    two = ("i64", "i64")
    for sign in "su":
        a = f"(i64.extend_i32_{sign} (i32.wrap_i64 {x}))"
        b = f"(i64.extend_i32_{sign} (i32.wrap_i64 {y}))"
        yield (
            f"i64.mul/high32_{sign}",
            two,
            "i64",
            (f"(i64.shr_{sign} (i64.mul {a} {b}) (i64.const 32))"),
        )
        yield f"i64.mul/extended_{sign}", two, "i64", f"(i64.mul {a} {b})"
    yield "i64.and/low32", two, "i64", f"(i64.and {x} (i64.const 0xffffffff))"
    yield "i64.add/carry", two, "i32", f"(i64.lt_u (i64.add {x} {y}) {x})"
    yield "i64.sub/borrow", two, "i32", f"(i64.gt_u (i64.sub {x} {y}) {x})"


def _float_combinations(t: str) -> Iterator[_Combination]:
    x, y, z = (f"(local.get $a{i})" for i in range(3))
    loads = [_from_memory(t, i) for i in range(3)]
    three = (t, t, t)
    integer = t.replace("f", "i")
    for name in ("add", "sub"):
        yield f"{name}/mul", three, t, f"({t}.{name} ({t}.mul {x} {y}) {z})"
        yield f"{name}/mul-rhs", three, t, f"({t}.{name} {z} ({t}.mul {x} {y}))"
        yield (
            f"{name}/mul-load",
            three,
            t,
            (f"({t}.{name} ({t}.mul {x} {loads[1]}) {loads[2]})"),
        )
    yield "neg/abs", (t,), t, f"({t}.neg ({t}.abs {x}))"
    yield "div/sqrt", (t,), t, f"({t}.div ({t}.const 1) ({t}.sqrt {x}))"
    yield "copysign/neg", (t, t), t, f"({t}.copysign {x} ({t}.neg {y}))"
    for relation in ("lt", "gt", "le", "ge"):
        yield (
            f"{relation}/select",
            (t, t),
            t,
            (f"(select {x} {y} ({t}.{relation} {x} {y}))"),
        )
        yield (
            f"{relation}/select-swapped",
            (t, t),
            t,
            (f"(select {y} {x} ({t}.{relation} {x} {y}))"),
        )
        yield (
            f"{relation}/select-load",
            (t, t),
            t,
            (f"(select {loads[0]} {loads[1]} ({t}.{relation} {loads[0]} {loads[1]}))"),
        )
    bits = f"({integer}.reinterpret_{t} {x})"
    mask = "0x7fffffff" if t == "f32" else "0x7fffffffffffffff"
    yield (
        f"reinterpret_{integer}/abs",
        (t,),
        t,
        (f"({t}.reinterpret_{integer} ({integer}.and {bits} ({integer}.const {mask})))"),
    )
    yield "convert_i64_s/of-trunc_sat", (t,), t, f"({t}.convert_i64_s (i64.trunc_sat_{t}_s {x}))"


def _vector_combinations() -> Iterator[_Combination]:
    x, y, z = (f"(local.get $a{i})" for i in range(3))
    m = _from_memory("v128", 0)
    n = _from_memory("v128", 1)
    v1, v2, v3 = ("v128",), ("v128",) * 2, ("v128",) * 3
    logic = ("and", "or", "xor", "andnot")
    for outer in logic:
        for inner in logic:
            for label, a, c in (("", x, z), ("-load", x, _from_memory("v128", 2))):
                yield (
                    f"v128.{outer}/{inner}{label}",
                    v3,
                    "v128",
                    (f"(v128.{outer} (v128.{inner} {a} {y}) {c})"),
                )
            yield (
                f"v128.{outer}/{inner}-rhs",
                v3,
                "v128",
                (f"(v128.{outer} {z} (v128.{inner} {x} {y}))"),
            )
            yield (
                f"v128.{outer}/not-{inner}",
                v3,
                "v128",
                (f"(v128.{outer} (v128.not (v128.{inner} {x} {y})) {z})"),
            )
    for outer in logic:
        yield (
            f"v128.{outer}/not-lhs",
            v2,
            "v128",
            f"(v128.{outer} (v128.not {x}) {y})",
        )
        yield (
            f"v128.{outer}/not-rhs",
            v2,
            "v128",
            f"(v128.{outer} {x} (v128.not {y}))",
        )
        yield (
            f"v128.{outer}/not-load",
            v2,
            "v128",
            f"(v128.{outer} {m} (v128.not {n}))",
        )
    yield (
        "v128.or/bitselect",
        v3,
        "v128",
        (f"(v128.or (v128.and {x} {z}) (v128.andnot {y} {z}))"),
    )
    yield (
        "v128.xor/bitselect",
        v3,
        "v128",
        (f"(v128.xor (v128.and (v128.xor {x} {y}) {z}) {y})"),
    )
    ints = ("i8x16", "i16x8", "i32x4", "i64x2")
    for s in ints:
        order: tuple[str, ...] = ("eq", "ne", "lt_s", "gt_s", "le_s", "ge_s")
        if s != "i64x2":
            order += ("lt_u", "gt_u", "le_u", "ge_u")
        for relation in order:
            compared = f"({s}.{relation} {x} {y})"
            yield (
                f"{s}.{relation}/min-max",
                v2,
                "v128",
                (f"(v128.bitselect {x} {y} {compared})"),
            )
            yield (
                f"{s}.{relation}/laneselect",
                v3,
                "v128",
                (f"({s}.relaxed_laneselect {x} {z} {compared})"),
            )
            yield f"{s}.{relation}/and", v3, "v128", f"(v128.and {compared} {z})"
            yield (
                f"{s}.{relation}/bitmask-select",
                v2,
                "i32",
                (f"(select (i32.const 3) (i32.const 8) ({s}.bitmask {compared}))"),
            )
        yield f"{s}.sub/neg", v1, "v128", f"({s}.sub (v128.const i64x2 0 0) {x})"
        yield f"{s}.abs/of-sub", v2, "v128", f"({s}.abs ({s}.sub {x} {y}))"
        yield (
            f"{s}.all_true/select",
            v1,
            "i32",
            (f"(select (i32.const 3) (i32.const 8) ({s}.all_true {x}))"),
        )
        yield (
            f"{s}.splat/of-zero",
            v1,
            "v128",
            (f"(v128.and {x} ({s}.splat ({_LANE_TYPE[s]}.const 0)))"),
        )
        for name in ("shl", "shr_s", "shr_u"):
            for amount in (0, 1, 3, 4, 7, 8, 12, 15, 16, 20, 31, 32, 40, 63, 65):
                for label, v in (("", x), ("-load", m)):
                    yield (
                        f"{s}.{name}/by-{amount}{label}",
                        v1,
                        "v128",
                        (f"({s}.{name} {v} (i32.const {amount}))"),
                    )
            yield (
                f"{s}.{name}/by-lane",
                v2,
                "v128",
                (f"({s}.{name} {x} (i32x4.extract_lane 0 {y}))"),
            )
        if s != "i8x16":
            yield f"{s}.mul/add", v3, "v128", f"({s}.add ({s}.mul {x} {y}) {z})"
    # 32 by 32 to 64 bit products inside an i64x2.mul: PMULDQ and PMULUDQ.
    low = "(v128.const i64x2 0xffffffff 0xffffffff)"
    for sign in "su":
        for half in ("low", "high"):
            a = f"(i64x2.extend_{half}_i32x4_{sign} {x})"
            b = f"(i64x2.extend_{half}_i32x4_{sign} {y})"
            yield f"i64x2.mul/{half}_{sign}", v2, "v128", f"(i64x2.mul {a} {b})"
            for s, narrow in (("i32x4", "i16x8"), ("i16x8", "i8x16")):
                a = f"({s}.extend_{half}_{narrow}_{sign} {x})"
                b = f"({s}.extend_{half}_{narrow}_{sign} {y})"
                yield f"{s}.mul/{half}_{sign}", v2, "v128", f"({s}.mul {a} {b})"
    yield (
        "i64x2.mul/masked",
        v2,
        "v128",
        (f"(i64x2.mul (v128.and {x} {low}) (v128.and {y} {low}))"),
    )
    sign_extended = [f"(i64x2.shr_s (i64x2.shl {v} (i32.const 32)) (i32.const 32))" for v in (x, y)]
    yield "i64x2.mul/sign-extended", v2, "v128", _apply("i64x2.mul", sign_extended)
    zero_extended = [f"(i64x2.shr_u (i64x2.shl {v} (i32.const 32)) (i32.const 32))" for v in (x, y)]
    yield "i64x2.mul/zero-extended", v2, "v128", _apply("i64x2.mul", zero_extended)
    for t in ("f32x4", "f64x2"):
        for name in ("add", "sub"):
            yield (
                f"{t}.{name}/mul",
                v3,
                "v128",
                f"({t}.{name} ({t}.mul {x} {y}) {z})",
            )
        for name in ("relaxed_madd", "relaxed_nmadd"):
            op = f"{t}.{name}"
            yield f"{op}/neg-1st", v3, "v128", f"({op} ({t}.neg {x}) {y} {z})"
            yield f"{op}/neg-2nd", v3, "v128", f"({op} {x} ({t}.neg {y}) {z})"
            yield f"{op}/neg-3rd", v3, "v128", f"({op} {x} {y} ({t}.neg {z}))"
            yield f"{op}/neg-1st-3rd", v3, "v128", f"({op} ({t}.neg {x}) {y} ({t}.neg {z}))"
            load = [_from_memory("v128", i) for i in range(3)]
            yield f"{op}/neg-3rd-load-1st", v3, "v128", f"({op} {load[0]} {y} ({t}.neg {z}))"
            yield f"{op}/neg-3rd-load-2nd", v3, "v128", f"({op} {x} {load[1]} ({t}.neg {z}))"
            yield f"{op}/neg-load-3rd", v3, "v128", f"({op} {x} {y} ({t}.neg {load[2]}))"
            yield (
                f"{op}/neg-1st-3rd-load-2nd",
                v3,
                "v128",
                (f"({op} ({t}.neg {x}) {load[1]} ({t}.neg {z}))"),
            )
            yield f"{op}/accumulate", v3, "v128", f"({op} {x} {y} ({op} {x} {z} {y}))"
            # The scalar fma of Cranelift is reached through a single lane as well.
            yield (
                f"{op}/lane",
                v3,
                "v128",
                f"({t}.splat ({t}.extract_lane 0 ({op} {x} {y} {z})))",
            )
        for relation in ("eq", "ne", "lt", "gt", "le", "ge"):
            compared = f"({t}.{relation} {x} {y})"
            yield (
                f"{t}.{relation}/select",
                v2,
                "v128",
                (f"(v128.bitselect {x} {y} {compared})"),
            )
            yield (
                f"{t}.{relation}/select-swapped",
                v2,
                "v128",
                (f"(v128.bitselect {y} {x} {compared})"),
            )
            s = t.replace("f", "i")
            yield (
                f"{t}.{relation}/laneselect",
                v3,
                "v128",
                (f"({s}.relaxed_laneselect {x} {z} {compared})"),
            )
            yield (
                f"{t}.{relation}/bitmask",
                v2,
                "i32",
                f"({s}.bitmask {compared})",
            )
        lane = _LANE_TYPE[t]
        for name in ("ceil", "floor", "trunc", "nearest", "sqrt", "abs", "neg"):
            for label, v in (("", x), ("-load", m)):
                yield (
                    f"{lane}.{name}/of-lane{label}",
                    v1,
                    lane,
                    (f"({lane}.{name} ({t}.extract_lane 0 {v}))"),
                )
        for name in ("add", "sub", "mul", "div", "min", "max"):
            for label, v in (("", y), ("-load", n)):
                yield (
                    f"{lane}.{name}/of-lane{label}",
                    v2,
                    "v128",
                    (
                        f"({t}.replace_lane 0 {x}"
                        f" ({lane}.{name} ({t}.extract_lane 0 {x}) ({t}.extract_lane 0 {v})))"
                    ),
                )
    yield (
        "i32x4.dot_i16x8_s/add",
        v3,
        "v128",
        (f"(i32x4.add (i32x4.dot_i16x8_s {x} {y}) {z})"),
    )
    yield (
        "i32x4.dot_i16x8_s/add-swapped",
        v3,
        "v128",
        (f"(i32x4.add {z} (i32x4.dot_i16x8_s {x} {y}))"),
    )
    yield (
        "i32x4.dot_i16x8_s/add-load",
        v3,
        "v128",
        (f"(i32x4.add {z} (i32x4.dot_i16x8_s {x} {n}))"),
    )
    dot = "i16x8.relaxed_dot_i8x16_i7x16_s"
    yield (
        f"{dot}/extadd",
        v3,
        "v128",
        (f"(i32x4.add {z} (i32x4.extadd_pairwise_i16x8_s ({dot} {x} {y})))"),
    )
    for narrow, wide in (("i8x16", "i16x8"), ("i16x8", "i32x4")):
        for sign in "su":
            pair = f"{wide}.extadd_pairwise_{narrow}_{sign}"
            yield f"{pair}/add", v2, "v128", f"({wide}.add {y} ({pair} {x}))"
            # Half-width loads and interleaves feed the packing and extending instructions.
            for half in ("low", "high"):
                op = f"{wide}.extend_{half}_{narrow}_{sign}"
                yield (
                    f"{op}/load64",
                    v1,
                    "v128",
                    (f"({op} (v128.load64_zero offset={INPUT_OFFSET} (i32.const 0)))"),
                )
                yield f"{op}/add", v2, "v128", f"({wide}.add {y} ({op} {x}))"
    for sign in "su":
        op = f"i64x2.extend_low_i32x4_{sign}"
        yield (
            f"{op}/load64",
            v1,
            "v128",
            (f"({op} (v128.load64_zero offset={INPUT_OFFSET} (i32.const 0)))"),
        )
        op = f"f64x2.convert_low_i32x4_{sign}"
        yield (
            f"{op}/load64",
            v1,
            "v128",
            f"({op} (v128.load64_zero offset={INPUT_OFFSET} (i32.const 0)))",
        )
    yield (
        "f64x2.promote_low_f32x4/load64",
        v1,
        "v128",
        (f"(f64x2.promote_low_f32x4 (v128.load64_zero offset={INPUT_OFFSET} (i32.const 0)))"),
    )
    for op in ("i8x16.swizzle", "i8x16.relaxed_swizzle"):
        table = "(v128.const i8x16 15 14 13 12 11 10 9 8 7 6 5 4 3 2 1 0)"
        wild = "(v128.const i8x16 15 14 13 12 11 10 99 8 7 6 255 128 3 2 1 16)"
        capped = (
            f"(v128.and {y} (v128.const i8x16 15 15 15 15 15 15 15 15 15 15 15 15 15 15 15 15))"
        )
        for label, indices in (("reverse", table), ("out-of-range", wild), ("masked", capped)):
            yield f"{op}/{label}", v2, "v128", f"({op} {x} {indices})"
    yield (
        "i8x16.popcnt/sum",
        v1,
        "v128",
        (f"(i32x4.extadd_pairwise_i16x8_u (i16x8.extadd_pairwise_i8x16_u (i8x16.popcnt {x})))"),
    )
    for s in ("f32x4", "f64x2"):
        whole = s.replace("f", "i")
        sign_bit = "0x80000000" if s == "f32x4" else "0x8000000000000000"
        lanes = " ".join([sign_bit] * _LANES[s])
        yield (
            f"v128.xor/sign-of-{s}",
            v1,
            "v128",
            f"(v128.xor {x} (v128.const {whole} {lanes}))",
        )


def _combination_functions() -> Iterator[OperatorFunction]:
    rows: list[_Combination] = []
    for kind in _INTEGERS:
        rows += [(f"{kind}.{row[0]}", *row[1:]) for row in _integer_combinations(kind)]
    for kind in _FLOATS:
        rows += [(f"{kind}.{row[0]}", *row[1:]) for row in _float_combinations(kind)]
    rows += _wide_combinations()
    rows += _vector_combinations()
    for name, operands, result, expression in rows:
        operator, _, shape = name.partition("/")
        title = f"{operator}/combined-{shape}"
        yield _function(title, operator, operands, (result,), expression)


# --- wide arithmetic, atomics, control -----------------------------------------------------------


def _wide_functions() -> Iterator[OperatorFunction]:
    outputs = ("i64", "i64")
    for operator, count in (
        ("i64.add128", 4),
        ("i64.sub128", 4),
        ("i64.mul_wide_s", 2),
        ("i64.mul_wide_u", 2),
    ):
        operands = ("i64",) * count
        plain = [_local(index) for index in range(count)]
        yield _function(f"{operator}/param", operator, operands, outputs, _apply(operator, plain))
        for index in range(count):
            side = _SIDES[count][index]
            swapped = list(plain)
            swapped[index] = _from_memory("i64", index)
            value = _apply(operator, swapped)
            yield _function(f"{operator}/load{side}", operator, operands, outputs, value)
            for label, constant in _constants("i64"):
                swapped[index] = constant
                value = _apply(operator, swapped)
                yield _function(
                    f"{operator}/const{side}{label}", operator, operands, outputs, value
                )
        loads = _apply(operator, [_from_memory("i64", index) for index in range(count)])
        yield _function(f"{operator}/load-all", operator, operands, outputs, loads)
        value = _apply(operator, plain)
        high = f"{value} (local.set $r0) (drop) (local.get $r0)"
        yield _function(f"{operator}/high-only", operator, operands, ("i64",), high)
        yield _function(f"{operator}/low-only", operator, operands, ("i64",), f"{value} (drop)")
    zero = "(i64.const 0)"
    x, y = _local(0), _local(1)
    for operator, label in (("i64.add128", "carry-in"), ("i64.sub128", "borrow-in")):
        value = f"({operator} {x} {zero} {y} {zero})"
        yield _function(f"{operator}/{label}", operator, ("i64", "i64"), outputs, value)
        chain = f"({operator} ({operator} {x} {y} {y} {x}) {x} {zero})"
        yield _function(f"{operator}/chain", operator, ("i64", "i64"), outputs, chain)


def _atomic_functions() -> Iterator[OperatorFunction]:
    at = f"offset={OUTPUT_OFFSET}"
    aligned = "(i32.and (local.get $a0) (i32.const 1016))"
    addresses = (("const", "(i32.const 0)"), ("index", aligned))
    for kind in _INTEGERS:
        for bits in ("", *_narrow_bits(kind)):
            suffix = "_u" if bits else ""
            operator = f"{kind}.atomic.load{bits}{suffix}"
            for label, address in addresses:
                value = f"({operator} {at} {address})"
                yield _function(f"{operator}/{label}", operator, ("i32",), (kind,), value)
            value = f"({operator} {at} (i32.const 0))"
            for shape, outputs, expression in _scalar_uses(kind, value):
                yield _function(f"{operator}/{shape}", operator, ("i32",), outputs, expression)
            operator = f"{kind}.atomic.store{bits}"
            for label, address in addresses:
                for source, stored in (
                    ("", "(local.get $a1)"),
                    ("-value-const", f"({kind}.const 3)"),
                ):
                    value = f"({operator} {at} {address} {stored})"
                    name = f"{operator}/{label}{source}"
                    yield _function(name, operator, ("i32", kind), (), value)
            for name in ("add", "sub", "and", "or", "xor", "xchg"):
                operator = f"{kind}.atomic.rmw{bits}.{name}{suffix}"
                operands: tuple[str, ...] = ("i32", kind)
                for label, address in addresses:
                    for source, operand in (
                        ("", "(local.get $a1)"),
                        ("-value-const", f"({kind}.const 3)"),
                        ("-value-one", f"({kind}.const 1)"),
                        ("-value-load", _from_memory(kind, 1)),
                    ):
                        value = f"({operator} {at} {address} {operand})"
                        title = f"{operator}/{label}{source}"
                        yield _function(title, operator, operands, (kind,), value)
                        yield _function(f"{title}-drop", operator, operands, (), f"(drop {value})")
            operator = f"{kind}.atomic.rmw{bits}.cmpxchg{suffix}"
            operands = ("i32", kind, kind)
            for label, address in addresses:
                value = f"({operator} {at} {address} (local.get $a1) (local.get $a2))"
                yield _function(f"{operator}/{label}", operator, operands, (kind,), value)
            value = f"({operator} {at} (i32.const 0) (local.get $a1) (local.get $a2))"
            won = f"({kind}.eq {value} (local.get $a1))"
            yield _function(f"{operator}/won", operator, operands, ("i32",), won)
            branch = f"(block (br_if 0 {won}) (call $poke))"
            yield _function(f"{operator}/won-if", operator, operands, (), branch)
    yield _function("atomic.fence/plain", "atomic.fence", ("i32",), (), "(atomic.fence)")
    between = (
        f"(i32.store {at} (i32.const 0) (local.get $a0)) (atomic.fence)"
        f" (i32.load {at} (i32.const 4))"
    )
    yield _function("atomic.fence/between", "atomic.fence", ("i32",), ("i32",), between)
    operator = "memory.atomic.notify"
    value = f"({operator} {at} (i32.const 0) (local.get $a0))"
    yield _function(f"{operator}/param", operator, ("i32",), ("i32",), value)
    for kind, operator in (("i32", "memory.atomic.wait32"), ("i64", "memory.atomic.wait64")):
        # On an unshared memory this traps, by the threads proposal: it must not block.
        value = f"({operator} {at} (i32.const 0) (local.get $a0) (i64.const 0))"
        yield _function(f"{operator}/unshared", operator, (kind,), ("i32",), value)


def _control_functions() -> Iterator[OperatorFunction]:
    x, y = _local(0), _local(1)
    i1, i2 = ("i32",), ("i32", "i32")
    kinds = (*_INTEGERS, *_FLOATS, "v128")
    for kind in kinds:
        operands = ("i32", kind, kind)
        arms = f"(local.get $a1) (local.get $a2) {x}"
        for name, expression in (
            ("select/param", f"(select {arms})"),
            ("select t/param", f"(select (result {kind}) {arms})"),
            ("local.tee/param", "(local.tee $r0 (local.get $a1))"),
            ("global.get/param", f"(global.get ${kind})"),
            ("call/param", f"(call $identity-{kind} (local.get $a1))"),
            ("block/param", f"(block (result {kind}) (local.get $a1))"),
            ("br/param", f"(block (result {kind}) (local.get $a1) (br 0))"),
            ("drop/param", "(local.get $a1) (drop (local.get $a2))"),
            ("call_indirect/param", f"(call_indirect (param {kind}) (result {kind})"
             f" (local.get $a1) (i32.const {kinds.index(kind)}))"),
        ):  # fmt: skip
            operator = name.partition("/")[0]
            title = f"{name}-{kind}".replace(" ", "-")
            yield _function(title, operator, operands, (kind,), expression)
        stored = f"(global.set ${kind} (local.get $a1))"
        yield _function(f"global.set/param-{kind}", "global.set", operands, (), stored)
        if kind != "v128":
            gone = "(return (local.get $a1))"
            yield OperatorFunction(f"return/{kind}", "return", operands, (kind,), gone)
            tail = f"(return_call $identity-{kind} (local.get $a1))"
            yield OperatorFunction(f"return_call/{kind}", "return_call", operands, (kind,), tail)
            tail = (
                f"(return_call_indirect (param {kind}) (result {kind})"
                f" (local.get $a1) (i32.const {kinds.index(kind)}))"
            )
            name = "return_call_indirect"
            yield OperatorFunction(f"{name}/{kind}", name, operands, (kind,), tail)
    table = " ".join(str(depth) for depth in range(6))
    cases = f"(br_table {table} {x})"
    for _depth in range(6):
        cases = f"(block {cases} (call $poke))"
    yield _function("br_table/six", "br_table", i1, (), cases)
    yield _function("br_table/one", "br_table", i1, (), f"(block (br_table 0 {x}))")
    picked = f"(block (result i32) (br_table 0 0 0 0 {y} {x}))"
    yield _function("br_table/value", "br_table", i2, ("i32",), picked)
    loop = (
        "(local.set $r0 (i32.const 0)) (loop $top"
        " (local.set $r0 (i32.add (local.get $r0) (i32.const 3)))"
        f" (br_if $top (i32.lt_u (local.get $r0) (i32.and {x} (i32.const 255)))))"
        " (local.get $r0)"
    )
    yield _function("loop/count", "loop", i1, ("i32",), loop)
    yield _function("if/else", "if", i2, ("i32",), f"(if (result i32) {x} (then {y}) (else {x}))")
    yield _function("br/out", "br", i1, ("i32",), f"(block (result i32) (br 0 {x}))")
    yield _function("br_if/out", "br_if", i2, ("i32",), f"(block (result i32) (br_if 0 {y} {x}))")
    yield _function("nop/plain", "nop", i1, (), "(nop)")
    trap = f"(if {x} (then (unreachable)))"
    yield _function("unreachable/if", "unreachable", i1, (), trap)
    yield _function("local.get/plain", "local.get", i1, ("i32",), x)
    yield _function("local.set/plain", "local.set", i1, ("i32",), f"(local.set $r0 {x}) {x}")
    for kind in kinds:
        value = dict(_constants(kind))[""]
        yield _function(f"{kind}.const/plain", f"{kind}.const", (), (kind,), value)
    few = f"(i32.and {x} (i32.const 63))"
    at = f"(i32.const {OUTPUT_OFFSET})"
    bulk = {
        "memory.fill": (f"(memory.fill {at} {y} {few})", ()),
        "memory.copy": (f"(memory.copy {at} (i32.const {INPUT_OFFSET}) {few})", ()),
        "memory.init": (f"(memory.init $bytes {at} (i32.const 0) (i32.and {x} (i32.const 7)))", ()),
        "data.drop": ("(data.drop $dropped)", ()),
        "memory.size": ("(memory.size)", ("i32",)),
        "memory.grow": ("(memory.grow (i32.const 0))", ("i32",)),
        "table.get": (f"(ref.is_null (table.get $t (i32.and {x} (i32.const 3))))", ("i32",)),
        "table.set": ("(table.set $u (i32.const 1) (ref.func $seven))", ()),
        "table.size": ("(table.size $t)", ("i32",)),
        "table.grow": ("(table.grow $t (ref.null func) (i32.const 0))", ("i32",)),
        "table.fill": ("(table.fill $u (i32.const 0) (ref.null func) (i32.const 1))", ()),
        "table.copy": ("(table.copy $u $t (i32.const 0) (i32.const 0) (i32.const 2))", ()),
        "table.init": ("(table.init $u $spare (i32.const 0) (i32.const 0) (i32.const 1))", ()),
        "elem.drop": ("(elem.drop $dropped)", ()),
        "ref.null": ("(ref.is_null (ref.null func))", ("i32",)),
        "ref.is_null": ("(ref.is_null (table.get $t (i32.const 0)))", ("i32",)),
        "ref.func": ("(ref.is_null (ref.func $seven))", ("i32",)),
    }
    for operator, (expression, outputs) in bulk.items():
        yield _function(f"{operator}/plain", operator, i2, outputs, expression)
    sizes = (1, 2, 4, 8, 16, 32, 64, 100)
    for size in sizes:
        for operator, source in (
            ("memory.fill", y),
            ("memory.copy", f"(i32.const {INPUT_OFFSET})"),
        ):
            expression = f"({operator} {at} {source} (i32.const {size}))"
            yield _function(f"{operator}/const-{size}", operator, i2, (), expression)


_PREAMBLE = """\
(memory (export "memory") 1)
(global $i32 (mut i32) (i32.const 1))
(global $i64 (mut i64) (i64.const 2))
(global $f32 (mut f32) (f32.const 3))
(global $f64 (mut f64) (f64.const 4))
(global $v128 (mut v128) (v128.const i64x2 5 6))
(table $t 8 8 funcref)
(table $u 4 funcref)
(data $bytes "cpuprobe")
(data $dropped "gone")
(elem (table $t) (i32.const 0) func $identity-i32 $identity-i64 $identity-f32 $identity-f64
  $identity-v128)
(elem $spare func $seven)
(elem $dropped func $seven)
(func $seven (result i32) (i32.const 7))
(func $poke (i32.store8 offset=4000 (i32.const 0)
  (i32.add (i32.load8_u offset=4000 (i32.const 0)) (i32.const 1))))
(func $identity-i32 (param i32) (result i32) (local.get 0))
(func $identity-i64 (param i64) (result i64) (local.get 0))
(func $identity-f32 (param f32) (result f32) (local.get 0))
(func $identity-f64 (param f64) (result f64) (local.get 0))
(func $identity-v128 (param v128) (result v128) (local.get 0))
"""


def operator_functions() -> tuple[OperatorFunction, ...]:
    """Every (operator, shape) pair, in a stable order.

    Returns:
        The functions; names are unique.
    """
    functions: list[OperatorFunction] = []
    for operator, operands, result in (*_scalar_signatures(), *_simd_signatures()):
        functions += _value_shapes(operator, operands, result)
    functions += _memory_functions()
    functions += _lane_functions()
    functions += _shuffle_functions()
    functions += _combination_functions()
    functions += _wide_functions()
    functions += _atomic_functions()
    functions += _control_functions()
    return tuple(functions)


def module_wat(functions: Iterable[OperatorFunction]) -> str:
    """A module exporting the given functions and its ``memory``.

    Args:
        functions: any choice of ``operator_functions()``.

    Returns:
        WAT text. It needs the SIMD, relaxed-SIMD, threads, wide-arithmetic, bulk-memory,
        reference-type and tail-call proposals; it imports nothing.
    """
    return f"(module\n{_PREAMBLE}{chr(10).join(function.wat for function in functions)})\n"
