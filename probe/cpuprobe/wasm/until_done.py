"""A program run until it ends by itself: the decisions, without effects.

A run is an `Attempt`: a function that runs the program once under a `Setup` and tells how it ended.
`run_guarded` calls it as often as needed. A death by SIGILL, SIGSEGV, SIGBUS or SIGTRAP is looked
into by `rescue`; a wasm trap is no death: wasmtime turns the signal into a result.
"""

from __future__ import annotations

from collections.abc import Callable, Set

from cpuprobe.wasm.ending import Attempt, Result
from cpuprobe.wasm.setup import Setup


def run_guarded(
    attempt: Attempt,
    setup: Setup,
    *,
    tell: Callable[[str], None],
    retry: bool = False,
    unsafe: Callable[[], Set[str]] = frozenset,
) -> Result:
    """Runs a program until it ends by itself.

    Args:
        attempt: runs it once.
        setup: what to begin with.
        tell: takes one sentence at a time for the user.
        retry: run it again even if it had side effects.
        unsafe: asked for the features that are not safe on this machine, should it die.
    """
    ending = attempt(setup, False)
    if not ending.crashed:
        return Result(ending, setup)
    from cpuprobe.wasm.rescue import rescued

    return rescued(attempt, setup, ending, tell=tell, retry=retry, unsafe=unsafe)
