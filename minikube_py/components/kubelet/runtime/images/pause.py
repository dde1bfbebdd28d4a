"""The sandbox ("pause") program, written out as machine code: no compiler and no download.

The program is the first process of a pod's namespaces. It blocks SIGCHLD, SIGTERM and SIGINT and
waits for them: on SIGCHLD it reaps every child that has ended (it inherits orphans when the pod
shares its process namespace), on the others it exits with 0. It allocates nothing and never wakes
otherwise. Signals are waited for rather than handled, since a blocked signal reaches the first
process of a namespace even though it has no handler.
"""

from __future__ import annotations

import struct

PAUSE_IMAGE = "localhost/pyk3s/pause:1"

_sigint, _sigterm, _sigchld = 2, 15, 17
_signal_set = struct.pack("<Q", sum(1 << signal - 1 for signal in (_sigint, _sigterm, _sigchld)))
_load_address = 0x400000
_header_bytes = 64 + 56
_EM_X86_64, _EM_AARCH64 = 62, 183


def pause_program(architecture: str) -> bytes:
    """A static ELF executable for ``amd64`` or ``arm64``. Raises KeyError for any other."""
    machine, code = {"amd64": (_EM_X86_64, _x86_64), "arm64": (_EM_AARCH64, _aarch64)}[architecture]
    return _elf(machine, code() + _signal_set)


def _elf(machine: int, code: bytes) -> bytes:
    """An ELF file of one read-only, executable segment that starts with its first instruction."""
    size = _header_bytes + len(code)
    identification = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)  # 64-bit, little-endian, version 1
    header = identification + struct.pack(
        "<HHIQQQIHHHHHH", 2, machine, 1, _load_address + _header_bytes, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _load_address, _load_address, size, size, 0x1000)
    return header + segment + code


def _x86_64() -> bytes:
    """rt_sigprocmask(14), then for ever rt_sigtimedwait(128); wait4(61) or exit_group(231)."""

    def syscall(number: int) -> bytes:
        return b"\xb8" + struct.pack("<I", number) + b"\x0f\x05"

    eight_in_r10 = b"\x6a\x08\x41\x5a"
    reap = b"\x48\x83\xcf\xff" + b"\x31\xf6" + b"\x6a\x01\x5a" + b"\x45\x31\xd2" + syscall(61) + b"\x85\xc0"
    reap += b"\x7f" + struct.pack("<b", -(len(reap) + 2))  # more children may have ended
    leave = b"\x31\xff" + syscall(231)
    wait_tail = b"\x31\xf6\x31\xd2" + eight_in_r10 + syscall(128) + b"\x83\xf8" + bytes([_sigchld])
    wait_bytes = 7 + len(wait_tail) + 2 + 2 + 2  # lea, tail, je, test, js
    before_set = wait_bytes + len(leave) + len(reap) + 2
    wait = b"\x48\x8d\x3d" + struct.pack("<i", before_set - 7) + wait_tail
    wait += b"\x74" + struct.pack("<b", 4 + len(leave))  # a child ended: reap
    wait += b"\x85\xc0\x78" + struct.pack("<b", -(len(wait) + 4))  # interrupted: wait again
    loop = wait + leave + reap
    loop += b"\xeb" + struct.pack("<b", -(len(loop) + 2))
    block_tail = b"\x31\xd2" + eight_in_r10 + syscall(14)
    block = b"\x31\xff\x48\x8d\x35" + struct.pack("<i", len(block_tail) + len(loop)) + block_tail
    return block + loop


def _aarch64() -> bytes:
    """The same program; system calls 135, 137, 260 and 94. Branch distances are counted in words."""

    def mov(register: int, value: int) -> int:
        return 0xD2800000 | value << 5 | register

    def set_address(register: int, words_to_set: int) -> int:
        return 0x10000000 | words_to_set << 5 | register

    def conditional(condition: int, words: int) -> int:
        return 0x54000000 | (words & 0x7FFFF) << 5 | condition

    syscall, minus_one_in_x0, equal, greater = 0xD4000001, 0x92800000, 0x0, 0xC
    total, loop_start, reap_start = 27, 6, 18
    words = [mov(0, 0), set_address(1, total - 1), mov(2, 0), mov(3, 8), mov(8, 135), syscall]
    words += [set_address(0, total - loop_start), mov(1, 0), mov(2, 0), mov(3, 8), mov(8, 137), syscall]
    words += [0x7100001F | _sigchld << 10]  # cmp w0, SIGCHLD
    words += [conditional(equal, reap_start - len(words))]
    words += [0x37F80000 | (loop_start - len(words) & 0x3FFF) << 5]  # negative (interrupted): wait again
    words += [mov(0, 0), mov(8, 94), syscall]
    words += [minus_one_in_x0, mov(1, 0), mov(2, 1), mov(3, 0), mov(8, 260), syscall]
    words += [0x7100001F]  # cmp w0, 0
    words += [conditional(greater, reap_start - len(words))]
    words += [0x14000000 | (loop_start - len(words) & 0x3FFFFFF)]
    assert len(words) == total
    return struct.pack(f"<{total}I", *words) + b""
