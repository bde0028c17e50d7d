"""Files of which a machine takes one: by the folder of a loader, or by their names."""

from __future__ import annotations

import pytest

from cpuprobe.check.against import within
from cpuprobe.check.judge import Fit, judge
from cpuprobe.check.launchers import launcher
from cpuprobe.check.variants import settle
from cpuprobe.code.needs import Needs, Use
from cpuprobe.facts.features import load_levels
from cpuprobe.facts.profiles import find_profile

V1, V2, V3, V4 = (within(find_profile(f"x86-64-v{level}")) for level in range(1, 5))
HWCAPS = "usr/lib/glibc-hwcaps"


def fit(path, features, against, **more) -> Fit:
    """A library with one instruction of each feature, which chooses nothing."""
    uses = {name: Use(1, 1, {"symbol": 1}, ()) for name in features}
    return judge(path, Needs(kind="library", features=uses, **more), against)


def settled(files, against):
    """By path, expectation and reason; and the groups."""
    fits, groups = settle([fit(path, each, against) for path, each in files.items()], against)
    return {each.path: (each.expectation, each.fits, each.reason) for each in fits}, groups


TREE = {
    "usr/lib/libfoo.so.1": [],
    f"{HWCAPS}/x86-64-v2/libfoo.so.1": ["sse4.1"],
    f"{HWCAPS}/x86-64-v3/libfoo.so.1": ["avx2", "fma"],
    f"{HWCAPS}/x86-64-v4/libfoo.so.1": ["avx512f", "avx2"],
    "usr/lib/libother.so": ["avx2"],
}


@pytest.mark.parametrize(
    ("against", "taken", "beyond"),
    [
        (V1, "usr/lib/libfoo.so.1", {"x86-64-v2", "x86-64-v3", "x86-64-v4"}),
        (V2, f"{HWCAPS}/x86-64-v2/libfoo.so.1", {"x86-64-v3", "x86-64-v4"}),
        (V3, f"{HWCAPS}/x86-64-v3/libfoo.so.1", {"x86-64-v4"}),
        (V4, f"{HWCAPS}/x86-64-v4/libfoo.so.1", set()),
    ],
    ids=["v1", "v2", "v3", "v4"],
)
def test_ld_so_takes_the_highest_level_that_the_machine_has(against, taken, beyond):
    """What it does not take is not executed there; what is no variant stays as it was."""
    told, (group,) = settled(TREE, against)

    assert (group.name, group.by, group.taken) == ("usr/lib/libfoo.so.1", "ld.so", taken)
    assert [each.loads for each in group.choices] == ["x86-64-v4", "x86-64-v3", "x86-64-v2", None]
    for path, (expectation, fits, reason) in told.items():
        level = path.split("/")[3] if path.startswith(HWCAPS) else None
        if level in beyond:
            assert (expectation, fits) == ("guarded", True)
            assert reason.startswith(f"not taken there: ld.so takes it on machines with {level}")
    assert told["usr/lib/libother.so"][1] is (against in (V3, V4))


@pytest.mark.parametrize("against", [V1, V2, V3], ids=["v1", "v2", "v3"])
def test_a_file_that_needs_more_than_its_folder_is_wrong_wherever(against):
    """It is taken on machines where it does not run, whether or not on the one that is judged."""
    told, _ = settled({f"{HWCAPS}/x86-64-v3/libfoo.so.1": ["avx2", "avx512f"]}, against)

    assert told[f"{HWCAPS}/x86-64-v3/libfoo.so.1"] == (
        "unguarded",
        False,
        "ld.so takes it on every machine with x86-64-v3, and it needs more: avx512f",
    )


def test_objects_are_no_variants():
    """Whatever they are called, a linker takes them all; nothing chooses between them later."""
    fits = [
        judge(f"lib.a!{name}", Needs(kind="object", features=uses), V2)
        for name, uses in (
            ("sum.o", {}),
            ("sum_avx2.o", {"avx2": Use(1, 1, {"symbol": 1}, ())}),
        )
    ]

    assert settle(fits, V2) == (fits, ())
    assert [each.expectation for each in fits] == ["runs", "unguarded"]


def test_a_property_note_of_its_own_level_is_no_refusal():
    """ld.so never comes to read it."""
    path = f"x.deb!data.tar.xz!{HWCAPS}/x86-64-v3/libfoo.so.1"
    refused = fit(path, ["avx2"], V2, isa_needed=("x86-64-v3",), loader=True)
    (settled_one,), (group,) = settle([refused], V2)

    assert refused.expectation == "refused"
    assert (settled_one.expectation, settled_one.fits) == ("guarded", True)
    assert group.taken is None  # no other file of the name was met


@pytest.mark.parametrize(
    ("base", "variant", "features"),
    [
        ("f/_swigfaiss.so", "f/_swigfaiss_avx2.so", ["avx2", "f16c", "bmi2"]),
        ("f/_swigfaiss.so", "f/_swigfaiss_avx512_spr.so", ["avx512f", "avx512fp16"]),
        ("libggml-cpu-sse42.so", "libggml-cpu-haswell.so", ["avx2", "fma"]),
        ("libmkl_def.so.3", "libmkl_avx2.so.3", ["avx2", "fma"]),
        ("libmkl_vml_mc3.so.3", "libmkl_vml_avx10.so.3", ["avx512f", "avx512fp16"]),
        ("bin/bun", "bin/bun-avx2", ["avx2"]),
        ("w.whl!n/_umath.so", "w.whl!n/_umath.x86_v3.so", ["avx2"]),
        ("gegl-common.so", "gegl-common-x86_64-v3.so", ["avx2", "fma"]),
        ("lib.dylib!x86_64", "lib.dylib!x86_64h", ["avx2", "bmi2"]),
        ("libggml-cpu-x64.so", "libggml-cpu-piledriver.so", ["fma", "f16c"]),
        ("Hash/_SHA256.abi3.so", "Hash/_SHA256_shani.abi3.so", ["sha"]),
        ("Math/_nat.so", "Math/_nat_bmi2_adx.so", ["adx", "bmi2"]),
        ("w.whl!platform/sse2.so", "w.whl!platform/avx2.so", ["avx2"]),
        ("lib/basic/libt.so", "lib/avx2/libt.so", ["avx2", "fma"]),
        ("lib/libt.so", "lib/AVX/libt.so", ["avx"]),
    ],
)
def test_a_variant_by_name_beside_one_that_fits(base, variant, features):
    """That something chooses is taken from the names, and said so."""
    told, groups = settled({base: [], variant: features}, V2)

    assert told[variant][:2] == ("guarded", True)
    assert "not taken there" in told[variant][2]
    assert [each.path for each in groups[0].choices] == [variant, base]
    assert told[base][0] == "runs"


@pytest.mark.parametrize(
    "files",
    [
        {"f/_swigfaiss_avx2.so": ["avx2"]},  # alone
        {"f/_swigfaiss_avx2.so": ["avx2"], "f/_swigfaiss.so": ["avx2"]},  # no other choice fits
        {"f/_swigfaiss_avx2.so": ["avx2"], "g/_swigfaiss.so": []},  # in another folder
        {"f/_swigfaiss_avx2.so": ["avx512f"], "f/_swigfaiss.so": []},  # needs more than it says
        {"f/libavx2k.so": ["avx2"], "f/libk.so": []},  # no word of its own
        {"avx2/f/libk.so": ["avx2"], "basic/g/libk.so": []},
        {"f/libk-generic.so": ["avx2"], "f/libk.so": []},  # for every machine
    ],
    ids=" ".join,
)
def test_in_doubt_a_name_guards_nothing(files):
    told, _ = settled(files, V2)

    assert told[next(iter(files))][:2] == ("unguarded", False)


SCRIPT = """#!/bin/sh
for each in avx2 sse4.1; do grep -q $each /proc/cpuinfo && exec /usr/bin/tool-$each "$@"; done
exec /usr/bin/tool-plain
"""


@pytest.mark.parametrize(
    ("path", "said", "fits"),
    [
        ("usr/bin/tool", SCRIPT, True),
        ("x.deb!data.tar!usr/bin/tool", SCRIPT.replace("tool", "$0"), True),  # by its own name
        ("usr/lib/dispatch", SCRIPT.replace("tool", '$(basename "$0")'), True),  # by links to it
        ("usr/bin/other", SCRIPT.replace("tool", "other"), False),
        ("usr/bin/tool", SCRIPT.replace("avx2", "avx512f"), False),
        ("usr/bin/tool", SCRIPT.replace("/proc/cpuinfo", "/etc/tool"), False),  # asks for no CPU
    ],
)
@pytest.mark.parametrize("entry", [{}, {"avx2": 4096}], ids=["reached", "dies"])
def test_between_programs_a_script_chooses_or_people(path, said, fits, entry):
    """What dies where its neighbour runs, and nothing keeps anyone from it, does not fit."""
    use = {"avx2": Use(1, 1, {"symbol": 1}, ())}
    found = [
        judge("usr/bin/tool-plain", Needs(kind="executable"), V2),
        judge("usr/bin/tool-avx2", Needs(kind="executable", features=use, entry=entry), V2),
    ]
    told, (group,) = settle(found, V2, launcher(path, said.encode()))

    assert told[1].expectation == ("guarded" if fits else "unguarded")
    assert told[1].fits is fits
    assert fits or "left to people" in told[1].reason
    assert group.name == "usr/bin/tool"


def test_a_variant_that_the_machine_takes_is_judged_as_it_is():
    told, _ = settled({"a_avx2.so": ["avx2", "sha"], "a.so": []}, V3)

    assert told["a_avx2.so"][0] == "unguarded"


def test_the_table_names_profiles():
    """Levels in order, each variant's bound no less than what takes it."""
    from cpuprobe.facts.profiles import load_profiles
    from cpuprobe.facts.tables import load_table

    table = load_table("variants")
    profiles = load_profiles()
    levels = [row["loads"] for row in table["folder"] if row["by"] == "ld.so"]
    assert levels == [each.name for each in reversed(load_levels())][: len(levels)]
    for row in (*table["folder"], *table["word"]):
        bound = profiles[row.get("may", row["loads"])]
        loads = within(profiles[row["loads"]]).safe
        assert loads <= within(bound).safe, row
