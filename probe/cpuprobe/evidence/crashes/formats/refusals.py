"""Programs, loaders and engines that look before they leap, and name what they miss."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from cpuprobe.evidence.crashes.model import Clue, Crash, Isa, Refusal, RefusalKind
from cpuprobe.facts.features import load_features, load_levels
from cpuprobe.words import base_name

SOURCE = "message"

# Each: what stands in the line (lower case), the expression, the kind, whether all is missing, and
# the runtime it shows.
_FLAG = re.compile(
    r"\b(?:setting|flag) [\"'`]?(has_[a-z0-9_]{2,30})[\"'`]?[^\n]{0,80}(?:not "
    r"available on the host|know how to test)",
    re.I,
)
_LEVEL = re.compile(
    r"\bCPU does not support (x86-64-v[234])\b|\bx86-64-(v[234]) (?:is )?not supported\b", re.I
)
# MongoDB's image on arm64.
_ARM_LEVEL = re.compile(r"\brequires (armv[89]\.\d-a) or higher, and your current system\b", re.I)
# Go, runtime/asm_amd64.s: what GOAMD64 was set to.
_GO = re.compile(
    r"\bcan only be run on AMD64 processors with v([234]) microarchitecture support", re.I
)
_LEVEL_UNNAMED = re.compile(
    r"(?:^|\s)(?:(\S{1,200}): )?(?:CPU ISA level is lower than required"
    r"|The current CPU is missing one or more of the (?:baseline|required) instruction sets)",
    re.I,
)
_LISTS: tuple[tuple[re.Pattern[str], bool], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), exact)
    for pattern, exact in (
        # GraalVM native images
        (r"does not support all of the following CPU features that are required by the "
                r"image: \[(?P<list>[^\]\n]{2,600})\]", False),
        # TensorFlow
        (r"was compiled to use (?P<list>[A-Za-z0-9_., -]{2,200}?) instructions, but "
                r"these aren['\u2019]t available", True),
        # Google's programs
        (r"compiled with (?P<list>[A-Za-z0-9_., -]{2,100}?) enabled, but this feature "
                r"is not available on this processor", True),
        # MongoDB's image
        (r"requires a CPU with (?P<list>[A-Za-z0-9_. /,-]{2,100}?) support, and your "
                r"current system does not appear", True),
        # NVIDIA's images
        (
            r"\bbuilt for CPUs supporting at least the (?P<list>[A-Za-z0-9_. ,-]{2,100}?)"
            r" instruction",
            True,
        ),
        # .NET
        (r"CPU is missing one or more of the following instruction sets: "
                r"(?P<list>[A-Za-z0-9_., -]{2,300})", False),
        # Intel's compiler
        (r"both the operating system and the processor support "
                r"(?P<list>Intel\(R\)[^\n]{2,600}?) instructions", False),
        # wasmtime before 11
        (r"SIMD support requires (?P<list>[A-Za-z0-9_., ]{2,100}?) on x86_64", False),
        # wasmer
        (r"missing (?:require[ds] )?CPU features?:? [\"'\[]?(?:EnumSet *[({] ?)?"
                r"(?P<list>[A-Za-z0-9_.,| -]{2,300})", True),
        # VMware
        (r"\bFeature '?cpuid\.(?P<list>[A-Za-z0-9_.]{2,20})'? was absent, but must be present",
                True),
        # plain sentences of programs
        (r"\b(?:this|your|the|current) (?:CPU|processor|machine|system|computer)\b"
                r"[^\n.]{0,30}?\b(?:does not|doesn't|do not) (?:have|support|appear to "
                r"(?:have|support)) (?:the )?\"?(?P<list>[A-Za-z0-9_./, -]{2,100}?)(?: "
                r"(?:instructions?|extensions?|support|features?)\b|[.!\n)\"]|$)", True),
        (r"\b(?:needs|requires) (?:CPU|processor|hardware) support (?:for|of) "
                r"(?P<list>[A-Za-z0-9_./, -]{2,100}?)"
                r"(?: (?:instructions?|extensions?|features?)\b|[.!;\n)]|$)", False),
        # Godot
        (r"\bA (?:CPU|processor) with (?P<list>[A-Za-z0-9_./, -]{2,60}?)"
                r"(?: instructions?(?: set)?)?(?: support)? is required\b", False),
        # Solana, and others
        (r"\b(?:CPU|processor) (?:detected|found|error): ?missing "
                r"(?P<list>[A-Za-z0-9_./, -]{2,100}?) "
                r"(?:instructions?|extensions?|support|features?)\b", True),
        (r"\b(?:CPU|processor) (?:lacks|is missing|without|must support|needs to "
                r"support|has to support|does not support|doesn't support) (?:the )?"
                r"(?P<list>[A-Za-z0-9_./, -]{2,100}?)(?: (?:instructions?|extensions?|support|f"
                r"eatures?)\b|[.!;\n)]|$)", True),
        (r"\brequires? (?:a |an )?(?:\S{1,20} )?(?:CPU|processor)s? (?:with|that "
                r"supports?|supporting|having) (?:the )?(?P<list>[A-Za-z0-9_./, -]{2,100}?)(?: "
                r"(?:instructions?|extensions?|support|features?)\b|[.!;\n)]|$)", False),
        (r"^\W{0,4}(?:\w{1,40}: )?(?:error|fatal|warning)?:? ?(?P<list>"
                r"(?:AVX|SSE|FMA|BMI|AES|POPCNT)(?: \d)?[A-Za-z0-9_.]{0,12})"
                r"(?: instructions?(?: set)?)? (?:is |are )?not "
                r"(?:supported|available)", True),
    )
)  # fmt: skip
_NUMPY = re.compile(
    r"\bbut your machine doesn't support\b:?\s*(?:\((?P<list>[^()\n]{2,300})\))?", re.IGNORECASE
)
_FOLLOWING = re.compile(
    r"\b(?:following required CPU features were not detected"
    r"|processor\. This Qt build requires the following features):\s*"
    r"(?P<list>[a-z0-9_.,\s-]{0,300})$",
    re.I,
)
_APART = re.compile(r"\b(AVX|SSE|FMA|BMI)[ -](?=\d)", re.IGNORECASE)  # AVX-512, SSE 4.2
_TOKEN = re.compile(r"[A-Za-z][A-Za-z0-9_.]*(?:-(?:NI|VNNI|FP16|BF16|INT8|TILE))?", re.I)
_OTHER_NAMES = {
    "aes-ni": "aes",
    "aesni": "aes",
    "bmi1": "bmi",
    "abm": "lzcnt",
    "sse41": "sse4.1",
    "sse42": "sse4.2",
    "sse4": "sse4.1",
    "fma3": "fma",
    "pclmulqdq": "pclmul",
    "clmul": "pclmul",
    "rdrand": "rdrnd",
    "cmpxchg16b": "cx16",
    "avx512": "avx512f",
}
_MAY_REFUSE = re.compile(
    r"not available|know how to test|x86-64-v|CPU|processor|machine|system|computer|compiled|SIMD"
    r"|not supported|AVX|SSE|cpuid\.",
    re.IGNORECASE,
)
# Bun's build for CPUs without AVX runs on after its remark on AVX: no refusal.
_BUN_BASELINE = re.compile(r"\bBun v\d[^\n]{0,100}\(baseline\)", re.IGNORECASE)
_BUN_REMARK = re.compile(r"\bCPU lacks AVX2? support\. Please consider upgrading", re.IGNORECASE)
_WASMTIME = frozenset({"wasmtime"})


def read(lines: Sequence[str]) -> Iterator[Clue]:
    """One clue a message."""
    of_bun = any(_BUN_BASELINE.search(line) is not None for line in lines)
    for at, line in enumerate(lines):
        if len(line) > 4096 or _MAY_REFUSE.search(line) is None:
            continue
        if of_bun and _BUN_REMARK.search(line) is not None:
            continue
        flag = _FLAG.search(line)
        if flag is not None:
            yield _clue(at, "flag", (flag[1].lower(),), True, _WASMTIME)
        level = _LEVEL.search(line)
        if level is not None:
            name = level[1] or f"x86-64-{level[2]}"
            yield _clue(at, "level", (name.lower(),), True)
            continue
        of_arm = _ARM_LEVEL.search(line)
        if of_arm is not None:
            yield _clue(at, "level", (of_arm[1].lower(),), True, isa="aarch64")
            continue
        built_for = _GO.search(line)
        if built_for is not None:
            below, asked = load_levels()[int(built_for[1]) - 2 : int(built_for[1])]
            beyond = {*asked.features} - {*below.features}
            names = tuple(name for name in load_features() if name in beyond)
            yield _clue(at, "features", names, False)
            continue
        unnamed = _LEVEL_UNNAMED.search(line)
        if unnamed is not None:
            module = base_name(unnamed[1]) if unnamed[1] else None
            yield _clue(at, "level", (), False, module=module)
            continue
        found = _list(lines, at)
        if found is not None:
            signs = {"SIMD support requires": "wasmtime", "EnumSet": "wasmer"}
            runtimes = frozenset(name for sign, name in signs.items() if sign in line)
            yield _clue(at, "features", *found, runtimes)


def _list(lines: Sequence[str], at: int) -> tuple[tuple[str, ...], bool] | None:
    line = lines[at]
    for pattern in (_NUMPY, _FOLLOWING):
        match = pattern.search(line)
        if match is not None:
            listed = match["list"] or " ".join(lines[at + 1 : at + 3])
            names = feature_names(listed[:300])
            return (names, True) if names else None
    for each, exact in _LISTS:
        match = each.search(line)
        if match is not None:
            names = feature_names(match["list"])
            if names:
                return names, exact
    return None


def feature_names(text: str) -> tuple[str, ...]:
    """The features that the words of a text name, in any spelling; a level stands for its own."""
    table, found = load_features(), {}
    for token in _TOKEN.findall(_APART.sub(r"\1", text)):
        word = token.lower().strip("._-")
        level = re.fullmatch(r"x86[_-](?:64[_-])?v([234])", word)
        if level is not None:
            found.update(dict.fromkeys(load_levels()[int(level[1]) - 1].features))
        for name in (
            word,
            word.replace("_", "."),
            word.replace("_", ""),
            _OTHER_NAMES.get(word, ""),
        ):
            if name in table:
                found[name] = None
                break
    return tuple(name for name in table if name in found)


def _clue(
    at: int,
    kind: RefusalKind,
    names: tuple[str, ...],
    exact: bool,
    runtimes: frozenset[str] = frozenset(),
    module: str | None = None,
    isa: Isa | None = None,
) -> Clue:
    refusal = Refusal(kind, names, exact)
    return Clue(at, Crash(SOURCE, refusal=refusal, runtimes=runtimes, module=module, isa=isa))
