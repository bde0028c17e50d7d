"""The core's verdict is Python's, state by state and flag by flag, on whatever machine."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpuprobe.assessment import assess
from cpuprobe.assessment.kernel import GVISOR_VERSION
from cpuprobe.assessment.machine import Machine
from cpuprobe.emit import FORMATS as PYTHON_FORMATS
from cpuprobe.emit.choose import choose
from cpuprobe.evidence.observation import (
    CpuGroup,
    Cpuinfo,
    Document,
    Kernel,
    Observation,
    Outcome,
)
from cpuprobe.facts.features import load_features
from cpuprobe.facts.wasmtime import known_versions
from tests import fakes
from tests.native.bridge import FORMATS, Bridge
from tests.required import required

TABLE = load_features()
NAMES = tuple(TABLE)
EXAMPLES = 150
REPORTS = Path(__file__).parents[1] / "data" / "reports"
OUTCOMES: tuple[Outcome, ...] = (
    "ok", "sigill", "sigsegv", "sigbus", "sigfpe", "sigtrap", "wrong", "timeout", "killed",
    "skipped",
)  # fmt: skip

# Features that candidates of the real table need together.
TOGETHER = (
    ("avx512f", "avx512vl"),
    ("gfni", "avx"),
    ("gfni", "avx512f"),
    ("avx512vbmi", "avx512vl"),
    ("vaes", "avx512f", "avx512vl"),
    ("aes", "avx"),
)
# Leaves that a record may lack.
MISSING = {
    "all": frozenset({0, 1, 7, 0xD, 0x14, 0x24, 0x40000000, 0x80000000, 0x80000001}),
    "leaf 7": frozenset({7}),
    "what is announced": frozenset({0xD, 0x14, 0x24}),
    "the maximum": frozenset({0, 0x80000000}),
    "the extended range": frozenset({0x80000000, 0x80000001}),
}
EXTRA = tuple((f"both {' '.join(each)}", each) for each in TOGETHER)
feature_sets = st.frozensets(st.sampled_from(NAMES))


@pytest.fixture(scope="session")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Bridge:
    """The core, compiled once."""
    required("gcc")
    return Bridge(tmp_path_factory.mktemp("bridge"))


@st.composite
def groups(draw: st.DrawFn, cpus: tuple[int, ...]) -> CpuGroup:
    """CPUs with any claims, any state and any outcomes; many of them mostly coherent."""
    claimed = draw(feature_sets)
    if draw(st.booleans()):
        claimed = claimed.union(*(TABLE.closure(name) for name in claimed))
    if draw(st.booleans()):
        claimed |= frozenset(fakes.V3)
    chosen = st.dictionaries(
        st.sampled_from([*NAMES, *(name for name, _ in EXTRA)]), st.sampled_from(OUTCOMES)
    )
    before = draw(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(OUTCOMES)))
    group = fakes.group(
        claimed,
        cpus=cpus,
        xcr0=draw(st.sampled_from([None, 0x1, 0x3, 0x7, 0xE7, 0x602E7, 0xE02E7])),
        osxsave=draw(st.booleans()),
        outcomes=draw(chosen),
        extra=EXTRA,
        before={f"probe {name}": outcome for name, outcome in before.items()},
        vendor=draw(st.sampled_from([fakes.INTEL, fakes.INTEL, fakes.AMD])),
        signature=draw(
            st.sampled_from([fakes.SKYLAKE, fakes.HASWELL, fakes.ALDER_LAKE_N, fakes.ZEN4])
        ),
        hypervisor=draw(st.sampled_from([None, "KVMKVMKVM"])),
    )
    missing = draw(st.sampled_from(["nothing"] * 4 + list(MISSING)))
    cpuid = [leaf for leaf in group.cpuid if leaf.leaf not in MISSING.get(missing, ())]
    if draw(st.integers(0, 9)) == 0:
        cpuid = [
            msgspec.structs.replace(leaf, eax=draw(st.sampled_from([0, 1, 0x0D, 0xFFFFFFFF])))
            if leaf.leaf in (0, 7, 0x80000000) and leaf.subleaf == 0
            else leaf
            for leaf in cpuid
        ]
    return msgspec.structs.replace(group, cpuid=tuple(cpuid))


@st.composite
def blocks(draw: st.DrawFn, cpus: tuple[int, ...]) -> Cpuinfo:
    """A block of /proc/cpuinfo with any list, of this CPU or another."""
    listed = draw(feature_sets)
    if draw(st.booleans()):
        listed |= frozenset(fakes.V3)
    block = fakes.cpuinfo(listed, cpus=cpus)
    fields = dict(block.fields)
    for key, values in (
        ("flags", [fields.get("flags", ""), fields.get("flags", "") + " lm hypervisor\u0085xsave"]),
        ("vendor_id", [None, fakes.INTEL, fakes.AMD]),
        ("cpu family", [None, "6", "25"]),
        ("model", [None, "94", "60", "060"]),
        ("stepping", [None, "3", "unknown"]),
    ):
        value = draw(st.sampled_from([fields.get(key), *values]))
        fields.pop(key, None)
        if value is not None:
            fields[key] = value
    return Cpuinfo(cpus, fields)


@st.composite
def observations(draw: st.DrawFn) -> Observation:
    """Machines with up to three kinds of CPU and any kernel's word."""
    several = [draw(groups((0, 1)))]
    if draw(st.booleans()):
        several.append(draw(groups((2, 5))))
    told = draw(
        st.sampled_from(
            [(), ((0, 1, 2, 5),), ((0, 2), (1, 5)), ((0,),), ((1,), (2,)), ((0, 1), (1, 2))]
        )
    )
    machine = fakes.observation(
        tuple(several),
        extra=EXTRA,
        blocks=tuple(draw(blocks(cpus)) for cpus in told) if told else None,
        release=draw(st.sampled_from([None, "4.4.0", "6.1.0-49-amd64", "6.18.2", "2.6.32", "x"])),
        gds=draw(st.sampled_from([None, "Not affected", fakes.GDS_DISABLED, "Vulnerable"])),
    )
    if draw(st.integers(0, 2)) == 0:
        bare = [msgspec.structs.replace(g, ran=(), ran_before_permission={}) for g in several]
        machine = msgspec.structs.replace(
            machine, executed=False, candidates=(), groups=tuple(bare)
        )
    return msgspec.structs.replace(
        machine,
        hwcap2=draw(st.sampled_from([None, 0, 2, 3])),
        cpuinfo_mount=draw(st.sampled_from([None, None, None, "fuse.lxcfs"])),
        kernel=Kernel(
            machine.kernel.release,
            draw(st.sampled_from([None, "#1 SMP Debian", GVISOR_VERSION])),
        ),
    )


def compare(bridge: Bridge, machine: Observation, majors: dict[str, int]) -> None:
    """Both verdicts, each dialect for a version of its own."""
    native = bridge.judge(machine, majors)
    judged = {major: assess(machine, str(major)) for major in {*majors.values(), 50}}
    one = judged[50]

    assert native.states == {name: feature.state for name, feature in one.features.items()}
    assert native.safe == {name for name, feature in one.features.items() if feature.safe}
    # A list of unknown age settles a level where nothing was executed: of texts, which the core,
    # which knows its kernel, is never told.
    is_text = not machine.executed and Machine(machine).kernel.of_unknown_age
    assert is_text or native.judgement == one.verdict
    assert native.levels == (one.level, one.level_at_least, one.level_at_most)
    for (dialect, major), text in native.flags.items():
        wanted = PYTHON_FORMATS[dialect](choose([judged[major]]))
        if dialect == "json":
            assert list(json.loads(text or "").items()) == list(json.loads(wanted).items())
        else:
            assert text == wanted


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(observations(), st.data())
def test_built_machines(bridge: Bridge, machine: Observation, data: st.DataObject) -> None:
    """Whatever a machine claims, enables, lists and executes, both come to the same verdict."""
    majors = st.sampled_from(sorted(known_versions()))

    compare(bridge, machine, {dialect: data.draw(majors) for dialect in FORMATS})


@pytest.mark.parametrize("path", sorted(REPORTS.glob("*.json")), ids=lambda path: path.stem)
def test_recorded_machines(bridge: Bridge, path: Path) -> None:
    """Every report in the tree, whose candidates were executed, gives the same verdict in both."""
    machine = msgspec.json.decode(path.read_bytes(), type=Document).observation
    table = load_features()
    known = [set(each.features) <= table.keys() for each in machine.candidates]

    assert machine.executed and all(known)
    compare(bridge, machine, dict.fromkeys(FORMATS, 50))


@pytest.mark.parametrize("xsave", [False, True])
def test_a_leaf_that_is_not_announced(bridge: Bridge, xsave: bool) -> None:
    """Without XSAVE's bit leaf 0DH is not read, and what it enumerates is not there."""
    group = fakes.group([*fakes.V2, *(["xsave"] if xsave else [])], executed=False, osxsave=False)
    cpuid = tuple(leaf for leaf in group.cpuid if leaf.leaf != 0xD)
    machine = fakes.observation(msgspec.structs.replace(group, cpuid=cpuid))

    compare(bridge, machine, {"text": 50})
    assert assess(machine).features["xsaveopt"].cpuid is (None if xsave else False)
