"""Remakes profiles/instructions-aarch64.toml: the A64 instruction words that need a feature.

Run: ``LIBLLVM=libLLVM.so.22.1 python -m tests.tools.a64_words`` (some minutes). The rows of the
system space stand here, by hand from the Arm ARM, as no disassembler refuses one of them. All
others are learned: forms of instructions are found by changing bits of those that are known, each
is widened bit by bit as long as a sample of the words it then holds needs the same, and what the
rows get wrong of a large sample becomes a row, until nothing is left or no round gets better.

With ``--prove NUMBER`` nothing is written: as many words are asked of the library and of the table,
and every kind of difference is printed.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from cpuprobe.code import a64
from cpuprobe.facts.aarch64 import load_features
from tests.tools.llvm_a64 import NOTHING, Key, Llvm, is_system, newest

OUTPUT = Path(__file__).parents[2] / "profiles" / "instructions-aarch64.toml"
WORD = 0xFFFFFFFF
ROUNDS, ROUND = 12, 100_000
_SAMPLE = 40
_ALL_ONES = (0x1F, 0x3E0, 0x3FF, 0x1F0000, 0x1F001F, 0x1F03E0)  # of some registers
# Registers first: what is free in most instructions.
_BITS = (*range(10), *range(16, 21), *range(10, 16), *range(21, 32))

# A feature, with ? where it is a hint, mask, value and name. DDI 0487: C5.1 (system instructions),
# C5.2 (registers), C5.3 to C5.8 (operations), C6.2 (hints, barriers, flags).
_SYSTEM = """
rand ffffffe0 d53b2400 mrs rndr
rand ffffffe0 d53b2420 mrs rndrrs
dit ffffffe0 d53b42a0 mrs dit
dit ffffffe0 d51b42a0 msr dit
dit fffff0ff d503405f msr dit
ssbs ffffffe0 d53b42c0 mrs ssbs
ssbs ffffffe0 d51b42c0 msr ssbs
ssbs fffff0ff d503403f msr ssbs
mte ffffffe0 d53b42e0 mrs tco
mte ffffffe0 d51b42e0 msr tco
mte fffff0ff d503409f msr tco
mte ffffffe0 d50b7460 dc gva
mte ffffffe0 d50b7480 dc gzva
mte ffffffa0 d50b7a20 dc cgvac
mte ffffffa0 d50b7c20 dc cgvap
mte ffffffa0 d50b7d20 dc cgvadp
mte ffffffa0 d50b7e20 dc cigvac
gcs ffffffe0 d53b2520 mrs gcspr_el0
gcs ffffffe0 d51b2520 msr gcspr_el0
gcs ffffffe0 d50b7700 gcspushm
gcs ffffffe0 d52b7720 gcspopm
gcs ffffffe0 d50b7740 gcsss1
gcs ffffffe0 d52b7760 gcsss2
gcs fffffc00 d91f0c00 gcsstr
gcs fffffc00 d91f1c00 gcssttr
gcs? ffffffff d503251f chkfeat
fpmr ffffffe0 d53b4440 mrs fpmr
fpmr ffffffe0 d51b4440 msr fpmr
sme ffffffe0 d53b4240 mrs svcr
sme ffffffe0 d51b4240 msr svcr
sme ffffffe0 d53bd0a0 mrs tpidr2_el0
sme ffffffe0 d51bd0a0 msr tpidr2_el0
sme fffff9ff d503417f smstart
sme fffff9ff d503407f smstop
poe ffffffe0 d53ba280 mrs por_el0
poe ffffffe0 d51ba280 msr por_el0
ecv ffffffe0 d53be0c0 mrs cntvctss_el0
ecv ffffffe0 d53be0a0 mrs cntpctss_el0
flagm ffffffff d500401f cfinv
altnzcv ffffffff d500403f xaflag
altnzcv ffffffff d500405f axflag
sb ffffffff d50330ff sb
wfxt ffffffe0 d5031000 wfet
wfxt ffffffe0 d5031020 wfit
ccpp ffffffe0 d50b7c20 dc cvap
ccdp ffffffe0 d50b7d20 dc cvadp
predres ffffffe0 d50b7380 cfp rctx
predres ffffffe0 d50b73a0 dvp rctx
predres ffffffe0 d50b73e0 cpp rctx
specres2 ffffffe0 d50b73c0 cosp rctx
xs fffff3ff d503323f dsb nxs
dgh? ffffffff d50320df dgh
bti? ffffff3f d503241f bti
pauth? ffffffff d503211f pacia1716
pauth? ffffffff d503215f pacib1716
pauth? ffffffff d503219f autia1716
pauth? ffffffff d50321df autib1716
pauth? ffffffff d50320ff xpaclri
pauth? ffffffff d503231f paciaz
pauth? ffffffff d503233f paciasp
pauth? ffffffff d503235f pacibz
pauth? ffffffff d503237f pacibsp
pauth? ffffffff d503239f autiaz
pauth? ffffffff d50323bf autiasp
pauth? ffffffff d50323df autibz
pauth? ffffffff d50323ff autibsp
"""

_HEAD = """\
# A64 instruction words that need more than Armv8.0-A. Made by tests/tools/a64_words.py: do not
# edit.
#
# features  canonical names (features-aarch64.toml), without what those build on; names that have no
#           row there are LLVM's
# hint      they do nothing where the feature is missing
# words     mask and value in hexadecimal, and the mnemonic: the words w with w & mask == value.
#           Where several rows hold a word, the one with most bits in its mask tells. A star:
#           Armv8.0-A has another form of the mnemonic
#
# Encodings: Arm Architecture Reference Manual for A-profile (DDI 0487), C4 to C8, as LLVM 22 reads
# it; held against LLVM 14 and 19 and against GNU binutils 2.44, which has a table of its own.
"""


class Rows:
    """Rows while they are learned."""

    def __init__(self, llvm: Llvm, seed: int) -> None:
        """Begins with none."""
        self.llvm = llvm
        self.rows: dict[tuple[int, int], Key] = {}
        self.random = random.Random(seed)
        self._index: dict[int, list[tuple[int, int]]] = defaultdict(list)

    def add(self, mask: int, value: int, key: Key) -> None:
        """Adds one."""
        self.rows[mask, value] = key
        for bits in a64.submasks((~mask & WORD) >> a64.INDEX):
            rows = self._index[value >> a64.INDEX | bits]
            rows.append((mask, value))
            rows.sort(key=lambda row: -row[0].bit_count())

    def find(self, word: int) -> Key:
        """What the rows say of a word."""
        for mask, value in self._index.get(word >> a64.INDEX, ()):
            if word & mask == value:
                return self.rows[mask, value]
        return NOTHING

    def widened(self, word: int, key: Key) -> tuple[int, int]:
        """The mask and value of the words like one."""
        free = 0
        for bit in _BITS:
            same = other = 0
            for at in range(_SAMPLE):
                some = self.random.getrandbits(32) if at else word
                found = self.llvm.key((word ^ 1 << bit) & ~free | some & free)
                if found is not None and found[1] != key[1]:
                    break
                same += found == key
                other += found is not None and found != key
            else:
                if same >= _SAMPLE // 10 and other <= same // 3:
                    free |= 1 << bit
        return WORD & ~free, word & ~free & WORD

    def learn(self, words: Iterable[int]) -> int:
        """Makes rows of what is not known rightly; how many."""
        before = len(self.rows)
        for word in words:
            key = self.llvm.key(word)
            found = self.find(word)
            if key is None or is_system(word) or found[1] == key[1] == () or found == key:
                continue
            row = self.widened(word, key)
            if row not in self.rows:
                self.add(*row, key)
            elif found[1] != key[1]:
                self.add(WORD, word, key)
        return len(self.rows) - before


def structured(rows: Sequence[tuple[int, int]], count: int, some: random.Random) -> Iterator[int]:
    """Words of all kinds: of the rows, beside them by a bit or two, and any."""
    for _ in range(count):
        way = some.random()
        word = some.getrandbits(32)
        if way > 0.2:
            mask, value = some.choice(rows)
            word = value | word & ~mask
        for least in (0.6, 0.8):
            word ^= (1 << some.randrange(32)) if way > least else 0
        if some.random() < 0.3:  # registers 31 are often another instruction
            word |= some.choice(_ALL_ONES)
        yield word & WORD


def forms(llvm: Llvm, some: random.Random) -> list[int]:
    """A word of each form of instruction that there is."""
    found: dict[object, int] = {}
    fresh: list[int] = []

    def meet(word: int) -> None:
        if is_system(word):
            return
        text = llvm.base(word)
        key: object = llvm.key(word) if text is None else text.split(None, 1)[0]
        # The first letters of the encoding tell forms of a mnemonic apart.
        if key is not None and (key, word >> 22) not in found:
            found[key, word >> 22] = word
            fresh.append(word)

    for _ in range(400_000):
        meet(some.getrandbits(32))
    while fresh:
        word = fresh.pop()
        for registers in _ALL_ONES:
            meet(word | registers)
        for first in range(32):
            meet(word ^ 1 << first)
            for second in range(first):
                meet(word ^ 1 << first ^ 1 << second)
    return list(found.values())


def merged(rows: dict[tuple[int, int], Key]) -> dict[tuple[int, int], Key]:
    """The same with rows that differ in one bit made one, as long as there are such."""
    while True:
        fewer: dict[tuple[int, int], Key] = {}
        for (mask, value), key in sorted(rows.items()):
            bits = (1 << bit for bit in range(32) if mask >> bit & 1)
            for bit in bits:
                if fewer.get((mask, value ^ bit)) == key:
                    del fewer[mask, value ^ bit]
                    fewer[mask & ~bit, value & ~bit] = key
                    break
            else:
                fewer[mask, value] = key
        if len(fewer) == len(rows):
            return fewer
        rows = fewer


def render(rows: dict[tuple[int, int], Key], shared: set[str]) -> str:
    """The table as TOML: a group for each set of features, in the order of their table."""
    order = {name: at for at, name in enumerate(load_features())}
    groups: dict[tuple[tuple[str, ...], bool], list[str]] = defaultdict(list)
    for (mask, value), (mnemonic, features) in sorted(rows.items(), key=lambda row: row[0][1]):
        star = "*" if mnemonic in shared else ""
        groups[features, False].append(f"{mask:08x} {value:08x} {mnemonic}{star}")
    for line in _SYSTEM.strip().split("\n"):
        name, words = line.split(None, 1)
        groups[(name.rstrip("?"),), name.endswith("?")].append(words)
    parts = [_HEAD]
    for (features, hint), listed in sorted(
        groups.items(), key=lambda each: ([order.get(name, 999) for name in each[0][0]], each[0])
    ):
        names = ", ".join(f'"{name}"' for name in features)
        parts.append(f"\n[[instructions]]\nfeatures = [{names}]\n" + "hint = true\n" * hint)
        parts.append("words = [\n" + "".join(f'  "{each}",\n' for each in listed) + "]\n")
    return "".join(parts)


Difference = tuple[str, Key | None, Key]


def prove(llvm: Llvm, count: int, seed: int) -> Counter[Difference]:
    """How often library and table differ, by the kind of difference and what each says."""
    rows = [(row.mask, row.value) for row in a64.rows()]
    differences: Counter[Difference] = Counter()
    for word in structured(rows, count, random.Random(seed)):
        if is_system(word):
            continue
        key, row = llvm.key(word), a64.row_of(word)
        ours = NOTHING if row is None else (row.mnemonic, row.features)
        if key is None:
            if ours[1]:
                differences["no instruction", None, ours] += 1
        elif key[1] != ours[1]:
            differences["features", key, ours] += 1
        elif key[1] and key[0] != ours[0]:
            differences["mnemonic", key, ours] += 1
    return differences


def main(arguments: Sequence[str]) -> int:
    """Makes or proves the table; returns the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--prove", type=int, metavar="NUMBER")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    path = newest()
    if path is None:
        print("no libLLVM: install one, or name it in LIBLLVM", file=sys.stderr)
        return 2
    llvm = Llvm(path)
    if chosen.prove:
        for difference, times in prove(llvm, chosen.prove, chosen.seed).most_common():
            print(times, *difference)
        return 0
    rows = Rows(llvm, chosen.seed)
    words = forms(llvm, rows.random)
    shared = {text.split(None, 1)[0] for word in words if (text := llvm.base(word)) is not None}
    rows.learn(word for word in words if llvm.base(word) is None)
    for _ in range(ROUNDS):
        found = rows.learn(structured(list(rows.rows), ROUND, rows.random))
        print(f"{found} more, {len(rows.rows)} rows", file=sys.stderr)
        if not found:
            break
    OUTPUT.write_text(render(merged(rows.rows), shared), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
