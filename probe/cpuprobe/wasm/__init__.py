"""The installed wasmtime: what it knows, what it emits, what its artifacts say."""
