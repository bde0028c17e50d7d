"""What builds and virtual machines are told: each line read back as its reader would."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from tests.fakes import V1, V2, V3, V4, gds_machine, group, observation

from cpuprobe.assessment import assess
from cpuprobe.cli import run
from cpuprobe.emit import FORMATS, FlagSet, choose, choose_alone, notes
from cpuprobe.errors import UsageError
from cpuprobe.facts.features import load_features
from cpuprobe.facts.names import names_of
from cpuprobe.facts.profiles import find_profile
from cpuprobe.facts.wasmtime import lookup

yaml: Any = pytest.importorskip("yaml")  # with or without its stubs beside it

MODELS = ("qemu", "libvirt", "proxmox")
BUILDS = ("march", "gentoo", "pacman", "nfd-image", "guard")


def flags_of(*features: str) -> FlagSet:
    """The flags of a machine that has these and nothing else."""
    return choose([assess(observation(group(features, xcr0=0xE7), listed=features), "50")])


def of_profile(name: str) -> FlagSet:
    return choose_alone([find_profile(name)], lookup("50"))


def qemu_features(text: str) -> tuple[str, set[str], set[str]]:
    """The base model, what is on and what is off, of QEMU's option."""
    option, model = shlex.split(text)
    assert option == "-cpu"
    base, *words = model.split(",")
    assert words.pop() == "enforce"
    on = {word[1:] for word in words if word[0] == "+"}
    off = {word[1:] for word in words if word[0] == "-"}
    assert len(on) + len(off) == len(words)
    return base, on, off


def test_qemu_model_has_what_is_safe_and_not_the_base_models_rest():
    """A v1 machine loses what qemu64 would add; a v3 machine gets each feature by QEMU's name."""
    assert qemu_features(FORMATS["qemu"](flags_of(*V1)))[2] == {"svm", "pni", "cx16", "lahf-lm"}
    base, on, off = qemu_features(FORMATS["qemu"](flags_of(*V3)))

    assert (base, off) == ("qemu64", {"svm"})
    assert {"avx2", "abm", "bmi1", "pni", "lahf-lm", "movbe", "f16c", "xsave"} <= on
    assert not on & {"aes", "avx512f", "rdrand"}


def test_downfall_takes_avx_from_the_guests():
    """What CPUID claims and the kernel withholds is in no model."""
    flags = choose([assess(gds_machine(), "50")])

    for dialect in MODELS:
        assert not re.search(r"avx|fma|f16c", FORMATS[dialect](flags)), dialect


def test_several_hosts_share_their_intersection():
    """Two hosts: the model has what both have."""
    hosts = [
        assess(observation(group(each, xcr0=0xE7), listed=each), "50")
        for each in (V4, (*V3, "aes", "sha"))
    ]
    _, on, _ = qemu_features(FORMATS["qemu"](choose(hosts)))

    assert "avx2" in on and not on & {"avx512f", "aes", "sha-ni"}


def test_libvirt_and_proxmox_say_the_same_as_qemu():
    """One set in three spellings; libvirt's own two names are libvirt's."""
    flags = flags_of(*V3, "pclmul")
    _, on, off = qemu_features(FORMATS["qemu"](flags))
    element = ElementTree.fromstring(FORMATS["libvirt"](flags))
    said = {f.get("name"): f.get("policy") for f in element.iter("feature")}
    own = {"pclmulqdq": "pclmuldq", "lahf-lm": "lahf_lm"}

    assert element.get("mode") == "custom" and element.findtext("model") == "qemu64"
    assert {name for name, policy in said.items() if policy == "require"} == {
        own.get(name, name) for name in on
    }
    assert {name for name, policy in said.items() if policy == "disable"} == off
    section, *keys = FORMATS["proxmox"](flags).splitlines()
    fields = dict(key.strip().split(" ", 1) for key in keys)
    assert section == "cpu-model: cpuprobe" and fields["reported-model"] == "qemu64"
    assert set(fields["flags"].split(";")) == {f"+{n}" for n in on} | {f"-{n}" for n in off}


def test_recent_names_are_said():
    """A name that QEMU 7.2 refuses is told beside the model."""
    assert notes("qemu", of_profile("haswell")) == ()
    assert notes("qemu", flags_of(*V3, "avxifma")) == ("QEMU 7.2 does not know these: avx-ifma",)


@pytest.mark.parametrize("dialect", [*MODELS, *BUILDS])
def test_nothing_is_written_from_too_little(dialect):
    """Of a machine below the baseline no model or check is made; --only-off is refused."""
    little = flags_of("x87", "cx8")
    if dialect in (*MODELS, "guard"):
        with pytest.raises(UsageError, match="x86-64-v1"):
            FORMATS[dialect](little)
    with pytest.raises(UsageError, match="--only-off"):
        FORMATS[dialect](choose([assess(gds_machine(), "50")], only_off=True))


def test_guard_asks_for_each_bit_alone_and_for_its_state():
    """Leaf, subleaf, register, bit, one bit of it, set, and XCR0 (SDM vol. 2A, CPUID; APM vol. 3).

    tests/lab/test_preinit.py runs it.
    """
    rows = FORMATS["guard"](flags_of(*V4, "avxvnni"))

    for row in (
        '{0x7, 0, 1, 5, 1, 1, 0x6, "avx2"}',
        '{0x7, 0, 1, 16, 1, 1, 0xe6, "avx512f"}',
        '{0x7, 1, 0, 4, 1, 1, 0x6, "avxvnni"}',
        '{0x80000001, 0, 2, 5, 1, 1, 0x0, "lzcnt"}',
        '{0x1, 0, 2, 26, 1, 1, 0x3, "xsave"}',
    ):
        assert f"    {row},\n" in rows


def test_march_names_the_cpu_and_takes_away_what_is_not_safe():
    """A CPU by its name; under Downfall without its AVX; a level where no CPU comes near."""
    assert FORMATS["march"](of_profile("haswell")) == "-march=haswell\n"
    assert FORMATS["march"](of_profile("x86-64-v2")) == "-march=x86-64-v2\n"
    assert FORMATS["march"](of_profile("skylake-gds-force")) == (
        "-march=skylake -mno-avx -mno-f16c -mno-fma -mno-avx2\n"
    )
    assert FORMATS["march"](flags_of("x87")) == "-march=x86-64\n"


def test_march_says_what_an_older_compiler_takes():
    """znver4 is not in GCC 12: the note has the best name that is."""
    (note,) = notes("march", of_profile("znver4"))

    assert note.startswith("GCC 12 does not know znver4; for it: -march=icelake-server")


def test_gentoo_and_pacman():
    """Gentoo's own spellings, sorted; pacman's architectures up to the level."""
    (line,) = FORMATS["gentoo"](flags_of(*V3, "aes", "sha")).splitlines()

    assert shlex.split(line) == [
        "CPU_FLAGS_X86=aes avx avx2 bmi1 bmi2 f16c fma3 mmx mmxext popcnt sha sse sse2 sse3 "
        "sse4_1 sse4_2 ssse3"
    ]
    assert FORMATS["pacman"](flags_of(*V3)) == "Architecture = x86_64 x86_64_v2 x86_64_v3\n"
    assert FORMATS["pacman"](flags_of(*V1)) == "Architecture = x86_64\n"


def test_nfd_image_is_the_specification():
    """The YAML has NFD's shape and klauspost/cpuid's names, the baseline left out."""
    document = yaml.safe_load(FORMATS["nfd-image"](flags_of(*V2, "aes")))
    (entry,) = document["compatibilities"]
    (rule,) = entry["rules"]
    (match,) = rule["matchFeatures"]

    assert document["version"] == "v1alpha1" and match["feature"] == "cpu.cpuid"
    assert set(match["matchExpressions"]) == {
        "SSE3", "SSSE3", "SSE4", "SSE42", "POPCNT", "CX16", "LAHF", "AESNI",
    }  # fmt: skip
    assert set(map(str, match["matchExpressions"].values())) == {"{'op': 'Exists'}"}
    empty = yaml.safe_load(FORMATS["nfd-image"](flags_of(*V1)))
    assert empty["compatibilities"][0]["rules"] == []


def test_every_flag_feature_has_a_name_for_guests():
    """What Cranelift has a flag for can be given to a guest, APX aside, which QEMU 7.2 lacks."""
    lacking = {f.name for f in load_features().values() if f.cranelift} - set(
        names_of("qemu").names
    )

    assert lacking == {"apxf"}


def test_a_scan_tells_what_an_image_needs(capsys):
    """`check --format nfd-image`: what the files need beyond the target, and the verdict's code."""
    app = str(Path(__file__).parents[3] / "docs/examples/app")

    assert run(["check", app, "--against", "x86-64-v1", "--format", "nfd-image"]) == 1
    document = yaml.safe_load(capsys.readouterr().out)
    (rule,) = document["compatibilities"][0]["rules"]
    assert set(rule["matchFeatures"][0]["matchExpressions"]) == {"AVX", "FMA3"}
    assert run(["check", app, "--against", "x86-64-v3", "--format", "nfd-image"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["compatibilities"][0]["rules"] == []
