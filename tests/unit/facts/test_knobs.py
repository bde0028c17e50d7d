"""The knob table, its rules, and what is written from it; no real program runs here."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import V2, V3, V4, XCR0_AVX512, gds_machine, group, observation
from tests.tools.tables import check_runtimes

from cpuprobe.assessment import assess
from cpuprobe.cli import run
from cpuprobe.emit import FORMATS, FlagSet, choose, notes, runtimes
from cpuprobe.emit.knobs import advice, allow_list, setting, switchable, unnamed
from cpuprobe.facts.features import load_features
from cpuprobe.facts.profiles import find_profile
from cpuprobe.facts.runtimes import (
    Ceilings,
    Compiler,
    Items,
    Runtime,
    dialects,
    load_runtimes,
    runtime_of_module,
)
from cpuprobe.facts.tables import TableError, load_table

FEATURES = tuple(load_features())


@pytest.fixture(scope="module")
def gds() -> FlagSet:
    """A Skylake whose kernel turned AVX off: avx, avx2, fma and f16c are claimed and not usable."""
    return choose([assess(gds_machine(), "50")])


@pytest.fixture(scope="module")
def v4() -> FlagSet:
    """A machine with all of x86-64-v4, nothing wrong with it."""
    return choose([assess(v4_machine(), "50")])


def v4_machine():
    return observation(group(V4, xcr0=XCR0_AVX512), listed=V4)


def compiler(dialect: str) -> Compiler:
    found = dialects()[dialect]
    assert isinstance(found, Compiler)
    return found


def runtime(name: str) -> Runtime:
    return next(each for each in load_runtimes() if each.id == name)


# --- the table ---


def test_every_runtime_of_the_background_is_there():
    """The runtimes that issue 5 asks for."""
    assert {each.id for each in load_runtimes()} == {
        *("kernel", "glibc", "openssl", "numpy", "openblas", "onednn", "mkl", "pytorch"),
        *("tensorflow", "polars", "simdjson", "go", "dotnet", "jvm", "node", "bun", "ggml"),
        *("wasmtime", "wasmer", "rustc", "gcc", "llvm", "vm"),
    }


def test_every_dialect_of_the_table_is_a_format_and_back():
    """emit names its dialects itself so as not to read the table early: the two agree."""
    assert set(runtimes.DIALECTS) == set(dialects())
    assert set(runtimes.DIALECTS) <= set(FORMATS)


def test_every_knob_names_its_source_and_a_limit():
    """A row without a source is a rumour, one without a limit a promise."""
    for each in load_runtimes():
        for knob in each.settings:
            assert len(knob.source) > 10, each.id
            assert knob.limits, each.id


def test_example_settings_are_ones_that_could_be_written():
    """Where a knob's example is a setting for AVX2 alone, it is what the code writes."""
    written = {
        each.id: setting(knob, ["avx2"])
        for each in load_runtimes()
        for knob in each.settings
        if type(knob) is Items and "avx2" in knob.example.lower() and each.id != "node"
    }
    examples = {each.id: each.settings[0].example for each in load_runtimes()}

    assert len(written) >= 6
    assert written == {name: examples[name] for name in written}


def test_ceilings_are_ladders_of_closed_sets():
    """Each step lists all it includes, so none holds a feature without what it implies."""
    table = load_features()
    v1 = {*V2[: V2.index("cx16")], "sse2", "sse"}
    checked = 0
    for each in load_runtimes():
        for knob in each.settings:
            for ceiling in knob.ceilings if isinstance(knob, Ceilings) else ():
                vectors = {"avx", "avx2", "avx512f"}
                implied = set().union(*(table.closure(name) for name in ceiling.features))
                assert implied & vectors <= set(ceiling.features) | v1, (each.id, ceiling.name)
                checked += 1
    assert checked > 20


# --- modules ---


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("libc.so.6", "glibc"),
        ("libc-2.31.so", "glibc"),
        ("/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "glibc"),
        ("/usr/lib/x86_64-linux-gnu/libm.so.6 (deleted)", "glibc"),
        ("libcrypto.so.3", "openssl"),
        ("libcrypto.so.1.1", "openssl"),
        ("libcrypto-3-x64.dll", "openssl"),
        ("_multiarray_umath.cpython-311-x86_64-linux-gnu.so", "numpy"),
        ("libscipy_openblas64_-32a4b2a6.so", "openblas"),
        ("libopenblasp-r0.3.21.so", "openblas"),
        ("libdnnl.so.3.5", "onednn"),
        ("libmkl_avx512.so.2", "mkl"),
        ("libtorch_cpu.so", "pytorch"),
        ("libtensorflow_cc.so.2", "tensorflow"),
        ("polars.abi3.so", "polars"),
        ("libcoreclr.so", "dotnet"),
        (r"C:\Program Files\dotnet\shared\coreclr.dll", "dotnet"),
        ("libjvm.so", "jvm"),
        ("node", "node"),
        ("C:\\Program Files\\nodejs\\node.EXE", "node"),
        ("electron", "node"),
        ("bun", "bun"),
        ("libggml-cpu-haswell.so", "ggml"),
        ("_libwasmtime.so", "wasmtime"),
        ("libwasmer.so", "wasmer"),
    ],
)
def test_modules_tell_the_runtime(module, expected):
    """The file names that crash reports give."""
    found = runtime_of_module(module)

    assert found is not None
    assert found.id == expected


@pytest.mark.parametrize(
    "module",
    ["", "libfoo.so", "libcurl.so.4", "nodemon", "libcap.so.2", "program", "/", "libc", "a\0b"],
)
def test_other_modules_are_nobodys(module):
    """A name that merely looks like one is not taken for one."""
    assert runtime_of_module(module) is None


# --- settings ---


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        ("gcc", "-march=x86-64-v2 -mxsave -maes -mlzcnt -mbmi -mbmi2 -madx -mmovbe"),
        ("llvm", "-mcpu=x86-64-v2 -mattr=+xsave,+aes,+lzcnt,+bmi,+bmi2,+adx,+movbe"),
        (
            "rustc",
            "-C target-cpu=x86-64-v2 -C target-feature=+xsave,+aes,+lzcnt,+bmi1,+bmi2,+adx,+movbe",
        ),
        (
            "glibc",
            "GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX,-AVX_Usable,-FMA,-FMA_Usable,-AVX2,-AVX2_Usable",
        ),
        # OPENSSL_ia32cap(3): FMA is bit 32 + 12, AVX 32 + 28, F16C 32 + 29, AVX2 64 + 5.
        ("openssl", "OPENSSL_ia32cap=~0x3000100000000000:~0x20:~0x0:~0x0:~0x0"),
        ("numpy", "NPY_DISABLE_CPU_FEATURES=AVX,X86_V3,F16C,FMA3,AVX2"),
        ("onednn", "ONEDNN_MAX_CPU_ISA=SSE41"),
        ("godebug", "GODEBUG=cpu.avx=off,cpu.fma=off,cpu.avx2=off"),
        ("dotnet", "DOTNET_EnableAVX=0 DOTNET_EnableAVX2=0 DOTNET_EnableFMA=0"),
        ("jvm", "-XX:UseAVX=0 -XX:-UseFMA"),
        ("node", "--no-enable-avx --no-enable-fma3 --no-enable-avx2"),
    ],
)
def test_downfall_machine(gds, dialect, expected):
    """What each runtime must be told where CPUID claims AVX and the kernel turned it off."""
    assert FORMATS[dialect](gds) == expected + "\n"
    assert notes(dialect, gds) == ()


@pytest.mark.parametrize("dialect", runtimes.DIALECTS)
def test_nothing_to_switch_off(v4, dialect):
    """Compilers always get the allow-list; the others get nothing, and a note says so."""
    if dialect in ("gcc", "llvm", "rustc"):
        assert "x86-64-v4" in FORMATS[dialect](v4)
        assert notes(dialect, v4) == ()
    else:
        assert FORMATS[dialect](v4) == ""
        assert notes(dialect, v4) == (f"nothing to switch off for {dialect}",)


def test_without_goes_to_every_dialect():
    """What the user gives up is switched off, with all that builds on it."""
    flags = choose([assess(v4_machine(), "50")], without=["avx512"])

    assert {"avx512f", "avx512vl", "avx512er"} <= set(flags.disable)  # the whole group was named
    assert all(name.startswith("avx512") for name in flags.disable)
    assert FORMATS["gcc"](flags) == "-march=x86-64-v3\n"
    assert FORMATS["jvm"](flags) == "-XX:UseAVX=2\n"
    assert FORMATS["onednn"](flags) == "ONEDNN_MAX_CPU_ISA=AVX2\n"
    assert "-AVX512F," in FORMATS["glibc"](flags)
    assert "AVX2" not in FORMATS["glibc"](flags)


def test_giving_up_what_the_machine_lacks_is_said_all_the_same():
    """A setting made here for elsewhere: what the user named is there though CPUID denies it."""
    flags = choose([assess(observation(group(V2), listed=V2), "50")], without=["avx2"])

    assert flags.disable == ("avx2",)
    assert FORMATS["jvm"](flags) == "-XX:UseAVX=1\n"


def test_profile_goes_to_every_dialect():
    """--profile x86-64-v2 on a v4 machine switches off all beyond it, and nothing it lacks."""
    flags = choose([assess(v4_machine(), "50")], profiles=[find_profile("x86-64-v2")])

    assert set(flags.disable) == set(V4) - set(V2)
    assert FORMATS["gcc"](flags) == "-march=x86-64-v2\n"
    assert "UseAVX=0" in FORMATS["jvm"](flags)
    assert "-UseBMI1Instructions" in FORMATS["jvm"](flags)


def test_several_machines_share_one_setting(v4):
    """From a v4 and a Downfall machine: what either claims and not both can use is off."""
    flags = choose([assess(v4_machine(), "50"), assess(gds_machine(), "50")])

    assert set(flags.disable) == {*V4} - {*V2, "bmi", "bmi2", "lzcnt", "movbe", "xsave"} | {
        *("aes", "adx")
    }
    assert FORMATS["gcc"](flags) == "-march=x86-64-v2 -mxsave -mlzcnt -mbmi -mbmi2 -mmovbe\n"


def test_hints_and_the_kernels_own_features_are_left_alone():
    """PREFETCHW is a NOP elsewhere and XSAVES is the kernel's: unproven, and no danger."""
    features = (*V3, "prfchw", "xsaves", "cldemote")
    flags = choose([assess(observation(group(features), listed=features), "50")])

    assert flags.disable == ()
    assert not flags.features["prfchw"]
    assert "prfchw" not in FORMATS["gcc"](flags)


def test_only_off_lowers_compilers_too(gds):
    """--only-off: the compiler's own target stays, minus what is not safe."""
    flags = choose([assess(gds_machine(), "50")], only_off=True)

    assert FORMATS["gcc"](flags) == "-mno-avx -mno-f16c -mno-fma -mno-avx2\n"
    assert FORMATS["rustc"](flags) == "-C target-feature=-avx,-f16c,-fma,-avx2\n"
    assert FORMATS["glibc"](flags) == FORMATS["glibc"](gds)
    younger = choose(
        [assess(observation(group((*V3, "avxifma")), listed=V3), "50")],
        without=["fma"],
        only_off=True,
    )
    assert notes("gcc", younger) == ()  # of names that only young releases know none is written


def test_a_capture_without_cpuid_counts_as_claiming():
    """Where only /proc/cpuinfo is known, what it does not list might be claimed: off it goes."""
    listed = observation(group(V2), listed=V2)
    silent = msgspec.structs.replace(listed.groups[0], cpuid=(), ran=())
    bare = msgspec.structs.replace(listed, groups=(silent,), executed=False, candidates=())
    flags = choose([assess(bare, "50")])

    assert assess(listed, "50").features["avx"].cpuid is False
    assert assess(bare, "50").features["avx"].cpuid is None
    assert "avx" in flags.disable
    assert "sse4.2" not in flags.disable
    assert "-AVX," in FORMATS["glibc"](flags)


def test_openssl_masks_are_the_manuals_bits():
    """OPENSSL_ia32cap(3) of 3.5 numbers these bits; LV1 begins at 64, LV2 at 128, LV3 at 192."""
    manual = {
        "pclmul": 33,
        "ssse3": 41,
        "movbe": 54,
        "aes": 57,
        "xsave": 58,
        "avx": 60,
        "rdrnd": 62,
        "bmi": 64 + 3,
        "avx2": 64 + 5,
        "bmi2": 64 + 8,
        "avx512f": 64 + 16,
        "avx512dq": 64 + 17,
        "rdseed": 64 + 18,
        "adx": 64 + 19,
        "avx512ifma": 64 + 21,
        "sha": 64 + 29,
        "avx512bw": 64 + 30,
        "avx512vl": 64 + 31,
        "vaes": 64 + 41,
        "vpclmulqdq": 64 + 42,
        "sha512": 128 + 32,
        "sm3": 128 + 33,
        "sm4": 128 + 34,
        "avxifma": 128 + 55,
        "avx10.1": 192 + 19,
        "apxf": 192 + 21,
    }
    for name, bit in manual.items():
        text = setting(dialects()["openssl"], [name])
        masks = [int(mask, 16) for mask in re.findall(r"~(0x[0-9a-f]+)", text)]

        assert sum(mask << 64 * place for place, mask in enumerate(masks)) == 1 << bit, name
        assert len(masks) == 5


def test_numpy_never_names_a_baseline():
    """Naming what NumPy was built for makes its import fail, so those names are never written."""
    text = setting(dialects()["numpy"], FEATURES)

    assert not {"SSE", "SSE2", "SSE3", "X86_V2"} & set(text.partition("=")[2].split(","))
    assert {"AVX2", "X86_V3", "X86_V4", "AVX512_SKX", "AVX512_SPR"} <= set(
        text.partition("=")[2].split(",")
    )


def test_the_lowest_number_of_an_option_wins():
    """avx2 asks for UseAVX=1 and avx for UseAVX=0: the JVM would take whichever came last."""
    knob = dialects()["jvm"]

    assert setting(knob, ["avx", "avx2", "avx512f"]) == "-XX:UseAVX=0"
    assert setting(knob, ["sse3", "sse4.2"]) == "-XX:UseSSE=2"
    assert setting(knob, ["avx512f"]) == "-XX:UseAVX=2"


def test_ceilings_name_only_what_is_allowed():
    """Highest step that is wholly safe; if that is unknown, none that old releases lack."""
    knob = dialects()["onednn"]
    on = [*V3, "avxvnni"]

    assert setting(knob, ["avx512f", "avx512vl"], on) == "ONEDNN_MAX_CPU_ISA=AVX2_VNNI"
    assert setting(knob, ["avx512f", "avx512vl"], V3) == "ONEDNN_MAX_CPU_ISA=AVX2"
    assert setting(knob, ["avx512f", "avx512vl"]) == "ONEDNN_MAX_CPU_ISA=AVX2"
    assert setting(knob, ["fma"]) == "ONEDNN_MAX_CPU_ISA=AVX"
    assert setting(knob, ["sha"]) == ""
    assert setting(knob, ["sse4.1"]) == ""


def test_compilers_are_not_told_what_drags_in_more():
    """-mvaes brings AVX2 along in GCC and LLVM; without AVX2 it is left out."""
    on = {*V2, "avx", "aes", "vaes"}

    assert "-mvaes" not in allow_list(compiler("gcc"), on)[0]
    assert "-mvaes" in allow_list(compiler("gcc"), {*on, "avx2"})[0]


def test_compilers_are_denied_what_many_names_drag_in():
    """-msse4.2 brings POPCNT along, -mavx XSAVE too: without them, they are denied at the end."""
    on = {*V2, "avx", "xsave"} - {"popcnt"}

    assert allow_list(compiler("gcc"), on)[0].endswith(" -mavx -mno-popcnt")
    assert allow_list(compiler("gcc"), set(V2) - {"popcnt", "sse4.2"})[0].endswith(
        " -msse4.1 -mcx16 -msahf -mno-popcnt -mno-xsave"
    )
    assert allow_list(compiler("gcc"), set(V3))[0] == "-march=x86-64-v3"


def test_newer_names_are_pointed_out():
    """What GCC knows only since 13 or 14 is written, and noted."""
    features = (*V3, "avxifma", "sha512")
    flags = choose([assess(observation(group(features), listed=V3), "50")])

    assert FORMATS["gcc"](flags) == "-march=x86-64-v3 -mavxifma -msha512\n"
    assert notes("gcc", flags) == ("gcc knows these only since: avxifma (13), sha512 (14)",)


def test_what_stays_untold_is_said():
    """A feature no switch covers, directly or by what it builds on, is named in a note."""
    flags = choose([assess(v4_machine(), "50")], without=["movbe"])

    assert FORMATS["jvm"](flags) == ""
    assert notes("jvm", flags) == ("jvm has no switch for: movbe",)
    assert unnamed(dialects()["glibc"], ["avx", "f16c"]) == ()
    assert unnamed(dialects()["glibc"], ["f16c"]) == ("f16c",)
    assert unnamed(dialects()["godebug"], ["avx512f", "avx512vnni"]) == ("avx512vnni",)
    assert unnamed(dialects()["onednn"], ["avx2", "sha"]) == ()


@given(off=st.sets(st.sampled_from(FEATURES)), on=st.none() | st.sets(st.sampled_from(FEATURES)))
def test_settings_are_one_line_and_monotone(off, on):
    """Any set gives one line without blanks at the ends; a ceiling never allows what is off."""
    for knob in dialects().values():
        text = setting(knob, off, None if on is None else on - off)

        assert text == text.strip()
        assert "\n" not in text and "{" not in text
        for ceiling in knob.ceilings if isinstance(knob, Ceilings) else ():
            if isinstance(knob, Ceilings) and text == knob.prefix + ceiling.name:
                assert not off & set(ceiling.features)
        assert not text or any(switchable(knob, name) for name in off)


@given(on=st.sets(st.sampled_from(FEATURES)))
def test_allow_lists_allow_nothing_else(on):
    """Every name after the level is that of an allowed feature, and a level is wholly allowed."""
    table = load_features()
    for dialect, column, pattern in (
        ("gcc", "gcc", r"-m(?!arch|no-)(\S+)"),
        ("llvm", "llvm", r"\+([^,]+)"),
        ("rustc", "rust", r"\+([^,]+)"),
    ):
        text, _ = allow_list(compiler(dialect), on)
        known = {getattr(table[name], column) for name in on}

        assert set(re.findall(pattern, text)) <= known
        level = re.search(r"x86-64(-v\d)?", text)
        assert level is not None
        if level[1] is not None:
            assert {"-v2": set(V2), "-v3": set(V3), "-v4": set(V4)}[level[1]] <= on


# --- advice ---


def test_advice_is_a_setting_and_its_limits():
    """explain prints this: first the exact line, then what it does not reach."""
    lines = advice(runtime("glibc"), ["avx2"])

    assert lines[0].startswith("GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-AVX512F,")
    assert lines[1] == "  only glibc obeys: other libraries ask CPUID themselves"


def test_advice_names_only_the_feature_if_nothing_builds_on_it():
    """No more is given up than the crash calls for."""
    assert advice(runtime("openssl"), ["sha"])[0].startswith(
        "OPENSSL_ia32cap=~0x0:~0x20000000:~0x0:~0x0:~0x0  ("
    )
    assert advice(runtime("numpy"), ["avx512vnni"])[0].startswith(
        "NPY_DISABLE_CPU_FEATURES=AVX512_CLX,AVX512_ICL,AVX512_SPR  ("
    )


def test_advice_says_when_there_is_none():
    """V8 has no switch for AVX-512, and nothing is invented."""
    line = advice(runtime("node"), ["avx512dq"])[0]

    assert line.startswith("V8 (Node.js, Electron, Chromium): no switch for avx512dq")


def test_advice_of_runtimes_without_a_switch():
    """Bun can only be replaced by another build."""
    assert advice(runtime("bun"), ["avx2"])[0].startswith("install the build")


@given(features=st.sets(st.sampled_from(FEATURES), min_size=1))
def test_advice_always_says_something(features):
    """Whatever died wherever: at least one line a knob, none with a line end or a placeholder."""
    for each in load_runtimes():
        lines = advice(each, sorted(features))

        assert len(lines) >= len(each.settings)
        assert all(line.strip() and "\n" not in line and "{" not in line for line in lines)


# --- the rules ---


def changed(**changes: Any) -> dict[str, Any]:
    """A table of one good runtime with one good knob, changed: `knob__key` goes to the knob."""
    knob: dict[str, Any] = {
        "example": "X=-AVX",
        "kind": "env",
        "switches": "everything",
        "limits": [],
        "versions": "all",
        "source": "a manual",
        "syntax": "items",
        "item": "-{name}",
        "separator": ",",
        "names": {"avx": ["AVX"]},
    }
    row: dict[str, Any] = {"id": "x", "title": "X", "modules": ["libx.so"], "setting": [knob]}
    for key, value in changes.items():
        target = knob if key.startswith("knob__") else row
        target[key.removeprefix("knob__")] = value
    return {"runtime": [row]}


def test_the_good_table_is_accepted():
    """So that the refusals below are for the one thing changed."""
    assert check_runtimes(changed(), set(FEATURES))[0].id == "x"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"colour": "red"}, "unknown field `colour`"),
        ({"knob__colour": "red"}, "unknown field `colour`"),
        ({"knob__kind": "rumour"}, "rumour"),
        ({"knob__syntax": "free"}, "free"),
        ({"knob__names": {"avx9": ["AVX9"]}}, "names: unknown feature 'avx9'"),
        ({"knob__names": {"avx": []}}, "length >= 1"),
        ({"knob__names": {"avx": ["A", "A"]}}, "names of 'avx'"),
        ({"knob__names": {"avx": ["A B"]}}, "matching regex"),
        ({"knob__names": {"avx": ["A\n"]}}, "matching regex"),
        ({"knob__names": {}}, "either names or column"),
        ({"knob__column": "gcc"}, "either names or column"),
        ({"knob__item": "-"}, "setting[0].item"),
        ({"knob__item": ""}, "setting[0].item"),
        ({"knob__skip": ["avx"]}, "unknown field `skip`"),
        ({"knob__since": {"avx": "3"}}, "unknown field `since`"),
        ({"knob__ceilings": [{"name": "A", "features": []}]}, "unknown field `ceilings`"),
        ({"knob__stays": ["avx"]}, "stays: 'avx' has a name"),
        ({"knob__stays": ["avx9"]}, "stays: unknown feature 'avx9'"),
        ({"knob__source": ""}, "setting[0].source"),
        ({"knob__source": " x"}, "setting[0].source"),
        ({"knob__switches": "a\nb"}, "setting[0].switches"),
        ({"setting": []}, "length >= 1"),
        ({"modules": ["*"]}, "the module pattern '*' is no file name"),
        ({"modules": ["lib/x.so"]}, "is no file name"),
    ],
)
def test_bad_rows_are_refused_in_one_line(changes, words):
    """Each rule, broken alone; the error names file and row."""
    with pytest.raises(TableError) as caught:
        check_runtimes(changed(**changes), set(FEATURES))

    assert words in str(caught.value)
    assert "knobs.toml: runtime row 1 'x'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_same_thing_twice_is_refused():
    """Ids, module patterns and dialects belong to one runtime."""
    for key, changes in (
        ("the id 'x'", {"modules": []}),
        ("the module pattern 'libx.so'", {"id": "y"}),
        ("the dialect 'd'", {"id": "y", "modules": [], "knob__dialect": "d"}),
    ):
        first = changed(knob__dialect="d")["runtime"]
        second = changed(**changes)["runtime"]
        with pytest.raises(TableError, match=f"{re.escape(key)} is used twice"):
            check_runtimes({"runtime": first + second}, set(FEATURES))


@pytest.mark.parametrize("table", [{}, {"runtime": []}, {"runtime": 3}, {"runtimes": []}])
def test_tables_without_rows_are_refused(table):
    """An empty table is a defect, not an answer."""
    with pytest.raises(TableError):
        check_runtimes(table, set(FEATURES))


def test_the_table_on_disk_is_what_was_read():
    """load_runtimes gives the rows of knobs.toml in their order."""
    assert [row["id"] for row in load_table("knobs")["runtime"]] == [
        each.id for each in load_runtimes()
    ]


# --- the command ---


def test_command_prints_the_setting_and_notes_apart(tmp_path, capsys):
    """Data to standard output, notes to standard error, exit code 0."""
    from cpuprobe.report.document import make_report, to_json

    for name, machine in (("gds", gds_machine()), ("v4", v4_machine())):
        (tmp_path / name).write_bytes(to_json(make_report(machine, assess(machine))))

    assert run(["flags", "--from", str(tmp_path / "gds"), "--format", "node"]) == 0
    assert capsys.readouterr() == ("--no-enable-avx --no-enable-fma3 --no-enable-avx2\n", "")
    assert run(["flags", "--from", str(tmp_path / "v4"), "--format", "node"]) == 0
    assert capsys.readouterr() == ("", "cpuprobe: note: nothing to switch off for node\n")


@pytest.mark.parametrize("dialect", runtimes.DIALECTS)
def test_every_format_stands_in_the_help(dialect, capsys):
    """A user finds the formats without reading the manual."""
    run(["flags", "--help"])

    assert re.search(rf"\b{dialect}\b", capsys.readouterr().out)
