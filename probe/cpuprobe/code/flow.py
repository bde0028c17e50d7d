"""Control flow: what of a function is reached, and what every run of a program meets."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence

from iced_x86 import Decoder, FlowControl, Instruction, Mnemonic, OpKind, Register

from cpuprobe.code.forms import ASKING, Forms
from cpuprobe.code.functions import Range
from cpuprobe.code.program import Binary, CodeBytes

Hit = tuple[int, int]
"""A code of iced-x86 and the address of the instruction."""

Noted = tuple[int, Instruction]
"""A code of iced-x86 and the instruction."""

STRAIGHT_LIMIT = 4096
"""Instructions that are followed from the entry point."""
_AHEAD, _LONGEST = 512, 15
"""Bytes that are decoded at once: most ways end after some instructions; and of an instruction."""


def is_live(where: Range, hits: Sequence[Noted], noted: Sequence[Noted], forms: Forms) -> bool:
    """Whether each hit follows the start or a branch's target with nothing in between that ends.

    Cheaper than a walk, which is needed only where the answer is no.

    Args:
        where: the function.
        hits: in address order.
        noted: these, and all branches and ends.
        forms: the meaning of codes.
    """
    ends = [each.next_ip for form, each in noted if form in forms.ends]
    targets = [
        each.near_branch_target
        for form, each in noted
        if form in forms.branches and each.op0_kind == OpKind.NEAR_BRANCH64
    ]
    ends.append(where.end)
    targets.append(where.end)
    targets.sort()
    upto = ends[0]  # as far as this, what follows a live hit is live
    for _, hit in hits:
        address = hit.ip
        if address < upto:
            continue
        behind = bisect_right(ends, address)
        if targets[bisect_left(targets, ends[behind - 1])] > address:
            return False
        upto = ends[behind]
    return True


def walk(where: Range, code: CodeBytes, forms: Forms) -> Iterator[Hit]:
    """Yields what control flow from the start reaches, and what may be reached unseen.

    Args:
        where: the function.
        code: where it stands.
        forms: the meaning of codes.
    """
    start, end = where.start, where.end
    data = code.between(start, end)
    decoder = Decoder(64, data, ip=start)
    seen: dict[int, int] = {}  # address -> length
    hits: list[Hit] = []
    pending = [start]
    open_ended = where.lsda
    while pending:
        ip = pending.pop()
        if not start <= ip < end or ip in seen:
            continue
        decoder.position = ip - start
        decoder.ip = ip
        # What leads to bytes that decode to nothing is no code: a call that does not return, say.
        run: list[Hit] = []
        while ip < end and ip not in seen:
            each = decoder.decode()
            if each.is_invalid:
                run = [hit for hit in run if hit[0] not in forms.rare]
                break
            seen[ip] = each.len
            if each.code not in forms.quiet:
                run.append((each.code, ip))
            ip = each.next_ip
            if each.code in forms.branches and each.op0_kind == OpKind.NEAR_BRANCH64:
                pending.append(each.near_branch_target)
            if each.code in forms.ends:
                open_ended |= each.flow_control == FlowControl.INDIRECT_BRANCH
                break
        hits += run
    yield from hits
    if open_ended:
        for low, high in _between(seen, start, end):
            yield from _unseen(low, data[low - start : high - start], forms)


def _between(seen: Mapping[int, int], start: int, end: int) -> Iterator[tuple[int, int]]:
    """The ranges between decoded instructions."""
    at = start
    for ip in sorted(seen):
        if ip > at:
            yield at, ip
        at = max(at, ip + seen[ip])
    if at < end:
        yield at, end


def _unseen(start: int, data: bytes, forms: Forms) -> list[Hit]:
    """The hits in bytes that flow did not reach, none if anything there is odd."""
    hits: list[Hit] = []
    for each in Decoder(64, data, ip=start):
        form: int = each.code
        if form in forms.unsure:
            return []
        if form not in forms.quiet:
            hits.append((form, each.ip))
    return hits


def begins(file: Binary) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where every run of a program, or every load of a library, begins; and where it may go on.

    The first are the entry point, what it hands to the C library as main (its address in RDI,
    glibc, sysdeps/x86_64/start.S), and what the dynamic loader calls (DT_INIT, DT_INIT_ARRAY). The
    second are functions that main hands to others, as Rust's does with the program's own main; of a
    library what its kind is loaded by (PyInit_); and constructors that are known by their form.
    """
    if file.kind != "executable":
        return file.initial, (*file.loaded, *file.constructors)
    mains = [address for address in (main(file),) if address is not None]
    handed: list[int] = []
    for each in _follow(file, mains[0]) if mains else ():
        if each.is_ip_rel_memory_operand and each.mnemonic == Mnemonic.LEA:
            handed.append(each.ip_rel_memory_address)
        elif each.mnemonic == Mnemonic.MOV and each.op1_kind == OpKind.IMMEDIATE32TO64:
            handed.append(each.immediate(1))
        if each.flow_control == FlowControl.CALL:
            break
    callbacks = tuple(address for address in handed if file.is_code(address))
    return (file.entry, *mains, *file.initial), (*callbacks, *file.constructors)


def main(file: Binary) -> int | None:
    """What a program hands to the C library as main; None where that is not seen."""
    found: int | None = None
    if file.kind == "executable" and not file.is_windows:
        for each in _follow(file, file.entry):
            if each.op_count == 2 and each.op0_register in (Register.RDI, Register.EDI):
                if each.is_ip_rel_memory_operand:
                    found = each.ip_rel_memory_address
                elif each.op1_kind in (OpKind.IMMEDIATE32, OpKind.IMMEDIATE32TO64):
                    found = each.immediate32
    return found


def straight_line(file: Binary, forms: Forms, roots: Sequence[int]) -> dict[str, int]:
    """The features that every run or load meets, with the first address of each.

    Instructions are followed as far as there is only one way: into direct calls, not past a
    condition, an indirect jump or a call out.

    Args:
        file: an x86-64 file.
        forms: the meaning of codes.
        roots: where every run begins.
    """
    met: dict[str, int] = {}
    for root in roots:
        for each in _follow(file, root):
            meaning = forms.meaning(each.code)
            if not meaning.odd and "never_faults" not in meaning.marks:
                for name in meaning.needs:
                    met.setdefault(name, each.ip)
    return met


def _follow(file: Binary, address: int) -> Iterator[Instruction]:
    """The instructions from an address on, as far as there is only one way."""
    returns: list[int] = []
    decoder: Decoder | None = None
    for _ in range(STRAIGHT_LIMIT):
        if decoder is None:
            code = file.code_at(address)
            if code is None or code.name.startswith(".plt"):
                return
            decoder = Decoder(64, code.between(address, address + _AHEAD), ip=address)
        each = decoder.decode()
        if each.is_invalid or each.code in ASKING:
            return  # where it asks, what follows may be an answer
        yield each
        flow = each.flow_control
        if flow == FlowControl.NEXT:
            if decoder.position <= _AHEAD - _LONGEST:
                continue
            address = each.next_ip
        elif flow == FlowControl.CALL:
            returns.append(each.next_ip)
            address = each.near_branch_target
        elif flow == FlowControl.UNCONDITIONAL_BRANCH:
            address = each.near_branch_target
        elif flow == FlowControl.RETURN and returns:
            address = returns.pop()
        else:
            return
        decoder = None
