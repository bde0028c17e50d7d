"""Made-up lscpu texts as a fleet of real machines gives them: a text of 0.7 KB each, from a seed.

Which CPUs there are, how often, and what of the feature table their kernel lists is that of
profiles/linux-machines-2022.tsv; brands, CPU lists, clock rates, caches, mitigations and the words
of the list that name no feature are a choice, varied as far as such texts vary (about one in eight
of 20,000 is of a kind of its own).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cpuprobe.facts.tables import tables_folder
from cpuprobe.fleet.reference import BUILT_IN

_COMMON = (
    "vme de pse tsc msr pae mce apic sep mtrr pge mca pat pse36 clflush acpi ht nx constant_tsc"
)
_MORE = (
    "nopl xtopology nonstop_tsc cpuid aperfmperf arch_perfmon pebs bts dtherm ida arat pln pts",
    "rep_good nopl cpuid extd_apicid cr8_legacy svm nrip_save tsc_scale flushbyasid umip",
    "arch_perfmon rep_good nopl tpr_shadow vnmi flexpriority ept vpid ibrs ibpb stibp ssbd",
)
_SIBLINGS = ((1, 1), (2, 1), (2, 2), (4, 1), (4, 2), (6, 2), (8, 2), (16, 2))
_VULNERABILITIES = (
    ("Meltdown", ("Mitigation; PTI", "Not affected", "Vulnerable")),
    ("Mds", ("Not affected", "Mitigation; Clear CPU buffers; SMT vulnerable")),
    ("Spectre v1", ("Mitigation; usercopy/swapgs barriers and __user pointer sanitization",)),
)


class Kind(NamedTuple):
    """A line of the table."""

    vendor: str
    family: str
    model: str
    bits32: bool
    guest: bool
    machines: int
    words: str


def kinds() -> list[Kind]:
    """The lines of the reference table."""
    found = []
    for line in (Path(tables_folder()) / BUILT_IN).read_text().splitlines():
        if not line.startswith("#"):
            vendor, family, model, isa, guest, machines, words = line.split("\t")
            found.append(
                Kind(vendor, family, model, isa != "x86_64", guest == "yes", int(machines), words)
            )
    return found


def texts(count: int, seed: int = 0) -> Iterator[tuple[Kind, str]]:
    """So many machines: their line of the table, and their text."""
    chance = random.Random(seed)
    known = kinds()
    for kind in chance.choices(known, [kind.machines for kind in known], k=count):
        yield kind, _text(kind, chance)


def _text(kind: Kind, chance: random.Random) -> str:
    cores, threads = chance.choice(_SIBLINGS)
    cpus = cores * threads
    words = f"{_COMMON} {chance.choice(_MORE)} {kind.words}".split()
    words += ["hypervisor"] if kind.guest else []
    brand = f"CPU {kind.family}-{kind.model} {chance.choice('ABCD')} @ {chance.choice('234')}.00GHz"
    fields = {
        "Architecture": "i686" if kind.bits32 else "x86_64",
        "CPU op-mode(s)": "32-bit, 64-bit" if "lm" in words else "32-bit",
        "Byte Order": "Little Endian",
        "CPU(s)": str(cpus),
        "On-line CPU(s) list": f"0-{cpus - 1}" if cpus > 1 else "0",
        "Thread(s) per core": str(threads),
        "Core(s) per socket": str(cores),
        "Socket(s)": "1",
        "Vendor ID": kind.vendor,
        "CPU family": kind.family,
        "Model": kind.model,
        "Model name": brand,
        "Stepping": str(chance.choice((3, 10))),
        "CPU MHz": f"{chance.uniform(800, 4000):.3f}",
        "L1d cache": "32K",
        **{
            f"Vulnerability {name}": chance.choice(values)
            for name, values in _VULNERABILITIES
            if chance.random() < 0.4
        },
        "Flags": " ".join(words),
    }
    return "".join(f"{key + ':':<21}{value}\n" for key, value in fields.items())
