"""Real modules and components: run or refused, and compiled for a profile with nothing beyond it.

    python -m tests.tools.wasm_modules docs/verify.md [FOLDER]

gets each package of `MODULES` by npm or pip (into FOLDER, where it is found again), asks `cpuprobe
run` and `cpuprobe verify --module` of it, and disassembles what wasmtime made of it once more, by
capstone: another decoder with other tables of features, along control flow that is followed here.
The table between the marks of the page is made anew. It needs npm, unzip's formats and
`pip install capstone`; some minutes. Exit code 1 if anything holds an instruction beyond the
profile.
"""

from __future__ import annotations

import functools
import io
import json
import re
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from elftools.elf.elffile import ELFFile

from cpuprobe.evidence.installed import installed_version
from cpuprobe.wasm.compiled import compile_file

PROFILE = "x86-64-v3"
SECONDS = 600.0
BEGIN, END = "<!-- modules: begin -->", "<!-- modules: end -->"


class Module(NamedTuple):
    """One module of a package.

    Attributes:
        registry: npm or PyPI.
        package: its name there.
        version: which.
        path: of the module, in the package.
        arguments: what `cpuprobe run` gets after it.
    """

    registry: str
    package: str
    version: str
    path: str
    arguments: tuple[str, ...] = ()


_ITK = "itkwasm_compress_stringify_wasi/wasm_modules"
_DIFFERENCE = "itkwasm_compare_images_wasi/wasm_modules"
MODULES = (
    Module("npm", "@bytecodealliance/jco", "1.35.0", "lib/wasi_snapshot_preview1.command.wasm"),
    Module("npm", "@bytecodealliance/jco-transpile", "0.15.0", "vendor/wasm-tools.core.wasm"),
    Module("npm", "@dqbd/tiktoken", "1.0.22", "lite/tiktoken_bg.wasm"),
    Module("npm", "@jitl/quickjs-wasmfile-release-sync", "0.32.0", "dist/emscripten-module.wasm"),
    Module("npm", "@resvg/resvg-wasm", "2.6.2", "index_bg.wasm"),
    Module("npm", "@rollup/wasm-node", "4.68.4", "dist/wasm-node/bindings_wasm_bg.wasm"),
    Module("npm", "source-map", "0.8.0", "lib/mappings.wasm"),
    Module("npm", "sql.js", "1.16.0", "dist/sql-wasm.wasm"),
    Module("npm", "tree-sitter-wasms", "0.1.13", "out/tree-sitter-json.wasm"),
    Module("npm", "web-tree-sitter", "0.27.2", "web-tree-sitter.wasm"),
    Module("npm", "yoga-wasm-web", "0.3.3", "dist/yoga.wasm"),
    Module("PyPI", "itkwasm-compress-stringify-wasi", "3.5.0",
           f"{_ITK}/compress-stringify.wasi.wasm",
           ("--invoke", "itk_wasm_input_json_alloc", "0", "0", "99")),
    Module("PyPI", "itkwasm-compare-images-wasi", "5.4.2",
           f"{_DIFFERENCE}/vector-magnitude.wasi.wasm", ("--invoke", "itk_wasm_delayed_start")),
    Module("PyPI", "hyperlight-sandbox-javascript-guest", "0.8.0",
           "javascript_guest/resources/js-sandbox.wasm"),
)  # fmt: skip


def fetched(module: Module, folder: Path) -> Path:
    """The module's file, from its package, which is loaded once."""
    name = module.package.replace("@", "").replace("/", "-")
    if module.registry == "npm":
        package = folder / f"{name}-{module.version}.tgz"
        if not package.exists():
            wanted = f"{module.package}@{module.version}"
            command = ["npm", "pack", "--silent", "--pack-destination", str(folder), wanted]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        with tarfile.open(package) as archive:
            member = archive.extractfile(f"package/{module.path}")
            assert member is not None, module.path
            content = member.read()
    else:
        found = f"{name.replace('-', '_')}-{module.version}-*.whl"
        if not any(folder.glob(found)):
            wanted = f"{module.package}=={module.version}"
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d"]
            subprocess.run([*command, str(folder), wanted], check=True)
        with zipfile.ZipFile(next(folder.glob(found))) as wheel:
            content = wheel.read(module.path)
    path = folder / f"{name}-{Path(module.path).name}"
    path.write_bytes(content)
    return path


def _cpuprobe(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "cpuprobe", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def ran(module: Module, path: Path) -> str:
    """What `cpuprobe run` makes of it, in a few words."""
    done = _cpuprobe("run", "--quiet", path, *module.arguments)
    needs = re.search(r"needs what is not given here: (.*)", done.stderr)
    if done.returncode == 0 and module.arguments:
        last = done.stdout.strip().rpartition("m" if "\x1b" in done.stdout else "\n")[2]
        return f"runs: `{' '.join(module.arguments)}` gives {last or 'nothing'}"
    if done.returncode == 0:
        return "links; has no `_start`"
    assert needs is not None, done.stderr
    made = re.search(r"; made by ([^;]*)", needs[1])
    return f"refused: {made[1]}" if made else f"refused: {needs[1].partition(';')[0]}"


# --- the second disassembly ----------------------------------------------------------------------

# What x86-64-v3 allows, by capstone's groups (X86_GRP_*), and by mnemonic where it gives none. An
# EVEX prefix is beyond it, and so is what capstone does not know.
_ALLOWED = """
    sse1 sse2 sse3 sse41 sse42 ssse3 avx avx2 bmi bmi2 fc16 fma cmov mode64 not64bitmode novlx fpu
    jump call ret branch_relative
"""
_GROUPS = frozenset(_ALLOWED.split())
_UNGROUPED = re.compile(
    r"(adc|add|and|bs[fr]|bswap|bt|cbw|cdqe?|cmp|cmpxchg|cmpxchg16b|cqo|cwde?|dec|div|idiv|imul|inc"
    r"|lea|lock .*|lzcnt|mfence|mov|movabs|movbe|movsxd?|movzx|mul|neg|nop|not|or|pop|popcnt|push"
    r"|rcr|rol|ror|sar|sbb|set[a-z]+|shld?|shrd?|sub|test|ud2|xadd|xchg|xor)"
    r"|v?cvtsi2s[ds]|vpabs[bdw]|vpinsr[bdqw]|vsqrts[ds]|vfn?m(add|sub)[a-z0-9]+"
)
_EVEX = 0x62
_BATCH = 256  # bytes that are decoded at once


@functools.cache
def _decoder() -> Any:
    capstone: Any = import_module("capstone")
    made = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    made.detail = True
    return made


@functools.cache
def _beyond(mnemonic: str, operands: str, encoding: int, example: bytes) -> str:
    """Why the profile has not an instruction; `example` is its first occurrence."""
    if encoding == _EVEX:
        return "EVEX"
    (decoded,) = _decoder().disasm(example, 0)
    groups = {decoded.group_name(group) for group in decoded.groups}
    if not groups and not _UNGROUPED.fullmatch(mnemonic):
        return "a mnemonic that is not expected"
    return " ".join(sorted(groups - _GROUPS))


class _Decoded(NamedTuple):
    address: int
    length: int
    mnemonic: str
    operands: str


class _Code:
    """The text section of an artifact, and where its functions lie."""

    def __init__(self, artifact: bytes) -> None:
        file: Any = ELFFile(io.BytesIO(artifact))
        text = file.get_section_by_name(".text")
        self.bytes: bytes = text.data()
        symbols = file.get_section_by_name(".symtab").iter_symbols()
        base = text["sh_addr"]
        self.functions = sorted(
            (each["st_value"] - base, each["st_size"])
            for each in symbols
            if each["st_info"]["type"] == "STT_FUNC" and each["st_size"]
        )

    def reached(self, start: int, size: int) -> Iterator[_Decoded]:
        """Instructions that control flow reaches; one that is none has no length."""
        end, pending, seen = start + size, [start], set()
        decoded: dict[int, _Decoded] = {}
        while pending:
            at = pending.pop()
            before: list[_Decoded] = []
            while start <= at < end and at not in seen:
                seen.add(at)
                if at not in decoded:
                    batch = _decoder().disasm_lite(self.bytes[at : min(at + _BATCH, end)], at)
                    decoded.update((each[0], _Decoded(*each)) for each in batch)
                found = decoded.get(at, _Decoded(at, 0, "(bad)", ""))
                yield found
                if found.mnemonic.startswith("j"):
                    if found.operands.startswith("0x"):
                        pending.append(int(found.operands, 16))
                    else:
                        pending += self._targets(at + found.length, before)
                if not found.length or found.mnemonic in ("jmp", "ret", "ud2", "hlt"):
                    break
                at += found.length
                before.append(found)

    def _targets(self, table: int, before: list[_Decoded]) -> list[int]:
        """Targets of a jump through the table behind it: distances from its beginning.

        Cranelift bounds the index by `mov limit, N; cmp index, limit; cmovb limit, index`.
        """
        (limit,) = [e.operands.partition(",")[0] for e in before if e.mnemonic == "cmovb"][-1:]
        loads = [e.operands.split(", ") for e in before if e.mnemonic == "mov"]
        most = [int(value, 0) for to, value in loads if to == limit and value[0].isdecimal()]
        count = most[-1] + 1
        return [table + each for each in struct.unpack_from(f"<{count}i", self.bytes, table)]


def outside(artifact: bytes) -> tuple[int, list[str]]:
    """How many instructions capstone reached, and those that the profile does not allow."""
    code = _Code(artifact)
    count, found = 0, []
    kinds: dict[tuple[str, str, int], str] = {}
    for start, size in code.functions:
        for at, length, mnemonic, operands in code.reached(start, size):
            count += 1
            raw = code.bytes[at : at + max(length, 1)]
            kind = (mnemonic, re.sub(r"[0-9a-fx]+", "", operands), raw[0])
            if kind not in kinds:
                kinds[kind] = _beyond(*kind, raw) if length else "no instruction"
            if kinds[kind]:
                found.append(f"{at:#x} {mnemonic} {operands} ({kinds[kind]})")
    return count, found


def row(module: Module, folder: Path) -> tuple[str, list[str]]:
    """The row of the table, and what is wrong."""
    path = fetched(module, folder)
    told = ran(module, path)
    done = _cpuprobe("verify", "--module", path, "--profile", PROFILE, "--json")
    proof = json.loads(done.stdout)
    artifact, _ = compile_file(str(path), proof["flags"], SECONDS)
    count, found = outside(artifact)
    ours = proof["code"]
    wrong = [*found, *(each["instruction"] for each in ours["outside"])]
    kind = "component" if path.read_bytes()[4:8] == b"\x0d\0\1\0" else "module"
    need = " ".join(ours["features"]) or "x86-64-v1"
    name = f"{module.registry}: {module.package} {module.version}, `{Path(module.path).name}`"
    cells = (name, kind, told, need, f"{ours['instructions']:,}", f"{count:,}", str(len(wrong)))
    return f"| {' | '.join(cells)} |", wrong


def main(page: str, *folders: str) -> int:
    """Makes the table of the page."""
    rows, wrong = [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(*folders) if folders else Path(temporary)
        for module in MODULES:
            line, found = row(module, folder)
            print(line, *found, sep="\n  ", flush=True)
            rows.append(line)
            wrong += found
    head = (
        f"Each compiled by wasmtime {installed_version()} for {PROFILE}; instructions that control"
        " flow reaches by iced-x86\n(`verify --module`) and by capstone (`python -m"
        " tests.tools.wasm_modules`), and how many of either need more.",
        "",
        "| module | kind | `cpuprobe run` | code needs | iced-x86 | capstone | beyond |",
        "|---|---|---|---|---|---|---|",
    )
    text = Path(page).read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    assert after, f"{page} has no marks"
    Path(page).write_text("\n".join((before + BEGIN, *head, *rows, END + after)))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
