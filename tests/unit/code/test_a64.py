"""The rows of A64 against disassemblers that know nothing of them."""

from __future__ import annotations

import random
import re
import shutil
import subprocess

import pytest
from tests.tools.a64_words import structured
from tests.tools.llvm_a64 import Llvm, is_system, newest

from cpuprobe.code import a64
from cpuprobe.facts.aarch64 import load_features

_NAMED = {row.mnemonic.split()[0] for row in a64.rows()}
PATH, OBJDUMP = newest(), shutil.which("aarch64-linux-gnu-objdump")
SAMPLE, FEATURES = 2000, 8
# LLVM means more by these, or another name, or meant less by it in an earlier release.
OTHER = {"aes", "pauth", "sha2", "sha3", "sm4", "sve-b16b16", "sve2-aes", "sve2-bitperm"}
OTHER |= {"sve2-sha3", "sve2-sm4"}
OWN = {name for row in a64.rows() for name in row.features} - OTHER

# Armv8.0-A's own; behaviour of what is there already (Arm ARM, A2); hints of prefetching; and what
# stands under SME, since every SME has it, or under SVE2, which streaming mode shares.
WITHOUT_ROWS = set(
    """
fp-armv8 neon lse2 rprfm sveeltperm smei8i32 smef16f32 smeb16f32 smef32f32 sme-fa64 smei16i32
smebi32i32 ssve-fp8fma ssve-fp8dot4 ssve-fp8dot2 ssve-bitperm ssve-aes ssve-fexpa
""".split()  # noqa: SIM905
)
# Names that binutils prefers, of rows that LLVM names otherwise.
ALIASES = {("bc.hs", "bc.cs"), ("bc.lo", "bc.cc"), ("dupm", "mov")}
_BY_NUMBER = {"hint", "sys", "sysl", "mrs", "msr"}
"""What a release that does not know a system operation prints."""


def test_every_feature_with_instructions_of_its_own_has_rows() -> None:
    """What has none is state, a hint, or tells how existing instructions behave."""
    named = {name for row in a64.rows() for name in row.features}
    without = {
        name for name, row in load_features().items() if name not in named and not row.bundle
    }

    assert without - WITHOUT_ROWS == set()
    assert WITHOUT_ROWS - without == set()


@pytest.fixture(scope="module")
def llvm() -> Llvm:
    """The newest one here; to look its names up takes seconds."""
    if PATH is None:
        pytest.skip("no libLLVM")
    return Llvm(PATH)


def test_a_word_needs_what_llvm_refuses_it_without(llvm: Llvm) -> None:
    """With a feature off LLVM takes no word that needs it, and all others as before.

    Some features, of those that this release of LLVM knows; `python -m tests.tools.a64_words
    --prove` asks for all.
    """
    some, table = random.Random(18), load_features()
    rows = [row for row in a64.rows() if not is_system(row.value)]
    features = some.sample([f for f in llvm.plain if f in table and f in OWN], FEATURES)
    words = [row.value | some.getrandbits(32) & ~row.mask for row in rows for _ in range(2)]
    words += structured([(row.mask, row.value) for row in rows], SAMPLE, some)
    met = 0
    for word in words:
        row = a64.row_of(word)
        if (
            is_system(word)
            or llvm.asked(llvm.plain)(word) is None
            or (row and not table.keys() >= {*row.features})
        ):
            continue
        names = set() if row is None else set(row.features)
        needs = names.union(*(table.closure(name) for name in names))
        if "sme" in needs or llvm.base(word) is not None:
            continue
        for feature in features:
            refuses = llvm.asked(llvm.plain, feature)(word) is None
            met += refuses
            if refuses is not (feature in names):  # LLVM builds less on each other than Arm
                assert refuses is False or feature in needs, (f"{word:08x}", feature, names)
                assert feature not in names, (f"{word:08x}", feature, names)

    assert met > FEATURES


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[a64.Row, str]]:
    """A word of each row as binutils writes it; what this release does not know is a number."""
    if OBJDUMP is None:
        pytest.skip("no objdump for aarch64")
    some, file = random.Random(18), tmp_path_factory.mktemp("a64") / "words"
    words = [(row, row.value | some.getrandbits(32) & ~row.mask) for row in a64.rows()]
    words = [(row, word) for row, word in words if a64.row_of(word) == row]
    file.write_bytes(b"".join(word.to_bytes(4, "little") for _, word in words))
    done = subprocess.run(
        [OBJDUMP, "-D", "-b", "binary", "-m", "aarch64", file],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = re.findall(r"^ *[0-9a-f]+:\t[0-9a-f]{8} \t(.+)", done.stdout, re.MULTILINE)
    return [(row, line) for (row, _), line in zip(words, lines, strict=True) if line[0] != "."]


def test_a_line_of_what_needs_something_is_never_said_to_need_nothing(
    written: list[tuple[a64.Row, str]],
) -> None:
    """Nor is it called by what all that it may be builds on, as half precision is of SVE."""
    silent, below = set(), set()
    for row, printed in written:
        line = printed.partition("//")[0].strip()
        found = a64.decode(b"", line)
        # A register or a barrier that this release writes as a number tells no more.
        if row.features and line.split()[0] in _NAMED - {"mrs", "msr", "dsb"}:
            if not found.features:
                silent.add(line)
            elif found.features == ("asimdhp", "complxnum"):
                below.add(line)

    assert (silent, below) == (set(), set())


def test_binutils_knows_the_words_by_the_same_mnemonics(
    written: list[tuple[a64.Row, str]],
) -> None:
    """What this release does not know is passed over, aliases are."""
    known = [(row, line.split()[0]) for row, line in written]
    other = {
        (row.mnemonic, theirs)
        for row, theirs in known
        if theirs != row.mnemonic.split()[0] and theirs not in _BY_NUMBER
    }
    assert len(known) > len(a64.rows()) // 3
    # Until 2.41 binutils took PSEL's words for what came with SVE2.1.
    assert {(ours, theirs) for ours, theirs in other if theirs != "psel"} <= ALIASES


def test_every_mnemonic_of_armv8_0_is_known(llvm: Llvm, written: list[tuple[a64.Row, str]]) -> None:
    """By LLVM's names of words that need nothing and binutils' of rows, and no made-up one is."""
    some = random.Random(8)
    # Of the spaces of vectors and of the system there is little in all words.
    spaces = ((0xFFFFFFFF, 0), (0xE1FFFFFF, 0x0E000000), (0x003FFFFF, 0xD5000000))
    words = [some.getrandbits(32) & mask | value for mask, value in spaces for _ in range(20_000)]
    texts = [text for text in map(llvm.base, words) if text is not None]
    names = {text.split()[0] for text in texts} - {"udf", "brk", "hlt"}
    names |= {line.split()[0] for _, line in written}
    made_up = ("frobnicate", "frob.4s", "vaddps", "addx", "undefined", "")

    assert len(names) > 300
    assert [name for name in sorted(names) if not a64.is_mnemonic(name)] == []
    assert [name for name in made_up if a64.is_mnemonic(name)] == []


def test_a_line_that_no_table_knows_is_no_instruction() -> None:
    """Unknown is said as unknown: it is not among what every CPU has."""
    lines = ("frobnicate x0, x1", "add x0, x1, x2", "add.4s v0, v1, v2", "b.eq 0x40", "udf #1")

    assert [a64.decode(b"", line).kind for line in lines] == [
        "undecodable", "unknown", "unknown", "unknown", "always-invalid",
    ]  # fmt: skip
