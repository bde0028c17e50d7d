"""The kernel's list of flags: gathered over wrapped lines, and judged whether it is whole.

A list of x86 Linux begins `fpu` and holds only names of profiles/linux_words.toml, apart from ones
that are younger than that table. By these names it is told where a terminal cut a line inside a
word and where somebody wrapped it between words, and whether a list breaks off.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Literal, NamedTuple

from cpuprobe.facts.isa import AARCH64
from cpuprobe.facts.tables import load_table

Incomplete = Literal["short", "cut", "foreign"] | None

# What a list of a whole machine begins with; a comma, a quote or a blank between.
BEGIN = re.compile(r"\bfpu[\"', ]{1,4}(?:vme|de|tsc|pse|fpu_exception|sse)\b")
_WORD = re.compile(r"[a-z0-9][a-z0-9_]{0,39}")
_DECORATION = "*_`~,;.\"'()[]{}<>|\\"
_AT_A_SEAM = _DECORATION.replace("_", "")  # sse4 and _2
_GAP = re.compile(r"\.\.\.|\u2026|\[snip|<snip|truncated", re.IGNORECASE)
_PADDING = re.compile(r"[ \t]{2,}")
_KEY = re.compile(r"[^\s:=][^:=]{0,60}[:=]")
# Words of the groups that Linux prints after the one that begins `pni` and ends `hypervisor`: a
# CPU with AVX or POPCNT has one of them, at least lahf_lm.
_AFTER_AVX = frozenset(
    {"lahf_lm", "cmp_legacy", "abm", "arat", "xsaveopt", "fsgsbase", "bmi1", "cpuid_fault", "pti"}
)
# Of Intel's, printed before `pni`, which every 64-bit CPU of Intel's has.
_BEFORE_PNI = frozenset({"arch_perfmon", "bts", "pbe", "pebs"})
_NEEDS_THEM = frozenset({"sse4_2", "popcnt", "avx", "xsave", "aes"})
# arch/arm/kernel/setup.c, hwcap_str: what no arm64 kernel lists, but to 32-bit programs.
_ARM_32 = frozenset(
    {"swp", "half", "thumb", "fastmult", "vfp", "edsp", "neon", "vfpv3", "tls", "vfpv4", "idiva"}
)
_ARM = _ARM_32 | {"asimd", "evtstrm", "fphp"}
# What WSL 1, Cygwin, BSD's lscpu and translators list, and no Linux: names of CPUID's, or ARM's.
_NOT_OF_LINUX = _ARM | {"osxsave", "sse3", "cflsh", "clfsh", "htt", "aesni", "pclmuldq"}
# What libvirt, OpenStack and x86info call words of Linux.
SPELLINGS = {"sse4.1": "sse4_1", "sse4.2": "sse4_2", "sse3": "pni"}
_LONGEST = 64  # lines of one list


class KernelList(NamedTuple):
    """A list of flags: its words, why it is not whole, and the line after its last one."""

    words: tuple[str, ...]
    incomplete: Incomplete
    end: int


@cache
def linux_words() -> frozenset[str]:
    """Every name that Linux is known to print."""
    return frozenset(load_table("linux_words")["words"].split())


@cache
def _beginnings() -> frozenset[str]:
    return frozenset(word[:end] for word in linux_words() for end in range(1, len(word)))


def is_list(value: str) -> bool:
    """Whether a value is such a list: it begins `fpu`, or most of its words are Linux's."""
    words = value[:400].replace(",", " ").split()
    if not words:
        return False
    known = linux_words()
    if words[0] == "fpu":
        return len(words) == 1 or words[1].strip(_DECORATION) in known or len(words) < 3
    some = [word.strip(_DECORATION) for word in words[:12]]
    hits = sum(word in known for word in some)
    return hits >= 3 and hits * 10 >= len(some) * 7


def gather(
    lines: Sequence[str], number: int, value: str, *, bits32: bool = False, keyed: bool = True
) -> KernelList:
    """The list that begins with `value` on line `number` and may go on below it.

    Args:
        lines: the text.
        number: where it begins.
        value: what stands behind the label, blanks at the end included.
        bits32: whether the kernel is known to be a 32-bit one, whose list need not have `lm`.
        keyed: whether the list stands in a text of fields, so that one may follow it.
    """
    if "," in value:  # hwinfo's, JSON's
        rest = (line.replace(",", " ") for line in lines[number + 1 : number + 1 + _LONGEST])
        lines, value = (*lines[: number + 1], *rest), value.replace(",", " ")
    pieces = [value]
    end = number + 1
    while end < len(lines) and len(pieces) < _LONGEST and _goes_on(pieces[-1], lines[end]):
        pieces.append(lines[end])
        end += 1
    text, sure = _joined(pieces)
    words, clean = _words(text)
    followed = keyed and end < len(lines) and _KEY.match(lines[end].strip()) is not None
    incomplete = judge(words, bits32=bits32, followed=followed)
    if incomplete is None and not (sure and clean):
        incomplete = "cut"
    return KernelList(words, incomplete, end)


def _goes_on(before: str, line: str) -> bool:
    """Whether a line continues a list: its words are Linux's, or its first completes one."""
    words = line.split(None, 40)
    if not words or _KEY.match(line.strip()) or (before.strip() and BEGIN.search(line)):
        return False
    known = linux_words()
    last = before.rsplit(maxsplit=1)[-1] if before.strip() else ""
    inner = [word.strip(_DECORATION) for word in words[1:-1]]
    if inner:
        return sum(word in known for word in inner) * 10 >= len(inner) * 6
    joined = last + words[0]
    if joined in known or (joined in _beginnings() and len(words) == 1):
        return True
    return all(
        word.strip(_DECORATION) in known or (place == len(words) - 1 and word in _beginnings())
        for place, word in enumerate(words)
    )


def _joined(pieces: Sequence[str]) -> tuple[str, bool]:
    """The pieces of a list as one text, and whether each seam is certain."""
    parts: list[str] = []
    for piece in pieces:
        inner = _PADDING.split(piece.strip())
        parts += [each for each in inner if each]
    if not parts:
        return "", True
    seams = [_seam(left, right) for left, right in pairwise(parts)]
    inside = "word" in seams
    text, sure = parts[0], True
    for seam, part in zip(seams, parts[1:], strict=True):
        cut = seam == "word" or (inside and seam != "blank")
        sure = sure and seam != "unknown"
        text += part if cut else f" {part}"
    return text, sure


def _seam(left: str, right: str) -> Literal["word", "blank", "either", "unknown"]:
    """What stands between two pieces: nothing (the cut is inside a word), or a blank."""
    known = linux_words()
    one, rest = left.rsplit(maxsplit=1)[-1].strip(_AT_A_SEAM), right.split()
    other = rest[0].strip(_AT_A_SEAM)
    whole = one in known and other in known
    if one + other in known:
        return "either" if whole else "word"
    if len(rest) == 1 and not whole and one + other in _beginnings():
        return "word"
    return "blank" if whole else "unknown"


def _words(text: str) -> tuple[tuple[str, ...], bool]:
    """The words without decoration, each once, and whether there was nothing else."""
    clean = _GAP.search(text) is None
    found: dict[str, None] = {}
    for token in text.replace(",", " ").split():
        word = token.strip(_DECORATION)
        other = SPELLINGS.get(word)
        if _WORD.fullmatch(word):
            found[word] = None
        elif word:
            clean = False
        if other is not None:
            found[other] = None
    return tuple(found), clean


def judge(words: Sequence[str], *, bits32: bool = False, followed: bool = False) -> Incomplete:
    """Why a list is not the whole one, None where it shows no sign of that.

    Args:
        words: the list, in its order.
        bits32: it is a 32-bit kernel's.
        followed: another field stands right behind it.
    """
    have = set(words)
    if have & _NOT_OF_LINUX:
        return "foreign"
    if not words or "fpu" not in have or not (bits32 or "lm" in have):
        return "short"
    known = linux_words()
    if words[-1] not in known and words[-1] in _beginnings():
        return "cut"
    if not followed and "lm" in have and have & _BEFORE_PNI and "pni" not in have:
        return "cut"
    if not followed and have & _NEEDS_THEM and not have & _AFTER_AVX and words[0] == "fpu":
        return "cut"
    return None


def isa_of_arm_list(words: Sequence[str]) -> Literal["aarch64", "arm"] | None:
    """Which ARM's list of flags this is, whatever the text calls its machine; None: no ARM's.

    Old arm64 kernels of phones list the names of both.
    """
    if "fpu" in words or not _ARM.intersection(words):
        return None
    return "arm" if _ARM_32.intersection(words) and "asimd" not in words else "aarch64"


def gather_arm(lines: Sequence[str], number: int, value: str) -> KernelList:
    """The same of an arm64 kernel's list.

    Linux prints `fp asimd` first and, but for very old kernels, `evtstrm` or `cpuid` among the
    others; where a terminal cut a line inside a word shows by the words of its table.
    """
    known = arm_words()
    text, end = value.rstrip(), number + 1
    while end < len(lines) and end - number < _LONGEST:
        rest = lines[end].split(None, 40)
        if not rest or _KEY.match(lines[end].strip()):
            break
        last = text.rsplit(maxsplit=1)[-1] if text.strip() else ""
        cut = last + rest[0] in known and not {last, rest[0]} <= known
        inner = rest[1:-1]  # the last word may be cut in its turn
        if sum(word in known for word in inner) * 10 < len(inner) * 6:
            break
        if not (cut or rest[0] in known):
            break
        text += ("" if cut else " ") + lines[end].strip()
        end += 1
    words, clean = _words(text)
    incomplete: Incomplete = None if clean and (not words or words[-1] in known) else "cut"
    if not {"fp", "asimd"} <= set(words) or {"evtstrm", "cpuid"}.isdisjoint(words):
        incomplete = "short"
    return KernelList(words, incomplete, end)


@cache
def arm_words() -> frozenset[str]:
    """Every name that an arm64 Linux prints."""
    return frozenset({"evtstrm", "cpuid", *AARCH64.features().by_kernel_flag})
