"""The module that drives the operator functions through their cases: WAT, and where all lies.

A call from Python costs more than most operators. So the loop over the cases is wasm too: a driver
for each signature takes the number of a function in a table and a range of cases, prepares memory
for each case, calls, and keeps a copy of the memory and the results in a log. What lies in memory:

    0         what the operator functions read and write, `WINDOW` bytes
    TEMPLATE  what the window is set to before each case
    CASES     operand slots, `cases.CASE_SIZE` bytes a case
    LOG       an entry of `ENTRY` bytes a case: the window after it, then two result slots
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from cpuprobe.wasm.cases import CASE_SIZE
from cpuprobe.wasm.operators import INPUT_OFFSET, SLOT_SIZE, OperatorFunction, module_wat

WINDOW = 4096
RESULTS = 2
ENTRY = WINDOW + RESULTS * SLOT_SIZE
TEMPLATE = 0x10000
CASES = 0x20000
MAX_CASES = 1024
LOG = CASES + MAX_CASES * CASE_SIZE
PAGES = -(-(LOG + MAX_CASES * ENTRY) // 0x10000)

_EXPORTED = re.compile(r'\(func \(export "[^"]*"\)')

Signature = tuple[tuple[str, ...], tuple[str, ...]]
"""Operand types and result types: what a driver must know of a function."""


def signature(function: OperatorFunction) -> Signature:
    """The signature of a function."""
    return function.operands, function.results


def signatures(functions: Iterable[OperatorFunction]) -> tuple[Signature, ...]:
    """All of them, each once, in the order of their drivers `drive-0`, `drive-1` and so on."""
    return tuple(dict.fromkeys(signature(function) for function in functions))


def _driver(number: int, operands: Sequence[str], results: Sequence[str]) -> str:
    arguments = " ".join(
        f"({kind}.load (i32.const {INPUT_OFFSET + SLOT_SIZE * index}))"
        for index, kind in enumerate(operands)
        if kind != "v128"
    )
    params = "".join(f" (param {kind})" for kind in operands if kind != "v128")
    declared = "".join(f" (result {kind})" for kind in results)
    kept = " ".join(f"(local.set $r{index})" for index in reversed(range(len(results))))
    stored = " ".join(
        f"({kind}.store offset={WINDOW + SLOT_SIZE * index} (local.get $entry)"
        f" (local.get $r{index}))"
        for index, kind in enumerate(results)
    )
    variables = "".join(f" (local $r{index} {kind})" for index, kind in enumerate(results))
    return f"""\
(func (export "drive-{number}") (param $f i32) (param $case i32) (param $end i32)
  (local $entry i32){variables}
  (loop $next
    (if (i32.ge_u (local.get $case) (local.get $end)) (then (return)))
    (global.set $case (local.get $case))
    (local.set $entry
      (i32.add (i32.const {LOG}) (i32.mul (local.get $case) (i32.const {ENTRY}))))
    (memory.copy (i32.const 0) (i32.const {TEMPLATE}) (i32.const {WINDOW}))
    (memory.copy (i32.const {INPUT_OFFSET})
      (i32.add (i32.const {CASES}) (i32.mul (local.get $case) (i32.const {CASE_SIZE})))
      (i32.const {CASE_SIZE}))
    (call_indirect $driven{params}{declared} {arguments} (local.get $f))
    {kept}
    (call $keep (local.get $entry))
    {stored}
    (local.set $case (i32.add (local.get $case) (i32.const 1)))
    (br $next)))
"""


def own_functions() -> int:
    """The number of functions that come before the operators' in a module's index space."""
    return module_wat(()).count("\n(func ")


def driven_module(
    functions: Sequence[OperatorFunction], undriven: Sequence[OperatorFunction] = ()
) -> str:
    """A module of the functions and their drivers, as WAT.

    Args:
        functions: number n in the table is the n-th of these.
        undriven: compiled too, but in no table.

    Returns:
        WAT; it exports `memory`, `case` (the case at work), `keep-at` (logs a case that trapped)
        and the drivers. The functions are reached through the table alone. Their indices begin at
        `own_functions()`.
    """
    before = own_functions()
    plain = module_wat((*functions, *undriven)).rstrip().removesuffix(")")
    # wasmtime-py lists an instance's exports in a time that grows with the square of their number.
    plain = _EXPORTED.sub("(func", plain)
    numbers = " ".join(str(before + index) for index in range(len(functions)))
    drivers = "".join(_driver(number, *each) for number, each in enumerate(signatures(functions)))
    return f"""{plain}
(table $driven {len(functions)} {len(functions)} funcref)
(elem (table $driven) (i32.const 0) func {numbers})
(global $case (export "case") (mut i32) (i32.const 0))
(func $keep (param $entry i32)
  (memory.copy (local.get $entry) (i32.const 0) (i32.const {WINDOW}))
  (memory.fill (i32.add (local.get $entry) (i32.const {WINDOW})) (i32.const 0)
    (i32.const {RESULTS * SLOT_SIZE})))
(func (export "keep-at") (param $case i32)
  (call $keep
    (i32.add (i32.const {LOG}) (i32.mul (local.get $case) (i32.const {ENTRY})))))
{drivers})
"""
