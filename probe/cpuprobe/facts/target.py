"""What code is compiled for. It stands alone: `cpuprobe run` needs no table beside it."""

TARGET = "x86_64-unknown-linux-gnu"
"""The target triple that pins wasmtime, so that it infers no flag."""

TARGETS = {"x86-64": TARGET, "aarch64": "aarch64-unknown-linux-gnu"}
"""The same by instruction set."""
