"""What `cpuprobe verify` found: by disassembly, by running, and how a child died."""

from __future__ import annotations

import msgspec


class Outside(msgspec.Struct, frozen=True):
    """A form of instruction that needs more than the safe set.

    Attributes:
        form: iced-x86's name of it.
        features: what it needs and the set lacks, by canonical or else iced-x86's name.
        function: the first function it stands in, by the artifact's symbol.
        address: where, as an offset in the text section.
        instruction: as Intel writes it.
        count: how many there are in all.
    """

    form: str
    features: tuple[str, ...]
    function: str
    address: int
    instruction: str
    count: int


class CodeProof(msgspec.Struct, frozen=True):
    """What disassembly says.

    Attributes:
        functions: functions of the artifact, trampolines included.
        instructions: instructions that control flow reaches.
        forms: different forms among them.
        features: the features beyond x86-64-v1 that they need.
        outside: forms that need a feature outside the set.
    """

    functions: int
    instructions: int
    forms: int
    features: tuple[str, ...]
    outside: tuple[Outside, ...]


class Difference(msgspec.Struct, frozen=True):
    """The first case in which a function's native result is not Pulley's; values in memory order.

    Attributes:
        function: its name, operator and shape.
        operands: the operand slots, in hexadecimal.
        native: where, and what native code left there.
        pulley: the same of Pulley.
    """

    function: str
    operands: str
    native: str
    pulley: str


class Comparison(msgspec.Struct, frozen=True):
    """What running says.

    Attributes:
        ran: functions that ran.
        cases: how often, in all.
        traps: how many of the cases trapped, in both engines alike if nothing differs.
        open_nans: cases that differ in bits of a NaN that the specification leaves open.
        open_relaxed: cases in which native code took another of relaxed SIMD's choices.
        functions_different: functions that differ beyond that.
        different: the first of them.
    """

    ran: int
    cases: int
    traps: int
    open_nans: int
    open_relaxed: int
    functions_different: int
    different: tuple[Difference, ...]


class Death(msgspec.Struct, frozen=True):
    """A child that ended before its work was done.

    Attributes:
        stage: `flags` if wasmtime refused these, else `compile` or `run`.
        how: the signal, or wasmtime's words.
        function: what ran at the time, None while compiling.
        features: what the code of that function needs beyond x86-64-v1.
    """

    stage: str
    how: str
    function: str | None = None
    features: tuple[str, ...] = ()


class Verification(msgspec.Struct, frozen=True):
    """The outcome.

    Attributes:
        wasmtime: its version.
        flags: what it was given.
        safe: the features that its code may use.
        operators: wasm operators compiled.
        functions: operators in all their shapes.
        atomic: functions that are compiled and not run: Pulley has no atomics.
        left_out: proposals that this wasmtime does not have.
        code: what disassembly says, None if nothing was compiled.
        comparison: what running says, None if it did not finish.
        not_compared: why there is no comparison though nothing died; None otherwise.
        death: the child that died.
    """

    wasmtime: str | None
    flags: dict[str, bool]
    safe: tuple[str, ...]
    operators: int = 0
    functions: int = 0
    atomic: int = 0
    left_out: tuple[str, ...] = ()
    code: CodeProof | None = None
    comparison: Comparison | None = None
    not_compared: str | None = None
    death: Death | None = None

    @property
    def verdict(self) -> str:
        """One word.

        `proved`, `refused`, `died`, `outside`, `different`, or `unfinished`: nothing wrong was
        found, and not everything was tried.
        """
        if self.death is not None:
            return "refused" if self.death.stage == "flags" else "died"
        if self.code is not None and self.code.outside:
            return "outside"
        if self.comparison is not None and self.comparison.functions_different:
            return "different"
        return "unfinished" if self.code is None or self.comparison is None else "proved"
