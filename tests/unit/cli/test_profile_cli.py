"""`cpuprobe profile list | show | check | lint`: words, documents and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.command import cpuprobe
from tests.fakes import V2, V3, XCR0_AVX, XCR0_SSE, gds_machine, group, observation

from cpuprobe.assessment import assess
from cpuprobe.cli import run
from cpuprobe.evidence import installed
from cpuprobe.evidence.observation import CpuGroup, Cpuinfo, Observation
from cpuprobe.facts import presets as facts_presets
from cpuprobe.facts.presets import Preset
from cpuprobe.facts.profiles import load_profiles
from cpuprobe.report.document import make_report, to_json
from cpuprobe.report.profile_text import lint_lines
from cpuprobe.wasm import preset_lint
from cpuprobe.wasm.children import ChildError
from cpuprobe.wasm.effect import Effect
from cpuprobe.wasm.preset_lint import Incoherent, Presets, lints

OWN = """
[[profile]]
name = "fleet"
purpose = "what all of our machines have"
extends = ["x86-64-v2"]
features = ["aes"]
without = ["sse4.2"]
"""
OPEN = OWN.replace('["aes"]', '["avx2"]').replace('without = ["sse4.2"]\n', "")


class Said(NamedTuple):
    """What a command said and with which exit code."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        assert self.out.count("\n") == 1
        return json.loads(self.out)


Ask = Callable[..., Said]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Ask:
    """Runs `cpuprobe profile`, with a folder of one's own below `tmp_path`."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    def run_it(*arguments: object) -> Said:
        capfd.readouterr()
        code = run(["profile", *map(str, arguments)])
        sys.stdout.flush()
        out, err = capfd.readouterr()
        return Said(code, out, err)

    return run_it


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The user's folder with one good profile."""
    folder = tmp_path / "cpuprobe" / "profiles"
    folder.mkdir(parents=True)
    (folder / "fleet.toml").write_text(OWN)
    return folder


def saved(tmp_path: Path, machine: Observation, name: str = "host.json") -> Path:
    path = tmp_path / name
    path.write_bytes(to_json(make_report(machine, assess(machine))))
    return path


# --- list ---


def test_list(ask: Ask, own: Path):
    """Each profile in a line of its kind; a user's own with its file."""
    said = ask("list")

    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines.index("psABI micro-architecture levels") < lines.index("your own")
    assert [line.split()[:3] for line in lines if line.startswith("  x86-64-v4 ")] == [
        ["x86-64-v4", "-", "v4"]
    ]
    (mine,) = (line for line in lines if line.startswith("  fleet "))
    assert mine.split()[1:4] == ["-", "v1", "15"]
    assert mine.endswith("what all of our machines have (fleet.toml)")
    assert "cpus.toml" not in said.out
    assert all(len(line) <= 100 for line in lines)
    assert "\x1b" not in said.out


def test_list_as_json(ask: Ask, own: Path):
    """The same as a document, every profile once."""
    document = ask("list", "--json").document

    assert document["schema"] == "cpuprobe.profiles/1"
    entries = {each["name"]: each for each in document["profiles"]}
    assert set(entries) == set(load_profiles(isa=None))
    assert entries["fleet"] == {
        "name": "fleet",
        "kind": "user",
        "purpose": "what all of our machines have",
        "year": None,
        "level": "x86-64-v1",
        "features": 15,
        "forbids": None,
        "file": "fleet.toml",
    }
    assert entries["x86-64-v3"]["features"] == len(V3)
    assert entries["no-avx512"]["forbids"] > 10 and entries["no-avx512"]["features"] == 0


def test_list_of_one_kind(ask: Ask):
    """Only that kind; an unknown one is a usage error that names all."""
    said = ask("list", "--kind", "level")

    assert said.code == 0
    names = [line.split()[0] for line in said.out.splitlines() if line.startswith("  x86")]
    assert names == ["x86-64-v1", "x86-64-v2", "x86-64-v3", "x86-64-v4"]
    assert "haswell" not in said.out
    assert ask("list", "--kind", "user").out == "No profiles of this kind.\n"
    wrong = ask("list", "--kind", "cpus")
    assert (wrong.code, wrong.out) == (2, "")
    assert wrong.err.count("\n") == 1 and "level, cpu, gds-force" in wrong.err


@pytest.fixture
def wasmtime(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Says which wasmtime is installed."""

    def say(version: str | None) -> None:
        monkeypatch.setattr(installed, "installed_version", lambda: version)

    return say


Installed = Callable[[str | None], None]


def test_list_of_presets(ask: Ask, wasmtime: Installed):
    """The installed wasmtime's; without one, or with one that the table has not, that is said."""
    wasmtime("50.0.1")
    names = [
        each["name"] for each in ask("list", "--kind", "preset", "--json").document["profiles"]
    ]
    assert {"x86-64-v3", "haswell", "baseline"} <= set(names)
    wasmtime("4.0.0")
    old = ask("list", "--kind", "preset", "--json").document["profiles"]
    assert {each["name"] for each in old} < set(names)

    for version, words in ((None, "wasmtime is not installed"), ("999.0", "known majors: 3 4 5")):
        wasmtime(version)
        said = ask("list", "--kind", "preset")
        assert (said.code, said.out) == (3, "")
        assert words in said.err and said.err.count("\n") == 1


# --- show ---


def test_show(ask: Ask, own: Path):
    """The level, what is beyond it, and what is missing below the next."""
    document = ask("show", "fleet", "--json").document

    assert document["level"] == "x86-64-v1"
    assert document["beyond"] == ["sse3", "ssse3", "sse4.1", "popcnt", "cx16", "sahf", "aes"]
    assert document["below"] == {"level": "x86-64-v2", "missing": ["sse4.2"]}
    assert document["extends"] == ["x86-64-v2"]
    on = [flag for flag, value in document["cranelift"].items() if value]
    assert sorted(on) == [
        *("has_cmpxchg16b", "has_popcnt", "has_sse3", "has_sse41", "has_ssse3"),
    ]
    assert document["cranelift_off"]["has_sse42"] == "not in fleet"
    assert "haswell" in document["met_by"] and "nehalem" not in document["met_by"]
    assert document["forbids"] is None
    assert "x86-64-v1" in ask("show", "debian-13", "--json").document["met_by"]  # the same set

    said = ask("show", "fleet")
    assert said.code == 0
    assert "not x86-64-v2 without sse4.2" in said.out
    assert "file" not in said.out or str(own) not in said.out


def test_show_a_cpu(ask: Ask):
    """-march, what archspec adds, and that wasmtime's preset leaves something off."""
    pytest.importorskip("wasmtime")
    pytest.importorskip("archspec")
    document = ask("show", "alderlake", "--json").document

    assert document["march"] == "alderlake"
    assert document["archspec"]["vendor"] == "GenuineIntel"
    assert document["preset"] == "alderlake"
    assert document["preset_adds"] == []
    assert document["preset_leaves_off"] == ["has_avx", "has_avx2"]
    assert document["cranelift"]["has_avx2"] and not document["cranelift"]["has_avx512f"]
    out = ask("show", "alderlake").out
    assert "alderlake: leaves off has_avx has_avx2" in out
    assert all(len(line) <= 100 for line in out.splitlines())


def test_show_the_highest_level_and_a_mask(ask: Ask):
    """Nothing is above v4; a mask asks for nothing and shows what it forbids."""
    assert ask("show", "x86-64-v4", "--json").document["below"] is None
    document = ask("show", "no-avx512", "--json").document
    assert document["features"] == [] and document["met_by"] == []
    assert {"avx512f", "avx512vl"} <= set(document["forbids"])
    assert document["cranelift"]["has_avx2"] and not document["cranelift"]["has_avx512f"]
    assert "nothing: every machine meets it" in ask("show", "no-avx512").out


def test_show_what_does_not_exist(ask: Ask):
    """One line, with what was meant; exit code 2."""
    said = ask("show", "haswel")

    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("cpuprobe: error: no profile haswel; did you mean haswell")
    assert said.err.count("\n") == 1


# --- check ---


def test_check_against_a_capture(ask: Ask, tmp_path: Path):
    """A v3 machine meets v2 and v3, and not v4."""
    host = saved(tmp_path, observation(group(V3), listed=V3))

    said = ask("check", "x86-64-v2", "x86-64-v3", "--on", host)
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[0] == "host.json: x86-64-v3 is safe (executed)"
    assert "x86-64-v3: meets: all of its 24 features are safe" in said.out
    said = ask("check", "x86-64-v3", "x86-64-v4", "--on", host)
    assert said.code == 1
    assert "x86-64-v4: does not meet: 5 of 29 features are missing" in said.out
    assert "avx512f avx512dq avx512cd avx512bw avx512vl: absent" in said.out
    assert "why: CPUID does not enumerate it" in said.out
    assert str(tmp_path) not in said.out


def test_check_says_why_and_what_would_change_it(ask: Ask, tmp_path: Path):
    """AVX taken by the kernel's mitigation: the finding's cause and remedy, once for all four."""
    host = saved(tmp_path, gds_machine())
    document = ask("check", "x86-64-v3", "--on", host, "--json").document

    (verdict,) = document["profiles"]
    assert not verdict["meets"] and verdict["features"] == len(V3)
    assert [each["feature"] for each in verdict["missing"]] == ["avx", "f16c", "fma", "avx2"]
    for each in verdict["missing"]:
        assert each["state"] == "withheld"
        assert "GDS, Downfall" in each["why"]
        assert each["codes"][0] == "CP101"
        assert each["remedy"].startswith("Install current CPU microcode")
        assert "below" not in each["remedy"]
    out = ask("check", "x86-64-v3", "--on", host).out
    assert out.count("(CP101)") == out.count("what to do: Install") == 1
    assert all(len(line) <= 100 for line in out.splitlines())


def test_check_a_guest(ask: Ask, tmp_path: Path):
    """What is hidden with its register state may be there; what raised #UD with it on is not."""
    masked = "CPUID does not enumerate it; this is a guest, and its hypervisor may hide it"
    lacking = "CPUID does not enumerate it, and it does not execute: the CPU lacks it"
    for xcr0, why in ((XCR0_SSE, masked), (XCR0_AVX, lacking)):
        guest = observation(group(V2, xcr0=xcr0, hypervisor="KVMKVMKVM\0\0\0"))
        said = ask("check", "x86-64-v3", "--on", saved(tmp_path, guest), "--json")
        (told,) = json.loads(said.out)["profiles"]
        reasons = {each["feature"]: each["why"] for each in told["missing"]}

        assert said.code == 1
        assert reasons["avx2"] == why
        assert reasons["movbe"] == lacking, "no XCR0 bit hides it"


def test_check_a_mask(ask: Ask, tmp_path: Path):
    """Every machine meets it, and the answer says that this means nothing."""
    said = ask("check", "no-avx512", "--on", saved(tmp_path, observation(group(V2))))

    assert said.code == 0
    assert "it only forbids and asks for nothing, so every machine meets it" in said.out


def test_check_what_could_not_be_executed(ask: Ask, tmp_path: Path):
    """Claimed, and neither proved nor disproved: not missing, and no yes either."""
    unproved = group((*V2, "movbe"), outcomes={"movbe": "skipped"})
    (own := tmp_path / "own.toml").write_text(
        '[[profile]]\nname = "own"\npurpose = "p"\nextends = ["x86-64-v2"]\nfeatures = ["movbe"]\n'
    )
    said = ask("check", str(own), "--on", saved(tmp_path, observation(unproved)), "--json")

    assert said.code == 4
    (verdict,) = said.document["profiles"]
    assert (verdict["meets"], verdict["decided"]) == (False, False)
    assert [(each["feature"], each["state"]) for each in verdict["missing"]] == [
        ("movbe", "unverified")
    ]


def test_check_a_capture_that_tells_little(ask: Ask, tmp_path: Path):
    """Features that a cut list does not tell are called unknown; the profile is not decided."""
    words = "fpu cx8 cmov mmx fxsr sse sse2 syscall lm"
    cut = Cpuinfo((0,), {"flags": words}, "cut")
    host = saved(
        tmp_path,
        Observation(source="x", executed=False, groups=(CpuGroup(cpus=(0,)),), cpuinfo=(cut,)),
    )
    said = ask("check", "x86-64-v3", "--on", host)
    strict = ask("check", "x86-64-v3", "--strict", "--on", host)
    document = ask("check", "x86-64-v3", "x86-64-v1", "--on", host, "--json").document

    assert (said.code, strict.code) == (4, 1)
    assert "x86-64-v3: cannot be decided: 8 of 24 features are safe" in said.out
    assert "too little is known to tell its level (as claimed, nothing was executed)" in said.out
    assert document["basis"] == "cpuid"
    assert document["insufficient"]
    assert [each["decided"] for each in document["profiles"]] == [False, True]
    assert [each["meets"] for each in document["profiles"]] == [False, True]
    missing = document["profiles"][0]["missing"]
    assert {each["state"] for each in missing} == {"unknown"}
    assert {each["why"] for each in missing} == {"nothing in this capture tells"}


def test_check_what_the_kernel_says_it_took(ask: Ask):
    """lscpu of a machine whose kernel has switched AVX off for GDS: that is the reason given."""
    capture = Path(__file__).parents[2] / "data" / "captures" / "gds-skylake-lscpu.txt"
    document = ask("check", "x86-64-v3", "--on", capture, "--json").document

    missing = {each["feature"]: each for each in document["profiles"][0]["missing"]}
    assert document["profiles"][0]["decided"]
    assert (missing["avx"]["state"], missing["avx"]["codes"]) == ("withheld", ["CP602"])
    assert "Gather Data Sampling" in missing["avx"]["why"]


def test_check_a_feature_that_no_finding_names(ask: Ask, tmp_path: Path):
    """PKU without CR4.PKE, as in a dump from Windows: the first witness that says no."""
    path = tmp_path / "keys.toml"
    path.write_text('[[profile]]\nname = "keys"\npurpose = "p"\nfeatures = ["pku"]\n')
    capture = Path(__file__).parents[2] / "data" / "captures" / "aida64-alder-lake-n.txt"

    (missing,) = ask("check", path, "--on", capture, "--json").document["profiles"][0]["missing"]
    assert (missing["state"], missing["codes"]) == ("withheld", [])
    assert missing["why"] == "the operating system has not enabled it"


def test_check_from_standard_input(tmp_path: Path):
    """`cpuprobe-native | cpuprobe profile check ... --on -`."""
    host = saved(tmp_path, observation(group(V3), listed=V3))
    done = cpuprobe(
        *("profile", "check", "x86-64-v3", "--on", "-"),
        stdin=host.read_bytes(),
        env={"XDG_CONFIG_HOME": str(tmp_path)},
    )

    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"standard input: x86-64-v3 is safe")


def test_check_this_machine(ask: Ask):
    """The exit code agrees with what is said of it."""
    said = ask("check", "x86-64-v1", "x86-64-v4", "--json")

    assert said.document["machine"] == "this machine"
    assert said.document["basis"] == "executed"
    assert said.document["profiles"][0]["meets"]
    assert said.code == int(not said.document["profiles"][1]["meets"])


def test_check_errors(ask: Ask, tmp_path: Path):
    """An unknown profile is usage, an unreadable capture or profile is input: 2, 4, 4."""
    host = saved(tmp_path, gds_machine())
    (tmp_path / "bad.toml").write_text("[[profile")

    for code, arguments in (
        (2, ("nobody", "--on", host)),
        (2, ()),
        (4, ("haswell", "--on", tmp_path / "absent.json")),
        (4, (tmp_path / "absent.toml", "--on", host)),
        (4, (tmp_path / "bad.toml", "--on", host)),
    ):
        said = ask("check", *arguments)
        assert (said.code, said.out, said.err.count("\n")) == (code, "", 1), arguments


# --- lint ---


def test_lint_of_a_good_file(ask: Ask, tmp_path: Path):
    """Exit code 0, and wasmtime's presets are none of its business."""
    path = tmp_path / "fleet.toml"
    path.write_text(OWN)

    said = ask("lint", path)
    assert said == (0, "1 profile: 0 errors, 0 warnings\n", "")
    assert ask("lint", path, "--json").document["presets"] is None


def test_lint_of_a_file_that_is_not_closed(ask: Ask, tmp_path: Path):
    """Exit code 1, with what is lacking."""
    path = tmp_path / "open.toml"
    path.write_text(OPEN)

    said = ask("lint", path)
    assert said.code == 1
    assert said.out.splitlines() == [
        "error: fleet has avx2 without avx",
        "1 profile: 1 error, 0 warnings",
    ]
    document = ask("lint", path, "--json").document
    assert document["ok"] is False
    assert document["problems"][0]["lacks"] == ["avx"]


def test_lint_of_a_contradiction(ask: Ask, tmp_path: Path):
    """Any other command refuses the file; lint says what is wrong with it."""
    path = tmp_path / "torn.toml"
    path.write_text(OWN.replace('["sse4.2"]', '["aes"]'))

    said = ask("lint", path)
    assert said.code == 1
    assert "error: fleet names aes and excludes it" in said.out
    assert ask("show", path).code == 4


def test_warnings_do_not_fail(ask: Ask, tmp_path: Path):
    """A second name for a set that has one is worth a word and no more."""
    path = tmp_path / "twin.toml"
    path.write_text('[[profile]]\nname = "twin"\npurpose = "p"\nextends = ["x86-64-v3"]\n')

    said = ask("lint", path)
    assert said.code == 0
    assert said.out.startswith("warning: twin is the same set as x86-64-v3\n")


def test_lint_of_everything(ask: Ask, own: Path, wasmtime: Installed):
    """Ours, the user's folder, and wasmtime's presets, which do not fail it."""
    wasmtime("50.0.1")
    said = ask("lint", "--json")

    assert said.code == 0
    assert said.document["profiles"] == len(load_profiles())
    assert said.document["problems"] == []
    found = {each["name"]: each for each in said.document["presets"]["incoherent"]}
    assert {"x86-64-v3", "alderlake"} <= set(found) and "haswell" not in found
    assert [each["text"] for each in found["x86-64-v3"]["problems"]] == [
        "has fma without avx",
        "has avx2 without avx",
    ]
    (own / "more.toml").write_text(OPEN.replace("fleet", "more"))
    assert ask("lint", "--no-presets").code == 1
    (own / "more.toml").write_text("[[profile")
    assert ask("lint", "--no-presets").code == 4


def test_lint_of_presets_decides_only_when_asked(ask: Ask, wasmtime: Installed):
    """--presets makes them count."""
    wasmtime("50.0.1")
    plain, asked = ask("lint"), ask("lint", "--presets")
    assert (plain.code, asked.code) == (0, 1)
    assert "not in the exit code" in plain.out and "not in the exit code" not in asked.out
    for line in asked.out.splitlines():
        assert len(line) <= 100
    assert "    has avx2 without avx\n" in asked.out
    assert ask("lint", "--no-presets", "--json").document["presets"] is None


@pytest.mark.parametrize(
    ("version", "words"),
    [(None, "wasmtime is not installed for this Python"), ("999.0", "is not in the table")],
)
def test_lint_without_presets(ask: Ask, wasmtime: Installed, version: str | None, words: str):
    """The rest is linted and the line says what was not; asked for, it cannot be measured."""
    wasmtime(version)
    said = ask("lint")
    assert said.code == 0
    assert "wasmtime's presets were not looked at: wasmtime " in said.out and words in said.out
    said = ask("lint", "--presets")
    assert (said.code, said.out) == (3, "")


def test_lint_with_proof(ask: Ask, wasmtime: Installed, monkeypatch: pytest.MonkeyPatch):
    """--prove compiles what this host takes, and says of the rest why not."""
    made = {
        name: Preset(name, "", flags)
        for name, flags in {
            "idle": {"has_avx": False, "has_fma": True},
            "used": {"has_avx": True},
            "other": {"has_avx2": True},
            "sound": {"has_sse3": True},
            "breaks": {"has_avx512f": True},
        }.items()
    }
    effects = {"idle": Effect(("has_fma",), (), ()), "used": Effect((), ("avx",), ("sse3",))}
    ends = {
        "breaks": "killed by SIGABRT",
        "other": 'so Caused by: "has_avx2" is not available',
    }

    def compile_it(preset: Preset) -> Effect:
        if preset.name in ends:
            raise ChildError("wasmtime failed", ends[preset.name], 4)
        return effects[preset.name]

    wasmtime("50.0.1")
    monkeypatch.setattr(facts_presets, "presets", lambda version: made)
    monkeypatch.setattr(preset_lint, "effect", compile_it)
    said = ask("lint", "--prove")

    assert said.code == 0
    assert "4 of its 5 presets" in said.out and "sound" not in said.out
    assert "compiled: the same code with has_fma off: no effect" in said.out
    assert "compiled: the code uses avx, while sse3 is off" in said.out
    assert 'not compiled: "has_avx2" is not available' in said.out
    assert "not compiled: killed by SIGABRT" in said.out
    assert ask("lint", "--prove", "--no-presets").code == 2


def test_lint_text_says_an_effect_once_for_presets_alike():
    """Presets with the same problems share their lines."""
    effect = Effect(idle=("has_fma",))
    presets = Presets(
        "50", 3, (Incoherent("a", (), effect), Incoherent("b", (), effect)), count=True
    )

    text = "\n".join(lint_lines(lints(0, (), presets)))
    assert "  a, b\n" in text
    assert text.count("no effect") == 1
    assert lints(0, (), presets).ok is False


# --- what all of them share ---


@pytest.mark.parametrize("name", ["list", "show", "check", "lint"])
def test_help_has_examples(name: str, ask: Ask):
    """Each command's --help shows how to call it."""
    said = ask(name, "--help")

    assert said.code == 0
    assert f"Examples: cpuprobe profile {name}" in " ".join(said.out.split())


def test_the_bare_command_lists_the_four(ask: Ask):
    """`cpuprobe profile` alone does nothing and says what there is; so does its help."""
    said = ask()

    assert (said.code, said.out) == (2, "")
    assert said.err.endswith("one of its commands: list, show, check, cost, lint\n")
    for name in ("list", "show", "check", "cost", "lint"):
        assert f"  {name} " in ask("--help").out


def test_nothing_private_is_printed(ask: Ask, own: Path):
    """No folder of the user shows, in no command."""
    for arguments in (("list",), ("show", "fleet"), ("show", own / "fleet.toml"), ("lint",)):
        for more in ((), ("--json",)):
            said = ask(*arguments, *more)
            assert str(own.parent) not in said.out + said.err, arguments


def test_output_is_bytes_that_any_terminal_takes(ask: Ask, own: Path):
    """Invisible and reordering characters of a user's file do not reach the terminal."""
    (own / "fleet.toml").write_text(OWN.replace("what all", "\u202ewhat all"), encoding="utf-8")

    for arguments in (("list",), ("show", "fleet")):
        assert "\u202e" not in ask(*arguments).out


def test_no_heavy_module_for_a_list():
    """Listing starts neither wasmtime nor Rich."""
    program = (
        "import sys; from cpuprobe.cli import run; run(['profile', 'list']); "
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    loaded = done.stderr.decode().split()

    assert "cpuprobe.report.profile_text" in loaded
    assert not {"wasmtime", "rich.console", "archspec", "iced_x86"} & set(loaded)
