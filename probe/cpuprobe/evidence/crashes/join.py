"""Clues -> crashes: those of one process and one address are one crash.

Clues that follow each other make a record; records make crashes. A line that only adds (a frame, a
register) never makes a crash of its own, and is dropped where it speaks of another place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from cpuprobe.code.decode import MAXIMUM_INSTRUCTIONS
from cpuprobe.evidence.crashes.formats.kernel import SOURCE as KERNEL
from cpuprobe.evidence.crashes.formats.shells import SENTENCE, STATUS
from cpuprobe.evidence.crashes.isa import isa_of_crash
from cpuprobe.evidence.crashes.model import Clue, Crash, merged
from cpuprobe.evidence.crashes.pool import Pool
from cpuprobe.evidence.crashes.status import ILLEGAL, SENT, TRAP, same_kind

MAXIMUM_RECORDS = 4096
_PAGE = 0xFFF
_SIGN = "sign"
WEAK = frozenset({SENTENCE, STATUS})


@dataclass
class _Record:
    crash: Crash
    line: int
    only_aside: bool


def join(clues: Iterable[Clue]) -> list[Crash]:
    """The crashes that clues tell of, the most telling first; the later of equals before."""
    told = sorted(clues, key=lambda clue: (clue.line, clue.tells.source in WEAK))
    signs = [clue.tells for clue in told if clue.tells.source == _SIGN]
    pool = Pool(told)
    crashes = _crashes(_records([clue for clue in told if clue.tells.source != _SIGN]))
    crashes = [_with_code(crash, pool, alone=len(crashes) == 1) for crash in crashes]
    if not any(_tells(crash) for crash in crashes):
        crashes = _shown(pool)
    crashes = _unlike([_signed(crash, signs, pool) for crash in crashes if _tells(crash)])
    ranked = sorted(enumerate(crashes), key=lambda pair: (-_weight(pair[1]), -pair[0]))
    return [crash for _, crash in ranked]


# --- records ---


def _records(clues: Sequence[Clue]) -> list[_Record]:
    records: list[_Record] = []
    # A line that a format knows says no more by the words in it.
    strong = {clue.line for clue in clues if clue.tells.signal and clue.tells.source not in WEAK}
    for clue in clues:
        last = records[-1] if records else None
        if clue.tells.source in WEAK and clue.line in strong:
            continue
        fits = last is not None and _fits(last.crash, clue.tells)
        if last is not None and fits and (not clue.begins or last.only_aside):
            last.crash = _put(last.crash, clue.tells)
            if not clue.aside:
                if last.only_aside:
                    last.crash = replace(last.crash, source=clue.tells.source)
                last.only_aside = False
        elif clue.aside and last is not None and not clue.begins:
            continue
        elif len(records) < MAXIMUM_RECORDS:
            records.append(_Record(clue.tells, clue.line, clue.aside))
        else:
            records = [*records[MAXIMUM_RECORDS // 2 :], _Record(clue.tells, clue.line, clue.aside)]
    return records


def _put(one: Crash, other: Crash) -> Crash:
    """Both as one crash, called after the record that knows its format."""
    source = other.source if one.source in WEAK else one.source
    both = merged(one, other)
    return both if both.source == source else replace(both, source=source)


def _fits(one: Crash, other: Crash) -> bool:
    """Whether both can be told of one crash, read in one go."""
    if not same_kind(one.signal, other.signal):
        return False
    if None not in (one.address, other.address):
        return one.address == other.address
    if None not in (one.kernel, other.kernel) and one.kernel != other.kernel:
        return False
    if one.refusal is not None and other.refusal is not None:
        return one.refusal.kind == other.refusal.kind == "features" or one.refusal == other.refusal
    return one.pid == other.pid or None in (one.pid, other.pid)


# --- crashes ---


def _crashes(records: Sequence[_Record]) -> list[Crash]:
    crashes: list[Crash] = []
    for record in records:
        place = next(
            (at for at in reversed(range(len(crashes))) if _same(crashes[at], record.crash)), None
        )
        if place is None:
            crashes.append(record.crash)
        else:
            crashes[place] = _put(crashes[place], record.crash)
    return crashes


def _same(one: Crash, other: Crash) -> bool:
    """Whether two records tell of one crash."""
    if not same_kind(one.signal, other.signal) or (one.kernel is None) != (other.kernel is None):
        return False
    if one.source == other.source == KERNEL:
        # Each of its lines is a death of its own, but for the same one copied twice.
        return None is not one.pid == other.pid and None is not one.address == other.address
    if one.address is not None and other.address is not None:
        if one.address == other.address:
            return True
        # The same instruction in another process: files are mapped by whole pages.
        alike = (one.address ^ other.address) & _PAGE == 0
        named = _agree(one.module, other.module) and _agree(one.program, other.program)
        return alike and named and one.signal is not None and not (one.code and other.code)
    if one.pid is not None and other.pid is not None:
        return one.pid == other.pid
    if one.refusal is not None or other.refusal is not None:
        return one.refusal is None or other.refusal is None or one.refusal == other.refusal
    both_placed = one.module is not None and other.module is not None
    if both_placed and (one.module, one.offset) != (other.module, other.offset):
        return False
    return _agree(one.program, other.program) and not (one.code and other.code)


def _agree(one: str | None, other: str | None) -> bool:
    """Whether two names can be of one thing; the kernel keeps fifteen letters of a program's."""
    if one is None or other is None:
        return True
    short, long = sorted((one.lower(), other.lower()), key=len)
    return short == long or (len(short) >= 15 and long.startswith(short))


# --- code ---


def _with_code(crash: Crash, pool: Pool, *, alone: bool) -> Crash:
    """The crash with the code that the text shows at its address."""
    if crash.signal in TRAP and crash.address is not None:
        before = pool.line(crash.address - 1)  # INT3 leaves RIP behind itself
        if before is not None and before.text.startswith("int3"):
            return replace(crash, code=before.code, text=before.text)
    if crash.code:
        return crash
    if crash.address is None and crash.offset is not None:
        line = pool.line(crash.offset) or pool.same_place(crash.offset)
        if line is not None:
            return replace(crash, code=line.code, text=line.text)
    if crash.address is None:
        # The fault's address of an illegal instruction is the instruction's own.
        illegal = crash.fault is not None and crash.signal in ILLEGAL
        at_fault = pool.bytes_at(crash.fault or 0) if illegal else b""
        code = at_fault or (pool.first_bytes(dumps=False) if alone and crash.signal else b"")
        return replace(crash, code=code) if code else crash
    line, code = pool.line(crash.address), pool.bytes_at(crash.address)
    if line is None and not code:
        line = pool.same_place(crash.address)
        code = b"" if line is None else line.code
    return replace(crash, code=code, text=crash.text if line is None else line.text)


def _shown(pool: Pool) -> list[Crash]:
    """What a text shows that tells of no crash: all of a listing, or the first row of memory."""
    if not pool.listed:
        code = pool.first_bytes(dumps=True)
        return [Crash("bytes", code=code, sequence=True)] if code else []
    code, address = pool.sequence(), pool.listed[0].address
    text = "" if code else "\n".join(line.text for line in pool.listed[:MAXIMUM_INSTRUCTIONS])
    return [Crash("listing", code=code, sequence=True, text=text, address=address)]


# --- what is left ---


def _signed(crash: Crash, signs: Sequence[Crash], pool: Pool) -> Crash:
    """The crash with what holds for the whole text."""
    for sign in signs:
        crash = replace(crash, runtimes=crash.runtimes | sign.runtimes)
    named = [sign.isa for sign in signs if sign.isa is not None]
    texts = [line.text for line in pool.listed[:64] if line.text]
    return replace(crash, isa=isa_of_crash(crash, named, texts))


def _tells(crash: Crash) -> bool:
    return bool(
        crash.signal
        or crash.code
        or crash.text
        or crash.refusal
        or crash.kernel
        or crash.emulator
        or crash.notes
        or (crash.module and crash.offset is not None)
        or crash.sent
    )


def _unlike(crashes: Sequence[Crash]) -> list[Crash]:
    """Equal ones once, and without what only followed from another or says less."""
    kept: dict[tuple[object, ...], Crash] = {}
    for crash in crashes:
        key = (crash.signal, crash.module, crash.offset, crash.code, crash.kernel, crash.refusal)
        kept.pop(key, None)  # the last of equal ones counts
        kept[key] = crash
    left = list(kept.values())
    real = [crash for crash in left if crash.signal not in SENT]
    if any(_weight(crash) for crash in real):
        left = real  # the abort that a crash reporter ends with, a killed container
    if any(crash.signal or crash.kernel or crash.refusal for crash in left):
        # A debugger's step shows code too; without a signal it is no crash.
        left = [
            c
            for c in left
            if c.signal
            or c.kernel
            or c.refusal
            or c.emulator
            or c.module
            or c.source == "kernel log"
        ]
    return left


def _weight(crash: Crash) -> int:
    """How much a crash says of a missing instruction."""
    shown = bool(crash.code or crash.text)
    if crash.refusal is not None:
        return 6
    if crash.kernel is not None:
        return 3
    if crash.signal in ILLEGAL:
        return 5 if shown else 4 if crash.module or crash.address is not None else 3
    if crash.emulator is not None and shown:
        return 5
    return 2 if shown else 1 if crash.signal is not None else 0
