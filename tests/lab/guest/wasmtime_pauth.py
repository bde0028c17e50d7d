"""Asks wasmtime for signed return addresses where AT_HWCAP may lie about PACA; prints JSON.

Each answer is made in a process of its own: {"exit": code, "answer": what the module returned} or
{"signal": number}.
"""

import json
import os

import wasmtime

# A call, so that there is a return address to sign.
MODULE = """
(module
  (func $seven (param i32) (result i32) (i32.mul (local.get 0) (i32.const 7)))
  (func (export "answer") (result i32) (call $seven (i32.const 6))))
"""


def answer(flags: dict[str, str]) -> int:
    """Compile the module for this machine with the flags, and call it."""
    config = wasmtime.Config()
    for name, value in flags.items():
        config.cranelift_flag_set(name, value)
    store = wasmtime.Store(wasmtime.Engine(config))
    called = wasmtime.Instance(store, wasmtime.Module(store.engine, MODULE), []).exports(store)
    function = called["answer"]
    assert isinstance(function, wasmtime.Func)
    return int(function(store))


def tried(flags: dict[str, str]) -> dict[str, int]:
    """Do so in a child, and tell how that ended."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writes, bytes([answer(flags)]))
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    os.close(writes)
    said = os.read(reads, 1)
    if os.WIFSIGNALED(status):
        return {"signal": os.WTERMSIG(status)}
    return {"exit": os.WEXITSTATUS(status), **({"answer": said[0]} if said else {})}


def main() -> None:
    """Print what came of the flags, by name."""
    signed = {"sign_return_address": "true"}
    print(
        json.dumps(
            {
                "plain": tried({}),
                "signed": tried(signed),
                "cured": tried({**signed, "has_pauth": "false"}),
            }
        )
    )


main()
