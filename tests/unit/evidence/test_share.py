"""Share codes and data blocks: whatever a paste does to them, the same machine comes out.

`python -m tests.unit.evidence.test_share` adds codes of today to tests/data/screens/codes.json.
Those that stand there were printed once and must be read for ever: it never changes them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import html
import itertools
import json
import quopri
import struct
import textwrap
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests import arm_fakes
from tests.every import every
from tests.golden.aarch64 import entries as aarch64
from tests.tools.share import missing_candidates, missing_words
from tests.unit.report.test_screen import WIDTHS, WORLDS, shown

from cpuprobe.assessment import Assessment, assess
from cpuprobe.errors import CaptureError
from cpuprobe.evidence import block
from cpuprobe.evidence.machines import parse_capture, read_capture
from cpuprobe.evidence.observation import Candidate, CpuGroup, Observation, Wasmtime
from cpuprobe.evidence.share import BEGIN, END, pack, unpack
from cpuprobe.facts.aarch64 import load_features
from cpuprobe.facts.tables import load_table
from cpuprobe.report.document import make_report, to_json

DATA = Path(__file__).parents[2] / "data"
CODES = DATA / "screens" / "codes.json"
CAPTURES = [
    *sorted((DATA / "captures").glob("*.txt")),
    *sorted((DATA / "reports").glob("*.json")),
    *(DATA / "machines" / name for name in (
        "cpuinfo-uneven-avx2.txt", "i686-lscpu-on-sandy-bridge.txt", "numpy-2-levels.txt",
        "macos-sysctl-i7-8750h.txt", "xen-xl-info.txt", "openbsd-dmesg-haswell.txt",
        "same-lscpu-plus-cpuid.txt", "virtualbox-decoded-rows.txt", "steam-system-info.txt",
        "old-kernel-2.6.32-haswell.txt", "smartos-lx-zone-cpuinfo.txt",
        "aarch64-cpuinfo-linaro.txt", "arm-lscpu-x925-a725-wrap.txt",
    )),
]  # fmt: skip


def essentials(assessed: Assessment) -> dict[str, object]:
    """What a code keeps: all but the evidence's wording and how many candidates there were."""
    told: dict[str, object] = msgspec.to_builtins(assessed)
    return told | {"findings": [msgspec.structs.replace(e, evidence=()) for e in assessed.findings]}


def same(one: Observation, other: Observation) -> bool:
    return essentials(assess(one)) == essentials(assess(other))


def readable(path: Path) -> Observation | None:
    try:
        return read_capture(path)
    except CaptureError:
        return None


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_a_code_tells_what_its_machine_told(path):
    """States, witnesses, findings, causes, flags and identity of any kind of capture."""
    observation = readable(path)
    if observation is not None:
        assert same(unpack(pack(observation)), observation)


def test_a_code_of_aarch64_is_short_and_keeps_what_its_kernel_lists():
    """Its candidates and the words of `Features` are in the frozen lists too."""
    entries = aarch64.read_list((aarch64.FOLDER / "candidates.list").read_text())
    candidates = tuple(Candidate(e.name, tuple(e.features)) for e in entries)
    features = [n for n in load_features() if n not in {"sve", "sve2"}]
    machine = arm_fakes.observation(
        msgspec.structs.replace(arm_fakes.group(features), ran=("ok",) * len(candidates)),
        cpuinfo=(arm_fakes.cpuinfo(features),),
        auxv=arm_fakes.auxv(features),
        candidates=candidates,
    )
    code = pack(machine)

    assert same(unpack(code), machine)
    assert len(code) < 1000


def test_enough_captures_were_read():
    """The test above is about machines."""
    assert sum(readable(path) is not None for path in CAPTURES) >= 25


def _wrapped(text: str) -> str:
    return "\n".join(part for line in text.split("\n") for part in textwrap.wrap(line, 33) or [""])


def _coloured(text: str) -> str:
    lines = text.split("\n")
    return "\n".join(f"\x1b[1m{line[:9]}\x1b[0m{line[9:]}\x1b[K" for line in lines)


PASTES = {
    "as it is": lambda text: text,
    "wrapped": _wrapped,
    "quoted twice": lambda text: textwrap.indent(_wrapped(text), "> > ", lambda line: True),
    "indented": lambda text: textwrap.indent(text, " " * 8),
    "coloured": _coloured,
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "a page": lambda text: f"<html><pre>{html.escape(text).replace('+', '&#43;')}</pre></html>",
    "one line": lambda text: " ".join(text.split()),
    "a mail": lambda text: quopri.encodestring(f"Hi,\n\n{text}\n-- \nme".encode()).decode(),
    "an issue": lambda text: json.dumps({"body": f"It dies.\r\n```\r\n{text}\r\n```\r\n"}),
    "UTF-16": lambda text: f"\ufeff{text}",
    "a container's log": lambda text: _behind("2026-11-26T10:00:00.123456789Z stdout F ", text),
    "a pod's log": lambda text: _behind("web-5f7d9 probe ", text),
    "Docker's file": lambda text: _records(text, "log", "\n", stream="stdout", time="2026-11-26"),
    "journalctl -o json": lambda text: _records(text, "MESSAGE", _HOSTNAME="h", PRIORITY="6"),
    "a task's output": lambda text: "\n".join(f'    "{line}",' for line in text.split("\n")),
}


def _records(text: str, key: str, end: str = "", **more: str) -> str:
    return "".join(json.dumps({key: line + end, **more}) + "\n" for line in text.split("\n"))


def _behind(prefix: str, text: str) -> str:
    return textwrap.indent(text, prefix, lambda line: True)


def _bytes(paste: str, text: str) -> bytes:
    pasted: str = PASTES[paste](text)
    return pasted.encode("utf-16-le" if paste == "UTF-16" else "utf-8")


@pytest.mark.parametrize("paste", PASTES)
@every(WORLDS)
def test_a_pasted_screen_is_read(paste, name):
    """At every width, whatever was done to it, the screen tells the same machine."""
    for width in WIDTHS:
        text = "\n".join(shown(name, width, pack(WORLDS[name])))

        assert same(parse_capture(_bytes(paste, text)), WORLDS[name]), width


@pytest.mark.parametrize("paste", PASTES)
def test_a_pasted_block_is_read(paste):
    """The data block gives back every byte of the report."""
    document = to_json(make_report(WORLDS["gds"], assess(WORLDS["gds"])))

    assert parse_capture(_bytes(paste, block.armoured(document))) == WORLDS["gds"]


def test_what_one_machine_wrote_is_one_and_what_two_wrote_is_none():
    """A report that asked wasmtime too is beside its own screen; another machine's is refused."""
    gds, healthy = WORLDS["gds"], WORLDS["healthy-v4"]
    asked = msgspec.structs.replace(gds, wasmtime=Wasmtime(version="50.0.0", flags=("has_avx",)))
    texts = {
        "code": pack,
        "block": lambda machine: block.armoured(to_json(make_report(machine, assess(machine)))),
        "JSON": lambda machine: to_json(make_report(machine, assess(machine))).decode(),
    }
    for one, other in itertools.product(texts, repeat=2):
        screen = f"{texts[one](gds)}\n\nand\n\n{texts[other](asked)}\n"
        found = parse_capture(screen.encode())
        assert pack(msgspec.structs.replace(found, wasmtime=None)) == pack(gds), (one, other)

        mixed = f"{texts[one](gds)}\n\nand\n\n{texts[other](healthy)}\n"
        with pytest.raises(CaptureError, match="holds several different cpuprobe reports"):
            parse_capture(mixed.encode())


def test_a_code_that_stands_a_thousand_times_is_read_once(monkeypatch):
    """Whatever else stands on its line: another machine's is found too."""
    gds, healthy = pack(WORLDS["gds"]), pack(WORLDS["healthy-v4"])
    times = []

    def counting(code: str) -> Observation:
        times.append(code)
        return unpack(code)

    monkeypatch.setattr("cpuprobe.evidence.machines.formats.share_code.unpack", counting)

    assert same(parse_capture(f"{gds} \n".encode() * 1000), WORLDS["gds"])
    assert len(times) == 1
    for text in (f"{gds} {healthy}", f"{gds}\n{healthy} {gds}"):
        with pytest.raises(CaptureError, match="several different"):
            parse_capture(text.encode())


def test_a_screen_with_its_code_is_short():
    """Verdict, cause, fix, evidence and code of a machine with one cause on a screen."""
    for name in ("healthy-v3", "healthy-v4"):
        assert len(shown(name, 80, pack(WORLDS[name]))) <= 20
    for name in ("healthy-v4", "gds", "lying-cpu", "alder-lake-n-capture"):
        assert len(pack(WORLDS[name])) <= 400


def test_old_codes_are_read_for_ever():
    """What a code of long ago told then it tells now.

    Of a younger feature nothing was executed: it is not safe, but where nothing at all was.
    """
    for name, told in json.loads(CODES.read_text()).items():
        machine = unpack(told["code"])
        now = _told(machine)
        younger = {*now["safe"]} - {*told["machine"]["safe"]}
        assert {**now, "safe": sorted({*now["safe"]} - younger)} == told["machine"], name
        assert not younger or not machine.executed, name


def _told(observation: Observation) -> dict[str, Any]:
    assessed = assess(observation)
    return {
        "verdict": assessed.verdict,
        "level": assessed.level,
        "safe": sorted(name for name, each in assessed.features.items() if each.safe),
        "errors": sorted({f.code for f in assessed.findings if f.severity == "error"}),
    }


def test_the_frozen_lists_only_grow():
    """The beginnings of the lists and the dictionary are those of the first codes."""
    table = load_table("share")
    parts = ("\n".join(table["words"][:387]), "\n".join(table["candidates"][:104]))

    assert [hashlib.sha256(part.encode()).hexdigest()[:16] for part in parts] == FIRST
    assert hashlib.sha256(base64.b64decode(table["dictionary"])).hexdigest()[:16] == DICTIONARY
    assert len(set(table["words"])) == len(table["words"])


def test_the_frozen_lists_are_whole():
    """Every name of Linux and every set of features has its place; else run `make gen`."""
    table = load_table("share")

    assert missing_words(table["words"]) == []
    assert missing_candidates(table["candidates"]) == []


def _code(content: bytes) -> bytes:
    dictionary = base64.b64decode(load_table("share")["dictionary"])
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, dictionary)
    short = deflate.compress(content) + deflate.flush()
    checked = struct.pack("<H", binascii.crc_hqx(short, 0)) + short
    return (BEGIN + base64.b64encode(checked).decode().rstrip("=") + END).encode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (pack(WORLDS["gds"])[:-9].encode(), "cut"),
        (pack(WORLDS["gds"]).replace("A", "B", 1).encode(), "damaged"),
        (b"cpuprobe7:jeIbzW+U5zeSWyYDl92o0hoa.", "newer"),
        (_code(b"\xc1" * 20), "no observation"),
        (_code(msgspec.msgpack.encode([1, 2, 3, "four", "five"])), "no observation"),
        (block.armoured(b"[]").encode(), "not a cpuprobe report"),
        (block.armoured(b"x" * 99).replace("\n-----END", "").encode(), "cut"),
        ("\n".join(block.armoured(bytes(range(256)) * 9).split("\n")[1:]).encode(), "no capture"),
        (block.armoured(bytes(range(99))).replace("eN", "e!").encode(), "damaged"),
    ],
    ids=range(9),
)
def test_what_is_none_is_refused(content, words):
    """In one line."""
    assert_refused(content, words)


@pytest.mark.parametrize(("made", "words"), [(_code, "larger"), (block.armoured, "8 MiB")])
def test_a_bomb_is_not_unpacked(made, words):
    """It is made here, and not for every process that collects the tests."""
    content = made(bytes(1 << 27))
    assert_refused(content if isinstance(content, bytes) else content.encode(), words)


def assert_refused(content: bytes, words: str) -> None:
    """In one line, and in memory that does not hold what was packed."""
    tracemalloc.start()
    try:
        with pytest.raises(CaptureError, match=words) as caught:
            parse_capture(content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert "\n" not in str(caught.value)
    assert peak < 64 << 20


@every(range(60))
def test_a_code_with_any_shape_of_content_is_an_observation_or_refused(change):
    """Counts and places that do not fit each other are nobody's traceback."""
    inner = msgspec.msgpack.decode(_inner(WORLDS["hybrid"]))
    place, kind = change % 5 + 1, change // 5
    value = inner[place]
    values = [
        [],
        value[:1],
        value * 2,
        [b"\xff" * 9] * 2,
        [b""] * 2,
        [b"\x8f"],
        [b"\x01\x01"] * 2,
        ["x" * 300] * 2,
        [["a", ["b"], ["ok"]]],
        [["a", ["b"], []]],
        None,
        [b"\xff" * 200] * 2,
    ]
    inner[place] = values[kind]
    try:
        found = parse_capture(_code(msgspec.msgpack.encode(inner)))
    except CaptureError as error:
        assert "share code" in str(error)
    else:
        assess(found)


def _inner(observation: Observation) -> bytes:
    code = pack(observation).removeprefix(BEGIN).removesuffix(END)
    raw = base64.b64decode(code + "=" * (-len(code) % 4))
    dictionary = base64.b64decode(load_table("share")["dictionary"])
    return zlib.decompressobj(-15, dictionary).decompress(raw[2:])


FIRST = ["1d5459a98d63f274", "ede94012dc75e331"]
DICTIONARY = "f97b564f796ff59d"

if __name__ == "__main__":
    known = json.loads(CODES.read_text()) if CODES.exists() else {}
    for world, machine in WORLDS.items():
        known.setdefault(world, {"code": pack(machine), "machine": _told(machine)})
    CODES.write_text(json.dumps(known, indent=1) + "\n")


def test_a_code_of_aarch64_tells_what_its_machine_told():
    """Registers, HWCAP, the kernel's list and outcomes: the same assessment comes out."""
    features = (*arm_fakes.BASE, "lse", "dotprod")
    blocks = (arm_fakes.cpuinfo(features),)
    measured = arm_fakes.observation(
        arm_fakes.group(features), auxv=arm_fakes.auxv(features), cpuinfo=blocks
    )
    pasted = arm_fakes.observation(
        CpuGroup(cpus=(0, 1)), executed=False, cpuinfo=blocks, source="proc-cpuinfo"
    )
    for machine in (measured, pasted):
        assert assess(unpack(pack(machine))) == assess(machine)
