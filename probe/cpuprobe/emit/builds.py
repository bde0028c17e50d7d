"""What builds for the safe set are told or labelled with: -march, Gentoo, pacman, NFD images."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from types import MappingProxyType

from cpuprobe.emit.choose import FlagSet, refuse_only_off
from cpuprobe.facts.features import load_features, load_levels
from cpuprobe.facts.names import names_of
from cpuprobe.facts.profiles import built_in_profiles


def _gentoo(flags: FlagSet) -> str:
    """The line of make.conf, as app-portage/cpuid2cpuflags prints it of what CPUID claims."""
    refuse_only_off(flags, "gentoo")
    names = names_of("gentoo").names
    words = sorted(word for name in names if name in flags.safe for word in names[name].split())
    return f'CPU_FLAGS_X86="{" ".join(words)}"\n'


def _march(flags: FlagSet) -> str:
    """What to write in place of -march=native: a named CPU, without what of it is not safe.

    It can be recorded, and it means the same on the next build host.
    """
    refuse_only_off(flags, "march")
    return f"{' '.join(_nearest_cpu(flags))}\n"


def _nearest_cpu(flags: FlagSet, avoid: Collection[str] = ()) -> tuple[str, ...]:
    """The -march that comes nearest to what is safe, then what is to be taken from it.

    A name gains by each of its features that is safe and loses by each that is not. Where several
    are alike the first of the table stands for them; where none fits, the baseline.

    Args:
        flags: what may be used.
        avoid: names not to choose.
    """
    table, march = load_features(), names_of("march")
    best: tuple[str, ...] = ("-march=x86-64",)
    most = 0
    for profile in built_in_profiles().values():
        name = profile.gcc
        if name is None or profile.kind not in ("cpu", "level") or name in (*march.off, *avoid):
            continue
        asked = profile.features.union(march.beyond.get(profile.name, ()))
        wanted = [each for each in table if each in asked and table[each].for_programs]
        denied = [each for each in wanted if each not in flags.safe]
        score = len(wanted) - 2 * len(denied)
        if score > most and all(table[each].gcc for each in denied):
            most = score
            best = (f"-march={name}", *(f"-mno-{table[each].gcc}" for each in denied))
    return best


def _pacman(flags: FlagSet) -> str:
    """The line of pacman.conf that lets it install packages for each level that is safe."""
    refuse_only_off(flags, "pacman")
    words = ["x86_64"]
    for level in load_levels()[1:]:
        if flags.level is not None and level.name <= flags.level:
            words.append(level.name.replace("-", "_"))
    return f"Architecture = {' '.join(words)}\n"


def image_compatibility(features: Iterable[str], description: str) -> str:
    """NFD's image compatibility specification for an image that needs these features.

    Args:
        features: by our names; those that NFD has no name for are left out.
        description: a few words of ours, not of an input.

    Source: node-feature-discovery, docs/usage/image-compatibility.md, v1alpha1.
    """
    names, wanted = names_of("nfd").names, frozenset(features)
    lines = [f"        {names[name]}: {{op: Exists}}\n" for name in names if name in wanted]
    if not lines:
        return f'version: v1alpha1\ncompatibilities:\n- description: "{description}"\n  rules: []\n'
    return (
        "version: v1alpha1\n"
        "compatibilities:\n"
        f'- description: "{description}"\n'
        "  rules:\n"
        '  - name: "x86-64 CPU features"\n'
        "    matchFeatures:\n"
        "    - feature: cpu.cpuid\n"
        f"      matchExpressions:\n{''.join(lines)}"
    )


def _nfd_image(flags: FlagSet) -> str:
    """The specification for an image that was built to use what is safe beyond the baseline."""
    refuse_only_off(flags, "nfd-image")
    needs = flags.safe - frozenset(load_levels()[0].features)
    return image_compatibility(needs, "built for the features that cpuprobe found safe")


BUILDS: MappingProxyType[str, Callable[[FlagSet], str]] = MappingProxyType(
    {"march": _march, "gentoo": _gentoo, "pacman": _pacman, "nfd-image": _nfd_image}
)


def recent(flags: FlagSet) -> tuple[str, ...]:
    """What has to be said beside -march: that a compiler in use refuses it, and what it takes."""
    march = names_of("march")
    name = _nearest_cpu(flags)[0].removeprefix("-march=")
    if name not in march.recent:
        return ()
    instead = " ".join(_nearest_cpu(flags, march.recent))
    return (f"{march.old} does not know {name}; for it: {instead}",)
