"""Sets target, flags and compiler on a wasmtime Config of any release of the Python package.

Config has methods for both only since 45 (read from the wheels 44 to 49), while the C library below
has had the calls for long: `wasmtime_config_cranelift_flag_set` since 13 (read from the wheels 12
and 13). Before 45 an assignment to `config.target` is taken by Python and reaches nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wasmtime import Config


class MissingOptionError(RuntimeError):
    """This release of wasmtime has no call for the option; the message is one line."""


def set_option(config: Config, option: str, *words: str) -> None:
    """Calls `wasmtime_config_OPTION_set` of the C API.

    Args:
        config: changed in place.
        option: `target`, or `cranelift_flag`.
        words: the call's string arguments.

    Raises:
        MissingOptionError: this release has no such call.
        wasmtime.WasmtimeError: wasmtime refuses the value. An unknown flag does not raise: it
            aborts the process.
    """
    import ctypes  # a Python that was built without libffi has none, and no wasmtime

    from wasmtime import WasmtimeError, _bindings

    function: Any = getattr(_bindings, f"wasmtime_config_{option}_set", None)
    if function is None:
        raise MissingOptionError(f"this wasmtime's C API has no wasmtime_config_{option}_set")
    texts = (ctypes.create_string_buffer(word.encode()) for word in words)
    error = function(_pointer(config), *texts)
    if error:
        raise WasmtimeError._from_ptr(error)


def _pointer(config: Config) -> Any:
    from wasmtime import Config

    made: Any = config  # in old releases the pointer is an attribute
    return made.ptr() if hasattr(Config, "ptr") else made._ptr


def set_winch(config: Config) -> None:
    """Has Winch compile, wasmtime's baseline compiler; Python's `Config.strategy` has no such word.

    Raises:
        MissingOptionError: this release's C API has no Winch. The call would take any number.
    """
    from wasmtime import _bindings

    names: Any = getattr(_bindings, "wasmtime_strategy_enum", ())
    # The bindings count from 1, C from 0.
    for number, each in enumerate(names):
        if each.name == "WASMTIME_STRATEGY_WINCH":
            _bindings.wasmtime_config_strategy_set(_pointer(config), number)
            return
    raise MissingOptionError("this wasmtime's C API has no strategy Winch")


def set_flags(config: Config, target: str, flags: Mapping[str, bool]) -> None:
    """Pins the target, so that nothing is inferred, and gives every flag its value.

    Raises:
        MissingOptionError, wasmtime.WasmtimeError: as `set_option`.
    """
    set_option(config, "target", target)
    for flag, value in flags.items():
        set_option(config, "cranelift_flag", flag, "true" if value else "false")


def message_of(error: BaseException) -> str:
    """What wasmtime says, on one line, without its backtrace."""
    # wasmtime-py 50 keeps the message apart from the exception's arguments.
    text = str(error) or repr(error)
    return " ".join(text.partition("Stack backtrace")[0].split())
