"""AArch64 instructions of the common extensions: which feature a word or a line needs.

Enough to name the cause of a SIGILL there; no decoder. Masks from Arm's Architecture Reference
Manual (DDI 0487), chapter C4, features by LLVM's names.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Row(NamedTuple):
    """Words `w` with `w & mask == value` need the feature."""

    mask: int
    value: int
    feature: str
    mnemonic: str = ""


# The narrower rows first.
_ROWS = (
    # HINT space: a NOP where it is not known, so it never faults
    Row(0xFFFFF01F, 0xD503201F, "", "hint"),
    # Pointer authentication outside of the hints
    Row(0xFFFFFBFF, 0xD65F0BFF, "pauth", "reta"),
    Row(0xFEFFF800, 0xD61F0800, "pauth", "bra"),
    Row(0xFEFFF800, 0xD63F0800, "pauth", "blra"),
    Row(0xFFFF8000, 0xDAC10000, "pauth", "pac"),
    Row(0xFFE0FC00, 0x9AC03000, "pauth", "pacga"),
    Row(0xFF200400, 0xF8200400, "pauth", "ldra"),
    # LSE: compare and swap, pairs, atomic memory operations, swap
    Row(0x3FA07C00, 0x08A07C00, "lse", "cas"),
    Row(0xBFA07C00, 0x08207C00, "lse", "casp"),
    Row(0x3F20FC00, 0x38208000, "lse", "swp"),
    Row(0x3F208C00, 0x38200000, "lse", "ld"),
    # load-acquire with RCpc
    Row(0x3FFFFC00, 0x38BFC000, "rcpc", "ldapr"),
    Row(0x3F200C00, 0x19000000, "rcpc-immo", "ldapur"),
    # CRC32
    Row(0x7FE0F000, 0x1AC04000, "crc", "crc32"),
    # dot product, matrix multiplication, BFloat16
    Row(0xBF20FC00, 0x0E009400, "dotprod", "dot"),
    Row(0xBF00F400, 0x0F00E000, "dotprod", "dot"),
    Row(0xFFE0F400, 0x4E80A400, "i8mm", "mmla"),
    Row(0xBFE0FC00, 0x0E809C00, "i8mm", "usdot"),
    Row(0xBFE0FC00, 0x2E40FC00, "bf16", "bfdot"),
    Row(0xFFE0FC00, 0x6E40EC00, "bf16", "bfmmla"),
    Row(0xFFFFFC00, 0x1E634000, "bf16", "bfcvt"),
    # crypto
    Row(0xFFFFCC00, 0x4E284800, "aes", "aes"),
    Row(0xBFE0FC00, 0x0EE0E000, "aes", "pmull"),
    Row(0xFFE08C00, 0x5E000000, "sha2", "sha"),
    Row(0xFFFFCC00, 0x5E280800, "sha2", "sha"),
    Row(0xFFE0B000, 0xCE608000, "sha3", "sha512"),
    Row(0xFFFFF800, 0xCEC08000, "sha3", "sha512su0"),
    Row(0xFF808000, 0xCE000000, "sha3", "eor3"),
    Row(0xFFE00000, 0xCE800000, "sha3", "xar"),
    Row(0xFFE0C000, 0xCE400000, "sm4", "sm3"),
    Row(0xFFE0B000, 0xCE60C000, "sm4", "sm"),
    # rounding doubling multiply, complex numbers, JavaScript's conversion, flags, rounding to ints
    Row(0x9F20F400, 0x0E008400, "rdm", "sqrdml"),
    Row(0xBF20E400, 0x2E00C400, "complxnum", "fcmla"),
    Row(0xFFFFFC00, 0x1E7E0000, "jsconv", "fjcvtzs"),
    Row(0xFFE07C10, 0xBA000400, "flagm", "rmif"),
    Row(0xFFFFF0FF, 0xD500401F, "flagm", "cfinv"),
    Row(0xFFBE7C00, 0x1E284000, "fptoint", "frint"),
    # memory tagging, memory copy, common short sequences, 64-byte loads and stores
    Row(0xFFE0FC00, 0x9AC01000, "mte", "irg"),
    Row(0xFF000000, 0xD9000000, "mte", "stg"),
    Row(0x3F200C00, 0x19000400, "mops", "cpy"),
    Row(0x7FFFE000, 0x5AC02000, "cssc", "abs"),
    Row(0xFFFF8C00, 0xF83F8000, "ls64", "ld64b"),
    # FP16: scalar with ftype 3, vectors of halves
    Row(0x5F600000, 0x1E600000, "", ""),
    Row(0xFF200000 | 0x00C00000, 0x1E200000 | 0x00C00000, "fullfp16", ""),
    Row(0x9F60C400, 0x0E400400, "fullfp16", ""),
    # SVE and SME: whole groups of the encoding (C4.1)
    Row(0x1E000000, 0x04000000, "sve", ""),
    Row(0x9E000000, 0x80000000, "sme", ""),
)
_SIZES = ("b", "h", "", "")
_OPERATIONS = ("add", "clr", "eor", "set", "smax", "smin", "umax", "umin")
_ORDER = ("", "l", "a", "al")

_WORDS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), feature)
    for pattern, feature in (
        (r"(?:ld|st)(?:add|clr|eor|set|[su]max|[su]min)a?l?[bh]?\b|swpa?l?[bh]?\b|casp?"
                r"a?l?[bh]?\b", "lse"),
        (r"reta[ab]\b|b(?:l)?ra[ab]z?\b|pacga\b|(?:pac|aut)[id]z?[ab]\b|ldra[ab]\b|xpac"
                r"[id]\b", "pauth"),
        (r"[us]dot\b(?!.*\bz\d)", "dotprod"),
        (r"usdot\b|sudot\b|[us]mmla\b|usmmla\b", "i8mm"),
        (r"bf(?:dot|mmla|mlal[bt]|cvt)\w*\b", "bf16"),
        (r"aes(?:e|d|mc|imc)\b", "aes"),
        (r"sha(?:1|256)\w+\b", "sha2"),
        (r"sha512\w+\b|eor3\b|bcax\b|rax1\b|xar\b", "sha3"),
        (r"sm[34]\w+\b", "sm4"),
        (r"crc32c?[bhwx]\b", "crc"),
        (r"sqrdml[as]h\b", "rdm"),
        (r"ldapr[bh]?\b", "rcpc"),
        (r"(?:ldapur|stlur)\w{0,2}\b", "rcpc-immo"),
        (r"fcmla\b|fcadd\b", "complxnum"),
        (r"fjcvtzs\b", "jsconv"),
        (r"frint(?:32|64)[xz]\b", "fptoint"),
        (r"rmif\b|setf(?:8|16)\b|cfinv\b", "flagm"),
        (r"irg\b|gmi\b|subps?\b.*\bsp\b|st2?z?2?g\b|ldg\b|addg\b|subg\b", "mte"),
        (r"(?:cpyf?|set)[pme]\w*\b(?=.*!)", "mops"),
        (r"(?:smstart|smstop)\b|\w+\b.*\bza\d?", "sme"),
        (r"\w+\b.*\b(?:z\d{1,2}\.|p\d{1,2}[/.])|cntb\b|rdvl\b|ptrue\b|whilel\w\b", "sve"),
        (r"f\w+\b.*\b(?:v\d{1,2}\.[48]h|h\d{1,2}\b)", "fullfp16"),
    )
)  # fmt: skip


def needs(code: bytes) -> tuple[str, tuple[str, ...]]:
    """The mnemonic, as far as it is known, and the features of the word at the start of code.

    Args:
        code: little-endian; fewer than four bytes need nothing that is known.

    Returns:
        An empty mnemonic where only the group is known, no features for what every Armv8.0 has.
    """
    if len(code) < 4:
        return "", ()
    word = int.from_bytes(code[:4], "little")
    for row in _ROWS:
        if word & row.mask == row.value:
            return _mnemonic(word, row), (row.feature,) if row.feature else ()
    return "", ()


def _mnemonic(word: int, row: Row) -> str:
    """LSE's names in full; of other families none, for the row says only which it is."""
    if row.feature != "lse":
        return ""
    size = _SIZES[word >> 30]
    if row.mnemonic == "casp":
        return "casp" + _ORDER[(word >> 22 & 1) * 2 + (word >> 15 & 1)]
    if row.mnemonic == "cas":
        return "cas" + _ORDER[(word >> 22 & 1) * 2 + (word >> 15 & 1)] + size
    order = _ORDER[(word >> 23 & 1) * 2 + (word >> 22 & 1)]
    if row.mnemonic == "swp":
        return f"swp{order}{size}"
    return f"ld{_OPERATIONS[word >> 12 & 7]}{order}{size}"


def needs_of_text(text: str) -> tuple[str, ...]:
    """The features that a disassembled AArch64 instruction needs; none for plain Armv8.0."""
    for pattern, feature in _WORDS:
        if pattern.match(text.strip()) is not None:
            return (feature,)
    return ()
