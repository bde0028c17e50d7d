"""`check --diff`: which files are builds of one, what came and went, and what makes it fail."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from cpuprobe.check.allow import AllowList, Row
from cpuprobe.check.builds import Change, compare
from cpuprobe.check.judge import Expectation, Fit
from cpuprobe.cli import run
from cpuprobe.code.needs import Function, Needs, Use
from cpuprobe.code.sketch import sketch
from cpuprobe.report.builds_text import document, to_text


def function(name: str, *features: str, address: int = 0x1000) -> Function:
    return Function(name, address, address, address, "symbol", dict.fromkeys(features, 1))


def fit(
    path: str,
    *functions: Function,
    verdict: Expectation = "unguarded",
    names: str = "",
    within: int = 0,
) -> Fit:
    """A file whose functions are all beyond the target; `within` instructions are not."""
    features = sorted({name for each in functions for name in each.features})
    uses = {
        name: Use(count, count, {"symbol": count}, ())
        for name in features
        if (count := sum(name in each.features for each in functions))
    }
    if within:
        uses["ssse3"] = Use(within, 1, {"symbol": within}, ())
    needs = Needs(
        kind="library",
        features=uses,
        functions=functions,
        sketch=sketch([names.encode()]) if names else (),
    )
    return Fit(
        path=path,
        expectation=verdict if functions else "runs",
        fits=not functions or verdict == "guarded",
        missing=tuple(features),
        needs=needs,
    )


def came(new: Fit, old: Fit) -> list[str]:
    (difference,) = compare([new], [old], ["new"], ["old"])
    assert difference.fails == bool(difference.came)
    return [each.name for each in difference.came]


# --- what came -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ([], [("f", "avx2")], ["f"]),
        ([("f", "avx2")], [("f", "avx2")], []),
        ([("f", "avx2")], [], []),
        ([("f", "avx2")], [("f", "avx2", "fma")], ["f"]),
        ([("f", "avx2", "fma")], [("f", "avx2")], []),
        ([("f", "avx2")], [("g", "avx2")], ["g"]),
        ([("f", "avx2")], [("f", "avx2"), ("f", "avx2")], ["f"]),  # a second one of that name
        # Without names as many as there were of the same kind.
        ([("", "avx2"), ("", "avx2")], [("", "avx2")], []),
        ([("", "avx2")], [("", "avx2"), ("", "avx2")], [""]),
        ([("", "avx2")], [("", "sha")], [""]),
        # Hashes of rustc do not count.
        (
            [("_ZN1a1b17h0123456789abcdefE", "avx2")],
            [("_ZN1a1b17hfedcba9876543210E", "avx2")],
            [],
        ),
        # An exact counterpart is not given away to one with less.
        ([("f", "avx2", "fma"), ("f", "avx2")], [("f", "avx2"), ("f", "avx2", "fma")], []),
    ],
)
def test_functions_that_came(old, new, names):
    assert (
        came(
            fit("new/a.so", *(function(*each) for each in new)),
            fit("old/a.so", *(function(*each) for each in old)),
        )
        == names
    )


def test_counts_of_every_feature_are_compared():
    """Those of features that the machine has are told, and never make it fail."""
    old = fit("old/a.so", function("f", "avx2"), within=3)
    new = fit("new/a.so", function("f", "avx2"), within=5)
    (difference,) = compare([new], [old], ["new"], ["old"])

    assert difference.features == {"ssse3": Change((3, 5), (1, 1))}
    assert difference.beyond == ()
    assert not difference.fails


def test_a_verdict_that_has_become_worse_fails():
    """The same functions, and the choice before them is gone; but not the other way round."""
    guarded = fit("old/a.so", function("f", "avx2"), verdict="guarded")
    unguarded = fit("new/a.so", function("f", "avx2"))

    assert compare([unguarded], [guarded], ["new"], ["old"])[0].worse
    assert compare([unguarded], [guarded], ["new"], ["old"])[0].fails
    assert not compare([guarded], [unguarded], ["old"], ["new"])[0].fails


def test_what_an_allow_list_allows_may_come():
    rules = AllowList([Row(file="a.so", features=("avx2",), reason="r", symbols=("f",))], "list")
    old = fit("old/a.so")
    one = rules.apply(fit("new/a.so", function("f", "avx2")))
    two = rules.apply(fit("new/a.so", function("f", "avx2"), function("g", "avx2", address=9)))

    assert not compare([one], [old], ["new"], ["old"])[0].fails
    assert compare([two], [old], ["new"], ["old"])[0].fails


def test_what_was_not_listed_is_not_passed_over():
    """Compiled wasm, and what is beyond the bound: a feature came, though no function shows it."""
    new = fit("new/a.so", function("f", "avx2"))
    assert new.needs is not None
    unlisted = msgspec.structs.replace(new, needs=msgspec.structs.replace(new.needs, functions=()))
    old = fit("old/a.so")

    assert compare([unlisted], [old], ["new"], ["old"])[0].fails
    assert not compare([unlisted], [unlisted], ["new"], ["new"])[0].fails


# --- which is which ------------------------------------------------------------------------------

NAMES = "\0".join(f"name_{number}" for number in range(300))
ALIKE = "\0".join(f"name_{number}" for number in range(100, 400))
OTHERS = "\0".join(f"other_{number}" for number in range(300))


@pytest.mark.parametrize(
    ("new", "old", "match"),
    [
        ("new/a/x.so", "old/a/x.so", "path"),
        ("new", "old", "path"),  # files themselves, named by the arguments: by their names, below
        ("new/a/libx-1.2.so", "old/a/libx-1.10.so", "name"),
        ("new/a.libs/x-0123abcd.so", "old/a.libs/x-4567cdef.so", "name"),
        ("new/a/x.so", "old/b/x.so", "name"),
        ("new!a/x.so", "old!a/x.so", "path"),
        ("new/a-2.0.whl!a/x.so", "old/a-1.9.whl!a/x.so", "name"),
    ],
)
def test_builds_are_matched_by_name(new, old, match):
    news, olds = [fit("new/other.so"), fit(new)], [fit(old), fit("old/another.so")]
    if new == "new":
        news, olds = [fit("new/x.so")], [fit("old/x.so")]
        roots = ["new/x.so"], ["old/x.so"]
    else:
        roots = ["new"], ["old"]
    found = {each.path: each for each in compare(news, olds, *roots)}

    assert (found[news[-1].path].old, found[news[-1].path].match) == (olds[0].path, match)


def test_builds_are_matched_by_what_names_are_in_them():
    """A file that was renamed; one that has only little in common is another."""
    news = [fit("new/core.so", names=ALIKE), fit("new/x.so", names=OTHERS)]
    olds = [
        fit("old/lib_a.so", names="\0".join(("a_b", "c_d", "e_f_g"))),
        fit("old/y.so", names=NAMES),
    ]
    found = [(each.path, each.old, each.match) for each in compare(news, olds, ["new"], ["old"])]

    assert found == [
        ("new/core.so", "old/y.so", "content"),
        ("new/x.so", None, None),
        (None, "old/lib_a.so", None),
    ]


def test_one_file_on_each_side_is_compared():
    assert compare([fit("a")], [fit("b")], ["a"], ["b"])[0].match == "alone"


def test_a_name_that_occurs_twice_is_matched_by_neither():
    news, olds = [fit("new/a/x.so"), fit("new/b/x.so")], [fit("old/c/x.so"), fit("old/d/x.so")]

    assert all(each.match is None for each in compare(news, olds, ["new"], ["old"]))


# --- the command ---------------------------------------------------------------------------------

SOURCE = """
#define HIT(name, text) __attribute__((noinline)) void name(void) { __asm__ volatile(text); }
HIT(one, "vpaddd %ymm1, %ymm0, %ymm0") HIT(two, "popcnt %rax, %rax")
#ifdef NEW
HIT(three, "vpaddd %ymm1, %ymm0, %ymm0; shlx %rax, %rax, %rax")
#endif
"""


def test_two_builds_are_compared(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """A function came: exit code 1, in every format; the other way round it went: 0."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc here")
    for folder, options in (("old", []), ("new", ["-DNEW"])):
        (tmp_path / folder).mkdir()
        path = str(tmp_path / folder / "lib.so")
        command = ["gcc", "-O1", "-shared", "-fPIC", "-x", "c", "-", "-o", path, *options]
        subprocess.run(command, input=SOURCE.encode(), check=True)

    def check(new: str, old: str, *more: str) -> tuple[int, str]:
        paths = [str(tmp_path / new), "--diff", str(tmp_path / old)]
        code = run(["check", *paths, "--against", "x86-64-v2", *more])
        return code, capfd.readouterr().out

    code, text = check("new", "old")
    assert code == 1
    assert text.startswith(f"CAME       {tmp_path / 'new' / 'lib.so'}\n")
    assert "avx2: 2 instructions in 2 functions, 1 in 1 before" in text
    assert "  avx2, bmi2  three\n" in text
    assert "  one\n" not in text
    assert check("new", "old", "--fail-on", "never")[0] == 0
    code, text = check("old", "new")
    assert code == 0
    assert "went, 1 function" in text
    assert check("new", "new", "-q") == (0, "")
    code, text = check("new", "old", "--json")
    assert code == 1
    file = json.loads(text)["files"][0]
    assert file["features"]["bmi2"] == {"instructions": [0, 1], "functions": [0, 1]}
    assert [each["name"] for each in file["came"]] == ["three"]
    code, text = check("new", "old", "--format", "github")
    assert "title=Code beyond the target that the build before had not::" in text
    assert check("new", "none")[0] == 4
    for refused in (["--fail-on", "stale"], ["--write-allow", str(tmp_path / "x")]):
        assert check("new", "old", *refused)[0] == 2
    allow = tmp_path / "allow.toml"
    row = '[[allow]]\nfile = "lib.so"\nfeatures = ["x86-64-v3"]\nreason = "r"\nsymbols = ["%s"]\n'
    allow.write_text(row % "three")
    assert check("new", "old", "--allow", str(allow))[0] == 0
    allow.write_text(row % "four")
    assert (
        run(
            [
                "check",
                str(tmp_path / "new"),
                "--diff",
                str(tmp_path / "old"),
                "--against",
                "x86-64-v2",
                "--allow",
                str(allow),
            ]
        )
        == 1
    )
    assert "allow.toml: row 1 is stale: lib.so" in capfd.readouterr().err


def test_an_old_build_that_is_not_there_is_told_first(tmp_path, capfd):
    """Before the new one is read, and not as a file that is gone."""
    (tmp_path / "lib.so").write_bytes(b"")
    code = run(["check", str(tmp_path), "--diff", f"{tmp_path}/old", "--against", "x86-64-v2"])

    assert code == 4
    told = f"cpuprobe: error: --diff {tmp_path}/old: no such file or folder\n"
    assert capfd.readouterr() == ("", told)


def test_many_changed_files_have_a_row_each():
    new = [fit(f"new/{number}.so", function("f", "avx2", "fma")) for number in range(20)]
    old = [fit(f"old/{number}.so") for number in range(19)]
    report = document("x", compare(new, old, ["new"], ["old"]), {})
    lines = to_text(report).splitlines()

    assert lines[0] == "CAME       new/0.so  UNGUARDED, 1 function: avx2 and fma"
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "20 files against x: 20 came"
    assert to_text(report, quiet=True).splitlines() == lines[:-1]


def test_of_many_files_those_without_news_have_no_row():
    """What does not fit comes first, with its verdict; what came and runs is only counted."""
    many = [fit(f"new/{number}.so", function("f", "avx2")) for number in range(13)]
    many = [msgspec.structs.replace(each, expectation="guarded", fits=True) for each in many]
    bad = fit("new/bad.so", function("f", "avx2"))
    runs, moved = fit("new/runs.so"), fit("new/moved.so", function("f", "sse4.1"), within=3)
    old = [fit("old/gone.so"), fit("old/moved.so", function("f", "sse4.1"), within=4)]
    differences = compare([*many, bad, runs, moved], old, ["new"], ["old"])
    lines = to_text(document("x86-64-v2", differences, {})).splitlines()

    assert lines[0] == "CAME       new/bad.so  UNGUARDED, 1 function: avx2"
    assert lines[1] == "CAME       new/0.so  1 function: avx2"
    assert lines[14:] == ["17 files against x86-64-v2: 14 came, 1 changed, 1 new, 1 gone"]


def test_a_module_for_another_abi_is_a_build_of_the_same_file():
    """For one Python before, for the stable ABI now; another platform's is another file."""
    new = [fit("new/p/m.abi3.so", function("f", "avx2")), fit("new/p/m.cp312-win_amd64.pyd")]
    old = [
        fit("old/p/m.cpython-311-x86_64-linux-gnu.so", function("f", "avx2")),
        fit("old/p/m.cp311-win_amd64.pyd"),
    ]
    differences = compare(new, old, ["new"], ["old"])

    assert [(each.old, each.match) for each in differences] == [
        (old[0].path, "name"),
        (old[1].path, "name"),
    ]
    assert not any(each.came for each in differences)


def test_what_is_not_read_any_more_is_told():
    """Of such a file it is not known what went, and of a new one its verdict is told."""
    lost = Fit(path="new/a.so", expectation="unread", reason="program packed by UPX: not read")
    new = [lost, Fit(path="new/b.7z", expectation="unread"), fit("new/c.so")]
    differences = compare(new, [fit("old/a.so", function("f", "avx2"))], ["new"], ["old"])
    text = to_text(document("x", differences, {"7-Zip archive": 1}))

    assert text.splitlines() == [
        "CHANGED    new/a.so",
        "  UNREAD, was UNGUARDED",
        "NEW        new/b.7z",
        "  UNREAD",
        "NEW        new/c.so",
        "  RUNS",
        "3 files against x: 1 changed, 2 new",
        "not read: 1 7-Zip archive",
    ]
