"""The generated wasm functions cover every operator and mean what their names say.

The list of operators below is data from the specifications, independent of the generator:
WebAssembly Core Specification 3.0, appendix A.7 "Index of Instructions" (WebAssembly/spec at
285a903, document/core/appendix/index-instructions.py), the threads proposal's binary format
(prefix FE) and the wide-arithmetic proposal (FC 13 to FC 16). Left out, because wasm code of that
kind brings no instruction of its own: exceptions (08, 0A, 1F), typed function references (14, 15,
D3 to D6) and garbage collection (FB); and `else` and `end`, which are punctuation.
"""

# ruff: noqa: SIM905  (opcode tables read best as words)
import itertools
import re
from typing import Any

import pytest

from cpuprobe.code.walk import artifact_functions, code_name, reachable_instructions
from cpuprobe.wasm.harness import own_functions
from cpuprobe.wasm.operators import (
    INPUT_OFFSET,
    RESULT_OFFSET,
    SLOT_SIZE,
    OperatorFunction,
    module_wat,
    operator_functions,
)

wasmtime = pytest.importorskip("wasmtime")

# Runs of consecutive opcodes: prefix byte or None, first opcode, names.
OPCODES = (
    (None, 0x00, "unreachable nop block loop if".split()),
    (None, 0x0C, """
        br br_if br_table return call call_indirect return_call return_call_indirect
    """.split()),
    (None, 0x1A, "drop select".split()),
    (None, 0x1C, ("select t",)),
    (None, 0x20, """
        local.get local.set local.tee global.get global.set table.get table.set
    """.split()),
    (None, 0x28, """
        i32.load i64.load f32.load f64.load i32.load8_s i32.load8_u i32.load16_s i32.load16_u
        i64.load8_s i64.load8_u i64.load16_s i64.load16_u i64.load32_s i64.load32_u i32.store
        i64.store f32.store f64.store i32.store8 i32.store16 i64.store8 i64.store16 i64.store32
        memory.size memory.grow i32.const i64.const f32.const f64.const i32.eqz i32.eq i32.ne
        i32.lt_s i32.lt_u i32.gt_s i32.gt_u i32.le_s i32.le_u i32.ge_s i32.ge_u i64.eqz i64.eq
        i64.ne i64.lt_s i64.lt_u i64.gt_s i64.gt_u i64.le_s i64.le_u i64.ge_s i64.ge_u f32.eq
        f32.ne f32.lt f32.gt f32.le f32.ge f64.eq f64.ne f64.lt f64.gt f64.le f64.ge i32.clz
        i32.ctz i32.popcnt i32.add i32.sub i32.mul i32.div_s i32.div_u i32.rem_s i32.rem_u i32.and
        i32.or i32.xor i32.shl i32.shr_s i32.shr_u i32.rotl i32.rotr i64.clz i64.ctz i64.popcnt
        i64.add i64.sub i64.mul i64.div_s i64.div_u i64.rem_s i64.rem_u i64.and i64.or i64.xor
        i64.shl i64.shr_s i64.shr_u i64.rotl i64.rotr f32.abs f32.neg f32.ceil f32.floor f32.trunc
        f32.nearest f32.sqrt f32.add f32.sub f32.mul f32.div f32.min f32.max f32.copysign f64.abs
        f64.neg f64.ceil f64.floor f64.trunc f64.nearest f64.sqrt f64.add f64.sub f64.mul f64.div
        f64.min f64.max f64.copysign i32.wrap_i64 i32.trunc_f32_s i32.trunc_f32_u i32.trunc_f64_s
        i32.trunc_f64_u i64.extend_i32_s i64.extend_i32_u i64.trunc_f32_s i64.trunc_f32_u
        i64.trunc_f64_s i64.trunc_f64_u f32.convert_i32_s f32.convert_i32_u f32.convert_i64_s
        f32.convert_i64_u f32.demote_f64 f64.convert_i32_s f64.convert_i32_u f64.convert_i64_s
        f64.convert_i64_u f64.promote_f32 i32.reinterpret_f32 i64.reinterpret_f64
        f32.reinterpret_i32 f64.reinterpret_i64 i32.extend8_s i32.extend16_s i64.extend8_s
        i64.extend16_s i64.extend32_s
    """.split()),
    (None, 0xD0, "ref.null ref.is_null ref.func".split()),
    (0xFC, 0x00, """
        i32.trunc_sat_f32_s i32.trunc_sat_f32_u i32.trunc_sat_f64_s i32.trunc_sat_f64_u
        i64.trunc_sat_f32_s i64.trunc_sat_f32_u i64.trunc_sat_f64_s i64.trunc_sat_f64_u
        memory.init data.drop memory.copy memory.fill table.init elem.drop table.copy table.grow
        table.size table.fill
    """.split()),
    (0xFD, 0x00, """
        v128.load v128.load8x8_s v128.load8x8_u v128.load16x4_s v128.load16x4_u v128.load32x2_s
        v128.load32x2_u v128.load8_splat v128.load16_splat v128.load32_splat v128.load64_splat
        v128.store v128.const i8x16.shuffle i8x16.swizzle i8x16.splat i16x8.splat i32x4.splat
        i64x2.splat f32x4.splat f64x2.splat i8x16.extract_lane_s i8x16.extract_lane_u
        i8x16.replace_lane i16x8.extract_lane_s i16x8.extract_lane_u i16x8.replace_lane
        i32x4.extract_lane i32x4.replace_lane i64x2.extract_lane i64x2.replace_lane
        f32x4.extract_lane f32x4.replace_lane f64x2.extract_lane f64x2.replace_lane i8x16.eq
        i8x16.ne i8x16.lt_s i8x16.lt_u i8x16.gt_s i8x16.gt_u i8x16.le_s i8x16.le_u i8x16.ge_s
        i8x16.ge_u i16x8.eq i16x8.ne i16x8.lt_s i16x8.lt_u i16x8.gt_s i16x8.gt_u i16x8.le_s
        i16x8.le_u i16x8.ge_s i16x8.ge_u i32x4.eq i32x4.ne i32x4.lt_s i32x4.lt_u i32x4.gt_s
        i32x4.gt_u i32x4.le_s i32x4.le_u i32x4.ge_s i32x4.ge_u f32x4.eq f32x4.ne f32x4.lt f32x4.gt
        f32x4.le f32x4.ge f64x2.eq f64x2.ne f64x2.lt f64x2.gt f64x2.le f64x2.ge v128.not v128.and
        v128.andnot v128.or v128.xor v128.bitselect v128.any_true v128.load8_lane v128.load16_lane
        v128.load32_lane v128.load64_lane v128.store8_lane v128.store16_lane v128.store32_lane
        v128.store64_lane v128.load32_zero v128.load64_zero f32x4.demote_f64x2_zero
        f64x2.promote_low_f32x4 i8x16.abs i8x16.neg i8x16.popcnt i8x16.all_true i8x16.bitmask
        i8x16.narrow_i16x8_s i8x16.narrow_i16x8_u f32x4.ceil f32x4.floor f32x4.trunc f32x4.nearest
        i8x16.shl i8x16.shr_s i8x16.shr_u i8x16.add i8x16.add_sat_s i8x16.add_sat_u i8x16.sub
        i8x16.sub_sat_s i8x16.sub_sat_u f64x2.ceil f64x2.floor i8x16.min_s i8x16.min_u i8x16.max_s
        i8x16.max_u f64x2.trunc i8x16.avgr_u i16x8.extadd_pairwise_i8x16_s
        i16x8.extadd_pairwise_i8x16_u i32x4.extadd_pairwise_i16x8_s i32x4.extadd_pairwise_i16x8_u
        i16x8.abs i16x8.neg i16x8.q15mulr_sat_s i16x8.all_true i16x8.bitmask i16x8.narrow_i32x4_s
        i16x8.narrow_i32x4_u i16x8.extend_low_i8x16_s i16x8.extend_high_i8x16_s
        i16x8.extend_low_i8x16_u i16x8.extend_high_i8x16_u i16x8.shl i16x8.shr_s i16x8.shr_u
        i16x8.add i16x8.add_sat_s i16x8.add_sat_u i16x8.sub i16x8.sub_sat_s i16x8.sub_sat_u
        f64x2.nearest i16x8.mul i16x8.min_s i16x8.min_u i16x8.max_s i16x8.max_u
    """.split()),
    (0xFD, 0x9B, """
        i16x8.avgr_u i16x8.extmul_low_i8x16_s i16x8.extmul_high_i8x16_s i16x8.extmul_low_i8x16_u
        i16x8.extmul_high_i8x16_u i32x4.abs i32x4.neg
    """.split()),
    (0xFD, 0xA3, "i32x4.all_true i32x4.bitmask".split()),
    (0xFD, 0xA7, """
        i32x4.extend_low_i16x8_s i32x4.extend_high_i16x8_s i32x4.extend_low_i16x8_u
        i32x4.extend_high_i16x8_u i32x4.shl i32x4.shr_s i32x4.shr_u i32x4.add
    """.split()),
    (0xFD, 0xB1, "i32x4.sub".split()),
    (0xFD, 0xB5, """
        i32x4.mul i32x4.min_s i32x4.min_u i32x4.max_s i32x4.max_u i32x4.dot_i16x8_s
    """.split()),
    (0xFD, 0xBC, """
        i32x4.extmul_low_i16x8_s i32x4.extmul_high_i16x8_s i32x4.extmul_low_i16x8_u
        i32x4.extmul_high_i16x8_u i64x2.abs i64x2.neg
    """.split()),
    (0xFD, 0xC3, "i64x2.all_true i64x2.bitmask".split()),
    (0xFD, 0xC7, """
        i64x2.extend_low_i32x4_s i64x2.extend_high_i32x4_s i64x2.extend_low_i32x4_u
        i64x2.extend_high_i32x4_u i64x2.shl i64x2.shr_s i64x2.shr_u i64x2.add
    """.split()),
    (0xFD, 0xD1, "i64x2.sub".split()),
    (0xFD, 0xD5, """
        i64x2.mul i64x2.eq i64x2.ne i64x2.lt_s i64x2.gt_s i64x2.le_s i64x2.ge_s
        i64x2.extmul_low_i32x4_s i64x2.extmul_high_i32x4_s i64x2.extmul_low_i32x4_u
        i64x2.extmul_high_i32x4_u f32x4.abs f32x4.neg
    """.split()),
    (0xFD, 0xE3, """
        f32x4.sqrt f32x4.add f32x4.sub f32x4.mul f32x4.div f32x4.min f32x4.max f32x4.pmin
        f32x4.pmax f64x2.abs f64x2.neg
    """.split()),
    (0xFD, 0xEF, """
        f64x2.sqrt f64x2.add f64x2.sub f64x2.mul f64x2.div f64x2.min f64x2.max f64x2.pmin
        f64x2.pmax i32x4.trunc_sat_f32x4_s i32x4.trunc_sat_f32x4_u f32x4.convert_i32x4_s
        f32x4.convert_i32x4_u i32x4.trunc_sat_f64x2_s_zero i32x4.trunc_sat_f64x2_u_zero
        f64x2.convert_low_i32x4_s f64x2.convert_low_i32x4_u i8x16.relaxed_swizzle
        i32x4.relaxed_trunc_f32x4_s i32x4.relaxed_trunc_f32x4_u i32x4.relaxed_trunc_f64x2_s_zero
        i32x4.relaxed_trunc_f64x2_u_zero f32x4.relaxed_madd f32x4.relaxed_nmadd f64x2.relaxed_madd
        f64x2.relaxed_nmadd i8x16.relaxed_laneselect i16x8.relaxed_laneselect
        i32x4.relaxed_laneselect i64x2.relaxed_laneselect f32x4.relaxed_min f32x4.relaxed_max
        f64x2.relaxed_min f64x2.relaxed_max i16x8.relaxed_q15mulr_s
        i16x8.relaxed_dot_i8x16_i7x16_s i32x4.relaxed_dot_i8x16_i7x16_add_s
    """.split()),
    (0xFC, 0x13, "i64.add128 i64.sub128 i64.mul_wide_s i64.mul_wide_u".split()),
    (0xFE, 0x00, """
        memory.atomic.notify memory.atomic.wait32 memory.atomic.wait64 atomic.fence
    """.split()),
    (0xFE, 0x10, """
        i32.atomic.load i64.atomic.load i32.atomic.load8_u i32.atomic.load16_u i64.atomic.load8_u
        i64.atomic.load16_u i64.atomic.load32_u i32.atomic.store i64.atomic.store
        i32.atomic.store8 i32.atomic.store16 i64.atomic.store8 i64.atomic.store16
        i64.atomic.store32
        i32.atomic.rmw.add i64.atomic.rmw.add i32.atomic.rmw8.add_u i32.atomic.rmw16.add_u
        i64.atomic.rmw8.add_u i64.atomic.rmw16.add_u i64.atomic.rmw32.add_u
        i32.atomic.rmw.sub i64.atomic.rmw.sub i32.atomic.rmw8.sub_u i32.atomic.rmw16.sub_u
        i64.atomic.rmw8.sub_u i64.atomic.rmw16.sub_u i64.atomic.rmw32.sub_u
        i32.atomic.rmw.and i64.atomic.rmw.and i32.atomic.rmw8.and_u i32.atomic.rmw16.and_u
        i64.atomic.rmw8.and_u i64.atomic.rmw16.and_u i64.atomic.rmw32.and_u
        i32.atomic.rmw.or i64.atomic.rmw.or i32.atomic.rmw8.or_u i32.atomic.rmw16.or_u
        i64.atomic.rmw8.or_u i64.atomic.rmw16.or_u i64.atomic.rmw32.or_u
        i32.atomic.rmw.xor i64.atomic.rmw.xor i32.atomic.rmw8.xor_u i32.atomic.rmw16.xor_u
        i64.atomic.rmw8.xor_u i64.atomic.rmw16.xor_u i64.atomic.rmw32.xor_u
        i32.atomic.rmw.xchg i64.atomic.rmw.xchg i32.atomic.rmw8.xchg_u i32.atomic.rmw16.xchg_u
        i64.atomic.rmw8.xchg_u i64.atomic.rmw16.xchg_u i64.atomic.rmw32.xchg_u
        i32.atomic.rmw.cmpxchg i64.atomic.rmw.cmpxchg i32.atomic.rmw8.cmpxchg_u
        i32.atomic.rmw16.cmpxchg_u i64.atomic.rmw8.cmpxchg_u i64.atomic.rmw16.cmpxchg_u
        i64.atomic.rmw32.cmpxchg_u
    """.split()),
)  # fmt: skip

Opcode = tuple[int | None, int]

OPCODE_OF: dict[str, Opcode] = {
    name: (prefix, first + index)
    for prefix, first, names in OPCODES
    for index, name in enumerate(names)
}
_END: Opcode = (None, 0x0B)
_ELSE: Opcode = (None, 0x05)


class Binary:
    """Reads a wasm module's code section; Core Specification 3.0, chapter 5."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 8

    def leb(self) -> int:
        value = 0
        for shift in itertools.count(0, 7):
            byte = self.data[self.position]
            self.position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
        return value

    def bodies(self) -> list[set[Opcode]]:
        """The opcodes of each function body, in order."""
        while self.data[self.position] != 10:
            self.position += 1
            size = self.leb()
            self.position += size
        self.position += 1
        self.leb()
        return [self.body() for _ in range(self.leb())]

    def body(self) -> set[Opcode]:
        size = self.leb()
        end = self.position + size
        for _ in range(self.leb()):
            self.leb()
            self.leb()
        found = set()
        while self.position < end:
            found.add(self.instruction())
        assert self.position == end
        return found

    def instruction(self) -> Opcode:
        first = self.data[self.position]
        self.position += 1
        if first in (0xFC, 0xFD, 0xFE):
            second = self.leb()
            self.prefixed(first, second)
            return first, second
        indices = {0x11: 2, 0x13: 2}.get(first, 0)
        if (
            first in (0x02, 0x03, 0x04, 0x0C, 0x0D, 0x10, 0x12, 0x3F, 0x40, 0x41, 0x42, 0xD0, 0xD2)
            or 0x20 <= first <= 0x26
        ):
            indices = 1
        elif 0x28 <= first <= 0x3E:
            indices = 2
        elif first in (0x0E, 0x1C):
            indices = self.leb() + (first == 0x0E)
        elif first in (0x43, 0x44):
            self.position += 4 if first == 0x43 else 8
        for _ in range(indices):
            self.leb()
        return None, first

    def prefixed(self, first: int, second: int) -> None:
        memarg = first == 0xFE and second != 3
        if first == 0xFD:
            memarg = second < 12 or 84 <= second <= 93
            self.position += 16 if second in (12, 13) else 0
        if memarg:
            self.leb()
            self.leb()
        if first == 0xFD and (21 <= second <= 34 or 84 <= second <= 91):
            self.position += 1
        if first == 0xFE and second == 3:
            self.position += 1
        if first == 0xFC:
            two = second in (8, 10, 12, 14)
            for _ in range(2 if two else 1 if 8 <= second <= 17 else 0):
                self.leb()


@pytest.fixture(scope="module")
def functions() -> tuple[OperatorFunction, ...]:
    return operator_functions()


def test_some_operators_alone_are_those_of_all(functions) -> None:
    """A choice changes neither what is made of an operator nor the order."""
    chosen = ("i8x16.shuffle", "i64.clz", "memory.copy", "select")

    found = operator_functions(chosen)
    assert found == tuple(each for each in functions if each.operator in chosen)
    assert {each.operator for each in found} == set(chosen)


@pytest.fixture(scope="module")
def engine() -> Any:
    config = wasmtime.Config()
    config.wasm_wide_arithmetic = True
    config.wasm_threads = True
    config.wasm_relaxed_simd = True
    config.wasm_tail_call = True
    return wasmtime.Engine(config)


@pytest.fixture(scope="module")
def binary(functions: tuple[OperatorFunction, ...]) -> bytes:
    return bytes(wasmtime.wat2wasm(module_wat(functions)))


@pytest.fixture(scope="module")
def bodies(functions: tuple[OperatorFunction, ...], binary: bytes) -> list[set[Opcode]]:
    """The opcodes in each function's binary code, by an independent reader."""
    # The module begins with a few helpers of its own.
    return Binary(binary).bodies()[-len(functions) :]


def by_name(functions: tuple[OperatorFunction, ...], name: str) -> OperatorFunction:
    (found,) = (function for function in functions if function.name == name)
    return found


def test_the_specifications_table_has_the_known_sizes() -> None:
    """236 SIMD operators (236 = 256 opcodes less 20 unused), 20 relaxed, 67 atomic, 4 wide."""
    assert sum(1 for prefix, code in OPCODE_OF.values() if prefix == 0xFD and code < 0x100) == 236
    assert sum(1 for prefix, code in OPCODE_OF.values() if prefix == 0xFD and code >= 0x100) == 20
    assert sum(1 for prefix, _ in OPCODE_OF.values() if prefix == 0xFE) == 67
    assert len(OPCODE_OF) == len(set(OPCODE_OF.values()))


def test_every_operator_of_the_specifications_has_functions(
    functions: tuple[OperatorFunction, ...],
) -> None:
    assert set(OPCODE_OF) == {function.operator for function in functions}


def test_no_opcode_is_missing_from_the_binary(bodies: list[set[Opcode]]) -> None:
    assert set(OPCODE_OF.values()) == set().union(*bodies) - {_END, _ELSE}


def test_each_function_contains_its_operator(
    functions: tuple[OperatorFunction, ...], bodies: list[set[Opcode]]
) -> None:
    """A name must not promise an operator whose opcode the function lacks."""
    wrong = [
        function.name
        for function, opcodes in zip(functions, bodies, strict=True)
        if OPCODE_OF[function.operator] not in opcodes
    ]

    assert wrong == []


def test_names_are_unique_and_start_with_the_operator(
    functions: tuple[OperatorFunction, ...],
) -> None:
    assert len(functions) == len({function.name for function in functions})
    for function in functions:
        assert function.name.startswith(function.operator.replace(" ", "-") + "/")
        assert re.fullmatch(r"[a-z0-9._-]+/[A-Za-z0-9._-]+", function.name)


def test_every_value_operator_has_a_load_and_a_constant_on_each_side(
    functions: tuple[OperatorFunction, ...],
) -> None:
    names = {function.name for function in functions}
    for operator in ("i32.add", "f64.copysign", "i8x16.avgr_u", "f32x4.pmin", "i64x2.shr_s"):
        for shape in ("param", "load-lhs", "load-rhs", "load-all", "const-lhs", "const-rhs"):
            assert f"{operator}/{shape}" in names
    for shape in ("load-1st", "load-2nd", "load-3rd", "splat-2nd-f32x4", "const-3rd-zero"):
        assert f"f32x4.relaxed_nmadd/{shape}" in names


def test_masks_are_valid_and_named_after_what_they_do(
    functions: tuple[OperatorFunction, ...],
) -> None:
    masks = {
        each.name.partition("/")[2]: tuple(int(n) for n in found[1].split())
        for each in functions
        if (found := re.search(r"\(i8x16\.shuffle ([\d ]+) ", each.body))
    }

    assert len(masks) > 700
    assert all(len(mask) == 16 and set(mask) <= set(range(32)) for mask in masks.values())
    for shift in range(1, 16):
        assert masks[f"palignr-{shift}"][0] == shift
    assert masks["palignr-4"] == (4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19)
    assert masks["unpck-low-8"] == (0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
    assert masks["unpck-high-16"] == (8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31)
    assert masks["broadcast-32-1"] == (4, 5, 6, 7) * 4


def test_the_whole_module_compiles_and_decodes(
    engine: Any, binary: bytes, functions: tuple[OperatorFunction, ...]
) -> None:
    """No byte that control flow reaches is undecodable, and no function's code is lost."""
    artifact = bytes(wasmtime.Module(engine, binary).serialize())
    codes = {}
    for function in artifact_functions(artifact):
        if re.fullmatch(r"wasm\[0\]::function\[\d+\].*", function.name):
            instructions = reachable_instructions(function)
            assert not any(instruction.is_invalid for instruction in instructions), function.name
            assert instructions[0].ip == function.address
            codes[function.name] = [code_name(instruction.code) for instruction in instructions]

    assert len(codes) >= len(functions)
    assert all(any(c.startswith(("RETNQ", "UD2", "JMP")) for c in code) for code in codes.values())


def run(
    engine: Any, function: OperatorFunction, operands: list[bytes], parameters: list[int]
) -> bytes:
    """Runs one function; returns what it leaves in its two result slots."""
    store = wasmtime.Store(engine)
    module = wasmtime.Module(engine, module_wat([function]))
    exports = wasmtime.Instance(store, module, []).exports(store)
    memory = exports["memory"]
    for index, operand in enumerate(operands):
        memory.write(store, operand, INPUT_OFFSET + SLOT_SIZE * index)
    assert exports[function.name](store, *parameters) is None
    return bytes(memory.read(store, RESULT_OFFSET, RESULT_OFFSET + 2 * SLOT_SIZE))


@pytest.mark.parametrize("shape", ["param", "load-lhs", "load-rhs", "load-all"])
def test_operands_reach_a_vector_operator_in_order(
    engine: Any, functions: tuple[OperatorFunction, ...], shape: str
) -> None:
    """0..15 minus 2 in each byte: subtraction tells the two operands apart."""
    function = by_name(functions, f"i8x16.sub/{shape}")
    output = run(engine, function, [bytes(range(16, 32)), b"\2" * 16], [])

    assert function.outputs == ("v128",)
    assert function.params == ()
    assert bytes(range(14, 30)) == output[:16]


@pytest.mark.parametrize("shape", ["param", "load-lhs", "load-rhs", "load-all"])
def test_operands_reach_a_scalar_operator_in_order(
    engine: Any, functions: tuple[OperatorFunction, ...], shape: str
) -> None:
    function = by_name(functions, f"i32.sub/{shape}")
    slots = [(9).to_bytes(4, "little"), (2).to_bytes(4, "little")]
    output = run(engine, function, slots, [9, 2])

    assert function.params == ("i32", "i32")
    assert int.from_bytes(output[:4], "little") == 7


def test_wide_arithmetic_stores_low_and_high(
    engine: Any, functions: tuple[OperatorFunction, ...]
) -> None:
    function = by_name(functions, "i64.mul_wide_u/param")
    output = run(engine, function, [], [1 << 62, 8])

    assert [int.from_bytes(output[at : at + 8], "little") for at in (0, SLOT_SIZE)] == [0, 2]


def test_all_cases_of_a_jump_table_are_found(
    engine: Any, functions: tuple[OperatorFunction, ...]
) -> None:
    """br_table/six calls a helper after each of its six blocks but the innermost."""
    function = by_name(functions, "br_table/six")
    artifact = bytes(wasmtime.Module(engine, module_wat([function])).serialize())
    name = f"wasm[0]::function[{own_functions()}]"
    (code,) = (f for f in artifact_functions(artifact) if f.name.startswith(name))
    names = [code_name(i.code) for i in reachable_instructions(code)]

    assert "JMP_RM64" in names
    assert names.count("CALL_REL32_64") == 5


def test_only_relaxed_operators_may_differ_between_engines(
    functions: tuple[OperatorFunction, ...],
) -> None:
    assert by_name(functions, "f32x4.relaxed_min/param").relaxed
    assert not by_name(functions, "f32x4.min/param").relaxed


def test_exactly_the_functions_with_prefix_fe_are_atomic(
    functions: tuple[OperatorFunction, ...], bodies: list[set[Opcode]]
) -> None:
    for function, opcodes in zip(functions, bodies, strict=True):
        assert function.atomic == any(prefix == 0xFE for prefix, _ in opcodes), function.name


def test_every_lane_is_read_and_written(functions: tuple[OperatorFunction, ...]) -> None:
    names = {function.name for function in functions}
    for lanes, operators in (
        (16, ("i8x16.extract_lane_s", "i8x16.extract_lane_u", "i8x16.replace_lane")),
        (8, ("i16x8.extract_lane_s", "i16x8.extract_lane_u", "i16x8.replace_lane")),
        (4, ("i32x4.extract_lane", "f32x4.extract_lane", "f32x4.replace_lane")),
        (2, ("i64x2.extract_lane", "f64x2.extract_lane", "f64x2.replace_lane")),
    ):
        for operator in operators:
            for lane in range(lanes):
                assert f"{operator}/param-{lane}" in names
