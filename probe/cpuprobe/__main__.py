"""The `cpuprobe` command, and `python -m cpuprobe`."""

import signal

# Until all is imported, Ctrl-C ends it without a word: what it breaks off would be told at length.
_before = signal.getsignal(signal.SIGINT)
if _before is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from cpuprobe import cli  # noqa: E402


def main() -> None:
    """Runs it."""
    cli.main(_before)


if __name__ == "__main__":
    main()
