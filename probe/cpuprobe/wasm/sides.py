"""Two engines side by side: each runs the operators on the same cases, and what differs is told."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cpuprobe.wasm.cases import lane_kinds, make_cases, template
from cpuprobe.wasm.comparison import ARMS, CONDITION, same_but_for_nans
from cpuprobe.wasm.configure import message_of
from cpuprobe.wasm.harness import (
    CASES,
    LOG,
    MAX_CASES,
    PAGES,
    TEMPLATE,
    WINDOW,
    signatures,
)
from cpuprobe.wasm.operators import INPUT_OFFSET, RESULT_OFFSET, SLOT_SIZE, OperatorFunction

if TYPE_CHECKING:
    from wasmtime import Engine, Module

_FEW_CASES = 48


class Side:
    """One engine with the operators in it."""

    def __init__(
        self, engine: Engine, module: Module, functions: Sequence[OperatorFunction]
    ) -> None:
        """Instantiates a module of `harness.driven_module` for these functions."""
        from wasmtime import Instance, Store

        self._store = Store(engine)
        exports: Any = Instance(self._store, module, []).exports(self._store)
        memory = exports["memory"]
        memory.grow(self._store, PAGES - 1)
        self._base = ctypes.addressof(memory.data_ptr(self._store).contents)
        self._case = exports["case"]
        self._keep_at = exports["keep-at"]
        numbers = {each: number for number, each in enumerate(signatures(functions))}
        drivers = [exports[f"drive-{number}"] for number in range(len(numbers))]
        self._driver: list[Callable[..., None]] = [
            drivers[numbers[function.operands]] for function in functions
        ]

    def put(self, address: int, data: bytes) -> None:
        """Writes to the memory."""
        ctypes.memmove(self._base + address, data, len(data))

    def run(self, number: int, count: int) -> tuple[bytes, dict[int, str]]:
        """Runs one function on `count` cases: their log entries, and which trapped how."""
        from wasmtime import Trap

        traps: dict[int, str] = {}
        case = 0
        while case < count:
            try:
                self._driver[number](self._store, number, case, count)
                break
            except Trap as error:
                case = self._case.value(self._store)
                code = getattr(error, "trap_code", None)
                traps[case] = code.name if code is not None else message_of(error)
                self._keep_at(self._store, case)
                case += 1
        return ctypes.string_at(self._base + LOG, count * WINDOW), traps


class SideBySide:
    """Both engines side by side."""

    def __init__(self, native: Side, pulley: Side, variants: Mapping[int, Sequence[int]]) -> None:
        """The variants: a function's number to those of its other choices, in Pulley's module."""
        self.native = native
        self.pulley = pulley
        self.variants = variants
        self.cases = 0
        self.open_nans = 0
        self.open_relaxed = 0
        self.traps = 0
        self._loaded: tuple[bytes, ...] | None = None
        self._memory = template(WINDOW, INPUT_OFFSET, CONDITION, ARMS)
        for side in (native, pulley):
            side.put(TEMPLATE, self._memory)

    def function(self, number: int, function: OperatorFunction) -> Iterator[dict[str, str]]:
        """Runs one function on all its cases and yields what differs."""
        plain = function.name.endswith("/param")
        count = MAX_CASES if plain else _FEW_CASES
        cases = make_cases(function.operands, lane_kinds(function.operator), count)
        if cases is not self._loaded:
            for side in (self.native, self.pulley):
                side.put(CASES, b"".join(cases))
            self._loaded = cases
        log, traps = self.native.run(number, len(cases))
        reference, expected = self.pulley.run(number, len(cases))
        self.cases += len(cases)
        self.traps += len(traps)
        for case in sorted(set(traps) | set(expected)):
            if traps.get(case) != expected.get(case):
                yield self._difference(
                    function,
                    cases[case],
                    f"trap {traps.get(case, 'none')}",
                    f"trap {expected.get(case, 'none')}",
                )
        if log == reference:
            return
        others: list[bytes] | None = None
        for case, slots in enumerate(cases):
            where = slice(case * WINDOW, (case + 1) * WINDOW)
            if log[where] == reference[where]:
                continue
            if same_but_for_nans(function, slots, self._memory, log[where], reference[where]):
                self.open_nans += 1
                continue
            if others is None:
                others = [
                    self.pulley.run(variant, len(cases))[0] for variant in self.variants[number]
                ]
            if any(
                same_but_for_nans(function, slots, self._memory, log[where], other[where])
                for other in others
            ):
                self.open_relaxed += 1
                continue
            yield self._first_difference(function, slots, log[where], reference[where])

    def _first_difference(
        self, function: OperatorFunction, slots: bytes, one: bytes, other: bytes
    ) -> dict[str, str]:
        start = next(at for at in range(0, WINDOW, 16) if one[at : at + 16] != other[at : at + 16])
        result, offset = divmod(start - RESULT_OFFSET, SLOT_SIZE)
        place = f"memory {start}" if offset or not 0 <= result < 2 else f"result {result}"
        return self._difference(
            function,
            slots,
            f"{place}: {one[start : start + 16].hex()}",
            f"{place}: {other[start : start + 16].hex()}",
        )

    def _difference(
        self, function: OperatorFunction, slots: bytes, native: str, pulley: str
    ) -> dict[str, str]:
        used = slots[: 16 * len(function.operands)]
        operands = " ".join(used[at : at + 16].hex() for at in range(0, len(used), 16))
        return {
            "function": function.name,
            "operands": operands,
            "native": native,
            "pulley": pulley,
        }
