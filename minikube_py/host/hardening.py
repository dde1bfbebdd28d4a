"""What a server process gives up before it starts: privileges, core dumps, secrets that others could read.

``harden`` is called once, before there is a second thread (capabilities belong to threads). What holds after it:

- no core dump of this process is written and no other user's process can trace it or read its
  environment and memory, which hold keys (``PR_SET_DUMPABLE``). Programs that it starts are not concerned.
- of root's capabilities it keeps those that its part of the work needs. With a node, programs that it starts as
  root (containerd, and by it privileged pods) get theirs back from the kernel. Without a node nothing
  it starts gets more than itself: the bounding set is as small, and no program gains privileges.
- the file mode mask is 022 with a node, because the container runtime and volumes count on it, else 077.
- no limit is raised and no user is changed. A process that is not root keeps the few capabilities it was given.

``hide_arguments`` blots secrets out of the command line that every user of the machine sees in ``ps``.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_PR_SET_DUMPABLE = 4
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522

CONTROL_PLANE = {"CAP_DAC_OVERRIDE": 1, "CAP_DAC_READ_SEARCH": 2, "CAP_FOWNER": 3, "CAP_NET_BIND_SERVICE": 10}
"""Files of other owners (configuration, certificates), ports below 1024."""

NODE = CONTROL_PLANE | {
    "CAP_CHOWN": 0, "CAP_FSETID": 4, "CAP_KILL": 5, "CAP_NET_ADMIN": 12, "CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21,
    "CAP_SYS_RESOURCE": 24,
}  # fmt: skip
"""Owners of volumes, processes of pods (also where /proc is mounted with hidepid), settings of the network, mounts
and cgroups, scores of the memory killer."""

_CAP_SETPCAP = 8


@dataclass(frozen=True, slots=True)
class _Sets:
    effective: int
    permitted: int
    inheritable: int


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


_Words = ctypes.c_uint32 * 6
_libc = ctypes.CDLL(None, use_errno=True)


def harden(*, node: bool) -> None:
    """Give up what a server with or without a node does not need; see the module. Raises OSError."""
    os.umask(0o022 if node else 0o077)
    _prctl(_PR_SET_DUMPABLE, 0)
    keep = sum(1 << number for number in (NODE if node else CONTROL_PLANE).values())
    sets = _read_capabilities()
    if not node:
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
        if sets.effective & 1 << _CAP_SETPCAP:
            _drop_bounding(keep)
    inheritable = sets.inheritable if node else 0
    _write_capabilities(_Sets(sets.effective & keep, sets.permitted & keep, inheritable))


def _drop_bounding(keep: int) -> None:
    number = 0
    while _libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0) >= 0:  # -1 after the kernel's last one
        if not keep & 1 << number:
            _prctl(_PR_CAPBSET_DROP, number)
        number += 1


def _read_capabilities() -> _Sets:
    header, words = _Header(_CAPABILITY_VERSION_3, 0), _Words()
    _checked(_libc.capget(ctypes.byref(header), words), "capget")
    effective, permitted, inheritable = (words[i] | words[i + 3] << 32 for i in range(3))
    return _Sets(effective, permitted, inheritable)


def _write_capabilities(sets: _Sets) -> None:
    header, words = _Header(_CAPABILITY_VERSION_3, 0), _Words()
    for i, mask in enumerate((sets.effective, sets.permitted, sets.inheritable)):
        words[i], words[i + 3] = mask & 0xFFFFFFFF, mask >> 32
    _checked(_libc.capset(ctypes.byref(header), words), "capset")


def _prctl(what: int, value: int) -> None:
    numbers = (ctypes.c_ulong(one) for one in (value, 0, 0, 0))
    _checked(_libc.prctl(what, *numbers), f"prctl({what}, {value})")


def _checked(result: int, name: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def hide_arguments(secrets: Sequence[str]) -> None:
    """Overwrite these texts in this process's command line, as others see it, with asterisks. Raises OSError."""
    found = [os.fsencode(secret) for secret in secrets if secret]
    if not found:
        return
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end = int(fields[45]), int(fields[46])  # arg_start and arg_end, fields 48 and 49 of the line
    line = ctypes.string_at(begin, end - begin)
    hidden = line
    for secret in sorted(found, key=len, reverse=True):
        hidden = hidden.replace(secret, b"*" * len(secret))
    if hidden != line:
        ctypes.memmove(begin, hidden, len(hidden))
