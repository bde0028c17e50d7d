"""Labels where fleets already keep them: Kubernetes nodes, Prometheus, Ansible, systemd, images.

The first three describe one machine (or what several have in common), so they need one that was
asked. `oci` describes what an image may need, and `systemd` writes the units that refresh the
first three. What each is for and where it goes is in docs/fleet.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import Any

import msgspec

from cpuprobe.emit.choose import FlagSet, refuse_only_off
from cpuprobe.errors import UsageError
from cpuprobe.facts.features import load_features, load_levels
from cpuprobe.facts.tables import load_table

# NFD's master takes any label below feature.node.kubernetes.io, whatever namespaces its settings
# deny (node-feature-discovery pkg/nfd-master, filterFeatureLabel).
NFD_NAMESPACE = "cpuprobe.feature.node.kubernetes.io"

# Annotation keys should be in reverse domain notation (OCI image-spec, annotations.md). .alt is the
# top-level domain for names outside DNS (RFC 9476): such a key can be nobody else's.
OCI_NAMESPACE = "alt.cpuprobe"

# A capture may bring flag names of its own; longer ones do not fit into the name of a label.
_FLAG = re.compile(r"has_[a-z0-9_]{0,58}[a-z0-9]")


def _number(level: str) -> int:
    """The number of a psABI level: 3 for x86-64-v3."""
    return int(level.rpartition("v")[2])


def _basis(flags: FlagSet) -> str:
    """What the labels rest on, in the words of a report."""
    return "executed" if flags.executed else "cpuid"


def _describes_machines(flags: FlagSet, dialect: str) -> None:
    """Refuse what would be a lie about a machine; raises UsageError."""
    refuse_only_off(flags, dialect)
    if not flags.machines:
        raise UsageError(
            f"--format {dialect} describes a machine and none was asked: leave out --alone"
        )


def _json(document: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


# --- Node Feature Discovery ---


def _label_value(text: str) -> str:
    """The text as the value of a label: what may not stand in one becomes a dash.

    Source: Kubernetes, "Labels and Selectors", "Syntax and character set".
    """
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text)[:63].strip("-_.")


def _nfd(flags: FlagSet) -> str:
    """A feature file of NFD's local source: `namespace/name=value`, a line each.

    What is not safe has no line: a node without a label is one that nothing may count on. The level
    stands twice, as a number for the operators Gt and Lt of a node affinity, and as one label for
    each level reached, for a nodeSelector.

    Source: node-feature-discovery, docs/usage/customization-guide.md, "Local feature source", and
    source/local/local.go: comments begin with #, directives with "# +", at most 64 KiB.
    """
    _describes_machines(flags, "nfd")
    table = load_features()
    labels = {"basis": _basis(flags), "wasmtime": _label_value(flags.wasmtime)}
    if flags.level is not None:
        reached = _number(flags.level)
        labels["level"] = str(reached)
        for level in load_levels():
            if _number(level.name) <= reached:
                labels[level.name] = "true"
    labels.update((name, "true") for name in table if name in flags.safe)
    labels.update(
        (flag, "true") for flag, value in flags.values.items() if value and _FLAG.fullmatch(flag)
    )
    lines = "".join(f"{NFD_NAMESPACE}/{name}={value}\n" for name, value in labels.items())
    return f"# Made by cpuprobe: the features and wasmtime flags that are safe here.\n{lines}"


# --- Prometheus ---


def _metric(name: str, about: str, samples: Iterable[tuple[dict[str, str], int]]) -> str:
    """One gauge in Prometheus's text format 0.0.4, with its HELP and TYPE lines."""

    def escaped(value: str) -> str:
        return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")

    lines = [f"# HELP {name} {about}", f"# TYPE {name} gauge"]
    for labels, value in samples:
        inner = ",".join(f'{key}="{escaped(text)}"' for key, text in labels.items())
        lines.append(f"{name}{{{inner}}} {value}" if inner else f"{name} {value}")
    return "".join(f"{line}\n" for line in lines)


def _prometheus(flags: FlagSet) -> str:
    """A file for node_exporter's textfile collector: gauges, no time stamps (it refuses them).

    Every feature and flag has a sample, 1 or 0, so that no series ends when a feature is lost.
    """
    _describes_machines(flags, "prometheus")
    level = 0 if flags.level is None else _number(flags.level)
    return "".join(
        (
            _metric(
                "cpuprobe_info",
                "What the other metrics rest on: instructions that were executed, or CPUID alone.",
                [({"basis": _basis(flags), "wasmtime": flags.wasmtime}, 1)],
            ),
            _metric(
                "cpuprobe_machines", "Machines that the labels hold for.", _one(flags.machines)
            ),
            _metric(
                "cpuprobe_level",
                "Highest x86-64 psABI level that is safe: 1 to 4, 0 below.",
                _one(level),
            ),
            _metric(
                "cpuprobe_feature_safe",
                "Whether the CPU feature may be used.",
                [({"feature": name}, int(value)) for name, value in flags.features.items()],
            ),
            _metric(
                "cpuprobe_feature_avoid",
                "Whether programs must be told to leave the feature alone: CPUID claims it and it "
                "is not safe, or it was given up.",
                [({"feature": name}, int(name in flags.disable)) for name in flags.features],
            ),
            _metric(
                "cpuprobe_flag_safe",
                "Whether the flag may be on in this version of wasmtime.",
                [
                    ({"flag": flag, "wasmtime": flags.wasmtime}, int(value))
                    for flag, value in flags.values.items()
                ],
            ),
        )
    )


def _one(value: int) -> list[tuple[dict[str, str], int]]:
    """A single sample without labels."""
    return [({}, value)]


# --- Ansible ---


def _identifier(name: str) -> str:
    """A feature's name as Jinja takes it after a dot: `sse4_1`, `_3dnow`."""
    word = re.sub(r"[^a-z0-9_]", "_", name)
    return f"_{word}" if word[0].isdecimal() else word


def _ansible(flags: FlagSet) -> str:
    """A facts file in JSON: `ansible_local.cpuprobe.features.avx2` if it is called cpuprobe.fact.

    Source: Ansible User Guide, "Discovering variables: facts and magic variables", facts.d.
    """
    _describes_machines(flags, "ansible")
    return _json(
        {
            "basis": _basis(flags),
            "machines": flags.machines,
            "level": 0 if flags.level is None else _number(flags.level),
            "features": {_identifier(name): value for name, value in flags.features.items()},
            "avoid": list(flags.disable),
            "wasmtime": flags.wasmtime,
            "flags": flags.values,
        }
    )


# --- OCI ---


def _oci(flags: FlagSet) -> str:
    """Annotations for an image that was built to use what is safe, as an object of strings.

    `platform` is the image's platform in the spelling of Docker, Podman and containerd; its variant
    is the psABI level, as for GOAMD64. `features` are those beyond the level. What is harmless on
    any CPU (hints) or of no use to a program (privileged) is no need.

    Source: OCI image-spec, annotations.md and image-index.md (`platform.variant`).
    """
    refuse_only_off(flags, "oci", "says what an image may need")
    table = load_features()
    annotations: dict[str, str] = {}
    within: set[str] = set()
    if flags.level is not None:
        number = _number(flags.level)
        variant = f"/v{number}" if number > 1 else ""
        annotations["platform"] = f"linux/amd64{variant}"
        annotations["level"] = flags.level
        within = {f for level in load_levels() if level.name == flags.level for f in level.features}
    annotations["features"] = ",".join(
        name
        for name, row in table.items()
        if name in flags.safe and name not in within and not row.harmless
    )
    annotations["wasmtime"] = flags.wasmtime
    annotations["wasmtime.flags"] = ",".join(f for f, value in flags.values.items() if value)
    return _json({f"{OCI_NAMESPACE}.{key}": value for key, value in annotations.items()})


# --- systemd ---


def _systemd(flags: FlagSet) -> str:
    """The service and the timer, each below a comment that names its file.

    They measure anew whenever they run, so nothing of `flags` is in them; options that would be
    lost without a word are refused.
    """
    if flags.only_off or flags.profiles or flags.without or flags.machines != 1:
        raise UsageError(
            "--format systemd writes units that measure anew: give it no options, they go into "
            "OPTIONS= of the service"
        )
    units: str = load_table("labels")["systemd"]
    return units


LABELS: MappingProxyType[str, Callable[[FlagSet], str]] = MappingProxyType(
    {
        "nfd": _nfd,
        "prometheus": _prometheus,
        "ansible": _ansible,
        "systemd": _systemd,
        "oci": _oci,
    }
)
