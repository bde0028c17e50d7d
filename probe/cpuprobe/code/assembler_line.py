"""One line of assembler, AT&T or Intel syntax -> its parts, in Intel's order."""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

_PREFIX = re.compile(
    r"(?:lock|rep(?:n?[ez])?|xacquire|xrelease|notrack|bnd|data16"
    r"|\{(?P<encoding>vex|evex|disp\d+|load|store)[23]?\})\s+(?=\S)"
)
# Names for another with an immediate (SDM vol. 2, CMPPS, VPCMPB, PCLMULQDQ; APM vol. 4, VPCOMB).
_WITH_IMMEDIATE = (
    (
        r"(v?)cmp(?:n?(?:eq|lt|le)|(?:un)?ord|n?g[et]|false|true)(?:_[ou][qs]|_[su])?([ps][sdh])",
        r"\1cmp\2",
    ),
    (r"vpcmp(?:neq|n?l[te]|eq(?=u))(u?[bwdq])", r"vpcmp\1"),
    (r"vpcom(?:[lg][te]|n?eq|false|true)(u?[bwdq])", r"vpcom\1"),
    (r"(v?)pclmul[lh]q[lh]qdq", r"\1pclmulqdq"),
)
# Their last operand is XMM0 and stands nowhere in the encoding.
_IMPLIES_XMM0 = frozenset({"blendvps", "blendvpd", "pblendvb", "sha256rnds2"})
_DECORATION = re.compile(r"\{([^{}]{1,16})\}")
_NUMBER = re.compile(r"[+-]?(?:0x[0-9a-f]{1,16}|[0-9][0-9a-f]{0,19}h?)")
_SIZES = {
    word: 1 << rank
    for rank, words in enumerate(
        ("byte", "word", "dword", "qword|mmword", "oword|xmmword", "ymmword", "zmmword")
    )
    for word in words.split("|")
} | {"fword": 6, "tbyte": 10}
_MEMORY = re.compile(
    r"(?:(?:far\s+)?(?P<size>[a-z0-9]+)\s+)?(?:(?:ptr|bcst)\s+)?"
    r"(?:(?P<segment>[a-z]s):)?\[(?:(?P<within>[a-z]s):)?(?P<inside>[^\[\]:]*)\]"
)
_ATT_MEMORY = re.compile(
    r"(?P<segment>[a-z]s:)?(?P<displacement>[+-]?[0-9a-fx]{1,20})?"
    r"(?:\((?P<base>[a-z0-9]{2,5})?(?:,(?P<index>[a-z0-9]{2,5})(?:,(?P<scale>[1248]))?)?\))?"
)
_REGISTER = re.compile(
    r"(?P<XMM>xmm(?:[12]?\d|3[01]))|(?P<YMM>ymm(?:[12]?\d|3[01]))|(?P<ZMM>zmm(?:[12]?\d|3[01]))"
    r"|(?P<TMM>tmm[0-7])|(?P<MM>mm[0-7])|(?P<K>k[0-7])|(?P<BND>bnd[0-3])"
    r"|(?P<STI>st(?:\([0-7]\)|[0-7])?)|(?P<SEG>[cdefgs]s)|(?P<CR>cr\d+)|(?P<DR>dr\d+)"
    r"|(?P<R8>[a-d][lh]|[sd]il|[sb]pl|r(?:8|9|1[0-5])[bl])"
    r"|(?P<R16>[a-d]x|[sd]i|[sb]p|r(?:8|9|1[0-5])w)"
    r"|(?P<R32>e(?:[a-d]x|[sd]i|[sb]p|ip)|r(?:8|9|1[0-5])d)"
    r"|(?P<R64>r(?:[a-d]x|[sd]i|[sb]p|ip|8|9|1[0-5]))"
)


def with_immediate(name: str) -> bool:
    """Whether a name stands for another mnemonic and its immediate."""
    return any(re.fullmatch(pattern, name) is not None for pattern, _ in _WITH_IMMEDIATE)


class Memory(NamedTuple):
    """An operand in memory: registers by lower-case name, the size in bytes; 0: it is not said."""

    base: str = ""
    scaled: str = ""
    scale: int = 1
    displacement: int = 0
    segment: str = ""
    size: int = 0


Operand = str | int | Memory
"""A register by its name, an immediate, or memory."""


class Line(NamedTuple):
    """A parsed line, in Intel's order.

    Attributes:
        name: as it is written.
        mnemonic: what that stands for, if it implies an immediate.
        shown: the operands.
        operands: the same, with that immediate.
        decorations: without their braces.
        encoding: `vex` or `evex` where the line says so.
    """

    name: str
    mnemonic: str
    shown: str
    operands: list[Operand]
    decorations: list[str]
    encoding: str


def parse_line(text: str) -> Line:
    """The parts of a line; ValueError if it has none."""
    line = re.sub(r"<[^<>]*>", "", re.split("[#;]", text, maxsplit=1)[0]).lower().strip()
    encoding = ""
    while (prefix := _PREFIX.match(line)) is not None:
        encoding = prefix["encoding"] or encoding
        line = line[prefix.end() :]
    name, *rest = line.split(None, 1) or [""]
    joined = "".join(rest)
    decorations = [word.strip().lstrip("%") for word in _DECORATION.findall(joined)]
    decorations += ["1to"] if re.search(r"\bbcst\b", joined) else []
    parts = re.split(r",(?![^(\[]*[)\]])", _DECORATION.sub("", joined))
    parts = [part.strip() for part in parts if part.strip()]
    if "%" in joined or "$" in joined:
        parts = [_as_intel(part) for part in reversed(parts)]
    if name in _IMPLIES_XMM0 and parts[2:] == ["xmm0"]:
        parts.pop()
    if name.startswith("f") and "[" in joined + "".join(parts):
        parts = [part for part in parts if part != "st"]
    words = [f"{{{word}}}" for word in decorations if word != "1to"]
    masks = "".join(word for word in words if re.fullmatch(r"\{(?:k\d|z)\}", word))
    last = "".join(words).replace(masks, "")
    shown = ", ".join([f"{part}{masks}" for part in parts[:1]] + parts[1:]) + last
    operands = [_operand(part) for part in parts]
    for pattern, meant in _WITH_IMMEDIATE:
        if (match := re.fullmatch(pattern, name)) is not None:
            mnemonic = match.expand(meant)
            return Line(name, mnemonic, shown, [*operands, 0], decorations, encoding)
    return Line(name, name, shown, operands, decorations, encoding)


def _as_intel(text: str) -> str:
    """An operand in AT&T syntax in Intel's."""
    plain = text.removeprefix("*").replace("%", "").replace(" ", "")
    if text.startswith("$") or class_of(plain):
        return plain.removeprefix("$")
    match = _ATT_MEMORY.fullmatch(plain)
    if match is None or not plain:
        raise ValueError(text)
    scaled = f"{match['index']}*{match['scale'] or 1}" if match["index"] else None
    terms = "+".join(filter(None, (match["base"], scaled, match["displacement"])))
    return f"{match['segment'] or ''}[{terms.replace('+-', '-')}]"


def _operand(text: str) -> Operand:
    if class_of(text):
        return text
    match = _MEMORY.fullmatch(text)
    if match is None:
        return _number(text)
    base = scaled = ""
    scale, displacement = 1, 0
    for sign, term in re.findall(r"([+-]?)([^+-]+)", match["inside"].replace(" ", "")):
        register, *factor = sorted(term.removeprefix("rel").split("*"), key=str.isdecimal)
        if class_of(register) in ("R32", "R64") and not factor and not base:
            base = register
        elif class_of(register) in ("R32", "R64", "XMM", "YMM", "ZMM"):
            scaled, scale = register, _number(factor[0]) if factor else 1
        else:
            displacement += _number(f"{sign}{register}")
    segment = match["segment"] or match["within"] or ""
    return Memory(base, scaled, scale, displacement, segment, _SIZES.get(match["size"] or "", 0))


def _number(text: str) -> int:
    if _NUMBER.fullmatch(text) is None:
        raise ValueError(text)
    return int(text, 10) if text.lstrip("+-").isdecimal() else int(text.rstrip("h"), 16)


@functools.cache
def class_of(register: str) -> str:
    """`XMM`, `R64`, `K` and so on, as iced-x86 calls operands; empty for what is no register."""
    match = _REGISTER.fullmatch(register)
    return "" if match is None else str(match.lastgroup)
