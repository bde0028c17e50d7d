"""What differs between the instruction sets the lab emulates, a record each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Architecture:
    """An instruction set as Debian, GCC, Linux and QEMU call and make it.

    Attributes:
        isa: cpuprobe's name of it.
        machine_name: that of `uname -m`, by which wheels are named.
        debian: Debian's.
        user: the user-mode emulator of this machine and its Debian package.
        system: the emulator of a whole machine and its Debian package.
        compiler: GCC and its Debian package.
        flags: options that keep GCC to what every CPU has: a guest program has to start in a world
            that lies.
        machine: QEMU's options for the board.
        boot: kernel parameters: the port its messages go to, and what it needs under QEMU.
        channel: QEMU's options that make its character device `channel` the port init.c names.
    """

    isa: str
    machine_name: str
    debian: str
    user: tuple[str, str]
    system: tuple[str, str]
    compiler: tuple[str, str]
    flags: tuple[str, ...]
    machine: tuple[str, ...]
    boot: str
    channel: tuple[str, ...]


# No vector code but SSE2.
X86_64 = Architecture(
    isa="x86-64",
    machine_name="x86_64",
    debian="amd64",
    user=("qemu-x86_64", "qemu-user"),
    system=("qemu-system-x86_64", "qemu-system-x86"),
    compiler=("gcc", "gcc"),
    flags=("-march=x86-64", "-fcf-protection=none"),
    machine=(),
    # On a busy host the test of the IO-APIC's timer fails, and the kernel panics.
    boot="console=ttyS0 no_timer_check",
    channel=("-serial", "chardev:channel"),
)

# Outline atomics ask AT_HWCAP for LSE. The board `virt` has one PL011; Debian's kernels have the
# 8250 of a PCI card built in.
AARCH64 = Architecture(
    isa="aarch64",
    machine_name="aarch64",
    debian="arm64",
    user=("qemu-aarch64", "qemu-user"),
    system=("qemu-system-aarch64", "qemu-system-arm"),
    compiler=("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
    flags=("-march=armv8-a", "-mgeneral-regs-only", "-mno-outline-atomics"),
    machine=("-machine", "virt"),
    boot="console=ttyAMA0",
    channel=("-device", "pci-serial,chardev=channel"),
)
