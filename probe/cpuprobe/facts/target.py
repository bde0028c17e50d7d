"""What code is compiled for. It stands alone: `cpuprobe run` needs no table beside it."""

TARGET = "x86_64-unknown-linux-gnu"
"""The target triple that pins wasmtime, so that it infers no flag."""
