"""What a process has given up after ``harden``: looked at from inside, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from minikube_py.host.hardening import CONTROL_PLANE, NODE

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has capabilities to give up")

LOOK = """
import os, subprocess, sys, threading
from minikube_py.host import hardening
hardening.harden(node=sys.argv[1] == "node")
def status(text):
    return {key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}
own = status(open("/proc/self/status").read())
thread = []
worker = threading.Thread(target=lambda: thread.append(status(open("/proc/thread-self/status").read())))
worker.start(); worker.join()
child = status(subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True).stdout)
for one in (own, thread[0], child):
    print(one["CapPrm"], one["CapEff"], one["CapBnd"], one["NoNewPrivs"], one["Umask"])
print(__import__("ctypes").CDLL(None).prctl(3, 0, 0, 0, 0))
"""


def seen(part: str) -> tuple[list[list[str]], str]:
    done = subprocess.run([sys.executable, "-c", LOOK, part], capture_output=True, text=True, check=True)
    *lines, dumpable = done.stdout.splitlines()
    return [line.split() for line in lines], dumpable


def mask(capabilities: dict[str, int]) -> int:
    return sum(1 << number for number in capabilities.values())


def all_of_this_process() -> tuple[int, int]:
    with Path("/proc/self/status").open() as lines:
        found = dict(line.split(":", 1) for line in lines)
    return int(found["CapPrm"], 16), int(found["CapBnd"], 16)


def test_a_node_keeps_what_it_needs_and_its_programs_get_theirs() -> None:
    permitted, bounding = all_of_this_process()
    (own, thread, child), dumpable = seen("node")
    for who in (own, thread):
        assert int(who[0], 16) == int(who[1], 16) == permitted & mask(NODE)
    assert int(child[1], 16) == bounding
    assert [who[3:] for who in (own, thread, child)] == [["0", "0022"]] * 3
    assert dumpable == "0"


def test_a_control_plane_and_its_programs_keep_next_to_nothing() -> None:
    permitted, bounding = all_of_this_process()
    (own, thread, child), dumpable = seen("control plane")
    for who in (own, thread, child):
        assert int(who[0], 16) == int(who[1], 16) == permitted & mask(CONTROL_PLANE)
        assert int(who[2], 16) == bounding & mask(CONTROL_PLANE)
        assert who[3:] == ["1", "0077"]
    assert dumpable == "0"


def test_secrets_vanish_from_the_command_line() -> None:
    look = (
        "import sys; from minikube_py.host.hardening import hide_arguments; hide_arguments(['hush', '']);"
        "print(open('/proc/self/cmdline').read().split(chr(0))[2:], sys.argv[1:])"
    )
    command = [sys.executable, "-c", look, "--token=hush", "--token", "hush", "a b"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    shown, _, kept = done.stdout.partition("] ")
    assert shown.endswith("'--token=****', '--token', '****', 'a b', ''")
    assert kept.strip() == "['--token=hush', '--token', 'hush', 'a b']"
