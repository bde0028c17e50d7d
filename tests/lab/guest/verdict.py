"""Runs cpuprobe as its user would, asks the installed wasmtime whether it was right; prints JSON.

Without arguments: everything, for a guest. The others start no child process, which under the
user-mode emulator would leave the emulated CPU:

    run OPERATION FLAGS        one operation of the module with these flags (JSON)
    run OPERATION infer        with the flags that wasmtime infers
    run OPERATION infer bare   the same without wasmtime's own signal handlers
    cure                       all operations with cpuprobe.safe_config()
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import struct
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import wasmtime

TARGET = "x86_64-unknown-linux-gnu"
CPUPROBE = "/usr/bin/cpuprobe"

# The operands come from memory, so that nothing can be computed while compiling. With AVX-512DQ and
# VL wasmtime 50 compiles these to VPMULLQ, VPABSQ and VPSRAQ, with BITALG to VPOPCNTB.
MODULE = """
(module
  (memory (export "memory") 1)
  (func (export "i64x2.mul")
    (v128.store (i32.const 32)
      (i64x2.mul (v128.load (i32.const 0)) (v128.load (i32.const 16)))))
  (func (export "i64x2.abs")
    (v128.store (i32.const 32) (i64x2.abs (v128.load (i32.const 0)))))
  (func (export "i64x2.shr_s")
    (v128.store (i32.const 32) (i64x2.shr_s (v128.load (i32.const 0)) (i32.const 3))))
  (func (export "i8x16.popcnt")
    (v128.store (i32.const 32) (i8x16.popcnt (v128.load (i32.const 0))))))
"""
OPERATIONS = ("i64x2.mul", "i64x2.abs", "i64x2.shr_s", "i8x16.popcnt")
OPERANDS = struct.pack("<4q", -7, 1 << 40, 6, -5)


def configure(flags: Mapping[str, bool] | None) -> wasmtime.Config:
    """A configuration with the flags and a pinned target; without flags wasmtime's own choice."""
    config = wasmtime.Config()
    if flags is not None:
        config.target = TARGET
        for flag, value in flags.items():
            config.cranelift_flag_set(flag, "true" if value else "false")
    return config


def compute(config: wasmtime.Config, operation: str) -> tuple[Any, ...]:
    """The two 64-bit lanes that an operation leaves."""
    store = wasmtime.Store(wasmtime.Engine(config))
    exports = wasmtime.Instance(store, wasmtime.Module(store.engine, MODULE), []).exports(store)
    memory, function = exports["memory"], exports[operation]
    assert isinstance(memory, wasmtime.Memory)
    assert isinstance(function, wasmtime.Func)
    memory.write(store, OPERANDS, 0)
    print("compiled", file=sys.stderr, flush=True)
    function(store)
    return struct.unpack("<2q", memory.read(store, 32, 48))


def survives(flags: Mapping[str, bool]) -> bool:
    """Whether an engine with the flags can be made and can load a module, tried in a child."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            wasmtime.Module(wasmtime.Engine(configure(flags)), MODULE)
        except wasmtime.WasmtimeError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def cpuid_says_avx() -> bool:
    """A detector as many programs have it: CPUID.01H:ECX.AVX[bit 28], and no look at XCR0."""
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    # push rbx; mov eax, 1; xor ecx, ecx; cpuid; mov eax, ecx; pop rbx; ret
    code.write(bytes.fromhex("53 b801000000 31c9 0fa2 89c8 5b c3"))
    leaf1_ecx = ctypes.CFUNCTYPE(ctypes.c_uint32)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    return bool(leaf1_ecx() >> 28 & 1)


def cpuprobe(*arguments: str) -> dict[str, Any]:
    """What the installed command prints, and its exit code."""
    done = subprocess.run([CPUPROBE, *arguments], capture_output=True, text=True, check=False)
    return {"exit": done.returncode, "stdout": done.stdout, "stderr": done.stderr}


def everything() -> dict[str, Any]:
    """All that a guest is asked."""
    from cpuprobe.wasm.introspect import installed_flags

    report = cpuprobe("--json")
    text = cpuprobe()
    emitted = cpuprobe("flags", "--format", "json")
    flags = json.loads(emitted["stdout"])
    # Forks first: an engine starts threads, which a fork would leave behind.
    accepts = {
        flag: survives({**flags, flag: True}) if not value else survives({flag: True})
        for flag, value in flags.items()
    }
    together = survives(flags)
    return {
        "exit": report["exit"],
        "complaints": report["stderr"] + text["stderr"] + emitted["stderr"],
        "report": json.loads(report["stdout"]),
        "text": text["stdout"],
        "text_exit": text["exit"],
        "text_width": max(len(line) for line in text["stdout"].splitlines()),
        "flags": flags,
        "flags_exit": emitted["exit"],
        "accepts": accepts,
        "accepts_all_together": together,
        "inferred": installed_flags(),
        "cpuid_says_avx": cpuid_says_avx(),
        "computes": {each: compute(configure(flags), each) for each in OPERATIONS},
    }


def main() -> None:
    """Do what the arguments say."""
    if sys.argv[1:] == ["cure"]:
        import cpuprobe as api

        print(json.dumps({each: compute(api.safe_config(), each) for each in OPERATIONS}))
    elif sys.argv[1:2] == ["run"]:
        operation, flags = sys.argv[2:4]
        config = configure(None if flags == "infer" else json.loads(flags))
        if sys.argv[4:] == ["bare"]:
            config.signals_based_traps = False
        print(json.dumps({operation: compute(config, operation)}))
    else:
        print(json.dumps(everything()))


main()
