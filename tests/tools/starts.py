"""What stands before an opcode, for the scanner's tables: legacy prefixes, REX, 0F, and VEX.

Three bytes tell it, each looked up alone (`scan_bytes` in native/scan/decode.h). What the others
are depends on the first: each has a field for what it is behind a legacy prefix, C5, and C4. SDM
vol. 2A, sections 2.1, 2.2.1 and 2.3.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

# The bits of a row of the legacy maps.
W, OPERAND_SIZE, REPEAT, REPEAT_NOT, MAP_0F = 1, 2, 4, 8, 16
_PREFIXES = {0x66: OPERAND_SIZE, 0xF3: REPEAT, 0xF2: REPEAT_NOT}
_BEHIND_LEGACY, _BEHIND_C5, _BEHIND_C4, _NOTHING = 0, 8, 16, 24
"""How far the fields are shifted that count."""


class Start(NamedTuple):
    """What stands before an opcode.

    Attributes:
        skip: its bytes.
        row: where the opcode is looked up.
        has_vvvv: it names a register in VEX.vvvv.
    """

    skip: int
    row: int
    has_vvvv: bool = False


_ELSEWHERE = Start(0, REPEAT | REPEAT_NOT)
"""Not decoded in line: a row in which there are no instructions, as one of both is the last."""


class Starts:
    """The tables.

    Attributes:
        all: the starts.
        heads: by the first byte the shift of what counts of the others, and above it, from bit 8
            on, the number of a start to which that is added.
        seconds: by the second byte.
        thirds: by the third byte.
    """

    def __init__(self, vex_rows: Sequence[int]) -> None:
        """Makes them.

        Args:
            vex_rows: those of maps 1 to 3, by map, pp, W and L.
        """
        self.all: list[Start] = []
        self.heads = [self._head(_NOTHING, [Start(0, 0)])] * 256
        self.heads[0x0F] = self._head(_NOTHING, [Start(1, MAP_0F)])
        for byte, state in _PREFIXES.items():
            self.heads[byte] = self._head(_BEHIND_LEGACY, _behind_legacy(state, True))
        for first, state in ((0x40, 0), (0x48, W)):
            head = self._head(_BEHIND_LEGACY, _behind_legacy(state, False))
            self.heads[first : first + 8] = [head] * 8
        maps = [
            Start(3, vex_rows[16 * number + _place(field)], has_vvvv)
            for number in range(3)
            for has_vvvv in (False, True)
            for field in range(16)
        ]
        of_c5 = [start._replace(skip=2) for start in maps[:32]]
        self.heads[0xC5] = self._head(_BEHIND_C5, of_c5)
        self.heads[0xC4] = self._head(_BEHIND_C4, [_ELSEWHERE] * 32 + maps)
        self.seconds = [_second(byte) for byte in range(256)]
        self.thirds = [_third(byte) for byte in range(256)]

    def _head(self, shift: int, starts: Sequence[Start]) -> int:
        self.all += starts
        return (len(self.all) - len(starts)) << 8 | shift

    def lines(self) -> list[str]:
        """The starts as C reads them."""
        return [
            f"{{{8 * each.skip}, {each.skip + 1}, "
            f"LEAF_REST{' | VVVV_UNUSED << 7' * each.has_vvvv}, {each.row << 8}}},"
            for each in self.all
        ]


def _behind_legacy(state: int, may_have_rex: bool) -> list[Start]:
    """The starts behind a prefix, by `_legacy` of the second byte and whether the third is 0F."""
    starts = [Start(1, state)] * 2
    for rex in (0, W):
        of_rex = [Start(2, state | rex), Start(3, state | rex | MAP_0F)]
        starts += of_rex if may_have_rex else [_ELSEWHERE] * 2  # of two only the last counts
    return starts + [Start(2, state | MAP_0F)] * 2


def _legacy(byte: int) -> int:
    """What a byte is behind a prefix: 0 an opcode, 1 REX, 2 REX.W, 3 the escape."""
    return 3 if byte == 0x0F else 1 + (byte >> 3 & 1) if byte >> 4 == 4 else 0


def _last_of_vex(byte: int) -> int:
    """The fields of VEX's last byte: pp, L, W, and whether vvvv names a register."""
    return byte & 7 | byte >> 7 << 3 | (byte & 0x78 != 0x78) << 4


def _place(field: int) -> int:
    """In a row of a map of VEX: pp, W, L."""
    return (field & 3) << 2 | field >> 3 << 1 | field >> 2 & 1


def _second(byte: int) -> int:
    number = byte & 31 if byte & 31 <= 3 else 0  # of a map
    return _legacy(byte) << 1 | _last_of_vex(byte & 0x7F) << _BEHIND_C5 | number << 5 << _BEHIND_C4


def _third(byte: int) -> int:
    return (byte == 0x0F) | _last_of_vex(byte) << _BEHIND_C4
