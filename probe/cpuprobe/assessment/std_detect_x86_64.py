"""A model of Rust's std_detect, the detector that wasmtime infers and checks its flags with.

wasmtime infers from CPUID and XCR0 alone, and checks each enabled flag when an engine is made. The
model answers without starting one; tests hold it against the real one.
"""

from __future__ import annotations

from cpuprobe.assessment.ground import Ground
from cpuprobe.assessment.witnesses import GroupEvidence
from cpuprobe.assessment.x86_64 import X86Evidence
from cpuprobe.facts.features import load_features

_YMM_STATE = 0x6
_ZMM_STATE = 0xE0


def std_detect(group: GroupEvidence, ground: Ground) -> frozenset[str]:
    """The features that Rust's std_detect would report on these CPUs, by canonical name.

    Source: rust-lang/rust 06b69b5, library/std_detect/src/detect/os/x86.rs. Where its rules differ
    from the manuals' stands in profiles/quirks.toml: `std_detect` and the `detector` rows.

    A capture may have neither CPUID nor XCR0. The kernel's list then stands in for CPUID, and state
    counts as enabled where nothing says that it is off.
    """
    assert isinstance(group, X86Evidence)
    measured, table = ground.observation.executed, load_features()
    claimed = {
        name
        for name, evidence in group.features.items()
        if (evidence.cpuid if measured else evidence.claimed) is True
    }
    xcr0 = group.measured.xcr0 or 0
    if measured:
        saved = "xsave" in claimed and group.osxsave is True
    else:
        saved = group.features["xsave"].claimed is not False and group.osxsave is not False
    ymm = saved and xcr0 & _YMM_STATE == _YMM_STATE
    zmm = ymm and xcr0 & _ZMM_STATE == _ZMM_STATE
    if group.measured.xcr0 is None and not measured:
        ymm = saved and group.features["avx"].os is not False
        zmm = ymm and group.features["avx512f"].os is not False
    rules = ground.quirks["std_detect"]
    zmm = zmm and claimed.issuperset(rules["evex_asks"])
    detected = set()
    for name in claimed:
        encoding = table[name].encoding
        if (
            encoding in ("legacy", "vex-gpr")
            or name in rules["ungated"]
            or (encoding == "vex" and ymm)
            or (encoding == "evex" and zmm)
        ):
            detected.add(name)
        elif encoding in ("amx", "apx") and saved:
            mask = table[name].xcr0
            if xcr0 & mask == mask:
                detected.add(name)
    for row in ground.quirks["detector"]:
        if ground.vendor in row["vendors"] and row["without"] not in detected:
            detected.difference_update(row["hides"])
    return frozenset(detected)
