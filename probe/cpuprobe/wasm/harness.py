"""The module that drives the operator functions through their cases: WAT, and where all lies.

A call from Python costs more than most operators. So the loop over the cases is wasm too: a driver
for each signature takes the number of a function in a table and a range of cases, prepares memory
for each case, calls, and keeps a copy of the memory in a log. What lies in memory:

    0         what the operator functions read and write, `WINDOW` bytes
    TEMPLATE  what the window is set to before each case
    CASES     operand slots, `cases.CASE_SIZE` bytes a case
    LOG       the window after each case
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from cpuprobe.wasm.cases import CASE_SIZE
from cpuprobe.wasm.operators import INPUT_OFFSET, SLOT_SIZE, OperatorFunction, module_wat
from cpuprobe.wasm.table import Types

WINDOW = 4096
TEMPLATE = 0x10000
CASES = 0x20000
MAX_CASES = 1024
LOG = CASES + MAX_CASES * CASE_SIZE
PAGES = -(-(LOG + MAX_CASES * WINDOW) // 0x10000)

_EXPORTED = re.compile(r'\(func \(export "[^"]*"\)')


def signatures(functions: Iterable[OperatorFunction]) -> tuple[Types, ...]:
    """The types of operands, each once, in the order of their drivers `drive-0`, `drive-1`, ..."""
    return tuple(dict.fromkeys(function.operands for function in functions))


def _driver(number: int, operands: Types) -> str:
    arguments = " ".join(
        f"({kind}.load (i32.const {INPUT_OFFSET + SLOT_SIZE * index}))"
        for index, kind in enumerate(operands)
        if kind != "v128"
    )
    params = "".join(f" (param {kind})" for kind in operands if kind != "v128")
    return f"""\
(func (export "drive-{number}") (param $f i32) (param $case i32) (param $end i32)
  (loop $next
    (if (i32.ge_u (local.get $case) (local.get $end)) (then (return)))
    (global.set $case (local.get $case))
    (memory.copy (i32.const 0) (i32.const {TEMPLATE}) (i32.const {WINDOW}))
    (memory.copy (i32.const {INPUT_OFFSET})
      (i32.add (i32.const {CASES}) (i32.mul (local.get $case) (i32.const {CASE_SIZE})))
      (i32.const {CASE_SIZE}))
    (call_indirect $driven{params} {arguments} (local.get $f))
    (call $keep-at (local.get $case))
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
    drivers = "".join(_driver(number, each) for number, each in enumerate(signatures(functions)))
    return f"""{plain}
(table $driven {len(functions)} {len(functions)} funcref)
(elem (table $driven) (i32.const 0) func {numbers})
(global $case (export "case") (mut i32) (i32.const 0))
(func $keep-at (export "keep-at") (param $case i32)
  (memory.copy (i32.add (i32.const {LOG}) (i32.mul (local.get $case) (i32.const {WINDOW})))
    (i32.const 0) (i32.const {WINDOW})))
{drivers})
"""
