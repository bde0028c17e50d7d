"""The core's verdict on a machine that was built in Python: bridge.c, compiled and asked."""

from __future__ import annotations

import subprocess
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cffi

from cpuprobe.assessment.kernel import GVISOR_VERSION
from cpuprobe.evidence.observation import (
    Candidate,
    CpuGroup,
    Observation,
    Outcome,
)
from cpuprobe.facts.gds import GDS_DISABLED, GDS_FILE
from tests.golden.regenerate import claims
from tests.native.conftest import CORE_SOURCES, HERE, ISA

_CDEF = """
struct bridge_cpu {
    uint32_t cpu, group;
    uint32_t leaf_count;
    const uint32_t *leaves;
    int xcr0_known;
    uint64_t xcr0;
    const uint8_t *outcomes, *before;
};
struct bridge_block {
    uint32_t cpu_count;
    const uint32_t *cpus;
    const char *flags;
    const char *value[4];
};
struct bridge_machine {
    int execute, hwcap2_known;
    uint64_t hwcap2;
    uint32_t candidate_count, set_count;
    const uint8_t *sets_of_candidates;
    const uint64_t *sets;
    uint32_t cpu_count, block_count;
    const struct bridge_cpu *cpus;
    const struct bridge_block *blocks;
    const char *release;
    int covered, gvisor, gds_file, avx_disabled;
};
struct bridge_verdict;
struct bridge_verdict *bridge_judge(const struct bridge_machine *machine);
const char *bridge_level(const struct bridge_verdict *judged, int which);
int bridge_judgement(const struct bridge_verdict *judged);
const char *bridge_state(const struct bridge_verdict *judged, unsigned int feature,
                         const char **name, int *safe);
char *bridge_flags(const struct bridge_verdict *judged, uint32_t major, int format);
void bridge_free(void *what);
"""
_VALUES = ("vendor_id", "cpu family", "model", "stepping")
FORMATS = ("text", "json", "cli", "clif")
_NUMBERS = {name: number for number, name in enumerate(typing.get_args(Outcome), 1)}
_PLACES = {name: place for place, (name, _) in enumerate(claims())}


class NativeVerdict(NamedTuple):
    """What the core says of a machine.

    Attributes:
        judgement: the verdict as a word.
        states: the state of every feature.
        safe: those that may be used.
        levels: the level, the lowest and the highest that it can have.
        flags: dialect and major version of wasmtime to the text.
    """

    judgement: str
    states: dict[str, str]
    safe: frozenset[str]
    levels: tuple[str | None, str | None, str | None]
    flags: dict[tuple[str, int], str | None]


class Bridge:
    """The core as a library of its own."""

    def __init__(self, folder: Path) -> None:
        """Compiles it into an empty folder, with every undefined behaviour an abort."""
        library = folder / "bridge.so"
        command = ["gcc", "-std=gnu11", "-O1", "-g", "-fPIC", "-shared", "-Wall", "-Wextra"]
        command += ["-Werror", "-DCPUPROBE_HOSTED", "-fsanitize=undefined"]
        command += ["-fno-sanitize-recover=all", "-fvisibility=hidden", "-o", str(library)]
        command += [f"-I{ISA}", str(HERE / "bridge.c"), *map(str, CORE_SOURCES)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        self._ffi = cffi.FFI()
        self._ffi.cdef(_CDEF)
        self._core: Any = self._ffi.dlopen(str(library))

    def judge(self, observation: Observation, versions: Mapping[str, int]) -> NativeVerdict:
        """The core's verdict.

        Args:
            observation: of a probe; what only texts tell is left out.
            versions: dialect to the major version of wasmtime that it is asked for.
        """
        keep: list[Any] = []
        machine = self._machine(observation, keep)
        judged = self._core.bridge_judge(machine)
        try:
            return self._verdict(judged, versions)
        finally:
            self._core.bridge_free(judged)

    def _verdict(self, judged: Any, versions: Mapping[str, int]) -> NativeVerdict:
        ffi, core = self._ffi, self._core
        states, safe = {}, set()
        name, good = ffi.new("const char **"), ffi.new("int *")
        place = 0
        while state := core.bridge_state(judged, place, name, good):
            feature = ffi.string(name[0]).decode()
            states[feature] = ffi.string(state).decode()
            if good[0]:
                safe.add(feature)
            place += 1
        levels = [core.bridge_level(judged, which) for which in range(3)]
        flags: dict[tuple[str, int], str | None] = {}
        for dialect, major in versions.items():
            text = core.bridge_flags(judged, major, FORMATS.index(dialect))
            flags[dialect, major] = ffi.string(text).decode() if text else None
            core.bridge_free(text)
        level, least, most = (ffi.string(each).decode() if each else None for each in levels)
        judgement = ("consistent", "mismatch", "insufficient")[core.bridge_judgement(judged)]
        return NativeVerdict(judgement, states, frozenset(safe), (level, least, most), flags)

    def _machine(self, observation: Observation, keep: list[Any]) -> Any:
        def array(kind: str, values: Any) -> Any:
            keep.append(self._ffi.new(f"{kind}[]", values))
            return keep[-1]

        sets = list(dict.fromkeys(each.features for each in observation.candidates))
        words: list[int] = []
        for names in sets:
            value = sum(1 << _PLACES[name] for name in names)
            words += [value & (1 << 64) - 1, value >> 64]
        ordered = sorted(
            (cpu, group)
            for group in range(len(observation.groups))
            for cpu in observation.groups[group].cpus
        )
        first: dict[int, int] = {}
        cpus = []
        for place, (cpu, number) in enumerate(ordered):
            group = observation.groups[number]
            leaves = [
                n
                for leaf in sorted(group.cpuid, key=lambda leaf: (leaf.leaf, leaf.subleaf))
                for n in _numbers(leaf)
            ]
            ran, before = _outcomes(observation.candidates, group)
            cpus.append(
                {
                    "cpu": cpu,
                    "group": first.setdefault(number, place),
                    "leaf_count": len(leaves) // 6,
                    "leaves": array("uint32_t", leaves),
                    "xcr0_known": group.xcr0 is not None,
                    "xcr0": group.xcr0 or 0,
                    "outcomes": array("uint8_t", ran),
                    "before": array("uint8_t", before),
                }
            )
        blocks = []
        for block in observation.cpuinfo or ():
            fields = {
                key: array("char", value.encode("latin-1")) for key, value in block.fields.items()
            }
            null = self._ffi.NULL
            blocks.append(
                {
                    "cpu_count": len(block.cpus),
                    "cpus": array("uint32_t", list(block.cpus)),
                    "flags": fields.get("flags", null),
                    "value": [fields.get(key, null) for key in _VALUES],
                }
            )
        release, gds = observation.kernel.release, observation.vulnerabilities.get(GDS_FILE)
        keep.append(
            self._ffi.new(
                "struct bridge_machine *",
                {
                    "execute": observation.executed,
                    "hwcap2_known": observation.hwcap2 is not None,
                    "hwcap2": observation.hwcap2 or 0,
                    "candidate_count": len(observation.candidates),
                    "set_count": len(sets),
                    "sets_of_candidates": array(
                        "uint8_t", [sets.index(each.features) for each in observation.candidates]
                    ),
                    "sets": array("uint64_t", words),
                    "cpu_count": len(cpus),
                    "block_count": len(blocks),
                    "cpus": array("struct bridge_cpu", cpus),
                    "blocks": array("struct bridge_block", blocks),
                    "release": self._ffi.NULL
                    if release is None
                    else array("char", release.encode()),
                    "covered": observation.cpuinfo_mount is not None,
                    "gvisor": observation.kernel.version == GVISOR_VERSION,
                    "gds_file": gds is not None,
                    "avx_disabled": GDS_DISABLED in (gds or ""),
                },
            )
        )
        return keep[-1]


def _numbers(leaf: Any) -> tuple[int, ...]:
    return leaf.leaf, leaf.subleaf, leaf.eax, leaf.ebx, leaf.ecx, leaf.edx


def _outcomes(candidates: tuple[Candidate, ...], group: CpuGroup) -> tuple[list[int], list[int]]:
    again = group.ran_before_permission
    return (
        [_NUMBERS[outcome] for outcome in group.ran] or [0] * len(candidates),
        [_NUMBERS[again[each.name]] if each.name in again else 0 for each in candidates],
    )
