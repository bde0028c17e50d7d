"""Builds of cpuprobe-native that are changed for one purpose: machines that are not at hand.

The sources are copied, changed by replacing text, and built by the Makefile's own rule; a change
that finds nothing to replace is an error, so that the copy cannot quietly be the original.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

from cpuprobe.facts.features import load_features

ROOT = Path(__file__).parents[2]
ISA = "native/isa/x86_64"
_UD2 = "0x0f,0x0b"
_REGISTERS = ("eax", "ebx", "ecx", "edx")


class Tree:
    """A copy of the native sources that may be changed and built."""

    def __init__(self, folder: Path) -> None:
        """Copies them into an empty folder."""
        self._folder = folder
        shutil.copytree(ROOT / "native", folder / "native")
        shutil.copy2(ROOT / "Makefile", folder)

    def text(self, file: str) -> str:
        """The content of a file of the copy."""
        return (self._folder / file).read_text()

    def replace(self, file: str, pattern: str, new: str) -> None:
        """Replaces every match of a regular expression; ValueError if there is none."""
        text, count = re.subn(pattern, lambda match: match.expand(new), self.text(file))
        if count == 0:
            raise ValueError(f"{file}: nothing there matches {pattern!r}")
        (self._folder / file).write_text(text)

    def build(self, compiler: str = "cc", target: str = "native", **settings: str) -> Path:
        """cpuprobe-native of the copy. Raises CalledProcessError if it does not compile."""
        chosen = [f"{name}={value}" for name, value in {"CC": compiler, **settings}.items()]
        command = ["make", "-s", target, *chosen]
        subprocess.run(command, cwd=self._folder, check=True, capture_output=True)
        return self._folder / "build" / f"cpuprobe-{target}"


def without_avx512(folder: Path) -> Path:
    """As on a CPU without AVX-512 and AMX: CPUID and XCR0 deny them, and they die of #UD.

    Their instructions are replaced by UD2, and so is the loading of ZMM registers: as many faults
    and as expensive ones as such a CPU raises.
    """
    tree = Tree(folder)
    sets = re.findall(r'^SET\("([^"]*)"', tree.text(f"{ISA}/candidates/sets.h"), re.MULTILINE)
    amx = "|".join(str(at) for at, names in enumerate(sets) if names.startswith("amx-"))
    table = f"{ISA}/candidates/table.h"
    tree.replace(table, r'"(?:0x\w\w,?)+",(\n +AVX512,)', rf'"{_UD2}",\1')
    tree.replace(table, rf'(CANDIDATE\(\d+, "[^"]*", (?:{amx})), "(?:0x\w\w,?)+"', rf'\1, "{_UD2}"')
    tree.replace(
        f"{ISA}/entry.c",
        r'"3:\\n"(\s+EACH_VECTOR\(LOAD_AVX, "zmm"\))',
        r'"3:\\n" "ud2\\n"\1',
    )
    masks: dict[tuple[int, int, str], int] = defaultdict(int)
    for feature in load_features().values():
        if feature.encoding in ("evex", "amx"):
            bit = feature.cpuid
            masks[bit.leaf, bit.subleaf, bit.register] |= 1 << bit.bit
    denials = " ".join(
        f"if (leaf == {leaf:#x} && subleaf == {subleaf}) out->{register} &= ~{mask:#x}u;"
        for (leaf, subleaf, register), mask in masks.items()
    )
    tree.replace(f"{ISA}/guarded.c", r"(out->edx = [^;]*;)", rf"\1 {denials}")
    tree.replace(f"{ISA}/guarded.c", r"(\*value =)", r"guard->state.gpr[0] &= ~0x600e0ull; \1")
    return tree.build()


def with_cpus(folder: Path, count: int) -> Path:
    """A machine of many CPUs: those of this one again and again, each pinned to and measured."""
    tree = Tree(folder)
    again = f"for (; *count < {count}; ++*count) numbers[*count] = numbers[*count % had];"
    tree.replace(
        "native/cpus.c", r"(    return ERROR_NONE;\n}\n)\Z", rf"uint32_t had = *count; {again}\n\1"
    )
    return tree.build()
