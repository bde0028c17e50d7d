"""Ctrl-C, however early, ends a command without a word of Python's."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

# Ctrl-C comes when a module is imported.
COMMAND = """
import os, signal, sys
pressed = sys.argv.pop(1)
class Presses:
    def find_spec(self, name, path=None, target=None):
        if name == pressed:
            os.kill(os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Presses())
from cpuprobe.__main__ import main
main()
"""


def pressed(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", COMMAND, module, *arguments]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("module", ["cpuprobe.cli", "cpuprobe.errors", "cpuprobe.cli.output"])
def test_while_it_is_imported(module):
    ended = pressed(module, "check", "/bin/true")

    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")


def test_while_this_machine_is_probed():
    """Nothing is left behind, so nothing has to be put in order."""
    ended = pressed("cpuprobe.cli.probing")

    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")


def test_while_a_command_runs():
    """It puts things in order, and says so in one line."""
    ended = pressed("cpuprobe.cli.check", "check", "/bin/true")

    assert (ended.returncode, ended.stdout) == (130, "")
    assert ended.stderr == "cpuprobe: error: interrupted\n"
