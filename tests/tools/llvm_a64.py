"""LLVM's disassembler of A64, asked with features on and off: which words need which feature.

It is what profiles/instructions-aarch64.toml is made from (tests/tools/a64_words.py) and, with an
older libLLVM, what a sample of it is held against. Asked through the C interface of libLLVM
(llvm-c/Disassembler.h), some 300,000 words a second.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
from collections.abc import Callable
from pathlib import Path

from cpuprobe.code.elf import Elf
from cpuprobe.facts.aarch64 import load_features
from cpuprobe.files import OpenedFile

LIBRARIES = "/usr/lib/*-linux-gnu/libLLVM*.so*"
BASE = ("fp-armv8", "neon", "el2vmsa", "el3", "perfmon")
"""What is on from the start: Armv8.0-A with its privileged parts."""
_EVERY = """
    aes sha2 sha3 sm4 crc lse lse128 lsui lsfe rdm rcpc rcpc-immo rcpc3 fullfp16 fp16fml dotprod
    i8mm bf16 jsconv complxnum fptoint flagm altnzcv pauth pauth-lr sb mte sve sve2 sve-aes sve-aes2
    sve-sha3 sve-sm4 sve-bitperm sve2-aes sve2-sha3 sve2-sm4 sve2-bitperm sve2p1 sve2p2 sve2p3
    sve-b16b16 sve-b16mm sve-bfscale sve-f16f32mm f32mm f64mm sme sme2 sme2p1 sme2p2 sme2p3
    sme-f64f64 sme-i16i64 sme-f64 sme-i64 sme-f16f16 sme-f8f16 sme-f8f32 sme-lutv2 sme-b16b16
    sme-mop4 sme-tmop mops mops-go cssc wfxt ls64 predres specres2 hbc the d128 ite gcs faminmax lut
    fp8 fp8fma fp8dot2 fp8dot4 f8f32mm f8f16mm fprcvt f16mm f16f32dot f16f32mm cmpbr occmo cpa xs
    brbe lscp mtetc ssve-aes ssve-bitperm ssve-fp8fma ssve-fp8dot2 ssve-fp8dot4
"""
FEATURES = tuple(_EVERY.split())
"""LLVM's names, of releases 14 to 22; what a library does not know is left out."""
_STREAMING = ("sme", "ssve")
# Names of ours where LLVM's means more than one thing, or has another.
_NAMES = {
    "sve-aes": "sve2-aes",
    "sve-sha3": "sve2-sha3",
    "sve-sm4": "sve2-sm4",
    "sve-bitperm": "sve2-bitperm",
    "sme-f64": "sme-f64f64",
    "sme-i64": "sme-i16i64",
}
# What LLVM builds on what, beyond the features of our table.
_BUILDS_ON = {
    "sme2p3": ("sme2p2",),
    "sve2p3": ("sve2p2",),
    "mops-go": ("mops",),
    "f16f32dot": ("fullfp16",),
    "f16mm": ("fullfp16", "sve2p2"),
    "f16f32mm": ("fullfp16",),
    "mte": ("mtetc",),
    "d128": ("lse", "lse128"),
    "pauth-lr": ("pauth",),
}

Key = tuple[str, tuple[str, ...]]
"""A mnemonic, and the features that the instruction needs; both empty for Armv8.0-A's."""
NOTHING: Key = ("", ())
_FORMS = (
    (re.compile(r"(?<![a-z0-9])(?:wsp|wzr)"), "w#"),
    (re.compile(r"(?<![a-z0-9])(?:sp|xzr)"), "x#"),
    (re.compile(r"(?<![a-z0-9])([a-z]+)\d+"), r"\1#"),
    (re.compile(r"#?-?0x[0-9a-f]+|#-?\d+(\.\d+)?|(?<=[\[, ])-?\d+"), "N"),
)
_HALVES = re.compile(r"v#?\d*\.[48]?h")


def is_system(word: int) -> bool:
    """Whether a word is in the space of hints, barriers, system registers and operations.

    There LLVM prints what it has no name for by its numbers, and refuses nothing.
    """
    return word >> 23 == 0x1AA


class Llvm:
    """One libLLVM.

    Attributes:
        known: those of FEATURES that it knows.
        plain: the same without SME's, with which SVE's instructions need no SVE.
        whole: a word's text with all features on; None where it is no instruction.
        base: likewise with none on.
    """

    def __init__(self, path: str) -> None:
        """Loads it.

        Raises:
            OSError: there is no such library.
        """
        self._library = ctypes.CDLL(path)
        for name in ("TargetInfo", "TargetMC", "Disassembler", "Target"):
            getattr(self._library, f"LLVMInitializeAArch64{name}")()
        self._library.LLVMCreateDisasmCPUFeatures.restype = ctypes.c_void_p
        call = self._library.LLVMDisasmInstruction
        call.restype = ctypes.c_size_t
        call.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint64, ctypes.c_uint64]
        call.argtypes += [ctypes.c_char_p, ctypes.c_size_t]
        with OpenedFile(path) as file:  # its names stand in constant data
            content = next(each.data for each in Elf(file).sections if each.name == ".rodata")
        names = b"|".join(re.escape(name.encode()) for name in FEATURES)
        found = {match[1].decode() for match in re.finditer(rb"\0(%b)(?=\0)" % names, content)}
        self.known = tuple(name for name in FEATURES if name in found)
        self.plain = tuple(f for f in self.known if not f.startswith(_STREAMING))
        self._asked: dict[tuple[tuple[str, ...], str], Callable[[int], str | None]] = {}
        self.base, self.whole = self.asked(()), self.asked(self.known)
        self._keys: dict[str, Key] = {}

    def asked(self, on: tuple[str, ...], off: str = "") -> Callable[[int], str | None]:
        """A disassembler with some features on beyond BASE, and one off, with all built on it."""
        if (on, off) not in self._asked:
            self._asked[on, off] = self._disassembler(on, off)
        return self._asked[on, off]

    def _disassembler(self, on: tuple[str, ...], off: str) -> Callable[[int], str | None]:
        names = [f"+{name}" for name in (*BASE, *on)] + ([f"-{off}"] if off else [])
        context = self._library.LLVMCreateDisasmCPUFeatures(
            b"aarch64-linux-gnu", b"generic", ",".join(names).encode(), None, 0, None, None
        )
        text = ctypes.create_string_buffer(200)
        call = self._library.LLVMDisasmInstruction

        def disassembled(word: int) -> str | None:
            size = call(context, word.to_bytes(4, "little"), 4, 0, text, 200)
            return text.value.decode().strip() if size else None

        return disassembled

    def key(self, word: int) -> Key | None:
        """What a word is; None where it is no instruction, NOTHING in the system space too.

        An instruction of SVE that streaming mode has as well counts as SVE's.
        """
        if is_system(word) or self.base(word) is not None:
            return NOTHING
        text = self.whole(word)
        if text is None:
            return None
        form = _form(text, word)
        if form not in self._keys:
            on = self.plain if self.asked(self.plain)(word) is not None else self.known
            needs = {name for name in on if self.asked(on, name)(word) is None}
            mnemonic = text.split(None, 1)[0]
            self._keys[form] = mnemonic, _canonical(mnemonic, text, needs)
        return self._keys[form]


def _form(text: str, word: int) -> str:
    """A text without the numbers of registers and values."""
    mnemonic, _, form = text.partition("\t")
    for pattern, by in _FORMS:
        form = pattern.sub(by, form)
    listed = text[text.find("{") : text.find("}")] if "{" in text else ""
    numbers = [int(each) for each in re.findall(r"z(\d+)", listed)]
    strided = len(numbers) > 1 and "-" not in listed and (numbers[1] - numbers[0]) % 32 != 1
    return f"{mnemonic} {form} {strided} {word >> 24:x}"


def _canonical(mnemonic: str, text: str, needs: set[str]) -> tuple[str, ...]:
    """Our names of what an instruction needs, without what they build on."""
    names = {_NAMES.get(name, name) for name in needs}
    if mnemonic.startswith("pmull"):
        names -= {"sve2-aes", "aes"}
        names |= set() if "sve-aes2" in names else {"svepmull" if "sve" in names else "pmull"}
    for start, of, ours in (("sha1", "sha2", "sha1"), ("sha512", "sha3", "sha512"),
                            ("sm3", "sm4", "sm3"), ("pacga", "pauth", "pacga")):  # fmt: skip
        if mnemonic.startswith(start):
            names = names - {of} | {ours}
    if "sve" in names:
        names |= {f"sve{name}" for name in ("bf16", "i8mm") if name in names}
    elif "fullfp16" in names and "sme" not in names and _HALVES.search(text):
        names.add("asimdhp")
    table = _closures()
    names -= {lower for name in names for lower in table.get(name, ())}
    if "sme2" in names and any(each.startswith("sme-") for each in names):
        names.discard("sme2")
    if "sme-b16b16" in names:
        names.discard("sve-b16b16")
    return tuple(sorted(names))


@functools.cache
def _closures() -> dict[str, frozenset[str]]:
    table = load_features()
    found = {name: table.closure(name) for name in table}
    for name, direct in _BUILDS_ON.items():
        below = frozenset(direct).union(*(found.get(each, ()) for each in direct))
        found[name] = found.get(name, frozenset()) | below
    return found


def newest() -> str | None:
    """The newest libLLVM that is installed, or the one that LIBLLVM names; None without one."""
    named = os.environ.get("LIBLLVM")
    if named:
        return named
    found: dict[int, str] = {}
    for path in Path("/").glob(LIBRARIES[1:]):
        number = re.search(r"libLLVM(?:-|\.so\.)(\d+)", path.name)
        if number is not None:
            found[int(number[1])] = str(path)
    return found[max(found)] if found else None
