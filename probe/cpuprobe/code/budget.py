"""How much work one file may make: counted, not timed, so that every machine answers the same."""

from __future__ import annotations

from cpuprobe.code.elf import ArtifactError

BUDGET = 80_000_000
"""Steps for one file. A step is what it takes to decode an instruction and find it dull, about
120 ns at most; what costs more is charged as several, by measurement."""
ROW = 3
"""Steps for an instruction that is no longer dull: it is kept, counted and placed."""
FUNCTION = 48
"""Steps for a function that is looked at, and again if it holds a hit, beside its bytes."""
WALK = 8
"""Steps for each byte of a function in which control flow is followed."""
SEARCHED = 16
"""Steps for each of those that a search for what is come to makes (ways.MOST_STEPS)."""
KNOWN, CODE = 100, 8
"""Steps for each function that is known of a file, and for who calls it; and bytes of code that are
looked through for calls while a step is made."""
COMPILED = 12
"""Steps for an instruction of compiled wasm, which is followed and kept."""


class Budget:
    """What is left to do for one file, or a part of it.

    Attributes:
        spent: steps so far.
    """

    def __init__(self, most: int = BUDGET) -> None:
        """Nothing is spent yet of `most` steps."""
        self.spent = 0
        self._most = most

    def spend(self, steps: int) -> None:
        """Charges work, before it is done where its amount is known.

        Raises:
            ArtifactError: the file has used up what it may.
        """
        self.spent += steps
        if self.spent > self._most:
            raise ArtifactError(
                f"its code is too much work: more than {self._most // 1_000_000} million steps"
            )
