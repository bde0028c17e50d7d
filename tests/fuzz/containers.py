"""Seeds, a mutator that knows the tables, and the promise: for the readers of binary files.

A fuzzer that changes bytes at random seldom gets past a header. This one knows where ELF files,
minidumps and what tests/fuzz/archives.py tells of keep their numbers, and puts those there that
readers stumble over.
"""

from __future__ import annotations

import random
import resource
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cpuprobe.assessment import assess
from cpuprobe.check.contents import contents
from cpuprobe.code.archives.table import kind_of_file
from cpuprobe.code.elf import ArtifactError
from cpuprobe.crash.diagnose import diagnose
from cpuprobe.errors import CaptureError
from cpuprobe.evidence.crashes.core_file import read_core
from cpuprobe.evidence.crashes.minidump import read_minidump
from cpuprobe.evidence.crashes.model import Crash
from tests.elf_files import HEADER, elf, note, symbol
from tests.fakes import gds_machine
from tests.fuzz import archives
from tests.needs import parse_needs

REFUSED = "refused refused refused refused"
"""What `check` answers to a file that no reader takes."""
CORPUS = Path(__file__).parents[1] / "data" / "fuzz"
SECONDS = 5.0
"""CPU time for one input of some KB, on a machine four times slower than any of today."""
MEMORY = 1 << 30

Field = tuple[int, int]
"""Where a number stands, and its size in bytes."""

_EHDR = [(16, 2), (18, 2), (24, 8), (32, 8), (40, 8), *((at, 2) for at in range(52, 64, 2))]
_PHDR = [(0, 4), (4, 4), *((at, 8) for at in range(8, 56, 8))]
_SHDR = [(0, 4), (4, 4), *((at, 8) for at in range(8, 40, 8)), (40, 4), (44, 4), (56, 8)]
_SYMBOL = [(0, 4), (4, 1), (6, 2), (8, 8), (16, 8)]
_WORDS = [(0, 4), (4, 4), (8, 4)]
_MOST_ROWS = 64


def seeds() -> dict[str, bytes]:
    """A valid file of each kind: those of the corpus, and some that no tool writes so small."""
    found = {path.name: path.read_bytes() for path in sorted(CORPUS.glob("*.bin"))}
    found["core"] = _core()
    found["minidump"] = _minidump()
    found["library"] = _library()
    return {**found, **archives.seeds()}


def _core() -> bytes:
    status = bytearray(336)
    struct.pack_into("<H", status, 12, 4)
    struct.pack_into("<Q", status, 112 + 16 * 8, 0x1010)  # rip
    files = struct.pack("<QQQQQ", 1, 4096, 0x1000, 0x2000, 0) + b"/usr/bin/dead\0"
    notes = note(1, bytes(status)) + note(0x53494749, struct.pack("<iii", 4, 0, 2) + bytes(116))
    notes += note(0x46494C45, files)
    code = b"\x62\xf2\xfd\x08\x40\xc1" * 10
    at = HEADER + len(notes)
    segments = [(4, 0, HEADER, 0, len(notes)), (1, 5, at, 0x1000, len(code))]
    return elf(notes + code, segments, kind=4)


def _library() -> bytes:
    code = b"\xc5\xfd\xfe\xc0\x0f\xa2\xe8\x00\x00\x00\x00\xc3" * 20
    names = b"\0.text\0.symtab\0f\0.note.gnu.property\0"
    rows = symbol(0, 0, 0, 0, 0) + symbol(15, 0x12, 1, HEADER, 60) + symbol(15, 0x11, 1, 200, 8)
    dynamic = struct.pack("<QQQQ", 14, 1, 12, HEADER)
    properties = note(5, struct.pack("<III4x", 0xC0008002, 4, 6), b"GNU\0")
    unwind = struct.pack("<II", 16, 0) + b"\x01zR\0\x01\x78\x10\x01\x1b\x00\x00\x00"
    unwind += struct.pack("<IIiI", 12, 24, 0, 16) + bytes(4)
    relocations = struct.pack("<QQq", 64, 37, HEADER)
    body, offsets = b"", []
    for part in (code, names, rows, dynamic, properties, unwind, relocations):
        offsets.append(HEADER + len(body))
        body += part + bytes(-len(part) % 8)
    sections = [
        (1, 1, 6, HEADER, offsets[0], len(code), 0),
        (7, 3, 0, 0, offsets[1], len(names), 0),
        (7, 2, 0, 0, offsets[2], len(rows), 2),
        (17, 7, 2, 0, offsets[4], len(properties), 0),
        (0, 4, 2, 0, offsets[6], len(relocations), 0),
    ]
    header = struct.pack("<BBBBi", 1, 0x1B, 0, 0, offsets[5] - (HEADER + len(body)) - 4)
    segments = [
        (1, 5, 0, 0, HEADER + len(body)),
        (2, 6, offsets[3], offsets[3], len(dynamic)),
        (0x6474E550, 4, HEADER + len(body), HEADER + len(body), 8),
        (0x6474E553, 4, offsets[4], offsets[4], len(properties)),
    ]
    return elf(body + header, segments, sections, names=2)


def _minidump() -> bytes:
    name = struct.pack("<I", 8) + "dead".encode("utf-16-le")
    context = bytes(1232)
    system = struct.pack("<H18xI", 9, 0x8201) + bytes(32)
    memory = struct.pack("<IQII", 1, 0x1000, 16, 32)
    info = struct.pack("<IIQ", 16, 48, 1)
    info += struct.pack("<QQIIQIII4x", 0x1000, 0, 0, 0, 4096, 0, 32, 0)
    sizes = [4 + 108, len(system), 168, len(memory), len(info)]
    first = 32 + 12 * len(sizes)
    places = [first + sum(sizes[:number]) for number in range(len(sizes) + 1)]
    modules = struct.pack("<IQIIII", 1, 0x1000, 4096, 0, 0, places[5]) + bytes(84)
    at = places[5] + len(name)
    exception = struct.pack("<IIIIQQ", 0, 0, 4, 0, 0, 0x1000) + bytes(128)
    exception += struct.pack("<II", len(context), at)
    kinds = [4, 7, 6, 5, 16]
    directory = zip(kinds, sizes, places, strict=False)
    return (
        struct.pack("<4sIII16x", b"MDMP", 0xA793, len(sizes), 32)
        + b"".join(struct.pack("<III", *row) for row in directory)
        + b"".join((modules, system, exception, memory, info, name, context))
    )


# --- the mutator ---------------------------------------------------------------------------------


def _rows(start: int, size: int, count: int, fields: list[Field]) -> Iterator[Field]:
    for row in range(min(count, _MOST_ROWS)):
        for at, width in fields:
            yield start + row * size + at, width


def fields(content: bytes) -> list[Field]:
    """Where the numbers of a file's tables stand, as far as they go."""
    found = archives.fields(content)
    if content[:4] == b"MDMP" and len(content) >= 32:
        count, directory = struct.unpack_from("<II", content, 8)
        found = [(4, 4), (8, 4), (12, 4), *_rows(directory, 12, count, _WORDS)]
        for row in range(min(count, _MOST_ROWS)):
            if directory + 12 * row + 12 <= len(content):
                (place,) = struct.unpack_from("<I", content, directory + 12 * row + 8)
                found += [(place + at, 4) for at in range(0, 172, 4)]
    elif content[:4] == b"\x7fELF" and len(content) >= 64:
        segments, sections = struct.unpack_from("<QQ", content, 32)
        count, _, number = struct.unpack_from("<HHH", content, 56)
        found = [*_EHDR, *_rows(segments, 56, count, _PHDR), *_rows(sections, 64, number, _SHDR)]
        for row in range(min(number, _MOST_ROWS)):
            if sections + 64 * row + 64 <= len(content):
                (kind,) = struct.unpack_from("<I", content, sections + 64 * row + 4)
                place, size = struct.unpack_from("<QQ", content, sections + 64 * row + 24)
                if kind in (2, 11):
                    found += _rows(place, 24, size // 24, _SYMBOL)
                found += [(place + at, 4) for at in range(0, min(size, 64), 4)]
        for row in range(min(count, _MOST_ROWS)):
            if segments + 56 * row + 56 <= len(content):
                (place,) = struct.unpack_from("<Q", content, segments + 56 * row + 8)
                found += [(place + at, 4) for at in range(0, 64, 4)]
    return [(at, width) for at, width in found if at + width <= len(content)]


def mutate(content: bytes, chance: random.Random, most: int = 1 << 17) -> bytes:
    """Another file, near to this one.

    Args:
        content: the file.
        chance: decides.
        most: bytes that it may have.
    """
    changed = bytearray(content)
    numbers = fields(content)
    words = archives.digits(content)
    for _ in range(chance.randint(1, 6)):
        kind = chance.random()
        if words and kind < 0.6:
            archives.change_digits(changed, words, chance)
        elif numbers and kind < 0.7:
            at, width = chance.choice(numbers)
            changed[at : at + width] = _number(content, numbers, width, chance)
        elif kind < 0.8 and len(changed) > 8:
            at = chance.randrange(len(changed))
            changed[at : at + 1] = chance.randbytes(1)
        elif kind < 0.9 and len(changed) > 128:
            size = chance.choice((24, 56, 64, 108))
            start, end = (chance.randrange(len(changed) - 64) for _ in range(2))
            changed[end : end + size] = changed[start : start + size]
        elif kind < 0.95:
            del changed[chance.randrange(len(changed) or 1) :]
        else:
            changed += changed[-64:] * chance.randrange(1, 200)
    return bytes(changed[:most])


def _number(content: bytes, numbers: list[Field], width: int, chance: random.Random) -> bytes:
    at, size = chance.choice(numbers)
    special = (0, 1, 2, 4, 0xFFFF, 1 << 20, 1 << 31, 1 << 32, 1 << 63, (1 << 64) - 1)
    value = chance.choice(
        (
            *special,
            len(content) + chance.randint(-64, 64),
            chance.randrange(len(content) + 1),
            int.from_bytes(content[at : at + size], "little"),
            int.from_bytes(content[at : at + size], "little") + chance.randint(-16, 16),
            chance.getrandbits(64),
        )
    )
    return (value & (1 << 8 * width) - 1).to_bytes(width, "little")


# --- the promise ---------------------------------------------------------------------------------


def limit_memory() -> None:
    """Makes every byte beyond the promise a MemoryError."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.RLIM_INFINITY))


def check(content: bytes) -> str:
    """Reads a file with every reader that may meet it.

    Returns:
        What came of it, in short.

    Raises:
        AssertionError: a refusal is not one short line, or it took too long.
    """
    answers = [_outcome(lambda: parse_needs(content).kind)]
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        answers.append(_outcome(lambda: _verdict(read_core(file.name))))
        answers.append(_outcome(lambda: _verdict(read_minidump(file.name))))
        answers.append(_outcome(lambda: _held(file.name)))
    return " ".join(answers)


def _held(path: str) -> str:
    """How many files in it were read and how many could not be; what holds none is refused."""
    kind = kind_of_file(path)
    if kind is None or kind.opens is None:
        raise ArtifactError("holds no files")
    met = contents(path).met
    errors = [each.error for each in met if each.error]
    for message in errors:
        assert len(message) < 400 and message.isprintable(), message
    if len(errors) == len(met):
        raise ArtifactError("nothing in it was read")
    return f"{len(met) - len(errors)}+{len(errors)}"


def _verdict(crash: Crash) -> str:
    return str(diagnose(crash, lambda: assess(gds_machine())).verdict)


def _outcome(read: Callable[[], str]) -> str:
    start = time.process_time()
    try:
        answer = read()
    except CaptureError as error:
        message = str(error)
        assert message and len(message) < 400 and message.isprintable(), message
        answer = "refused"
    taken = time.process_time() - start
    assert taken < SECONDS, f"{taken:.1f} s"
    return answer
