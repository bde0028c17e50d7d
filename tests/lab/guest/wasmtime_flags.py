"""Asks the installed wasmtime which x86 flags it accepts as true here; prints JSON.

Each flag is tried in a process of its own: what wasmtime does on a refusal (an exception, an abort)
is its own affair. The names are wasmtime 50's (Cranelift's isa/x86.rs), has_apx left out: no host
is accepted for it.
"""

import json
import os

import wasmtime

FLAGS = [
    "has_sse3",
    "has_ssse3",
    "has_sse41",
    "has_sse42",
    "has_popcnt",
    "has_cmpxchg16b",
    "has_avx",
    "has_avx2",
    "has_fma",
    "has_avx_vnni",
    "has_bmi1",
    "has_bmi2",
    "has_lzcnt",
    "has_avx512f",
    "has_avx512vl",
    "has_avx512dq",
    "has_avx512vbmi",
    "has_avx512bitalg",
    "has_avx512vnni",
]

# Six times seven in a lane: compiled for this machine, with what wasmtime infers on its own.
MODULE = """
(module (func (export "answer") (result i32)
  (i32x4.extract_lane 0 (i32x4.mul (i32x4.splat (i32.const 6)) (i32x4.splat (i32.const 7))))))
"""


def accepts(flag: str) -> bool:
    """Tell whether a module compiles and loads with the flag set."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        config = wasmtime.Config()
        config.cranelift_flag_set(flag, "true")
        wasmtime.Module(wasmtime.Engine(config), MODULE)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def main() -> None:
    """Print the answer of a module and the flags."""
    # Forks first: an engine starts threads, which a fork would leave behind.
    flags = {flag: accepts(flag) for flag in FLAGS}
    store = wasmtime.Store()
    instance = wasmtime.Instance(store, wasmtime.Module(store.engine, MODULE), [])
    answer = instance.exports(store)["answer"]
    assert isinstance(answer, wasmtime.Func)
    print(json.dumps({"answer": answer(store), "accepts": flags}))


main()
