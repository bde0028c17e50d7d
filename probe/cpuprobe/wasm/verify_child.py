"""The processes in which `cpuprobe verify` lets wasmtime compile and run: `proof` starts them.

A wrong flag kills whatever process uses the code, and an unknown one aborts it; so this is run as
`main(JSON)` in an interpreter of its own, and what it finds out goes to standard output line by
line, as JSON. Before each function its number is written, so that the last line names the one that
died.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from cpuprobe.facts.target import TARGET
from cpuprobe.wasm.cases import lane_kinds
from cpuprobe.wasm.comparison import helper_functions, variants_of
from cpuprobe.wasm.configure import MissingOptionError, message_of, set_flags
from cpuprobe.wasm.harness import driven_module, own_functions
from cpuprobe.wasm.operators import OperatorFunction, operator_functions
from cpuprobe.wasm.sides import Side, SideBySide

if TYPE_CHECKING:
    from wasmtime import Config

PULLEY = "pulley64"
CANNOT = 3
"""Exit code: this wasmtime cannot do what was asked; standard error says why."""
REFUSED = 4
"""Exit code: wasmtime refused the flags; standard error has its words."""

_SHOWN = 20

# A module that needs the proposal, to ask this wasmtime whether it compiles it.
_PROPOSALS = {
    "threads": "(memory 1 1) (func (drop (i32.atomic.load (i32.const 0))))",
    "relaxed_simd": "(func (param v128) (drop (i8x16.relaxed_swizzle (local.get 0)"
    " (local.get 0))))",
    "wide_arithmetic": "(func (param i64) (result i64 i64)"
    " (i64.mul_wide_u (local.get 0) (local.get 0)))",
    "tail_call": "(func $f (return_call $f))",
}
_WIDE = ("i64.add128", "i64.sub128", "i64.mul_wide")


def _needs(function: OperatorFunction) -> Iterator[str]:
    if function.atomic:
        yield "threads"
    if function.relaxed:
        yield "relaxed_simd"
    if any(name in function.body for name in _WIDE):
        yield "wide_arithmetic"
    if "return_call" in function.body:
        yield "tail_call"


def _config(target: str, flags: Mapping[str, bool], proposals: Sequence[str]) -> Config:
    from wasmtime import Config

    config = Config()
    for proposal in proposals:
        if hasattr(Config, f"wasm_{proposal}"):
            setattr(config, f"wasm_{proposal}", True)
    config.wasm_simd = True
    try:
        set_flags(config, target, flags)
    except MissingOptionError as error:
        _fail(CANNOT, str(error))
    return config


def _supported() -> tuple[str, ...]:
    from wasmtime import Engine, Module, WasmtimeError

    found = []
    for proposal, text in _PROPOSALS.items():
        try:
            Module(Engine(_config(TARGET, {}, (proposal,))), f"(module {text})")
        except WasmtimeError:
            continue
        found.append(proposal)
    return tuple(found)


def _functions(
    proposals: Sequence[str], operators: Sequence[str]
) -> tuple[list[OperatorFunction], list[OperatorFunction]]:
    """The functions to drive, and those only to compile: Pulley has no atomics."""
    chosen = [
        function
        for function in operator_functions(operators)
        if set(_needs(function)) <= set(proposals)
    ]
    return (
        [function for function in chosen if not function.atomic],
        [function for function in chosen if function.atomic],
    )


def _say(**what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _fail(code: int, message: str) -> NoReturn:
    sys.stderr.write(message + "\n")
    sys.stderr.flush()
    sys.exit(code)


def compile_all(path: str, flags: Mapping[str, bool], operators: Sequence[str]) -> None:
    """Compiles the operators natively and leaves the artifact at `path`."""
    from wasmtime import Engine, Module, WasmtimeError

    try:
        Module(Engine(_config(TARGET, flags, ())), "(module)")
    except WasmtimeError as error:
        _fail(REFUSED, message_of(error))
    proposals = _supported()
    driven, undriven = _functions(proposals, operators)
    try:
        engine = Engine(_config(TARGET, flags, proposals))
        artifact = Module(engine, driven_module(driven, undriven)).serialize()
    except WasmtimeError as error:
        _fail(CANNOT, f"it does not compile the operators: {message_of(error)}")
    with open(path, "wb") as file:
        file.write(artifact)
    _say(
        proposals=proposals,
        left_out=[name for name in _PROPOSALS if name not in proposals],
        functions=len(driven) + len(undriven),
        atomic=len(undriven),
        operators=len({function.operator for function in (*driven, *undriven)}),
    )


def _pulley(
    driven: Sequence[OperatorFunction],
    variants: Sequence[OperatorFunction],
    proposals: Sequence[str],
) -> Side:
    """Pulley with the same functions, relaxed SIMD's choices fixed, and the other choices behind.

    Asking it for threads ends the process with wasmtime 50.
    """
    from wasmtime import Engine, Module, WasmtimeError

    text = driven_module((*driven, *variants))
    try:
        config = _config(PULLEY, {}, [name for name in proposals if name != "threads"])
        if "relaxed_simd" in proposals:
            text = text.rstrip().removesuffix(")") + helper_functions() + ")\n"
            config.wasm_relaxed_simd_deterministic = True
        engine = Engine(config)
        module = Module(engine, text)
    except WasmtimeError as error:
        _fail(CANNOT, f"Pulley, wasmtime's interpreter, is not available: {message_of(error)}")
    return Side(engine, module, (*driven, *variants))


def run_all(
    path: str,
    flags: Mapping[str, bool],
    operators: Sequence[str],
    proposals: Sequence[str],
) -> None:
    """Runs the artifact at `path` beside Pulley and says what differs."""
    from wasmtime import Engine, Module

    driven, _ = _functions(proposals, operators)
    variants: list[OperatorFunction] = []
    numbers: dict[int, Sequence[int]] = {}
    for number, function in enumerate(driven):
        mine = list(variants_of(function))
        first = len(driven) + len(variants)
        numbers[number] = range(first, first + len(mine))
        variants += mine
    engine = Engine(_config(TARGET, flags, proposals))
    with open(path, "rb") as file:
        module = Module.deserialize(engine, file.read())
    native = Side(engine, module, driven)
    # Some releases abort on its name.
    _say(preparing="pulley")
    reference = _pulley(driven, variants, proposals)
    _say(preparing="run")
    comparison = SideBySide(native, reference, numbers)
    # Neighbours with the same cases need them loaded once.
    order = sorted(
        range(len(driven)),
        key=lambda n: (
            driven[n].operands,
            lane_kinds(driven[n].operator),
            driven[n].name.endswith("/param"),
        ),
    )
    different, shown = 0, 0
    first_index = own_functions()
    for done, number in enumerate(order):
        function = driven[number]
        _say(at=function.name, index=first_index + number, done=done)
        first = True
        for difference in comparison.function(number, function):
            different += first
            if first and shown < _SHOWN:
                _say(different=difference)
                shown += 1
            first = False
    _say(
        ran=len(driven),
        cases=comparison.cases,
        traps=comparison.traps,
        open_nans=comparison.open_nans,
        open_relaxed=comparison.open_relaxed,
        functions_different=different,
    )


def main(request: str) -> None:
    """Does what a JSON request of `proof` asks."""
    asked = json.loads(request)
    stages: dict[str, Callable[..., None]] = {"compile": compile_all, "run": run_all}
    stages[asked.pop("do")](**asked)
