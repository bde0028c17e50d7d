"""One assembler line, AT&T or Intel syntax, -> the encodings it can have. No assembler is needed.

The mnemonic and the kinds of the operands choose among iced-x86's opcodes; its encoder then has
the last word on whether such an instruction exists.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from typing import Any

from cpuprobe.code.decode import decode, library
from cpuprobe.errors import CaptureError

MAXIMUM_LINE = 300
_PREFIXES = {
    "lock": "has_lock_prefix",
    "rep": "has_rep_prefix",
    "repe": "has_repe_prefix",
    "repz": "has_repe_prefix",
    "repne": "has_repne_prefix",
    "repnz": "has_repne_prefix",
    "xacquire": "has_xacquire_prefix",
    "xrelease": "has_xrelease_prefix",
    "notrack": "",
    "bnd": "",
    "data16": "",
}
# AT&T names without a counterpart of the same spelling (GNU as, "i386-Mnemonics").
_ATT_NAMES = {
    "movabs": "mov",
    "movslq": "movsxd",
    "cltq": "cdqe",
    "cqto": "cqo",
    "cltd": "cdq",
    "cwtl": "cwde",
    "cbtw": "cbw",
    "cwtd": "cwd",
}
_PREDICATES = [
    "eq",
    "lt",
    "le",
    "unord",
    "neq",
    "nlt",
    "nle",
    "ord",
    "eq_uq",
    "nge",
    "ngt",
    "false",
    "neq_oq",
    "ge",
    "gt",
    "true",
    "eq_os",
    "lt_oq",
    "le_oq",
    "unord_s",
    "neq_us",
    "nlt_uq",
    "nle_uq",
    "ord_s",
    "eq_us",
    "nge_uq",
    "ngt_uq",
    "false_os",
    "neq_os",
    "ge_oq",
    "gt_oq",
    "true_us",
]
_COMPARE = re.compile(r"(v?)cmp([a-z_]+?)(ps|pd|ss|sd|ph|sh)")
_COMPARE_INTEGERS = re.compile(r"vpcmp(eq|lt|le|neq|nlt|nle)(u?[bwdq])")
_COMPARE_XOP = re.compile(r"vpcom(lt|le|gt|ge|eq|neq|false|true)(u?[bwdq])")
_XOP_PREDICATES = ("lt", "le", "gt", "ge", "eq", "neq", "false", "true")
# Their last operand is XMM0 and stands nowhere in the encoding.
_IMPLIES_XMM0 = frozenset({"blendvps", "blendvpd", "pblendvb", "sha256rnds2"})
_INTEGER_PREDICATES = {"eq": 0, "lt": 1, "le": 2, "neq": 4, "nlt": 5, "nle": 6}
_CARRYLESS = re.compile(r"(v?)pclmul([lh])q([lh])qdq")
_DECORATION = re.compile(r"\{([^{}]{1,16})\}")
_NUMBER = re.compile(r"([+-]?)(?:0x([0-9a-f]{1,16})|([0-9][0-9a-f]{0,16})h|([0-9]{1,20}))")
_SIZE_WORDS = re.compile(
    r"\b(?:(byte|word|dword|qword|tbyte|fword|oword|xmmword|ymmword|zmmword|mmword)\s+)?"
    r"(?:(?:ptr|bcst)\b|(?=\[))"
)
_SIZES = {
    "byte": 1,
    "word": 2,
    "dword": 4,
    "fword": 6,
    "qword": 8,
    "mmword": 8,
    "tbyte": 10,
    "oword": 16,
    "xmmword": 16,
    "ymmword": 32,
    "zmmword": 64,
}
_ATT_MEMORY = re.compile(
    r"(?:%(?P<segment>[a-z]s):)?(?P<displacement>[+-]?[0-9a-fx]{1,20})?"
    r"\((?:%(?P<base>[a-z0-9]{2,5}))?(?:,%(?P<index>[a-z0-9]{2,5})(?:,(?P<scale>[1248]))?)?\)"
)
_ROUNDINGS = {
    "rn": "ROUND_TO_NEAREST",
    "rd": "ROUND_DOWN",
    "ru": "ROUND_UP",
    "rz": "ROUND_TOWARD_ZERO",
}


@dataclass
class _Memory:
    base: str | None = None
    index: str | None = None
    scale: int = 1
    displacement: int = 0
    segment: str | None = None
    size: int | None = None


@dataclass
class _Line:
    mnemonic: str
    operands: list[str | int | _Memory]
    prefixes: list[str]
    mask: str | None = None
    zeroing: bool = False
    broadcast: bool = False
    rounding: str | None = None
    suppress: bool = False
    encoding: str | None = None
    extra: list[int] = field(default_factory=list)

    @property
    def needs_evex(self) -> bool:
        return bool(
            self.mask
            or self.zeroing
            or self.broadcast
            or self.rounding
            or self.suppress
            or self.encoding == "EVEX"
        )


def assemble(text: str) -> tuple[bytes, ...]:
    """The encodings that an assembler line can have: the one GNU as takes first.

    Args:
        text: `vpmullq %xmm1,%xmm0,%xmm0`, `lock cmpxchg16b [rdi]`; one instruction.

    Returns:
        One encoding for each different set of features, at least one.

    Raises:
        CaptureError: no such instruction.
        CannotMeasureError: iced-x86 is not installed.
    """
    shown = " ".join(text.split())[:80]
    if len(text) > MAXIMUM_LINE:
        raise CaptureError(f"{shown}...: too long for an instruction")
    error = CaptureError(f"{shown!r}: no instruction that is known, nor its bytes")
    try:
        line = _parse(text)
    except ValueError:
        raise error from None
    found: dict[tuple[object, ...], bytes] = {}
    names = _names_for(line)
    for mnemonic in names:
        for code in _codes(mnemonic):
            encoded = _encode(line, code)
            if encoded is not None:
                one = decode(encoded)[0]
                found.setdefault((one.kind, one.features, one.other), encoded)
        if found:
            return tuple(found.values())
    raise error


def is_mnemonic(word: str) -> bool:
    """Whether a word is the name of an instruction, as iced-x86 spells it."""
    return word.lower() in _mnemonics()


@functools.cache
def _mnemonics() -> dict[str, int]:
    names = vars(library().Mnemonic)
    return {name.lower(): value for name, value in names.items() if isinstance(value, int)}


@functools.cache
def _registers() -> dict[str, int]:
    names = vars(library().Register)
    registers = {name.lower(): value for name, value in names.items() if isinstance(value, int)}
    registers.update({f"st({n})": registers[f"st{n}"] for n in range(8)})
    registers["st"] = registers["st0"]
    registers.update({f"r{n}b": registers[f"r{n}l"] for n in range(8, 16)})
    return registers


@functools.cache
def _opcodes() -> dict[int, tuple[int, ...]]:
    """The codes of each mnemonic that 64-bit mode has, in the order GNU as prefers."""
    iced = library()
    found: dict[int, list[tuple[int, int]]] = {}
    for code in vars(iced.Code).values():
        if not isinstance(code, int) or code == iced.Code.INVALID:
            continue
        opcode = iced.OpCodeInfo(code)
        if opcode.is_instruction and opcode.mode64 and opcode.decoder_option == 0:
            order = (iced.EncodingKind.LEGACY, iced.EncodingKind.VEX, iced.EncodingKind.EVEX)
            rank = order.index(opcode.encoding) if opcode.encoding in order else len(order)
            found.setdefault(opcode.mnemonic, []).append((rank, code))
    return {mnemonic: tuple(code for _, code in sorted(rows)) for mnemonic, rows in found.items()}


def _codes(mnemonic: int) -> tuple[int, ...]:
    codes = _opcodes().get(mnemonic, ())
    iced = library()
    late = {
        iced.CpuidFeature.AVX_VNNI,
        iced.CpuidFeature.AVX_IFMA,
        iced.CpuidFeature.AVX_NE_CONVERT,
    }
    for code in codes:
        instruction = iced.Instruction()
        instruction.code = code
        if late.intersection(instruction.cpuid_features()):
            return tuple(reversed(codes))  # GNU as takes EVEX there unless told {vex}
    return codes


# --- the line ---


def _parse(text: str) -> _Line:
    line = text.partition("#")[0].partition(";")[0].strip().lower()
    line = re.sub(r"<[^<>]*>", "", line)
    encoding = None
    while (match := re.match(r"\{(vex[23]?|evex|disp\d+|load|store)\}\s*", line)) is not None:
        if match[1].startswith(("vex", "evex")):
            encoding = match[1].rstrip("23").upper()
        line = line[match.end() :]
    words = line.split(None, 1)
    prefixes: list[str] = []
    while len(words) == 2 and words[0] in _PREFIXES:
        prefixes.append(words[0])
        words = words[1].split(None, 1)
    if not words:
        raise ValueError("empty")
    mnemonic, rest = words[0], words[1] if len(words) == 2 else ""
    made = _Line(mnemonic, [], prefixes, encoding=encoding)
    att = "%" in rest or "$" in rest
    operands = [each for each in _split(_decorations(made, rest)) if each]
    made.operands = [_operand(each, att) for each in operands]
    if att:
        made.operands.reverse()
    _pseudo(made)
    return made


def _decorations(line: _Line, rest: str) -> str:
    """Takes {k1}, {z}, {1to8}, {rn-sae} out of the operands."""
    for found in _DECORATION.findall(rest):
        word = found.strip().lstrip("%")
        if re.fullmatch(r"k[0-7]", word):
            line.mask = word
        elif word == "z":
            line.zeroing = True
        elif re.fullmatch(r"1to\d{1,2}", word):
            line.broadcast = True
        elif word == "sae":
            line.suppress = True
        elif word.endswith("-sae") and word[:2] in _ROUNDINGS:
            line.rounding = word[:2]
        else:
            raise ValueError(word)
    if re.search(r"\bbcst\b", rest):
        line.broadcast = True
    return _DECORATION.sub("", rest)


def _split(operands: str) -> list[str]:
    """Splits at commas outside of parentheses and brackets."""
    parts, depth, start = [], 0, 0
    for at, character in enumerate(operands):
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            parts.append(operands[start:at].strip())
            start = at + 1
    return [*parts, operands[start:].strip()]


def _operand(text: str, att: bool) -> str | int | _Memory:
    text = text.removeprefix("*")
    if att:
        if text.startswith("$"):
            return _number(text[1:])
        if text.startswith("%") and "(" not in text.replace("st(", "") and ":" not in text:
            return _register(text[1:])
        match = _ATT_MEMORY.fullmatch(text.replace(" ", ""))
        if match is not None:
            return _Memory(
                match["base"],
                match["index"],
                int(match["scale"] or 1),
                _number(match["displacement"] or "0"),
                match["segment"],
            )
        segment, colon, number = text.removeprefix("%").rpartition(":")
        return _Memory(displacement=_number(number), segment=_register(segment) if colon else None)
    if text in _registers():
        return text
    size = _SIZE_WORDS.search(text)
    if "[" in text:
        word = size[1] if size is not None else None
        return _intel_memory(text, _SIZES.get(word or ""))
    return _number(text)


def _register(name: str) -> str:
    if name not in _registers():
        raise ValueError(name)
    return name


def _intel_memory(text: str, size: int | None) -> _Memory:
    match = re.search(r"(?:\b([a-z]s):)?\[([^\[\]]*)\]", text.replace(" ", ""))
    if match is None:
        raise ValueError(text)
    memory = _Memory(segment=match[1], size=size)
    inner = match[2]
    prefix = re.match(r"([a-z]s):", inner)
    if prefix is not None:
        memory.segment, inner = prefix[1], inner[prefix.end() :]
    for sign, term in re.findall(r"([+-]?)([^+-]+)", inner):
        factors = term.split("*")
        name = next((each for each in factors if each in _registers()), None)
        if name is None:
            memory.displacement += _number(f"{sign}{term}")
        elif len(factors) == 2 or memory.base is not None:
            memory.index = name
            memory.scale = next((_number(each) for each in factors if each != name), 1)
        else:
            memory.base = name
    return memory


def _number(text: str) -> int:
    match = _NUMBER.fullmatch(text.strip().removeprefix("rel "))
    if match is None:
        raise ValueError(text)
    value = int(match[2], 16) if match[2] else int(match[3], 16) if match[3] else int(match[4])
    return -value if match[1] == "-" else value


def _pseudo(line: _Line) -> None:
    """Spells out the names that stand for an instruction with an immediate."""
    name = line.mnemonic
    if name in _IMPLIES_XMM0 and len(line.operands) == 3 and line.operands[2] == "xmm0":
        line.operands.pop()
    if name.startswith("f") and any(isinstance(each, _Memory) for each in line.operands):
        line.operands = [each for each in line.operands if each != "st"]
    if _opcodes().get(_mnemonics().get(name, -1)):
        return
    compare = _COMPARE.fullmatch(name)
    if compare is not None and compare[2] in _PREDICATES:
        line.mnemonic, immediate = f"{compare[1]}cmp{compare[3]}", _PREDICATES.index(compare[2])
    elif (integers := _COMPARE_INTEGERS.fullmatch(name)) is not None:
        line.mnemonic = f"vpcmp{integers[2]}"
        immediate = _INTEGER_PREDICATES[integers[1]]
    elif (xop := _COMPARE_XOP.fullmatch(name)) is not None:
        line.mnemonic = f"vpcom{xop[2]}"
        immediate = _XOP_PREDICATES.index(xop[1])
    elif (carryless := _CARRYLESS.fullmatch(name)) is not None:
        line.mnemonic = f"{carryless[1]}pclmulqdq"
        immediate = (carryless[2] == "h") | (carryless[3] == "h") << 4
    else:
        return
    line.operands.append(immediate)


def _names_for(line: _Line) -> list[int]:
    """The mnemonics that a name can mean: itself, or without the suffix that AT&T adds."""
    name = line.mnemonic
    wanted = [name, _ATT_NAMES.get(name, "")]
    if name[-1:] in "bwlqxyz":
        wanted += [name[:-1], _ATT_NAMES.get(name[:-1], "")]
    if re.fullmatch(r"mov[sz][bw][wlq]", name):
        wanted.append(f"mov{name[3]}x")
    return [_mnemonics()[each] for each in wanted if each in _mnemonics()]


# --- matching ---


def _encode(line: _Line, code: int) -> bytes | None:
    """The line encoded as `code`, None if that cannot be."""
    iced = library()
    opcode = iced.OpCodeInfo(code)
    evex = opcode.encoding == iced.EncodingKind.EVEX
    if opcode.op_count != len(line.operands) or (line.needs_evex and not evex):
        return None
    if line.encoding == "VEX" and opcode.encoding != iced.EncodingKind.VEX:
        return None
    if line.broadcast and not opcode.can_broadcast:
        return None
    if line.mask and not opcode.can_use_op_mask_register:
        return None
    instruction = iced.Instruction()
    instruction.code = code
    try:
        for number, operand in enumerate(line.operands):
            if not _set(instruction, opcode, number, operand, line):
                return None
        for prefix in line.prefixes:
            if _PREFIXES[prefix]:
                setattr(instruction, _PREFIXES[prefix], True)
        if line.mask:
            instruction.op_mask = _registers()[line.mask]
        instruction.zeroing_masking = line.zeroing
        instruction.is_broadcast = line.broadcast
        instruction.suppress_all_exceptions = line.suppress
        if line.rounding:
            instruction.rounding_control = getattr(iced.RoundingControl, _ROUNDINGS[line.rounding])
        encoder = iced.Encoder(64)
        encoder.encode(instruction, 0)
    except (ValueError, OverflowError):
        return None
    encoded: bytes = encoder.take_buffer()
    if decode(encoded)[0].kind in ("undecodable", "incomplete"):
        return None  # the encoder is laxer than a CPU
    return encoded


@functools.cache
def _operand_kinds() -> dict[int, str]:
    names = vars(library().OpCodeOperandKind)
    return {value: name for name, value in names.items() if isinstance(value, int)}


def _set(
    instruction: Any, opcode: Any, number: int, operand: str | int | _Memory, line: _Line
) -> bool:
    """Sets an operand; False if the opcode takes no such one there."""
    iced = library()
    kind = _operand_kinds()[opcode.op_kind(number)]
    if isinstance(operand, str):
        if not _takes_register(kind, operand):
            return False
        instruction.set_op_kind(number, iced.OpKind.REGISTER)
        instruction.set_op_register(number, _registers()[operand])
        return True
    if isinstance(operand, int):
        if kind.startswith(("BR64", "XBEGIN")):
            instruction.set_op_kind(number, iced.OpKind.NEAR_BRANCH64)
            instruction.near_branch64 = operand
            return True
        if not kind.startswith("IMM"):
            return False
        immediates = {
            "IMM8": "IMMEDIATE8",
            "IMM8_CONST_1": "IMMEDIATE8",
            "IMM4_M2Z": "IMMEDIATE8",
            "IMM8SEX16": "IMMEDIATE8TO16",
            "IMM8SEX32": "IMMEDIATE8TO32",
            "IMM8SEX64": "IMMEDIATE8TO64",
            "IMM16": "IMMEDIATE16",
            "IMM32": "IMMEDIATE32",
            "IMM32SEX64": "IMMEDIATE32TO64",
            "IMM64": "IMMEDIATE64",
        }
        second = any(isinstance(each, int) for each in line.operands[:number])
        name = "IMMEDIATE8_2ND" if second else immediates[kind]
        instruction.set_op_kind(number, getattr(iced.OpKind, name))
        instruction.set_immediate_i64(number, operand)
        return True
    if not (kind.startswith(("MEM", "SIBMEM")) or "_OR_MEM" in kind):
        return kind.startswith(("BR64", "XBEGIN")) and _branch(instruction, number, operand)
    if operand.size is not None and not line.broadcast:
        size = iced.MemorySizeInfo(opcode.memory_size).size
        if size and size != operand.size:
            return False
    instruction.set_op_kind(number, iced.OpKind.MEMORY)
    names = _registers()
    if operand.base is not None:
        instruction.memory_base = names[operand.base]
    if operand.index is not None:
        instruction.memory_index = names[operand.index]
        instruction.memory_index_scale = operand.scale
    if operand.segment is not None:
        instruction.segment_prefix = names[operand.segment]
    instruction.memory_displacement = operand.displacement & (1 << 64) - 1
    if operand.displacement or operand.base is None:
        instruction.memory_displ_size = (
            1 if operand.base is not None and -128 <= operand.displacement < 128 else 8
        )
        if operand.base == "rip" or operand.base is None:
            instruction.memory_displ_size = 4 if operand.base is None else 8
    return True


def _branch(instruction: Any, number: int, operand: _Memory) -> bool:
    if operand.base is not None or operand.index is not None:
        return False
    instruction.set_op_kind(number, library().OpKind.NEAR_BRANCH64)
    instruction.near_branch64 = operand.displacement
    return True


def _takes_register(kind: str, name: str) -> bool:
    if kind in ("AL", "AX", "EAX", "RAX", "CL", "DX", "ES", "CS", "SS", "DS", "FS", "GS"):
        return name == kind.lower()
    if kind == "ST0":
        return name in ("st", "st(0)", "st0")
    classes = (
        ("XMM", r"xmm\d+"),
        ("YMM", r"ymm\d+"),
        ("ZMM", r"zmm\d+"),
        ("TMM", r"tmm\d"),
        ("MM_", r"mm\d"),
        ("K_", r"k[0-7]"),
        ("KP1", r"k[0-7]"),
        ("BND", r"bnd\d"),
        ("STI", r"st(\(\d\)|\d)?"),
        ("SEG_REG", r"[cdefgs]s"),
        ("CR_", r"cr\d+"),
        ("DR_", r"dr\d+"),
    )
    for start, pattern in classes:
        if kind.startswith(start):
            return re.fullmatch(pattern, name) is not None
    size = {"R8_": 1, "R16": 2, "R32": 4, "R64": 8}.get(kind[:3])
    if size is None:
        return False
    info = library().RegisterInfo(_registers()[name])
    return bool(info.size == size and re.fullmatch(r"[er]?[a-ds][lhxpi]l?|r\d+[dwlb]?", name))
