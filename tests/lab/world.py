"""A world: a machine to run a program on, and what it has to show; and the CPUs of the worlds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tests.lab.architecture import X86_64, Architecture
from tests.lab.expect import Expect


@dataclass(frozen=True)
class World:
    """A CPU, perhaps a kernel, a program in it, and what that has to say.

    Attributes:
        name: its name on the command line and in test ids.
        kind: "kernel" boots a Debian kernel, "user" runs under the user-mode emulator.
        cpu: value of QEMU's -cpu.
        shows: the expectation in a few words, for the table.
        expect: path to value (see `tests.lab.expect`), or a function of what was seen.
        program: a name of `tests.lab.programs.PROGRAMS`.
        args: arguments of the program.
        append: kernel parameters.
        smp: QEMU's -smp.
        series: kernel series, a key of `tests.lab.packages.SERIES`.
        env: environment of the program.
        files: user worlds only: files it finds in place of this machine's.
        cpuset: kernel worlds only: CPUs of the cgroup it runs in.
        architecture: the instruction set.
        options: kernel worlds only: further options of QEMU.
        lost: kernel worlds only: what CPUs lose after the boot, see `tests.lab.machine.Program`.
        timeout: seconds the program may take.
    """

    name: str
    kind: Literal["user", "kernel"]
    cpu: str
    shows: str
    expect: Expect
    program: str = "probe"
    args: tuple[str, ...] = ()
    append: str = ""
    smp: str = "1"
    series: str = "6.1"
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    cpuset: str | None = None
    architecture: Architecture = X86_64
    options: tuple[str, ...] = ()
    lost: tuple[tuple[int, str], ...] = ()
    timeout: int = 60

    @property
    def machine(self) -> tuple[object, ...]:
        """All that makes the machine: worlds with the same can be shown by one."""
        return (self.kind, self.cpu, self.append, self.series, self.smp, self.cpuset,
                self.architecture, self.options, self.lost)  # fmt: skip

    @property
    def facts(self) -> str:
        """How much is checked."""
        return "by function" if callable(self.expect) else f"{len(self.expect)} facts"


# No hypervisor bit: with it the kernel leaves AVX alone and says "Dependent on hypervisor status".
SKYLAKE = "Skylake-Client,-hypervisor"
FORCE = "gather_data_sampling=force"

# The features taken away after x-force-features are those TCG cannot do and the kernel would use on
# its way up.
_BOOTABLE_LIAR = "x-force-features=on,-hypervisor,-x2apic,-tsc-deadline,-pcid,-invpcid"
LIAR = f"Haswell-noTSX,{_BOOTABLE_LIAR},+avx512f,+avx512dq"
VNNI_CLAIM = f"Haswell-noTSX,{_BOOTABLE_LIAR},+avx-vnni"

# QEMU 7.2 has no Gracemont. Model BEH is Alder Lake-N (arch/x86/include/asm/intel-family.h,
# INTEL_ATOM_GRACEMONT).
GRACEMONT = "Haswell-noTSX,family=6,model=190,stepping=0,-hypervisor"

# QEMU's own Icelake-Server says model 86H, which is Tremont's and not on the kernel's GDS list; 6AH
# is Icelake-X.
ICELAKE = "Icelake-Server,model=106,-hypervisor"

# Claims AVX-512 and cannot run it. With +avx512vl a kernel dies in its own BLAKE2s, so this one is
# for user worlds.
USER_LIAR = "Haswell,x-force-features=on,+avx512f,+avx512vl,+avx512dq"
