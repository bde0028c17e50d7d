"""`check` over real libraries: no false feature, confirmed with objdump and with symbols.

objdump knows nothing of our ranges and decodes with other tables. It is asked two things: what
stands at the addresses that `check` names, for every feature of every file (pyelftools knows where
that is in the file); and, for wasmtime's
library, how many instructions of some features the whole file holds.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

pytest.importorskip("iced_x86")
wasmtime = pytest.importorskip("wasmtime")

from cpuprobe.check import many  # noqa: E402
from cpuprobe.check.against import within  # noqa: E402
from cpuprobe.check.judge import Fit  # noqa: E402
from cpuprobe.facts.features import load_features, load_levels  # noqa: E402
from cpuprobe.facts.profiles import find_profile  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("objdump") is None, reason="no objdump here"),
]

SYSTEM = "/usr/lib/x86_64-linux-gnu"
# Written from the SDM's and APM's opcode tables, not from the decoder's.
MNEMONICS = {
    "3dnow": r"pf\w+|pi2f[dw]|pavgusb|femms|pmulhrw|pswapd|prefetch",
    "adx": r"ad[co]x",
    "aes": r"v?aes\w+",
    "amx-bf16": r"tdpbf16ps",
    "amx-complex": r"tcmm(imm|rl)fp16ps",
    "amx-fp16": r"tdpfp16ps",
    "amx-int8": r"tdpb[su][su]d",
    "amx-tile": r"(ld|st)tilecfg|tile\w+",
    "avx": r"v\w+",
    "avx2": r"v\w+",
    "avx512er": r"v(exp2|rcp28|rsqrt28)\w+",
    "avxifma": r"vpmadd52[hl]uq",
    "avxneconvert": r"v(cvtne\w+|bcstne\w+)",
    "avxvnni": r"vpdp\w+",
    "avxvnniint16": r"vpdpw\w+",
    "avxvnniint8": r"vpdpb\w+",
    "bmi": r"andn|bextr|bls(i|r|msk)",
    "bmi2": r"bzhi|mulx|pdep|pext|rorx|sarx|shlx|shrx",
    "cldemote": r"cldemote",
    "clflushopt": r"clflushopt",
    "clwb": r"clwb",
    "cmpccxadd": r"cmp\w+xadd",
    "cx16": r"cmpxchg16b",
    "clzero": r"clzero",
    "enqcmd": r"enqcmds?",
    "f16c": r"vcvtp[hs]2p[hs]",
    "fma": r"vf[n]?m(add|sub)\w+",
    "fma4": r"vf[n]?m(add|sub)\w+",
    "fsgsbase": r"(rd|wr)[fg]sbase",
    "gfni": r"v?gf2p8\w+",
    "lzcnt": r"lzcnt",
    "movbe": r"movbe",
    "movdir64b": r"movdir64b",
    "movdiri": r"movdiri",
    "pclmul": r"v?pclmul\w+",
    "pku": r"(rd|wr)pkru",
    "popcnt": r"popcnt",
    "prfchw": r"prefetchw",
    "rdpid": r"rdpid",
    "rdrnd": r"rdrand",
    "rdseed": r"rdseed",
    "rdtscp": r"rdtscp",
    "rtm": r"xbegin|xend|xabort|xtest",
    "sahf": r"[ls]ahf",
    "serialize": r"serialize",
    "sha": r"sha(1|256)\w+",
    "sha512": r"vsha512\w+",
    "sm3": r"vsm3\w+",
    "sm4": r"vsm4\w+",
    "sse3": r"addsubp[sd]|h(add|sub)p[sd]|lddqu|movddup|movs[hl]dup|fisttp\w*",
    "sse4.1": r"(blendv?p[sd]|pblend\w+|dpp[sd]|extractps|insertps|movntdqa|mpsadbw|packusdw|"
    r"pcmpeqq|pextr[bdqw]|phminposuw|pinsr[bdq]|pm(ax|in)(sb|sd|ud|uw)|pmov[sz]x\w+|pmuldq|pmulld|ptest|"
    r"rounds?[psd]+)",
    "sse4.2": r"pcmp[ei]str[im]|pcmpgtq|crc32\w*",
    "sse4a": r"extrq|insertq|movnts[sd]",
    "ssse3": r"pabs[bdw]|palignr|ph(add|sub)\w+|pmaddubsw|pmulhrsw|pshufb|psign[bdw]",
    "amx-avx512": r"tilemovrow|tcvtrow\w+",
    "amx-fp8": r"tdp[bh]\w*f8ps",
    "amx-movrs": r"tileloaddrs(t1)?",
    "amx-tf32": r"tmmultf32ps",
    "hle": r"x(acquire|release)",
    "hreset": r"hreset",
    "ibt": r"endbr(32|64)",
    "kl": r"aes(enc|dec)(128|256)kl|encodekey(128|256)|loadiwkey",
    "movrs": r"v?movrs[bdqw]?",
    "mwaitx": r"m(onitor|wait)x",
    "ptwrite": r"ptwrite",
    "raoint": r"a(add|and|or|xor)",
    "rdpru": r"rdpru",
    "shstk": r"incssp[dq]|rdssp[dq]|saveprevssp|rstorssp|wru?ss[dq]|(set|clr)ssbsy",
    "tbm": r"bextr|bl(c(fill|i|ic|msk|s)|s(fill|ic))|t1mskc|tzmsk",
    "tsxldtrk": r"x(sus|res)ldtrk",
    "uintr": r"uiret|testui|[cs](l|t)ui|senduipi",
    "usermsr": r"u(rd|wr)msr",
    "vaes": r"vaes\w+",
    "vpclmulqdq": r"vpclmul\w+",
    "waitpkg": r"tpause|u(monitor|mwait)",
    "widekl": r"aes(enc|dec)wide\w+",
    "xop": r"v(pcmov|pcom|pmacs|pmadcs|pha|phs|pperm|prot|psha|pshl|frcz|permil2)\w*",
    "xsave": r"xsave(64)?|xrstor(64)?|x[gs]etbv",
    "xsavec": r"xsavec(64)?",
    "xsaveopt": r"xsaveopt\w*",
    "xsaves": r"x(save|rstor)s\w*",
}
TOO_NEW = {"amx-complex", "apxf", "avxvnniint16", "sha512", "sm3", "sm4", "movrs", "usermsr"}
TOO_NEW |= {"amx-avx512", "amx-fp8", "amx-movrs", "amx-tf32", "avx10.2"}
"""Binutils know them from 2.41 on; before, objdump writes `(bad)`."""
NONE = {"avx10.1", "apxf", "avx10.2"}
"""A promise about others' instructions; and instructions of all kinds in a new encoding."""
EVEX = r"v\w+|k(and|or|mov|not|xn?or|test|add|unpck|shift)\w+"


def regex_for(feature: str) -> str:
    if feature in NONE:
        return r"\w+"
    return EVEX if feature.startswith("avx512") else MNEMONICS[feature]


def test_every_feature_that_check_can_name_has_mnemonics():
    """Whatever the packages of a machine hold: what every CPU has is never named."""
    everywhere = load_levels()[0].features
    named = {feature for feature in load_features() if feature not in everywhere}

    assert {feature for feature in named if not regex_for(feature)} == set()
    assert set(MNEMONICS) <= named


def listing(path: str, *options: str) -> list[tuple[int, str]]:
    """Address and mnemonic of what objdump decodes, prefixes left out."""
    command = ["objdump", "-d", "--no-show-raw-insn", *options, path]
    text = subprocess.run(command, capture_output=True, check=True).stdout.decode(
        "utf-8", "replace"
    )
    prefix = (
        r"(?:(?:lock|rep[nez]*|data16|addr32|cs|ds|es|fs|gs|notrack|bnd|rex[.\w]*|\{\w+\})\s+)*"
    )
    rows = re.findall(rf"^ *([0-9a-f]+):\t{prefix}([a-z][\w.]*)", text, re.MULTILINE)
    return [(int(address, 16), mnemonic) for address, mnemonic in rows]


def checked(*paths: str | Path) -> list[Fit]:
    against = within(find_profile("x86-64-v1"))
    assert against is not None
    files = many.expand([str(path) for path in paths])
    return many.check(files.files, against, 2, lambda *_: None)


SLOT = 32
"""The longest instruction has 15 bytes: one that begins among another's ends before the next slot,
and the NOPs before that let a decoder find its feet."""


def first_mnemonics(pieces: list[bytes]) -> list[str]:
    """What objdump decodes at the start of each piece of code; all of them by one call."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"".join(piece.ljust(SLOT, b"\x90") for piece in pieces))
        file.flush()
        found = dict(listing(file.name, "-D", "-b", "binary", "-m", "i386:x86-64"))
    return [found.get(at, "nothing") for at in range(0, SLOT * len(pieces), SLOT)]


def code_at(path: str, addresses: list[int]) -> list[bytes]:
    """What executable segments hold at addresses, by pyelftools: as long as an instruction."""
    with open(path, "rb") as file:
        loads = [load for load in ELFFile(file).iter_segments("PT_LOAD") if load["p_flags"] & 1]
        places = [
            address - load["p_vaddr"] + load["p_offset"]
            for address in addresses
            for load in loads
            if 0 <= address - load["p_vaddr"] < load["p_filesz"]
        ]
        return [os.pread(file.fileno(), 15, place) for place in places]


def assert_confirmed(fits: list[Fit]) -> int:
    """Every feature of every file stands where it is said to, by objdump."""
    said: list[tuple[str, str, int]] = []
    code: list[bytes] = []
    for fit in fits:
        assert fit.error is None, fit
        assert fit.needs is not None
        if "!" in fit.path:  # a member of an archive, which objdump does not find by this name
            continue
        these = [
            (fit.path, feature, place.address)
            for feature, use in fit.needs.features.items()
            for place in use.places[:1] + use.places[1:][-1:]
        ]
        code += code_at(fit.path, [address for *_, address in these]) if these else []
        said += these
    confirmed = 0
    for what, found in zip(said, first_mnemonics(code), strict=True):
        feature = what[1]
        if feature in TOO_NEW and found == "nothing":
            continue
        assert re.fullmatch(regex_for(feature), found), (what, found)
        confirmed += 1
    return confirmed


def test_system_libraries():
    """Nothing false in the system's library folder, and nothing certain to die."""
    fits = checked(SYSTEM)

    assert len(fits) > 50
    # All of it runs on every x86-64 CPU; where nothing chooses, that cannot be seen.
    assert {fit.expectation for fit in fits} <= {"runs", "guarded", "unguarded"}
    # Of a static library others of its objects choose.
    for these in ([fit for fit in fits if ("!" in fit.path) is inside] for inside in (False, True)):
        assert 50 * sum(fit.expectation == "unguarded" for fit in these) <= len(these)
    assert sum("!" not in fit.path for fit in fits) > 50
    assert_confirmed(fits)


def test_python_packages():
    """Everything native beside wasmtime: NumPy too, where it is installed."""
    fits = checked(Path(wasmtime.__file__).parents[1])

    # NumPy's wheels are built for x86-64-v2 and execute SSE4.1 when they are loaded.
    assert {fit.expectation for fit in fits} <= {"runs", "guarded", "unguarded", "dies"}
    assert assert_confirmed(fits) > 10


def test_counts_in_wasmtime_are_objdumps():
    """Where the symbols leave little to doubt, the numbers agree with a sweep by objdump."""
    (library,) = Path(wasmtime.__file__).parent.rglob("_libwasmtime.so")
    (fit,) = checked(library)
    mnemonics = Counter(mnemonic for _, mnemonic in listing(str(library)))
    assert fit.needs is not None

    for feature in ("adx", "aes", "bmi2", "lzcnt", "movbe", "pclmul", "sha", "fma", "ssse3"):
        expected = sum(
            count
            for mnemonic, count in mnemonics.items()
            if re.fullmatch(regex_for(feature), mnemonic)
        )
        # The same names mean another feature with other operands or another encoding.
        if (
            other := {"fma": "fma4", "aes": "vaes", "pclmul": "vpclmulqdq"}.get(feature)
        ) is not None:
            expected -= fit.needs.features[other].instructions
        assert fit.needs.features[feature].instructions == expected, feature
