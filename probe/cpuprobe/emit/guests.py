"""CPU models for virtual machines: QEMU's `-cpu`, libvirt's `<cpu>`, a custom model of Proxmox VE.

A guest with such a model has what is safe on every host that was asked and nothing beyond it, so it
can be moved between them. It is a list of what is on: what a future base model might add stays off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from cpuprobe.emit.choose import FlagSet
from cpuprobe.errors import UsageError
from cpuprobe.facts.names import names_of
from cpuprobe.facts.profiles import built_in_profiles


def _model(flags: FlagSet, dialect: str) -> tuple[list[str], list[str]]:
    """The features to switch on, by our names, and what to switch off of what the base has.

    Raises UsageError where no guest could be built: even the baseline is not known to be safe.
    """
    if flags.only_off:
        raise UsageError(
            f"--format {dialect} says what a guest has, not what to switch off: leave out "
            "--only-off"
        )
    if flags.level is None:
        raise UsageError(
            f"--format {dialect}: not all of x86-64-v1 is known to be safe, and every 64-bit guest "
            "needs it"
        )
    qemu = names_of("qemu")
    base = built_in_profiles()[qemu.profile].features
    on = [name for name in qemu.names if name in flags.safe]
    return on, [name for name in qemu.names if name in base and name not in flags.safe]


def _qemu(flags: FlagSet) -> str:
    """The option for `qemu-system-x86_64`; `enforce` lets it refuse a host that lacks something."""
    qemu = names_of("qemu")
    on, off = _model(flags, "qemu")
    words = [
        qemu.base,
        *(f"-{name}" for name in (*qemu.off, *(qemu.names[name] for name in off))),
        *(f"+{qemu.names[name]}" for name in on),
        "enforce",
    ]
    return f"-cpu {','.join(words)}\n"


def _libvirt(flags: FlagSet) -> str:
    """The `<cpu>` element of a domain.

    Source: libvirt, "Domain XML format", CPU model and topology.
    """
    qemu, own = names_of("qemu"), names_of("libvirt").names
    on, off = _model(flags, "libvirt")
    named: Mapping[str, str] = {**qemu.names, **own}
    lines = [
        *(f"  <feature policy='disable' name='{name}'/>" for name in qemu.off),
        *(f"  <feature policy='disable' name='{named[name]}'/>" for name in off),
        *(f"  <feature policy='require' name='{named[name]}'/>" for name in on),
    ]
    return "\n".join(
        [
            "<cpu mode='custom' match='exact' check='full'>",
            f"  <model fallback='forbid'>{qemu.base}</model>",
            *lines,
            "</cpu>\n",
        ]
    )


def _proxmox(flags: FlagSet) -> str:
    """A custom model for /etc/pve/virtual-guest/cpu-models.conf, used as `custom-cpuprobe`.

    Source: Proxmox VE, cpu-models.conf(5).
    """
    qemu = names_of("qemu")
    on, off = _model(flags, "proxmox")
    words = [
        *(f"-{name}" for name in (*qemu.off, *(qemu.names[name] for name in off))),
        *(f"+{qemu.names[name]}" for name in on),
    ]
    return f"cpu-model: cpuprobe\n    flags {';'.join(words)}\n    reported-model {qemu.base}\n"


GUESTS: MappingProxyType[str, Callable[[FlagSet], str]] = MappingProxyType(
    {"qemu": _qemu, "libvirt": _libvirt, "proxmox": _proxmox}
)


def recent(flags: FlagSet) -> tuple[str, ...]:
    """What has to be said beside a model: names that a QEMU still in use refuses."""
    qemu = names_of("qemu")
    names = [qemu.names[name] for name in qemu.recent if name in flags.safe]
    return (f"{qemu.old} does not know these: {', '.join(names)}",) if names else ()
