"""Reads candidates.list and turns each line into machine code."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from iced_x86 import (
    Decoder,
    EncodingKind,
    Formatter,
    FormatterSyntax,
    Instruction,
    MemorySizeOptions,
)

from tests.golden.headers import ListError, check_name, options_of

FOLDER = Path(__file__).resolve().parents[2] / "native" / "isa" / "x86_64" / "candidates"
CHECKS = ("VALUE", "RUNS", "HINT", "RANDOM", "CPU", "FSBASE", "GSBASE", "SYSCALL", "TRANSACTION")
_OPTIONS = ("hex", "like", "results", "name")
_ENCODINGS = {"{evex}": EncodingKind.EVEX, "{vex}": EncodingKind.VEX}


@dataclass(frozen=True)
class Entry:
    """One line: see the comment at the top of candidates.list for its fields."""

    line: int
    features: tuple[str, ...]
    text: str
    input: str
    check: str
    hex: str
    like: str
    results: str
    short: str

    @property
    def name(self) -> str:
        """What the table calls it: the instruction, or the short name of a sequence."""
        return self.short or self.text


def read_list(text: str) -> list[Entry]:
    """Parse the list.

    Raises:
        ListError: a field is unknown or a name appears twice; the message gives the line.
    """
    entries: list[Entry] = []
    seen: set[str] = set()
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.split("#")[0].strip()
        if not line:
            continue
        fields = [f.strip() for f in line.split("|")]
        if len(fields) < 3:
            raise ListError(f"candidates.list:{number}: expected features | instruction | input")
        check, options = options_of(number, fields[3:], CHECKS, _OPTIONS)
        features = tuple(f.strip() for f in fields[0].split(","))
        short = options.pop("name")
        entry = Entry(number, features, fields[1], fields[2].upper(), check, short=short, **options)
        check_name(entry.line, entry.name, seen)
        entries.append(entry)
    return entries


def formatter() -> Formatter:
    """The one spelling of instructions used in names: iced-x86, Intel syntax."""
    f = Formatter(FormatterSyntax.INTEL)
    f.memory_size_options = MemorySizeOptions.ALWAYS
    f.space_after_operand_separator = True
    f.hex_prefix, f.hex_suffix = "0x", ""
    f.use_pseudo_ops = False
    return f


def spell(code: bytes) -> str:
    """Disassemble a whole candidate, instructions separated by '; '."""
    f = formatter()
    return "; ".join(f.format(i) for i in Decoder(64, code))


def instructions(code: bytes) -> list[Instruction]:
    """Decode a whole candidate."""
    return list(Decoder(64, code))


def plain(name: str) -> str:
    """A name without the prefixes that only tell the assembler which encoding to choose."""
    for prefix in _ENCODINGS:
        name = name.replace(prefix + " ", "")
    return name


def wanted_encoding(name: str) -> int | None:
    """The encoding that a name's prefix demands, if it has one."""
    return next((kind for prefix, kind in _ENCODINGS.items() if name.startswith(prefix)), None)


def _for_assembler(text: str) -> list[str]:
    """GNU as wants rounding control last and no size on operands that are only addresses."""
    return [_line_for_assembler(part) for part in text.split("; ")]


def _line_for_assembler(line: str) -> str:
    rounding = re.search(r"\{r[nduz]-sae\}|\{sae\}", line)
    if rounding:
        line = line.replace(rounding[0], "", 1) + ", " + rounding[0]
    if line.startswith(("movdir64b", "ldtilecfg")):
        line = line.replace("zmmword ptr ", "")
    line = re.sub(r"^(f\w+) st, (?=\w+ ptr)", r"\1 ", line)
    return line.removesuffix(", st")


def assemble(texts: list[str]) -> list[bytes]:
    """Machine code of each text by one run of GNU as.

    Raises:
        ListError: the assembler refuses a line.
    """
    source = [".intel_syntax noprefix"]
    owner = [0]
    for n, text in enumerate(texts):
        for line in (f"c{n}:", *_for_assembler(text)):
            source.append(line)
            owner.append(n)
    source.append(f"c{len(texts)}:")
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        (base / "a.s").write_text("\n".join(source) + "\n", encoding="ascii")
        run = ["as", "--64", "-msyntax=intel", "-mnaked-reg", "-o", "a.o", "a.s"]
        done = subprocess.run(run, cwd=base, capture_output=True, text=True, check=False)
        if done.returncode:
            errors = []
            for number, message in re.findall(r"a\.s:(\d+): Error: (.*)", done.stderr):
                errors.append(f"{texts[owner[int(number) - 1]]}: {message}")
            raise ListError("; ".join(errors) or done.stderr)
        copy = ["objcopy", "-O", "binary", "-j", ".text", "a.o", "a.bin"]
        subprocess.run(copy, cwd=base, check=True, capture_output=True)
        names = subprocess.run(["nm", "a.o"], cwd=base, check=True, capture_output=True, text=True)
        code = (base / "a.bin").read_bytes()
    found = {s: int(a, 16) for a, _, s in (line.split() for line in names.stdout.splitlines())}
    return [code[found[f"c{n}"] : found[f"c{n + 1}"]] for n in range(len(texts))]


def assemble_entries(entries: list[Entry]) -> dict[str, bytes]:
    """Code of every entry and of every `like` text, by text; `hex` bypasses the assembler."""
    texts = [e.text for e in entries if not e.hex] + [e.like for e in entries if e.like]
    code = dict(zip(texts, assemble(texts), strict=True))
    code.update({e.text: bytes.fromhex(e.hex) for e in entries if e.hex})
    return code
