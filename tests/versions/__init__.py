"""The parts that look into wasmtime, against its older releases."""
