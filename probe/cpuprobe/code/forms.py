"""What each form of instruction means: the one home of "form of the decoder -> features".

profiles/forms.json is made by `make gen` from the feature table, profiles/baseline.toml and
iced-x86's own tables (tests/tools/forms.py): asking the decoder about its 4,936 codes takes longer
than most files do, and asking it of every instruction makes decoding three times slower.
"""

from __future__ import annotations

import functools
import os.path
from array import array
from typing import Literal, NamedTuple

import msgspec

from cpuprobe.errors import CannotMeasureError
from cpuprobe.facts.tables import TableError, tables_folder

try:
    from iced_x86 import Code
except ImportError:
    raise CannotMeasureError(
        "iced-x86, the decoder, is not installed: pip install iced-x86"
    ) from None

# What a form is beside what it needs:
#   invalid       no instruction
#   cpuid xgetbv  asks what the CPU can do
#   trap          UD0, UD1, UD2: made to fault
#   breakpoint    INT3, INT1
#   privileged    for the kernel alone
#   hint          a NOP on CPUs that lack it: it never faults for that reason
#   harmless      does the same without the feature, as compilers use it
#   unsought      a scan does not look for it
#   never_faults  does something else without the feature
#   rare          believed only where control flow leads to it
#   data          a sign of data where nothing is known of the bytes around
#   branch        may go on elsewhere
#   end           never goes on at the next instruction
Mark = Literal[
    "invalid",
    "cpuid",
    "xgetbv",
    "trap",
    "breakpoint",
    "privileged",
    "hint",
    "harmless",
    "unsought",
    "never_faults",
    "rare",
    "data",
    "branch",
    "end",
]
_NEEDLESS = frozenset({"hint", "harmless", "unsought", "xgetbv", "invalid"})


class Meaning(msgspec.Struct, frozen=True):
    """What codes have in common that say the same.

    Attributes:
        features: canonical names of all that the form has to do with, without x86-64-v1's, in the
            feature table's order.
        unknown: iced-x86's names of what has no row in the feature table.
        marks: see `Mark`.
        codes: first and last of each run of codes.
    """

    features: tuple[str, ...]
    unknown: tuple[str, ...]
    marks: frozenset[Mark]
    codes: tuple[int, ...] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        """What a program that contains the form needs: hints and the harmless need nothing."""
        return () if self.marks & _NEEDLESS else self.features

    @property
    def relied_on(self) -> tuple[str, ...]:
        """What compiled wasm needs: Cranelift relies on what TZCNT makes of zero."""
        return () if self.marks & (_NEEDLESS - {"harmless"}) else self.features

    @property
    def odd(self) -> bool:
        """Whether it is invalid or rare."""
        return not self.marks.isdisjoint(("invalid", "rare"))

    @property
    def asks(self) -> bool:
        """Whether it asks what the CPU can do."""
        return not self.marks.isdisjoint(("cpuid", "xgetbv"))


class _Table(msgspec.Struct, frozen=True):
    made: str
    decoder: int
    meanings: tuple[Meaning, ...]


class Forms(NamedTuple):
    """Codes of iced-x86, sorted.

    Attributes:
        meanings: far fewer than codes.
        kinds: of each code, its place in `meanings`.
        quiet: every x86-64 CPU executes them, and they say nothing else either.
        straight: quiet, and neither branch nor end.
        rare: as marked.
        data: quiet all the same.
        dull: quiet, and no sign of data.
        unsure: rare, a sign of data, or invalid.
        branches: see `Mark`.
        ends: likewise.
    """

    meanings: tuple[Meaning, ...]
    kinds: array[int]
    quiet: frozenset[int]
    straight: frozenset[int]
    rare: frozenset[int]
    data: frozenset[int]
    dull: frozenset[int]
    unsure: frozenset[int]
    branches: frozenset[int]
    ends: frozenset[int]

    def meaning(self, code: int) -> Meaning:
        """What one code means."""
        return self.meanings[self.kinds[code]]


INVALID: int = int(Code.INVALID)
ASKING: frozenset[int] = frozenset(map(int, (Code.CPUID, Code.XGETBV)))


@functools.cache
def _table() -> _Table:
    path = os.path.join(tables_folder(), "forms.json")
    try:
        with open(path, "rb") as file:
            table = msgspec.json.decode(file.read(), type=_Table)
    except (OSError, msgspec.DecodeError) as error:
        raise TableError(f"forms.json: {error}") from None
    if table.decoder != len(vars(Code)):
        raise CannotMeasureError("iced-x86 has other codes than forms.json: install iced-x86 1.21")
    return table


@functools.cache
def forms() -> Forms:
    """All codes, by what they mean.

    Raises:
        TableError: the table cannot be read.
        CannotMeasureError: the installed iced-x86 is not the one that the table was made from.
    """
    meanings = _table().meanings
    last = max(meaning.codes[-1] for meaning in meanings)
    kinds = array("H", bytes(2 * (last + 1)))
    marked: dict[str, list[int]] = {}
    for kind, meaning in enumerate(meanings):
        heard = meaning.odd or meaning.asks or meaning.needs or meaning.unknown
        needless = meaning.marks & {"hint", "harmless", "unsought"}
        words = [*meaning.marks, *(["quiet"] if needless or not heard else [])]
        for first, end in zip(meaning.codes[::2], meaning.codes[1::2], strict=True):
            codes = range(first, end + 1)
            kinds[first : end + 1] = array("H", [kind]) * len(codes)
            for word in words:
                marked.setdefault(word, []).extend(codes)
    quiet, rare, data, branches, ends = (
        frozenset(marked[word]) for word in ("quiet", "rare", "data", "branch", "end")
    )
    straight, dull, unsure = quiet - branches - ends, quiet - data, rare | data | {INVALID}
    return Forms(meanings, kinds, quiet, straight, rare, data, dull, unsure, branches, ends)
