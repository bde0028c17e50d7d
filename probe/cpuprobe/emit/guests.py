"""CPU models for virtual machines: QEMU's `-cpu`, libvirt's `<cpu>`, a custom model of Proxmox VE.

A guest with such a model has what is safe on every host that was asked and nothing beyond it, so it
can be moved between them. It is a list of what is on: what a future base model might add stays off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from cpuprobe.emit.choose import FlagSet, refuse_only_off
from cpuprobe.errors import UsageError
from cpuprobe.facts.names import names_of
from cpuprobe.facts.profiles import built_in_profiles


def _model(
    flags: FlagSet, dialect: str, own: Mapping[str, str] = MappingProxyType({})
) -> list[tuple[str, str]]:
    """Names in their order, each behind what becomes of it: `-` of what the base has, `+`.

    Args:
        flags: what may be used.
        dialect: for complaints.
        own: names that are not QEMU's.

    Raises UsageError where no guest could be built: even the baseline is not known to be safe.
    """
    refuse_only_off(flags, dialect, "says what a guest has")
    if flags.level is None:
        raise UsageError(
            f"--format {dialect}: not all of x86-64-v1 is known to be safe, and every 64-bit guest "
            "needs it"
        )
    qemu = names_of("qemu")
    names = {**qemu.names, **own}
    base = built_in_profiles()[qemu.profile].features
    off = [names[name] for name in qemu.names if name in base and name not in flags.safe]
    on = [names[name] for name in qemu.names if name in flags.safe]
    return [*(("-", name) for name in (*qemu.off, *off)), *(("+", name) for name in on)]


def _qemu(flags: FlagSet) -> str:
    """The option for `qemu-system-x86_64`; `enforce` lets it refuse a host that lacks something."""
    words = (sign + name for sign, name in _model(flags, "qemu"))
    return f"-cpu {','.join((names_of('qemu').base, *words, 'enforce'))}\n"


def _libvirt(flags: FlagSet) -> str:
    """The `<cpu>` element of a domain.

    Source: libvirt, "Domain XML format", CPU model and topology.
    """
    policies = {"-": "disable", "+": "require"}
    lines = (
        f"  <feature policy='{policies[sign]}' name='{name}'/>\n"
        for sign, name in _model(flags, "libvirt", names_of("libvirt").names)
    )
    return (
        "<cpu mode='custom' match='exact' check='full'>\n"
        f"  <model fallback='forbid'>{names_of('qemu').base}</model>\n"
        f"{''.join(lines)}</cpu>\n"
    )


def _proxmox(flags: FlagSet) -> str:
    """A custom model for /etc/pve/virtual-guest/cpu-models.conf, used as `custom-cpuprobe`.

    Source: Proxmox VE, cpu-models.conf(5).
    """
    words = ";".join(sign + name for sign, name in _model(flags, "proxmox"))
    return f"cpu-model: cpuprobe\n    flags {words}\n    reported-model {names_of('qemu').base}\n"


GUESTS: MappingProxyType[str, Callable[[FlagSet], str]] = MappingProxyType(
    {"qemu": _qemu, "libvirt": _libvirt, "proxmox": _proxmox}
)


def recent(flags: FlagSet) -> tuple[str, ...]:
    """What has to be said beside a model: names that a QEMU still in use refuses."""
    qemu = names_of("qemu")
    names = [qemu.names[name] for name in qemu.recent if name in flags.safe]
    return (f"{qemu.old} does not know these: {', '.join(names)}",) if names else ()
