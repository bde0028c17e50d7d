"""The installed wasmtime: asked what it knows and infers, proved, run under guard, measured."""
