"""Allow-lists: what they allow, what they refuse to, what is stale, and how one is written."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import textwrap
from itertools import combinations
from pathlib import Path

import msgspec
import pytest

from cpuprobe.check import write_allow
from cpuprobe.check.allow import AllowList, Row, Stale, read_list
from cpuprobe.check.gate import gate
from cpuprobe.check.judge import Expectation, Fit
from cpuprobe.check.patterns import (
    ends,
    excluded_by,
    excluder,
    glob,
    lasting_file,
    lasting_symbol,
)
from cpuprobe.check.write_allow import rows_for, to_toml
from cpuprobe.cli import run
from cpuprobe.code.needs import Function, Needs, Use
from cpuprobe.errors import CaptureError, UsageError
from cpuprobe.facts.isa import AARCH64
from cpuprobe.report.fit import document, to_text

LEGACY = "_ZN4ring3aes17h0123456789abcdefE"


def function(name: str, *features: str, address: int = 0x1000) -> Function:
    counts = dict.fromkeys(features, 2)
    return Function(name, address, address, address + 16, "symbol", counts)


def fit(
    *functions: Function, path: str = "dist/liba.so", verdict: Expectation = "unguarded"
) -> Fit:
    features = sorted({name for each in functions for name in each.features})
    uses = {name: Use(1, 1, {"symbol": 1}, ()) for name in features}
    needs = Needs(kind="library", features=uses, functions=functions)
    return Fit(path=path, expectation=verdict, missing=tuple(features), needs=needs)


def row(
    *symbols: str,
    file: str = "liba.so",
    features: tuple[str, ...] = ("avx2",),
    addresses: tuple[str, ...] = (),
    most: int | None = None,
) -> Row:
    return Row(
        file=file, features=features, reason="r", symbols=symbols, addresses=addresses, most=most
    )


def allow(*rows: Row) -> AllowList:
    return AllowList(rows, "list")


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (LEGACY, "_ZN4ring3aes17hfedcba9876543210E"),
        (f"{LEGACY}.llvm.123456", LEGACY),
        ("ring::aes::h0123456789abcdef", "ring::aes::hfedcba9876543210"),
        ("_RNvCs4fqI2P2rA04_7mycrate3foo", "_RNvCs1Q_7mycrate3foo"),
        # Symbols are read up to a bound, which may cut a hash.
        (f"_ZN{'a' * 290}17h0123456789abcdefE", f"_ZN{'a' * 290}17hfedcba98"),
        # The crate's hash is shorter, so what refers back to a position in the name moves.
        ("_RINvCs4fqI2P2rA04_1a1fNtB2_1bE", "_RINvCs4fqI2P2rA0_1a1fNtB1_1bE"),
    ],
)
def test_a_symbol_lasts_from_build_to_build(one, other):
    assert lasting_symbol(one) == lasting_symbol(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("_RNvCs4fqI2P2rA04_7mycrate3foo", "_RNvCs4fqI2P2rA04_7mycrate3bar"),
        # Closures of one function are numbered: that is no hash.
        ("_RNCNvCs1_1a1fs_0B3_", "_RNCNvCs1_1a1fs0_0B3_"),
        ("_ZN4ring3aes17h0123456789abcdeE", "_ZN4ring3aes17h0123456789abcdfE"),
        ("aes17h", "aes18h"),
    ],
)
def test_other_symbols_stay_others(one, other):
    assert lasting_symbol(one) != lasting_symbol(other)


def test_the_hash_in_a_copied_librarys_name_does_not_count():
    assert lasting_file("libgfortran-040039e1-0352e75f.so.5") == "libgfortran.so.5"
    assert (
        lasting_file("numpy.libs/libopenblas64_-ff651d7f.so.0") == "numpy.libs/libopenblas64_.so.0"
    )
    assert lasting_file("libfoo-12345.so") == "libfoo-12345.so"


@pytest.mark.parametrize(
    ("pattern", "text", "like"),
    [
        ("abc", "abc", True),
        ("abc", "abcd", False),
        ("a*c", "ac", True),
        ("a*c", "abbc", True),
        ("ab*ba", "aba", False),  # one b cannot be both
        ("*b*d*", "abcde", True),
        ("*b*d*", "adcbe", False),
        ("*", "", True),
        ("a[b]?", "a[b]?", True),  # nothing else is special
        ("a?", "ab", False),
        ("a*" * 500 + "b", "a" * 5000, False),
    ],
)
def test_a_star_stands_for_anything(pattern, text, like):
    assert glob(pattern)(text) is like


# --- what is allowed -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rows",
    [
        [row()],
        [row("f", "g")],
        [row("f"), row("g")],
        [row("*", file="*.so")],
        [row(file="dist/liba.so")],
        [row(features=("x86-64-v3",))],
        [row(addresses=("0x1000-0x1010", "0x2000-0x2fff"))],
        [row(most=2)],
        [row("f", features=("avx512f",)), row("g")],  # what a feature implies is within
    ],
)
def test_all_is_allowed(rows):
    functions = function("f", "avx2", "avx"), function("g", "avx2", address=0x2000)
    answer = allow(*rows).apply(fit(*functions))

    assert answer.allowed
    assert answer.fits
    assert answer.excess == ()
    assert sum(each.functions for each in answer.permissions) == 2
    assert not gate("guarded").fails(answer)


@pytest.mark.parametrize(
    ("rows", "left"),
    [
        ([row("f")], ["g"]),
        ([row(features=("avx",))], ["f", "g"]),
        ([row(file="b.so")], ["f", "g"]),
        ([row(file="a.so")], ["f", "g"]),  # no part of a name
        ([row(addresses=("0x1000-0x2000",))], ["g"]),  # it ends behind
        ([row(most=1)], ["f", "g"]),
        ([], ["f", "g"]),
    ],
)
def test_what_is_left_over_is_named(rows, left):
    functions = function("f", "avx2"), function("g", "avx2", address=0x2000)
    answer = allow(*rows).apply(fit(*functions))

    assert not answer.allowed
    assert not answer.fits
    assert [each.name for each in answer.excess] == left
    assert gate("unguarded").fails(answer)


def test_ceilings_of_several_rows_add_up():
    both = fit(function("f", "avx2", "bmi2"))

    assert not allow(row("f")).apply(both).allowed
    assert allow(row("f"), row("f", features=("bmi2",))).apply(both).allowed


@pytest.mark.parametrize("verdict", ["dies", "refused", "foreign"])
def test_what_is_proved_is_not_allowed(verdict):
    answer = allow(row()).apply(fit(function("f", "avx2"), verdict=verdict))

    assert not answer.allowed
    assert not answer.fits


def test_what_was_not_listed_is_not_allowed():
    """Functions beyond the bound, and features of which no function is known."""
    whole = fit(function("f", "avx2"))
    assert whole.needs is not None
    more = msgspec.structs.replace(whole, needs=msgspec.structs.replace(whole.needs, unlisted=1))
    unknown = msgspec.structs.replace(whole, missing=("avx2", "sha"))

    assert allow(row()).apply(whole).allowed
    assert not allow(row()).apply(more).allowed
    assert not allow(row(features=("avx2", "sha"))).apply(unknown).allowed


def test_stale_rows_are_told():
    """A row that met nothing, and a symbol beside others that did."""
    rules = allow(row("f", "gone"), row(file="b.so"), row("x*", "y"), row())
    rules.apply(fit(function("f", "avx2")))
    rules.apply(fit(function("x", "avx2"), path="b.so.1"))

    assert [(each.row, each.what) for each in rules.stale()] == [(1, "gone"), (2, ""), (3, "")]
    assert [each.symbols for each in rules.lasting()] == [("f",), ()]


# --- reading -------------------------------------------------------------------------------------

GOOD = '[[allow]]\nfile = "a"\nfeatures = ["avx2"]\nreason = "r"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[allow]", "not TOML"),
        ("x = 1", "only [[allow]] rows"),
        ("allow = 1", "only [[allow]] rows"),
        (GOOD.replace('"r"', '" "'), "row 1 (a): has no reason yet"),
        (GOOD.replace("avx2", "avx3"), "no feature and no level: 'avx3'; did you mean"),
        (GOOD.replace('["avx2"]', "[]"), "row 1"),
        (GOOD + 'sybols = ["f"]', "sybols"),
        (GOOD + "most = 0", "row 1"),
        (GOOD + 'addresses = ["12"]', "not an address range: '12'"),
        (GOOD * 2001, "no more than 2000"),
        (GOOD + f"symbols = {json.dumps([f'{n}*' for n in range(201)])}", "201 wildcards"),
        ("[" + "a." * 5000 + "b]", "only [[allow]] rows"),
        ("a=" + "[" * 100_000, "nested too deeply"),
        ("#" * (5 << 20), "larger than 4 MiB"),
    ],
)
def test_a_bad_list_is_one_line(text, words, tmp_path):
    path = tmp_path / "list.toml"
    path.write_text(text)

    with pytest.raises(CaptureError) as caught:
        read_list(str(path))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_manuals_example_is_a_list(tmp_path):
    """The rows that docs/check.md shows are read, and meet what they are said to."""
    page = (Path(__file__).parents[3] / "docs" / "check.md").read_text()
    block = page[page.index("    [[allow]]") :].partition("\n\n-")[0]
    path = tmp_path / "allow.toml"
    path.write_text(textwrap.dedent(block))
    rules = read_list(str(path))
    teddy = "_ZN12aho_corasick6packed5teddy7builder6x86_648SlimAVX217h0123456789abcdefE"

    assert [row.file for row in rules.rows] == [
        "polars.abi3.so",
        "_simd.cp*-win_amd64.pyd",
    ]
    assert rules.apply(fit(function(teddy, "avx2", "bmi2"), path="a.whl!p/polars.abi3.so")).allowed


@pytest.mark.parametrize(
    ("words", "verdicts"),
    [
        ("never", set()),
        ("dies", {"dies", "refused", "foreign"}),
        ("unread,stale", {"dies", "refused", "foreign", "unguarded"}),
        ("guarded, stale", {"dies", "refused", "foreign", "unguarded", "guarded"}),
    ],
)
def test_what_fails_is_chosen(words, verdicts):
    chosen = gate(words)

    assert chosen.verdicts == verdicts
    assert chosen.stale == ("stale" in words)
    assert chosen.unread == ("unread" in words)


@pytest.mark.parametrize("words", ["", "all", "dies,guarded", "unguarded,"])
def test_what_cannot_be_chosen_is_usage(words):
    with pytest.raises(UsageError):
        gate(words)


# --- writing -------------------------------------------------------------------------------------


def test_a_list_is_of_one_instruction_set(tmp_path):
    """Features, levels and what they build on are those of aarch64 there."""
    fits = [fit(function("f", "sve2", "sve"), function("g", "lse"))]
    path = tmp_path / "list.toml"
    text = to_toml(rows_for(fits, None, AARCH64), "armv8.0-a")
    path.write_text(text.replace('reason = ""', 'reason = "seen"'))

    assert [row.features for row in read_list(str(path), AARCH64).rows] == [("sve2",), ("lse",)]
    assert read_list(str(path), AARCH64).apply(fits[0]).allowed
    with pytest.raises(CaptureError, match="no feature and no level: 'sve2'"):
        read_list(str(path))


def test_a_written_list_allows_what_it_was_written_of(tmp_path):
    """Strange names too: quotes, control characters, hashes, another file of the same name."""
    strange = 'f"\\\x01é😀'
    fits = [
        fit(function(strange, "avx2"), function(LEGACY, "avx", "bmi2"), path='a/"é.so'),
        fit(function("f", "avx2"), function("", "sha"), path="b/b.so"),
        fit(function("f", "avx"), path="c/b.so"),
    ]
    path = tmp_path / "list.toml"
    text = to_toml(rows_for(fits, None), "x86-64-v2")
    path.write_text(text.replace('reason = ""', 'reason = "seen"'))
    rules = read_list(str(path))

    assert "\x01" not in text
    assert [(each.file, each.most) for each in rules.rows[2:]] == [("b/b.so", 2), ("c/b.so", None)]
    assert all(rules.apply(each).allowed for each in fits)
    assert rules.stale() == ()
    other = fit(function(LEGACY.replace("0123", "fedc"), "avx", "bmi2"), path='a/"é.so')
    assert rules.apply(other).allowed


def test_a_slice_is_named_with_its_file():
    """Other files have slices of that name."""
    assert [*ends("dist/libx.dylib!x86_64")] == ["libx.dylib!x86_64", "dist/libx.dylib!x86_64"]
    assert [*ends("a.whl!x/core.so")] == ["core.so", "x/core.so", "a.whl!x/core.so"]


def test_a_list_holds_for_the_next_release():
    """The version of an archive is left open, unless two releases of it are checked at once."""
    module = "whl!app/core.so"
    one = fit(function("f", "avx2"), path=f"dist/app-1.2.0-cp311-cp311-linux_x86_64.{module}")
    beside = fit(function("f", "avx2"), path=f"dist/more-2.0-py3-none-any.{module}")
    later = fit(function("f", "avx2"), path=f"dist/app-1.3.0-cp311-cp311-linux_x86_64.{module}")

    assert [each.file for each in rows_for([one], None)] == ["core.so"]
    several = [each.file for each in rows_for([one, beside], None)]
    assert several == [f"app-*.{module}", f"more-*.{module}"]
    assert allow(row("f", file=several[0])).apply(later).allowed
    assert not allow(row("f", file=several[1])).apply(later).allowed
    both = [each.file for each in rows_for([one, later], None)]
    assert [allow(row("f", file=each)).apply(one).allowed for each in both] == [True, False]


def test_a_file_with_too_many_functions_is_counted():
    """As many as there are now are allowed, and no more."""
    functions = [function(f"f{n}", "avx2", "avx") for n in range(501)]
    rows = rows_for([fit(*functions)], None)

    assert [(each.symbols, each.most, each.features) for each in rows] == [((), 501, ("avx2",))]
    rules = allow(*rows)
    assert rules.apply(fit(*functions)).allowed
    more = rules.apply(fit(*functions, function("new", "avx2")))
    assert not more.allowed
    assert more.permissions[0].refused == 502


APART = ("sha", "adx", "movbe", "rdrnd", "rdseed", "lzcnt", "bmi", "bmi2", "aes", "fsgsbase")


def test_what_is_written_can_be_read(tmp_path, monkeypatch):
    """Too many names, wildcards or rows for a list: those of further files are counted."""
    long = "n" * 290
    monkeypatch.setattr(write_allow, "_MOST_LETTERS", 50_000)
    cases = {
        "names": [[function(f"{long}{n}", "avx2") for n in range(100)] for _ in range(2)],
        "wildcards": [[function(f"\x01{n}", "avx2") for n in range(150)] for _ in range(3)],
        "rows": [
            [function(f"f{n}", *each) for n, each in enumerate(combinations(APART, 3))]
            for _ in range(18)
        ],
    }
    for name, files in cases.items():
        fits = [fit(*functions, path=f"{at}.so") for at, functions in enumerate(files)]
        path = tmp_path / name
        path.write_text(to_toml(rows_for(fits, None), "v1").replace('reason = ""', 'reason = "x"'))
        rules = read_list(str(path))
        counted = [row.most is not None for row in rules.rows]

        assert True in counted, name
        assert not counted[0], name
        assert all(rules.apply(each).allowed for each in fits), name


SOURCE = """
#define HIT(name, text) __attribute__((noinline)) void name(void) { __asm__ volatile(text); }
HIT(one, "vpaddd %ymm1, %ymm0, %ymm0") HIT(two, "vpaddd %ymm1, %ymm0, %ymm0")
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("no gcc here")
    path = tmp_path / "lib.so"
    command = ["gcc", "-O1", "-shared", "-fPIC", "-x", "c", "-", "-o", str(path)]
    subprocess.run(command, input=SOURCE.encode(), check=True)
    return path


def test_a_release_is_gated(library: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """Written, given a reason, it passes; what it does not name, and what is stale, is told."""
    path = tmp_path / "allow.toml"

    def check(*more: str) -> tuple[int, str, str]:
        code = run(["check", str(library), "--against", "x86-64-v2", *more])
        said = capfd.readouterr()
        return code, said.out, said.err

    assert check()[0] == 1
    assert check("--fail-on", "never")[0] == 0
    assert check("--fail-on", "dies", "-q") == (0, "", "")
    assert check("-q", "--write-allow", str(path))[::2] == (
        0,
        f"cpuprobe: note: {path}: 1 row, each wants a reason\n",
    )
    assert check("--write-allow", str(path))[0] == 2
    assert check("--allow", str(path))[0] == 4
    written = path.read_text()
    path.write_text(written.replace('reason = ""', 'reason = "one caller, which asks"'))
    code, out, _ = check("--allow", str(path))
    assert (code, out.split()[0]) == (0, "ALLOWED")
    assert "one caller, which asks" in out
    assert check("--allow", str(path), "-q", "--fail-on", "stale") == (0, "", "")

    path.write_text(path.read_text().replace('"two"', '"three"'))
    code, out, _ = check("--allow", str(path), "--fail-on", "never,stale")
    assert code == 1
    assert "not allowed, 1 function" in out
    assert "stale in the allow-list, row 1: three in lib.so\n" in out
    fresh = tmp_path / "new.toml"
    assert check("--allow", str(path), "--write-allow", str(fresh))[0] == 0
    assert fresh.read_text().count("[[allow]]") == 2
    assert '"three"' not in fresh.read_text()
    assert fresh.read_text().count("one caller, which asks") == 1


def test_many_files_have_a_row_each(library: Path, tmp_path: Path, capfd):
    """Of 80 columns; what does not fit comes first, and what runs is summed up."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(14):
        shutil.copy(library, folder / f"{'long' * 20}{number}.so")
    shutil.copy("/bin/true", folder / "a")
    assert run(["check", str(folder), "--against", "x86-64-v2"]) == 1
    lines = capfd.readouterr().out.splitlines()

    assert all(line.startswith("UNGUARDED  ...") and len(line) <= 80 for line in lines[:14])
    assert all(line.endswith("  avx2") for line in lines[:14])
    assert lines[-1] == "15 files against x86-64-v2: 14 unguarded, 1 runs"


def test_stale_rows_of_one_file_are_told_together():
    stale = [Stale(row=at, file="a.so", what="", reason="r") for at in (1, 2, 4)]
    stale.append(Stale(row=5, file="b.so", what="f", reason="r"))
    lines = to_text(document("x", [], {}, gate("never"), stale, "list")).splitlines()

    assert lines[1:] == [
        "stale in the allow-list, rows 1, 2 and 4: a.so",
        "stale in the allow-list, row 5: f in b.so",
    ]


def test_a_row_tells_archive_and_module_and_no_archive_fills_the_screen():
    """What was built stands at the start of its name; after five rows the rest are counted."""
    wheel = "dist/numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl"
    module = "numpy/_core/_simd.cpython-311-x86_64-linux-gnu.so"
    several = (function("f", "avx2"), function("g", "avx512bw"), function("h", "gfni"))
    fits = [fit(*several, path=f"{wheel}!{n}/{module}", verdict="unguarded") for n in range(20)]
    fits.append(fit(function("f", "avx2"), path="dist/other.whl!x", verdict="unguarded"))
    lines = to_text(document("x86-64-v2", fits, {}, gate("unguarded"))).splitlines()

    assert len(lines) == 5 + 1 + 1 + 1 + 1
    assert all(
        re.fullmatch(r"UNGUARDED  numpy-2\S*\.\.\.\S*/_simd\.\*\.so  avx.*", each)
        for each in lines[:5]
    )
    assert lines[5] == "UNGUARDED  dist/other.whl!x  avx2"
    assert lines[6] == "and 15 more in numpy-2.4.6-c...nylinux_2_28_x86_64.whl: 15 unguarded"
    assert all(len(each) <= 80 for each in lines)


def test_of_very_many_only_what_does_not_fit_has_a_row():
    """The worst first; two that fail are told at length before it."""
    guarded = [fit(function("f", "avx2"), path=f"g{n}", verdict="guarded") for n in range(30)]
    fits = [msgspec.structs.replace(each, fits=True) for each in guarded]
    fits += [fit(function("f", "avx2"), path="u"), fit(function("f", "avx2"), path="x")]
    fits.append(Fit(path="w", expectation="unread", reason="RAR archive: not read"))
    lines = to_text(document("x86-64-v2", fits, {}, gate("unguarded"))).splitlines()

    starts = [line.split()[:2] for line in lines if line[:1].isupper()]
    assert starts == [["UNGUARDED", "u"], ["UNGUARDED", "x"], ["UNREAD", "w"]]
    assert lines[-1] == "33 files against x86-64-v2: 2 unguarded, 1 unread, 30 guarded"


@pytest.mark.parametrize(
    ("pattern", "path", "out"),
    [
        ("tests", "dist/app.whl!app/tests/data/bad.gz", True),
        ("tests", "dist/app.whl!app/mytests/a.so", False),
        ("tests", "tests", True),
        ("app/tests/", "app.whl!app/tests/a.so", True),
        ("app/tests/", "app.whl!app/x/tests/a.so", False),
        ("*.gz", "dist/app.tar.gz!app/core.so", True),
        ("*.gz", "dist/a.gzip", False),
        ("tests/*.so", "dist/tests/deep/a.so", True),
        ("app-*.whl!app/core.so", "dist/app-2.0.whl!app/core.so", True),
        ("./dist", "./dist/a.so", True),
        ("./dist", "dist/a.so", False),
        ("[ab].so", "a.so", False),
    ],
)
def test_a_name_is_excluded_at_any_depth_and_with_all_that_lies_below_it(pattern, path, out):
    """As tar's --exclude has it; the first pattern that is like it says so."""
    assert excluder([pattern, "*"])(path) == excluded_by(pattern if out else "*")
    assert excluder(["never"])(path) == ""
