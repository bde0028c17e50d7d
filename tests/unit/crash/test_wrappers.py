"""A text in whatever it was put gives the same answer as the plain text: wrappers times forms."""

from __future__ import annotations

import functools
import html
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.every import every
from tests.unit.crash.test_corpus import answers

from cpuprobe.evidence.crashes import told
from cpuprobe.evidence.crashes.told import of_text
from cpuprobe.report.explanation import Explanation

FOLDER = Path(__file__).parents[2] / "data" / "crashes"
# One of each family of formats.
FORMS = (
    "dmesg-five-lines",
    "segfault-32bit-moffs",
    "oops-cachyos-bug",
    "gdb-batch-from-module",
    "gdb-x8xb-vpcmov",
    "objdump-listing",
    "lldb-shlx",
    "windbg-vmovaps",
    "windows-appcrash",
    "event-log-text",
    "hs-err-windows-popcnt",
    "go-aarch64-ldaddal",
    "julia-66-before-vex",
    "valgrind-function",
    "macos-crash-stream",
    "breakpad-stackwalk",
    "tombstone-arm32-mrrc",
    "catatonit-journal",
    "strace-ill-illopn",
    "systemd-status-4-ill",
    "shell-core-dumped",
    "conmon-132",
    "glibc-v3",
    "graalvm-required",
    "wasmtime-has-avx",
    "kvm-emulation-failure",
)


def _lines(text: str, change: Callable[[str], str]) -> str:
    return "\n".join(map(change, text.rstrip("\n").split("\n"))) + "\n"


def _hard(text: str, width: int) -> str:
    pieces = (
        [line[at : at + width] for at in range(0, max(len(line), 1), width)]
        for line in text.rstrip("\n").split("\n")
    )
    return "\n".join(piece for each in pieces for piece in each) + "\n"


WRAPPERS: dict[str, Callable[[str], bytes]] = {
    "fence": lambda t: f"Here it is:\n\n```console\n{t}```\n".encode(),
    "indented": lambda t: _lines(t, lambda line: f"    {line}").encode(),
    "quoted": lambda t: _lines(t, lambda line: f"> {line}").encode(),
    "quoted twice": lambda t: _lines(t, lambda line: f"> > {line}").encode(),
    "CRLF": lambda t: t.replace("\n", "\r\n").encode(),
    "CR": lambda t: t.replace("\n", "\r").encode(),
    "UTF-16": lambda t: t.encode("utf-16"),
    "UTF-16 without a mark": lambda t: t.encode("utf-16-le"),
    "UTF-8 mark": lambda t: b"\xef\xbb\xbf" + t.encode(),
    "colour": lambda t: _lines(t, lambda line: f"\x1b[32m{line}\x1b[0m").encode(),
    "entities": lambda t: html.escape(t).encode(),
    "HTML": lambda t: f"<pre><code>{html.escape(t)}</code></pre>\n".encode(),
    "container": lambda t: _lines(t, lambda line: f"web_1  | {line}").encode(),
    "CI": lambda t: _lines(t, lambda line: f"2024-02-27T16:20:34.1234567Z {line}").encode(),
    "JSON string": lambda t: json.dumps({"body": t}).encode(),
    "no-break blanks": lambda t: t.replace("  ", "\xa0 ").encode(),
    "details": lambda t: f"<details>\n\n```\n{t}```\n</details>\n".encode(),
    "blank at the end": lambda t: _lines(t, lambda line: f"{line}  ").encode(),
}


def essence(found: list[Explanation]) -> list[tuple[object, ...]]:
    """What an answer must keep."""
    return [
        (
            each.verdict,
            each.signal,
            each.isa,
            each.module,
            each.offset,
            tuple((one.intel, one.bytes, one.features) for one in each.instructions),
            tuple(one.name for one in each.features),
        )
        for each in found
    ]


@functools.cache
def plain(form: str) -> list[tuple[object, ...]]:
    """What the text answers in no wrapper."""
    return essence(answers(of_text((FOLDER / f"{form}.txt").read_bytes())))


@pytest.mark.parametrize("wrapper", WRAPPERS)
@every(FORMS)
def test_a_wrapped_text_gives_the_same_answer(wrapper: str, form: str):
    text = (FOLDER / f"{form}.txt").read_text(encoding="utf-8")

    wrapped = answers(of_text(WRAPPERS[wrapper](text)))

    assert essence(wrapped) == plain(form)


# Where a terminal broke the lines, what stood at the break can be a name in a disassembly or a
# column of a table: these are the forms that are lines of their own.
@pytest.mark.parametrize("width", [80, 100, 132])
@every(["dmesg-five-lines", "segfault-32bit-moffs", "glibc-v3", "wasmtime-has-avx", "conmon-132"])
def test_a_text_broken_at_a_width_gives_the_same_answer(width: int, form: str):
    text = (FOLDER / f"{form}.txt").read_text(encoding="utf-8")

    broken = answers(of_text(_hard(text, width).encode()))

    assert essence(broken) == plain(form)


def test_of_a_long_text_the_end_may_describe_a_machine(monkeypatch):
    """What stands before that was perhaps another one, and is not gone through."""
    crash = b"traps: a[1] trap invalid opcode ip:401136 sp:7ffd0 error:0 in a[401000+1000]\n"
    monkeypatch.setattr(told, "_MOST_OF_MACHINE", 4096)
    machine = b"processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu lm sse sse2\n\n"

    assert of_text(b"a\n" * 4096 + machine + crash).machine is not None
    assert of_text(machine + b"a\n" * 4096 + crash).machine is None
    assert [each.signal for each in of_text(b"a\n" * 4096 + crash).crashes] == ["SIGILL"]
