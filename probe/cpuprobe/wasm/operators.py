"""Every WebAssembly operator as a function of its own, in several shapes.

A compiler emits different instructions for one operator depending on where its operands come from
and where its result goes: a load may fold into a memory operand, a constant into an immediate, a
comparison into the branch behind it. So each operator comes in several *shapes*, and each
(operator, shape) pair is one exported function, named like ``i32x4.mul/load-rhs``. Operators and
shapes are rows of ``operators.txt``, which begins with its grammar; ``table`` reads it.

Calling convention, the same for all functions, so that one runner can drive them and compare two
engines:

- operand ``i`` lies in linear memory at ``INPUT_OFFSET + SLOT_SIZE * i`` (little endian);
- operands that are not ``v128`` are passed as plain parameters too, in order;
- result ``i`` is stored at ``RESULT_OFFSET + SLOT_SIZE * i``, at once: a load folds into an
  operator only if nothing else happens between;
- some operators write memory: compare the whole exported ``memory``. A trap is a result.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from cpuprobe.wasm.table import Row, Types, read_table

INPUT_OFFSET = 1024
"""Address of operand slot 0."""
SLOT_SIZE = 16
"""Bytes from one operand slot to the next."""
OUTPUT_OFFSET = 2048
"""Address that the shapes with stores write to."""
RESULT_OFFSET = 3584
"""Address of result 0."""
COPY_OFFSET = 3072
"""Where operands are copied to: a second use, which keeps a load from folding into the operator."""

_SIDES = {1: ("",), 2: ("-lhs", "-rhs"), 3: ("-1st", "-2nd", "-3rd"), 4: ("-1", "-2", "-3", "-4")}
_OPERAND = re.compile(r"(?<![\w.$-])[xyzwXYZW](?![\w.-])")
_CONSTANT = re.compile(r"\b([if]\d\d)#([^\s()]+)")
_MEMORY = re.compile(r"\b(?:out|in(\d))(\+?)(?![\w.])")


@dataclass(frozen=True, slots=True)
class OperatorFunction:
    """One exported function that exercises one operator in one shape.

    Attributes:
        name: stable export name, ``operator/shape``.
        operator: the operator's text-format name, for example ``i32x4.mul``.
        operands: value types of the operand slots in memory.
        outputs: value types of the results.
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
        return f'(func (export "{self.name}"){params}\n  {self.body})'


# --- from the table's text to WAT ----------------------------------------------------------------


def _load(kind: str, index: int) -> str:
    return f"({kind}.load in{index})"


def _expanded(text: str, operands: Types) -> str:
    """The text as WAT: the table's short forms written out."""

    def operand(found: re.Match[str]) -> str:
        index = "xyzw".index(found[0].lower())
        return f"(local.get $a{index})" if found[0].islower() else _load(operands[index], index)

    def memory(found: re.Match[str]) -> str:
        slot = found[1]
        offset = OUTPUT_OFFSET if slot is None else INPUT_OFFSET + SLOT_SIZE * int(slot)
        return f"offset={offset}" if found[2] else f"offset={offset} (i32.const 0)"

    text = _OPERAND.sub(operand, text)
    return _MEMORY.sub(memory, _CONSTANT.sub(r"(\1.const \2)", text))


def _function(name: str, operands: Types, outputs: Types, text: str) -> OperatorFunction:
    """Wraps an expression over the operands in loads of v128 operands and result stores."""
    expression = _expanded(text, operands)
    in_registers = [
        index
        for index, kind in enumerate(operands)
        if kind == "v128" and f"$a{index})" in expression
    ]
    lines = [f"(local $a{index} v128)" for index in in_registers]
    lines += [f"(local $r{index} {kind})" for index, kind in enumerate(outputs)]
    lines += [
        f"(local.set $a{i} (v128.load offset={INPUT_OFFSET + SLOT_SIZE * i} (i32.const 0)))"
        for i in in_registers
    ]
    stores = [
        f"({kind}.store offset={RESULT_OFFSET + SLOT_SIZE * index} (i32.const 0)"
        for index, kind in enumerate(outputs)
    ]
    if len(outputs) == 1:
        lines.append(f"{stores[0]} {expression})")
    else:
        lines.append(expression)
        lines += [f"(local.set $r{index})" for index in reversed(range(len(outputs)))]
        lines += [f"{store} (local.get $r{index}))" for index, store in enumerate(stores)]
    lines += [
        f"(v128.store offset={COPY_OFFSET + SLOT_SIZE * i} (i32.const 0) (local.get $a{i}))"
        for i in in_registers
    ]
    return OperatorFunction(name, _operator(name), operands, outputs, "\n  ".join(lines))


def _operator(name: str) -> str:
    """The operator in a function's or a row's name."""
    return name.partition("/")[0].replace("-", " ")


def _apply(operator: str, arguments: Sequence[str]) -> str:
    return f"({' '.join([operator, *arguments])})"


def _functions(row: Row, sources: Iterable[Row], uses: Iterable[Row]) -> Iterator[OperatorFunction]:
    name, _, shape = row.name.partition("/")
    if not shape:
        yield from _every_source(row, sources)
        yield from _every_use(row, name, _apply(name, "xyzw"[: len(row.operands or ())]), uses)
    elif shape.startswith("*"):
        yield from _every_use(row, f"{shape[1:]}.", row.text, uses)
    else:
        yield _function(row.name, row.operands or (), row.outputs, row.text)


def _every_use(row: Row, like: str, text: str, uses: Iterable[Row]) -> Iterator[OperatorFunction]:
    """A result in every use of operators like that; in those of the operator only if it is one."""
    name = row.name.partition("/")[0]
    for use in uses:
        prefix, _, shape = use.name.partition("/")
        if (
            like.startswith(prefix)
            and use.results == row.results
            and use.operands in (None, row.operands)
            and (like == name or use.operands is None)
        ):
            made = re.sub(r"\bR\b", lambda _: text, use.text.replace("OP", name))
            yield _function(f"{name}/{shape}", row.operands or (), use.outputs, made)


def _every_source(row: Row, sources: Iterable[Row]) -> Iterator[OperatorFunction]:
    """An operator with each of its operands from everywhere."""
    operands = row.operands or ()
    count = len(operands)

    def make(shape: str, arguments: Sequence[str]) -> OperatorFunction:
        text = _apply(row.name, arguments)
        return _function(f"{row.name}/{shape}", operands, row.outputs, text)

    plain = "xyzw"[:count]
    yield make("param", plain)
    for index, side in enumerate(_SIDES[count]):
        for source in sources:
            prefix, _, shape = source.name.partition("/")
            if source.results == (operands[index],) and row.name.startswith(prefix):
                argument = re.sub(r"\bin\b", f"in{index}", source.text)
                arguments = [*plain[:index], argument, *plain[index + 1 :]]
                yield make(shape.replace("@", side), arguments)
    if count > 1:
        yield make("load-all", plain.upper())
        if len(set(operands)) == 1:
            yield make("same", "x" * count)


_PREAMBLE = """\
(memory (export "memory") 1)
(global $i32 (mut i32) (i32.const 1))
(global $i64 (mut i64) (i64.const 2))
(global $f32 (mut f32) (f32.const 3))
(global $f64 (mut f64) (f64.const 4))
(global $v128 (mut v128) (v128.const i64x2 5 6))
(table $t 10 10 funcref)
(table $u 4 funcref)
(data $bytes "cpuprobe")
(data $dropped "gone")
(elem (table $t) (i32.const 0) func $identity-i32 $identity-i64 $identity-f32 $identity-f64
  $identity-v128 $put-i32 $put-i64 $put-f32 $put-f64 $put-v128)
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
(func $put-i32 (param i32) (i32.store offset=2048 (i32.const 0) (local.get 0)))
(func $put-i64 (param i64) (i64.store offset=2048 (i32.const 0) (local.get 0)))
(func $put-f32 (param f32) (f32.store offset=2048 (i32.const 0) (local.get 0)))
(func $put-f64 (param f64) (f64.store offset=2048 (i32.const 0) (local.get 0)))
(func $put-v128 (param v128) (v128.store offset=2048 (i32.const 0) (local.get 0)))
"""


def operator_functions(operators: Collection[str] = ()) -> tuple[OperatorFunction, ...]:
    """Every (operator, shape) pair, in a stable order.

    Args:
        operators: only these, by the text format's names; all of them if empty.

    Returns:
        The functions; names are unique.
    """
    sources: list[Row] = []
    uses: list[Row] = []
    others: list[Row] = []
    for row in read_table():
        shape = row.name.startswith("/") or "./" in row.name
        (others if not shape else sources if "@" in row.name else uses).append(row)
    chosen = [row for row in others if not operators or _operator(row.name) in operators]
    return tuple(made for row in chosen for made in _functions(row, sources, uses))


def module_wat(functions: Iterable[OperatorFunction]) -> str:
    """A module exporting the given functions and its ``memory``.

    Args:
        functions: any choice of ``operator_functions()``.

    Returns:
        WAT text. It needs the SIMD, relaxed-SIMD, threads, wide-arithmetic, bulk-memory,
        reference-type and tail-call proposals; it imports nothing.
    """
    return f"(module\n{_PREAMBLE}{chr(10).join(function.wat for function in functions)})\n"
