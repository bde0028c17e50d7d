"""Profiles: ours are coherent, a user's are read strictly, and nothing in a file can do harm."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import V1, V2, V3, V4

from cpuprobe.errors import CaptureError, UsageError
from cpuprobe.facts.archspec import archspec_facts
from cpuprobe.facts.features import load_features
from cpuprobe.facts.lint import lint, problems
from cpuprobe.facts.profiles import (
    KINDS,
    Profile,
    find_profile,
    load_profiles,
    missing,
    profiles_in,
    user_folder,
)

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Save:
    """Writes a file into the user's own folder of profiles, which is otherwise empty."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "cpuprobe" / "profiles"
    folder.mkdir(parents=True)

    def write(content: str | bytes, name: str = "own.toml") -> Path:
        path = folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture(autouse=True)
def _no_profiles_of_the_developer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def test_a_profile_is_found_by_each_of_its_names():
    assert find_profile("cortex-a72") == find_profile("cortex-a53")
    assert "cortex-a72" not in load_profiles(isa=None)


def test_a_path_without_an_ending_is_a_file(tmp_path: Path):
    (tmp_path / "own").write_text(row("mine", features=["avx"]))

    assert find_profile(str(tmp_path / "own")).name == "mine"


def test_a_file_of_the_users_folder_is_read_once(save: Save):
    """What it names it may name: it is no second file with the same name in it."""
    path = save(row("own", features=["avx"]))

    assert list(profiles_in(str(path))) == ["own"]


def row(name: str = "own", **keys: object) -> str:
    lines = [f'[[profile]]\nname = "{name}"\npurpose = "for a test"']
    for key, value in keys.items():
        lines.append(
            f"{key} = {value!r}".replace("'", '"') if not isinstance(value, int) else f"{key} = 1"
        )
    return "\n".join(lines) + "\n"


def made(features: tuple[str, ...], kind: str = "user") -> Profile:
    return Profile(
        name="made",
        kind=kind,  # type: ignore[arg-type]
        purpose="",
        source="",
        origin="",
        features=frozenset(features),
    )


# --- ours ---


def test_levels_are_profiles():
    """The four levels hold what the psABI's table says, written out in tests.fakes."""
    profiles = load_profiles()

    for name, features in zip(
        ("x86-64-v1", "x86-64-v2", "x86-64-v3", "x86-64-v4"), (V1, V2, V3, V4), strict=True
    ):
        assert profiles[name].features == set(features)
        assert profiles[name].kind == "level"


def test_ours_have_no_problem():
    """No built-in profile is incoherent, without a source, or excludes what it had not."""
    profiles = load_profiles()

    assert [problem.text for problem in lint(profiles.values(), profiles)] == []
    assert all(profile.built_in for profile in profiles.values())
    assert {profile.kind for profile in profiles.values()} <= set(KINDS)


def test_known_machines_are_described_rightly():
    """Facts that every list of these CPUs has: what came with them, what they never had."""
    profiles = load_profiles()
    has = {name: profile.features for name, profile in profiles.items()}

    assert "avx2" not in has["ivybridge"] and "f16c" in has["ivybridge"]
    assert has["haswell"] >= set(V3) and "adx" not in has["haswell"]
    assert "avx512f" not in has["alderlake"] and "avxvnni" in has["alderlake"]
    assert has["skylake-avx512"] >= set(V4) and "avx512vnni" not in has["skylake-avx512"]
    assert has["znver4"] >= set(V4) and not has["znver3"] & {"avx512f"}
    assert not has["tremont"] & {"avx", "avx2", "fma"} and "sha" in has["tremont"]
    assert "lzcnt" in has["amdfam10"] and "ssse3" not in has["amdfam10"]


def test_gds_force_leaves_no_vector_extension():
    """With AVX off nothing of 256 or 512 bits is left; what needs no YMM state stays."""
    for name, profile in load_profiles().items():
        if profile.kind == "gds-force":
            assert not profile.features & {"avx", "avx2", "fma", "f16c", "avx512f", "vaes"}, name
            assert profile.features >= set(V2), name


def test_distributions_are_levels():
    """A distribution is built for a level: its features are exactly a level's."""
    profiles = load_profiles()
    levels = [profile.features for profile in profiles.values() if profile.kind == "level"]

    for name, profile in profiles.items():
        if profile.kind == "distribution":
            assert profile.features in levels, name


def test_archspec_knows_the_names_we_give_it():
    """No profile names a microarchitecture that archspec does not have."""
    pytest.importorskip("archspec")

    for name, profile in load_profiles().items():
        if profile.archspec is not None:
            assert archspec_facts(profile) is not None, name


def test_archspec_facts():
    """What archspec 0.2 says of Haswell: vendor, its parents, and the option for both compilers."""
    pytest.importorskip("archspec")
    facts = archspec_facts(find_profile("haswell"))

    assert facts is not None
    assert facts.vendor == "GenuineIntel"
    assert {"ivybridge", "x86_64_v3"} <= set(facts.ancestors)
    assert facts.options["gcc"].startswith("-march=haswell")
    assert facts.options["clang"].startswith("-march=haswell")
    assert archspec_facts(find_profile("debian-13")) is None


# --- coherence ---


def test_a_feature_without_its_base_is_a_problem():
    """AVX2 and FMA without AVX, as in wasmtime's preset x86-64-v3."""
    found = problems(made((*V2, "avx2", "fma")))

    assert [(each.feature, each.lacks) for each in found] == [
        ("fma", ("avx",)),
        ("avx2", ("avx",)),
    ]
    assert problems(made(V3)) == problems(made(V4)) == ()


def test_a_preset_is_judged_by_its_flags_alone():
    """wasmtime has no flag for XSAVE or SSE2: a preset cannot name them."""
    found = problems(made(("avx2",), kind="preset"))

    assert [each.lacks for each in found] == [("sse3", "ssse3", "sse4.1", "sse4.2", "avx")]


@given(st.sets(st.sampled_from(sorted(load_features()))))
def test_problems_are_found_exactly_where_a_set_is_not_closed(features):
    """By definition: some feature implies one that is not there."""
    table = load_features()
    closed = all(implied in features for name in features for implied in table[name].implies)

    assert (problems(made(tuple(features))) == ()) is closed


def test_what_no_program_can_need_is_not_missing():
    """A real Skylake that executed everything is a skylake, though no run confirms its hints."""
    skylake = find_profile("skylake")
    ran = skylake.features - {"prfchw", "xsaves"}
    graniterapids = find_profile("graniterapids")

    assert {"prfchw", "xsaves"} <= skylake.features
    assert missing(skylake, ran) == ()
    assert missing(skylake, ran - {"clflushopt"}) == ("clflushopt",)
    assert missing(
        graniterapids, graniterapids.features - {"avx10.1", "enqcmd", "cldemote"} - {"amx-fp16"}
    ) == ("amx-fp16",)


def test_missing_is_in_the_order_of_the_table():
    """What a machine lacks, as the feature table lists it."""
    assert missing(find_profile("x86-64-v3"), V2) == (
        "xsave",
        "avx",
        "f16c",
        "fma",
        "avx2",
        "lzcnt",
        "bmi",
        "bmi2",
        "movbe",
    )
    assert missing(find_profile("x86-64-v3"), V4) == ()
    assert missing(find_profile("no-avx512"), ()) == ()


# --- a user's own ---


def test_a_users_file_builds_on_ours(save: Save):
    """extends, features, flags and groups in `without`, all together."""
    save(row(extends=["x86-64-v4"], features=["aes"], flags=["has_avx_vnni"], without=["avx512"]))
    own = load_profiles()["own"]

    assert own.features == {*V3, "aes", "avxvnni"}
    assert (own.kind, own.origin, own.built_in) == ("user", "own.toml", False)
    assert find_profile("own") == own


def test_files_are_read_in_the_order_of_their_names(save: Save):
    """A later file may build on an earlier one."""
    save(row("second", extends=["first"], without=["avx2"]), "b.toml")
    save(row("first", extends=["x86-64-v3"]), "a.toml")
    (save(b"not TOML [", "notes.txt")).touch()

    assert load_profiles()["second"].features == {*V3} - {"avx2"}


def test_what_builds_on_an_excluded_feature_goes_too(save: Save):
    """Without AVX there is no AVX2, no FMA, no AVX-512."""
    save(row(extends=["x86-64-v4"], without=["avx"]))
    left = load_profiles()["own"].features

    assert left == {*V2, "xsave", "bmi", "bmi2", "lzcnt", "movbe"}


def test_a_row_of_nothing_but_without_forbids(save: Save):
    """It asks for nothing, permits all else."""
    save(row(without=["avx2"]))
    own = load_profiles()["own"]

    assert own.mask and own.features == frozenset()
    assert own.permits("avx") and not own.permits("avx2") and not own.permits("avx512f")


def test_a_file_is_a_profile_by_its_path(save: Save, tmp_path: Path):
    """A file anywhere, if it holds one profile; several need a name."""
    path = tmp_path / "elsewhere.toml"
    path.write_text(row("one", extends=["x86-64-v2"]))

    assert find_profile(str(path)).features == set(V2)
    path.write_text(row("one", extends=["x86-64-v2"]) + row("two", extends=["one"]))
    with pytest.raises(UsageError, match="holds 2 profiles"):
        find_profile(str(path))
    assert list(profiles_in(str(path))) == ["one", "two"]


def test_a_file_of_the_folder_named_by_path_does_not_clash_with_itself(save: Save):
    """`lint ~/.config/cpuprobe/profiles/own.toml`."""
    path = save(row(extends=["x86-64-v2"]))

    assert list(profiles_in(str(path))) == ["own"]


def test_a_name_that_is_nearly_right(save: Save):
    """The error names what was meant."""
    with pytest.raises(UsageError, match=r"did you mean .*x86-64-v3"):
        find_profile("x86_64_v3")


def test_the_users_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """XDG Base Directory: an unset or relative XDG_CONFIG_HOME means ~/.config."""
    monkeypatch.setenv("XDG_CONFIG_HOME", "/x/y")
    assert user_folder() == "/x/y/cpuprobe/profiles"
    monkeypatch.setenv("HOME", "/h")
    for value in ("", "relative"):
        monkeypatch.setenv("XDG_CONFIG_HOME", value)
        assert user_folder() == "/h/.config/cpuprobe/profiles"


def test_without_a_home_nobody_has_profiles(tmp_path, monkeypatch):
    """What lies in the working folder is no user's choice."""
    (tmp_path / "mine.toml").write_text('[[profile]]\nname = "mine"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)

    assert user_folder() is None
    assert "mine" not in load_profiles()


# --- lint ---


def linted(profiles: dict[str, Profile]) -> list[tuple[str, str]]:
    known = {**load_profiles(lenient=True), **profiles}
    return [(each.severity, each.text) for each in lint(profiles.values(), known)]


def test_lint_of_a_users_file(save: Save, tmp_path: Path):
    """Every kind of problem once, each in its words."""
    path = tmp_path / "mine.toml"
    path.write_text(
        row("open", extends=["x86-64-v2"], features=["avx2"])
        + row("torn", extends=["x86-64-v2"], features=["aes"], without=["aes"])
        + row("lazy", extends=["x86-64-v2"], features=["sha"], without=["avx512"])
        + row("twin", extends=["x86-64-v3"])
        + row("fine", extends=["x86-64-v3"], features=["sha"])
    )

    assert linted(dict(profiles_in(str(path), lenient=True))) == [
        ("error", "has avx2 without avx"),
        ("error", "names aes and excludes it"),
        ("warning", "is the same set as x86-64-v2"),
        ("warning", "excludes avx512, which it would not have anyway"),
        ("warning", "is the same set as x86-64-v3"),
    ]
    with pytest.raises(CaptureError, match="'torn': both has and excludes aes"):
        profiles_in(str(path))


# --- hostile files ---

BAD = {
    "not TOML": (b"[[profile", "own.toml: not TOML"),
    "not UTF-8": (b"\xff\xfe", "not UTF-8 at byte 0"),
    "NUL": (b'[[profile]]\nname = "a\x00b"\n', "not TOML"),
    "NUL escaped": (row().replace("for a test", "a\\u0000b").encode(), r"purpose"),
    "empty": (b"", r"only \[\[profile\]\] rows may stand here"),
    "something else": (b"[tool]\nname = 1\n", r"only \[\[profile\]\] rows"),
    "more than profiles": (row().encode() + b"[other]\n", r"only \[\[profile\]\] rows"),
    "no array": (b"[profile]\nname = 'a'\n", r"only \[\[profile\]\] rows"),
    "nothing in it": (row().encode(), "has neither features, flags, extends nor without"),
    "unknown key": (row(feature=["avx"]).encode(), "unknown field `feature`"),
    "no name": (b"[[profile]]\npurpose = 'p'\nfeatures = ['avx']\n", "missing required field"),
    "a name like a path": (row("../x", extends=["x86-64-v2"]).encode(), "matching regex"),
    "an escape sequence": (
        row(extends=["x86-64-v2"]).replace("for a test", "\\u001b[31m").encode(),
        "matching regex",
    ),
    "a level's kind": (row(kind="level", extends=["x86-64-v2"]).encode(), "Invalid enum value"),
    "unknown feature": (row(features=["avx9"]).encode(), "unknown feature 'avx9'"),
    "unknown flag": (row(flags=["has_avx9"]).encode(), "unknown flag 'has_avx9'"),
    "unknown group": (row(without=["avx9"]).encode(), "neither a feature nor a group: 'avx9'"),
    "unknown base": (row(extends=["nobody"]).encode(), "extends the unknown profile 'nobody'"),
    "itself": (row(extends=["own"]).encode(), "extends itself: own -> own"),
    "a circle": (
        (row("a", extends=["b"]) + row("b", extends=["c"]) + row("c", extends=["a"])).encode(),
        "extends itself: a -> b -> c -> a",
    ),
    "one of our names": (row("x86-64-v3", extends=["x86-64-v2"]).encode(), "used in levels.toml"),
    "one name twice": ((row(features=["sse"]) * 2).encode(), "used in own.toml too"),
    "a mask and a set": (row(extends=["no-avx512", "x86-64-v2"]).encode(), "extends both sets"),
    "deep nesting": (b"a = " + b"[" * 500_000, "nested too deeply"),
    "a long number": (b"a = " + b"9" * 10_000, "not TOML"),
    "a long header": (b"[" + b".".join([b"a"] * 100_000) + b"]\n", r"only \[\[profile\]\] rows"),
    "a long chain": (
        "".join(
            row(f"p{n}", extends=[f"p{n + 1}"] if n < 5000 else ["x86-64-v2"]) for n in range(5001)
        ).encode(),
        "too many profiles in a row",
    ),
    "huge": (b"#" * (2 << 20), "larger than 1 MiB"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files(name: str, save: Save):
    """One line that names the file, soon, and nothing but a CaptureError."""
    content, words = BAD[name]
    save(content)
    started = time.process_time()

    with pytest.raises(CaptureError, match=words) as caught:
        load_profiles()
    assert "\n" not in str(caught.value)
    assert "own.toml" in str(caught.value)
    assert str(user_folder()) not in str(caught.value)
    assert time.process_time() - started < 5


def test_many_keys_below_a_header(save: Save):
    """tomllib walks the parts of a table's name for each key: a short header bounds that."""
    save(b"[" + b".".join([b"a"] * 90) + b"]\n" + b"".join(b"k%d=1\n" % n for n in range(90_000)))
    started = time.process_time()

    with pytest.raises(CaptureError, match=r"own.toml"):
        load_profiles()
    assert time.process_time() - started < 20


def test_two_files_with_one_name(save: Save):
    """A clash names the other file."""
    save(row(extends=["x86-64-v2"]), "a.toml")
    save(row(extends=["x86-64-v3"]), "b.toml")

    with pytest.raises(CaptureError, match=r"b.toml: .*'own' is used in a.toml too"):
        load_profiles()


def test_what_is_no_file(save: Save):
    """A FIFO would make the reader wait for ever; a folder or a dangling link is no file either."""
    path = save("", "pipe.toml")
    path.unlink()
    for make in (os.mkfifo, os.mkdir, lambda where: os.symlink("nowhere", where)):
        make(path)
        with pytest.raises(CaptureError, match=r"^profiles: 'pipe.toml' is not a regular file$"):
            load_profiles()
        path.rmdir() if path.is_dir() else path.unlink()


def test_too_many_files(save: Save):
    """A thousand files are read, not one more: which ones would be left out is chance."""
    for number in range(1001):
        save("", f"{number}.toml")

    with pytest.raises(CaptureError, match="more than 1000 files"):
        load_profiles()


def test_a_file_that_is_not_there(tmp_path: Path):
    """The error names the file and not the folder, which may be a home."""
    with pytest.raises(CaptureError, match=r"^profiles: absent.toml: No such file or directory$"):
        find_profile(str(tmp_path / "absent.toml"))


def test_an_unreadable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """No folder is no profiles; a folder that is a file too."""
    (tmp_path / "cpuprobe").write_text("")

    assert all(profile.built_in for profile in load_profiles().values())


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_nothing_but_a_capture_error(tmp_path_factory: pytest.TempPathFactory, content: bytes):
    """Whatever stands in a file."""
    path = tmp_path_factory.getbasetemp() / "fuzz.toml"
    path.write_bytes(content)

    with pytest.raises(CaptureError):
        profiles_in(str(path))


KEYS = st.sampled_from(
    ["name", "purpose", "source", "kind", "year", "extends", "features", "flags", "without", "x"]
)
VALUES = st.sampled_from(
    (
        *('"a"', '"x86-64-v3"', '["x86-64-v4"]', '["avx2"]', '["avx"]', '["has_fma"]', '["b"]'),
        *("2020", "-1", "1e400", "nan", "[[]]", "{a=1}", "true", "1979-05-27", "9" * 30),
        *('"cpu"', '["no-avx512"]'),
    )
)


@given(st.lists(st.dictionaries(KEYS, VALUES, min_size=1), min_size=1, max_size=4))
def test_rows_of_anything(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]]):
    """Rows either load or are a CaptureError; what loads can be linted."""
    path = tmp_path_factory.getbasetemp() / "rows.toml"
    text = "".join(
        "[[profile]]\n" + "".join(f"{key} = {value}\n" for key, value in each.items())
        for each in rows
    )
    path.write_text(text)

    try:
        found = profiles_in(str(path), lenient=True)
    except CaptureError as error:
        assert "\n" not in str(error)
        return
    for problem in lint(found.values(), {**load_profiles(), **found}):
        assert problem.text
