"""The kernel settings that a kubelet counts on (its ``--protect-kernel-defaults``).

The machine is only read: where the kubelet changes settings unless it is told not to, pyk3s leaves the
machine as it is and, when told to protect the defaults, refuses to be a node.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

EXPECTED = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}
"""The kubelet's (``setupKernelTunables``): no refusal of memory that may be needed, a restart after an oops."""


def wrong_kernel_settings(root: Path = Path("/proc/sys")) -> Sequence[str]:
    """What differs, each as ``vm.overcommit_memory=0 (needs 1)``. Blocks. A setting that cannot be read differs."""
    found = []
    for name, wanted in EXPECTED.items():
        try:
            value = (root / name).read_text(encoding="ascii").strip()
        except OSError as error:
            value = error.strerror or "unreadable"
        if value != str(wanted):
            found.append(f"{name.replace('/', '.')}={value} (needs {wanted})")
    return found
