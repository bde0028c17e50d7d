"""What compilers are told on aarch64: a level, and the safe features beyond it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from cpuprobe.emit.choose import FlagSet, refuse_only_off
from cpuprobe.errors import UsageError
from cpuprobe.facts.aarch64 import ArmFeature, load_features, load_levels

# What a compiler's one name stands for beside its own row (LLVM 22, AArch64Features.td,
# and GCC 15, aarch64-option-extensions.def): without all of it the name is not written.
_WITH: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "aes": ("pmull",),
        "sha2": ("sha1",),
        "sm4": ("sm3",),
        "fullfp16": ("asimdhp",),
        "sve2-aes": ("svepmull",),
    }
)


def _beyond(flags: FlagSet, dialect: str) -> Iterator[ArmFeature]:
    """What may be used beyond the level, in the order of the table."""
    refuse_only_off(flags, dialect)
    if flags.level is None:
        raise UsageError(f"--format {dialect}: not all of armv8.0-a is known to be safe there")
    level = next(each for each in load_levels() if each.name == flags.level)
    for name, feature in load_features().items():
        if not feature.for_programs or name not in flags.safe or name in level.features:
            continue
        if flags.safe.issuperset(_WITH.get(name, ())):
            yield feature


def _gcc(flags: FlagSet) -> str:
    names = [each.gcc for each in _beyond(flags, "gcc") if each.gcc is not None]
    march = next(each.gcc for each in load_levels() if each.name == flags.level)
    return f"-march={'+'.join((march, *names))}\n"


def _llvm(flags: FlagSet) -> str:
    names = [each.llvm for each in _beyond(flags, "llvm") if each.llvm is not None]
    level = str(flags.level).removeprefix("arm").removesuffix("-a").replace(".0", "")
    words = [f"+{level}a" if level != "v8" else "+v8a", *(f"+{name}" for name in names)]
    return f"-mcpu=generic -mattr={','.join(words)}\n"


def _rustc(flags: FlagSet) -> str:
    safe = [*_beyond(flags, "rustc")]
    level = next(each for each in load_levels() if each.name == flags.level)
    table = load_features()
    names = [table[name].rust for name in level.features] + [each.rust for each in safe]
    told = ",".join(f"+{name}" for name in dict.fromkeys(names) if name is not None)
    return f"-C target-cpu=generic -C target-feature={told}\n"


COMPILERS: Mapping[str, Callable[[FlagSet], str]] = MappingProxyType(
    {"gcc": _gcc, "llvm": _llvm, "rustc": _rustc}
)
