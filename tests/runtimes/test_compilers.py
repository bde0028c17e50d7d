"""GCC, Clang, rustc and llc take the flags, and use nothing that is not safe."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from cpuprobe.assessment import assess
from cpuprobe.emit import FlagSet, choose, choose_alone
from cpuprobe.facts.features import load_features, load_levels
from cpuprobe.facts.names import names_of
from cpuprobe.facts.profiles import find_profile
from cpuprobe.facts.runtimes import Compiler, dialects
from cpuprobe.facts.wasmtime import lookup
from tests.fakes import V2, V3, group, observation
from tests.runtimes.programs import downfall, everything, here, output, program, words

pytestmark = pytest.mark.slow

# The macros that GCC and Clang define for a feature, where it is not __NAME__.
MACROS = {
    "sse4.1": "__SSE4_1__",
    "sse4.2": "__SSE4_2__",
    "cx16": "__GCC_HAVE_SYNC_COMPARE_AND_SWAP_16",
    "sahf": "__LAHF_SAHF__",
    "3dnow": "__3dNOW__",
    "apxf": "__APX_F__",
}
LOOP = """
void multiply_add(float *restrict a, const float *restrict b, const float *restrict c)
{
    for (int i = 0; i < 4096; i++)
        a[i] += b[i] * c[i];
}

void integers(int *restrict n, const int *restrict m)
{
    for (int i = 0; i < 4096; i++)
        n[i] = (n[i] << 3) + m[i];
}

int bits(unsigned n)
{
    return __builtin_popcount(n) + __builtin_clz(n | 1) + __builtin_ctz(n | 1);
}
"""


def macro(feature: str) -> set[str]:
    """The preprocessor macros that stand for a feature; of AMX, Clang had other names up to 14."""
    plain = f"__{feature.upper()}__"
    return {MACROS.get(feature, plain.replace("-", "_")), plain.replace("-", "")}


def macros(compiler: str, flags: list[str]) -> set[str]:
    """The macros that a C compiler defines under these flags."""
    text = output([compiler, *flags, "-dM", "-E", "-x", "c", "/dev/null"])
    return set(re.findall(r"^#define (\w+)", text, re.MULTILINE))


def too_new(compiler: str, dialect: str) -> set[str]:
    """The features whose names this compiler is too old for, by the table."""
    found = re.search(r"(\d+)\.\d+", output([compiler, "--version"]))
    assert found is not None
    known = dialects()[dialect]
    assert isinstance(known, Compiler)
    return {name for name, since in known.since.items() if int(since) > int(found[1])}


@pytest.fixture(params=["gcc", "clang"])
def compiler(request: pytest.FixtureRequest) -> str:
    """Each C compiler that is here; both take the flags of `--format gcc`."""
    return program(request.param)


def missing_for(compiler: str) -> set[str]:
    """What to leave out of the fake machine so that this compiler knows every name."""
    if "clang" not in compiler:
        return too_new(compiler, "gcc")
    # LLVM has no feature of this name, Clang an option since 18.
    return too_new(compiler, "llvm") | {"apxf"}


def test_every_name_is_known(compiler: str) -> None:
    """All flags for a machine that has everything: none is refused, each named feature is on."""
    flags = words("gcc", everything(missing_for(compiler)))
    defined = macros(compiler, flags)
    table = load_features()
    named = {name for name, row in table.items() if row.gcc and f"-m{row.gcc}" in flags}

    assert len(named) > 28
    assert {name for name in named if not macro(name) & defined} == set()


def test_a_name_of_the_table_marked_newer_is_unknown() -> None:
    """The table's `since` is not a guess where this GCC is older: it does refuse the name."""
    gcc = program("gcc")
    newer = too_new(gcc, "gcc")
    if not newer:
        pytest.skip("this GCC knows every name of the table")
    for name in newer:
        result = subprocess.run(
            [gcc, f"-m{name}", "-E", "-x", "c", "/dev/null"], capture_output=True, text=True
        )
        assert "unrecognized command-line option" in result.stderr, name


def test_without_one_feature_neither_it_nor_its_dependents_are_on(compiler: str) -> None:
    """Give up each feature in turn: the compiler has neither it nor anything that builds on it."""
    table = load_features()
    baseline = set(load_levels()[0].features)
    tried = 0
    for name in table:
        if name in baseline or table[name].gcc is None:
            continue
        flags = everything(missing_for(compiler), without=[name])
        defined = macros(compiler, words("gcc", flags))
        for gone in (name, *table.dependents(name)):
            assert not macro(gone) & defined, (name, gone)
        tried += 1
    assert tried > 60


def test_downfall_flags_leave_the_rest_on(compiler: str) -> None:
    """On the Downfall machine AVX is off while SSE4.2, AES and BMI2 stay."""
    defined = macros(compiler, words("gcc", downfall()))

    assert {"__SSE4_2__", "__AES__", "__BMI2__", "__LZCNT__", "__ADX__"} <= defined
    assert not {"__AVX__", "__AVX2__", "__FMA__", "__F16C__", "__AVX512F__"} & defined


def test_gcc_lists_its_target() -> None:
    """`gcc -Q --help=target` shows what is enabled."""
    text = output([program("gcc"), *words("gcc", downfall()), "-Q", "--help=target"])
    state = dict(re.findall(r"^  -m(\S+)\s+\[(enabled|disabled)\]", text, re.MULTILINE))

    assert state["aes"] == state["sse4.2"] == state["bmi2"] == "enabled"
    assert state["avx"] == state["avx2"] == state["fma"] == state["f16c"] == "disabled"


def disassembly(compiler: str, flags: FlagSet, folder: Path) -> str:
    """The vectorised loop, compiled and disassembled."""
    (folder / "loop.c").write_text(LOOP)
    target = folder / "loop.o"
    command = [
        compiler,
        "-O3",
        "-ffast-math",
        "-fno-unroll-loops",
        *words("gcc", flags),
        "-c",
        "-o",
        str(target),
    ]
    output([*command, str(folder / "loop.c")])
    return output([program("objdump"), "-d", "--no-show-raw-insn", str(target)])


def test_the_loop_has_no_forbidden_instruction(compiler: str, tmp_path: Path) -> None:
    """The compiled loop has AVX under the flags of a v3 machine and none under Downfall's."""
    v3 = choose([assess(observation(group(V3), listed=V3), "50")])
    healthy = disassembly(compiler, v3, tmp_path)
    mitigated = disassembly(compiler, downfall(), tmp_path)

    assert re.search(r"\tvfn?m\w+|\tvmul", healthy) and "%ymm" in healthy
    assert "mulps" in mitigated and "%xmm" in mitigated
    assert not re.search(r"\tv[a-z]|%[yz]mm|%k[0-7]", mitigated)


@pytest.mark.parametrize(
    "name", ["haswell", "skylake-gds-force", "ivybridge", "icelake-server", "alderlake", "znver3",
             "btver1", "bdver4", "cascadelake", "x86-64-v2"],
)  # fmt: skip
def test_the_named_cpu_has_nothing_that_is_not_safe(compiler: str, name: str) -> None:
    """`march` for a profile: the compiler takes it, and defines no more than the profile has."""
    flags = choose_alone([find_profile(name)], lookup("50"))
    defined = macros(compiler, words("march", flags))

    assert {
        feature
        for feature, row in load_features().items()
        if row.for_programs and macro(feature) & defined
    } <= flags.safe


def test_recent_names_are_unknown_to_the_gcc_of_the_table() -> None:
    """Each name that is told to be too new for GCC 12 is refused by it."""
    gcc, march = program("gcc"), names_of("march")
    if f"GCC {output([gcc, '-dumpversion']).split('.')[0]}".strip() != march.old:
        pytest.skip(f"this is not {march.old}")
    for name in march.recent:
        result = subprocess.run(
            [gcc, f"-march={name}", "-E", "-x", "c", "/dev/null"], capture_output=True, text=True
        )
        assert "bad value" in result.stderr, name


def test_this_machine_without_avx2(compiler: str, tmp_path: Path) -> None:
    """This machine's own flags, AVX2 given up: AVX may be there, 256-bit integers are not."""
    flags = here("avx2")
    defined = macros(compiler, words("gcc", flags))

    assert "__AVX__" in defined
    assert not {"__AVX2__", "__AVX512F__", "__VAES__"} & defined
    text = disassembly(compiler, flags, tmp_path)
    assert not re.search(r"\tvp\w+ .*%ymm|%zmm", text)


# --- rustc ---


def rust_features(flags: list[str]) -> tuple[set[str], str]:
    """The target features that rustc enables, and what it complains of."""
    result = subprocess.run(
        [program("rustc"), "--target", "x86_64-unknown-linux-gnu", "--print", "cfg", *flags],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return set(re.findall(r'target_feature="([^"]+)"', result.stdout)), result.stderr


def need_names() -> None:
    """Skips a test where rustc is so old that names of the table are unknown or unstable to it."""
    version = re.search(r"rustc 1\.(\d+)", output([program("rustc"), "--version"]))
    if version is None or int(version[1]) < 89:
        pytest.skip("the table's names are those of Rust 1.89 and later")


def test_rustc_knows_every_name() -> None:
    """No warning about an unknown or unstable feature, and each named one is on."""
    need_names()
    flags = words("rustc", everything())
    enabled, complaints = rust_features(flags)
    named = set(flags[-1].removeprefix("target-feature=").replace("+", "").split(","))

    assert complaints == ""
    assert len(named) > 25
    assert named <= enabled


def test_rustc_without_one_feature() -> None:
    """Give up each feature that rustc knows: neither it nor anything that builds on it is on."""
    table = load_features()
    baseline = set(load_levels()[0].features)
    for name, row in table.items():
        if name in baseline or row.rust is None:
            continue
        enabled, _ = rust_features(words("rustc", everything(without=[name])))
        for gone in (name, *table.dependents(name)):
            assert table[gone].rust not in enabled, (name, gone)


def test_rustc_obeys_downfall() -> None:
    """AVX is off, and what does not need it stays on."""
    need_names()
    enabled, complaints = rust_features(words("rustc", downfall()))

    assert complaints == ""
    assert {"sse4.2", "aes", "bmi2", "lzcnt", "movbe"} <= enabled
    assert not {"avx", "avx2", "fma", "f16c"} & enabled


def test_rustc_only_off_lowers_its_own_target() -> None:
    """--only-off takes away from what else is asked for."""
    flags = choose(
        [assess(observation(group(V3), listed=V3), "50")], without=["fma"], only_off=True
    )
    enabled, _ = rust_features(["-C", "target-cpu=x86-64-v3", *words("rustc", flags)])

    assert "avx2" in enabled
    assert "fma" not in enabled


# --- llc ---

IR = """
define <8 x float> @f(<8 x float> %a, <8 x float> %b) {
  %r = fadd <8 x float> %a, %b
  ret <8 x float> %r
}
"""


def llc(flags: list[str]) -> tuple[str, str]:
    """The assembler text that llc makes of eight additions, and what it complains of."""
    command = [program("llc", "/usr/lib/llvm-*/bin/llc"), "-mtriple=x86_64-linux-gnu", *flags]
    result = subprocess.run([*command, "-o", "-"], input=IR, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout, result.stderr


def test_llc_knows_every_name_and_obeys() -> None:
    """No name is ignored; 256-bit additions appear with AVX only."""
    old = too_new(program("llc", "/usr/lib/llvm-*/bin/llc"), "llvm")
    _, complaints = llc(words("llvm", everything(old)))
    assert complaints == ""

    v3 = choose([assess(observation(group(V3), listed=V3), "50")])
    v2 = choose([assess(observation(group(V2), listed=V2), "50")])
    assert "%ymm" in llc(words("llvm", v3))[0]
    for flags in (v2, downfall()):
        text, complaints = llc(words("llvm", flags))
        assert complaints == ""
        assert "addps" in text and "%ymm" not in text and "vaddps" not in text
