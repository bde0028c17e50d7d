"""The code that a text shows, by address: rows of memory and lines of disassembly."""

from __future__ import annotations

from collections.abc import Iterable

from cpuprobe.code.image import WINDOW
from cpuprobe.evidence.crashes.formats.listing import DUMP
from cpuprobe.evidence.crashes.model import Clue, Listed

LONGEST = 15
_PAGE = 0xFFF
MAXIMUM_SEQUENCE = 1024


class Pool:
    """Everything that the clues of one text show of code."""

    def __init__(self, clues: Iterable[Clue]) -> None:
        """Takes memory and listings out of clues; of an address the first with bytes counts."""
        self.listed: list[Listed] = []
        self._memory: dict[int, bytes] = {}
        self._dumped: set[int] = set()
        self._lines: dict[int, Listed] = {}
        for clue in clues:
            for start, code in clue.memory:
                self._memory.setdefault(start, code)
                if clue.tells.source == DUMP:
                    self._dumped.add(start)
            for line in clue.listed:
                self._add(line)

    def _add(self, line: Listed) -> None:
        last = self.listed[-1] if self.listed else None
        if last is not None and last.code and line.code and not line.text and not line.marked:
            whole = last.code + line.code
            if last.address + len(last.code) == line.address and len(whole) <= LONGEST:
                # objdump breaks a long instruction: its last bytes stand on a line of their own.
                line = last._replace(code=whole)
                self.listed.pop()
        self.listed.append(line)
        known = self._lines.get(line.address)
        if known is None or (line.code and not known.code) or (line.text and not known.text):
            self._lines[line.address] = line
        if line.code:
            self._memory[line.address] = line.code

    def line(self, address: int) -> Listed | None:
        """The listed line at an address."""
        return self._lines.get(address)

    def bytes_at(self, address: int) -> bytes:
        """The bytes from an address on, across rows that touch; empty if none is shown."""
        start = next((at for at in range(address, address - 16, -1) if at in self._memory), None)
        if start is None or address - start >= len(self._memory[start]):
            return b""
        code = self._memory[start][address - start :]
        at = start + len(self._memory[start])
        while at in self._memory and len(code) < WINDOW:
            code += self._memory[at]
            at += len(self._memory[at])
        return code[:WINDOW]

    def first_bytes(self, *, dumps: bool) -> bytes:
        """The first row of memory that no line of disassembly shows.

        Args:
            dumps: take rows of xxd and the like too, which as often show the head of a file.
        """
        aside = self._lines.keys() if dumps else self._lines.keys() | self._dumped
        shown = next((at for at in self._memory if at not in aside), None)
        return b"" if shown is None else self.bytes_at(shown)

    def same_place(self, address: int) -> Listed | None:
        """The one line whose address has the same place in its page; None if none or several.

        Files are mapped by whole pages, so an address in a process and in a listing of its file
        end alike.
        """
        found = [line for line in self._lines.values() if (line.address ^ address) & _PAGE == 0]
        return found[0] if len(found) == 1 else None

    def sequence(self) -> bytes:
        """The bytes of all listed lines."""
        return b"".join(line.code for line in self.listed)[:MAXIMUM_SEQUENCE]
