"""wasmtime's dialects: its APIs in Rust, C and Python, its command line, and Cranelift's own.

An enabled flag is a promise about the host; wasmtime marks the call unsafe in Rust for that reason.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from types import MappingProxyType

import msgspec

from cpuprobe.emit.choose import FlagSet
from cpuprobe.errors import UsageError
from cpuprobe.facts.target import TARGETS
from cpuprobe.words import plain

# wasmtime 14 moved Cranelift's settings to -C (crates/cli-flags at tags v13.0.0 and v14.0.0).
_FIRST_WITH_CODEGEN_OPTIONS = 14
# The C API's call for a flag came with 13, as tried with the wheels 12 and 13.
_FIRST_WITH_FLAG_CALL = 13
# wasmtime-py's Config has methods for target and flags from 45 on (read from the wheels 44 and 45).
_FIRST_WITH_PYTHON_METHODS = 45

_NAME = re.compile(r"has_[a-z0-9_]{1,60}")


def _settings(flags: FlagSet) -> Iterator[tuple[str, str]]:
    """The flags to write, each a name that is a word in every language, with its value.

    Raises:
        UsageError: one is no name of a Cranelift setting.
    """
    for flag, value in flags.written.items():
        if _NAME.fullmatch(flag) is None:
            raise UsageError(f"{plain(flag)[:60]!r} is no flag of wasmtime and is not written")
        yield flag, "true" if value else "false"


def _comment(text: str) -> str:
    """Text that stays within a comment of any of the languages, on its line.

    A comment that says `coding:` would choose the encoding of a Python file (PEP 263).
    """
    return re.sub(r"coding(?=[:=])", "coding ", re.sub(r"\*(?=/)|/(?=\*)", r"\g<0> ", plain(text)))


def _at_least(flags: FlagSet, major: int) -> bool:
    """Whether the flags are for this major version or a later one."""
    wanted = flags.wasmtime.removeprefix("v").partition(".")[0]
    return not wanted.isdecimal() or int(wanted) >= major


def _text(flags: FlagSet) -> str:
    return "".join(f"{flag}={value}\n" for flag, value in _settings(flags))


def _json(flags: FlagSet) -> str:
    encoded = msgspec.json.format(msgspec.json.encode(flags.written), indent=2)
    return encoded.decode() + "\n"


def _why(flags: FlagSet, flag: str, comment: str) -> str:
    reason = flags.off.get(flag)
    return f"  {comment} {_comment(reason)}" if reason is not None else ""


def _title(flags: FlagSet) -> str:
    """What the flags are, in one line of a comment."""
    wasmtime = f"for wasmtime {_comment(flags.wasmtime)}"
    limit = f" within {_comment(', '.join(flags.profiles))}" if flags.profiles else ""
    if not flags.machines:
        return f"The {flags.isa} flags{limit}, {wasmtime}. No machine was asked."
    return f"The {flags.isa} flags that cpuprobe found safe{limit}, {wasmtime}."


def _promise(flags: FlagSet) -> str:
    """What an enabled flag rests on: the promise that wasmtime's unsafe call asks for."""
    if not flags.machines:
        return f"only for machines that meet {_comment(' and '.join(flags.profiles))}."
    if not flags.executed:
        return "claimed of the machine this is for; nothing was executed there."
    return "every flag set to true was executed on the machine this is for."


def _rust(flags: FlagSet) -> str:
    pinned = "" if flags.only_off else f'    config.target("{TARGETS[flags.isa]}")?;\n'
    lines = "".join(
        f'        config.cranelift_flag_set("{flag}", "{value}");{_why(flags, flag, "//")}\n'
        for flag, value in _settings(flags)
    )
    return (
        f"/// {_title(flags)}\n"
        "pub fn safe_config() -> wasmtime::Result<wasmtime::Config> {\n"
        "    let mut config = wasmtime::Config::new();\n"
        f"{pinned}"
        f"    // SAFETY: {_promise(flags)}\n"
        "    unsafe {\n"
        f"{lines}"
        "    }\n"
        "    Ok(config)\n"
        "}\n"
    )


def _c(flags: FlagSet) -> str:
    pinned = (
        ""
        if flags.only_off
        else f'    error = wasmtime_config_target_set(config, "{TARGETS[flags.isa]}");\n'
        "    if (error != NULL)\n"
        "        return error;\n"
    )
    lines = "".join(
        f'    wasmtime_config_cranelift_flag_set(config, "{flag}", "{value}");'
        + (f" /*{why} */" if (why := _why(flags, flag, "")) else "")
        + "\n"
        for flag, value in _settings(flags)
    )
    unused = "" if pinned else "    (void)error;\n"
    return (
        "#include <stddef.h>\n"
        "#include <wasmtime.h>\n\n"
        f"/* {_title(flags)}\n"
        "   Returns NULL, or an error that the caller deletes. */\n"
        "static wasmtime_error_t *\n"
        "set_safe_flags(wasm_config_t *config)\n"
        "{\n"
        "    wasmtime_error_t *error = NULL;\n\n"
        f"{pinned}{unused}{lines}"
        "    return NULL;\n"
        "}\n"
    )


def _python(flags: FlagSet) -> str:
    head = f"# {_title(flags)}\nimport wasmtime\n"
    if not _at_least(flags, _FIRST_WITH_PYTHON_METHODS):
        return head + _python_below_45(flags)
    pinned = "" if flags.only_off else f'config.target = "{TARGETS[flags.isa]}"\n'
    lines = "".join(
        f'config.cranelift_flag_set("{flag}", "{value}"){_why(flags, flag, "#")}\n'
        for flag, value in _settings(flags)
    )
    return f"{head}\nconfig = wasmtime.Config()\n{pinned}{lines}engine = wasmtime.Engine(config)\n"


def _python_below_45(flags: FlagSet) -> str:
    """The same through the C API, which Python's Config hid before it had methods of its own."""
    if not _at_least(flags, _FIRST_WITH_FLAG_CALL):
        raise UsageError(
            f"wasmtime {flags.wasmtime} cannot be told flags from Python; "
            f"{_FIRST_WITH_FLAG_CALL} is the first that can"
        )
    call = "_bindings.wasmtime_config"
    pinned = (
        ""
        if flags.only_off
        else f'error = {call}_target_set(pointer, text("{TARGETS[flags.isa]}"))\n'
        "if error:\n"
        "    raise wasmtime.WasmtimeError._from_ptr(error)\n"
    )
    lines = "".join(
        f'{call}_cranelift_flag_set(pointer, text("{flag}"), text("{value}"))'
        f"{_why(flags, flag, '#')}\n"
        for flag, value in _settings(flags)
    )
    return (
        "from ctypes import create_string_buffer\n"
        "from wasmtime import _bindings\n\n"
        "def text(word):\n"
        "    return create_string_buffer(word.encode())\n\n"
        "config = wasmtime.Config()\n"
        'pointer = config.ptr() if hasattr(config, "ptr") else config._ptr\n'
        f"{pinned}{lines}"
        "engine = wasmtime.Engine(config)\n"
    )


def _cli(flags: FlagSet) -> str:
    codegen = _at_least(flags, _FIRST_WITH_CODEGEN_OPTIONS)
    option = "-C cranelift-" if codegen else "--cranelift-set "
    # Its only option for a target drops what would be inferred, as the APIs do.
    words = [] if flags.only_off else [f"--target {TARGETS[flags.isa]}"]
    words += [f"{option}{flag}={value}" for flag, value in _settings(flags)]
    return " ".join(map(shlex.quote, " ".join(words).split())) + "\n"


def _clif(flags: FlagSet) -> str:
    words = [flag if value == "true" else f"{flag}=false" for flag, value in _settings(flags)]
    return " ".join([f"target {TARGETS[flags.isa].partition('-')[0]}", *words]) + "\n"


FORMATS: MappingProxyType[str, Callable[[FlagSet], str]] = MappingProxyType(
    {
        "text": _text,
        "json": _json,
        "rust": _rust,
        "c": _c,
        "python": _python,
        "cli": _cli,
        "clif": _clif,
    }
)
