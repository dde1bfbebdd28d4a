"""kubectl for a server of the tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KUBECTL = Path(sys.prefix) / "share" / "pyk3s" / "tools" / "kubectl"


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl for one server; ``folder`` keeps what it remembers."""

    folder: Path

    def __call__(self, *arguments: str, stdin: Any = None, fails: bool = False) -> str:
        """The output; of a command that ``fails``, what it complained of."""
        command = [str(KUBECTL), f"--kubeconfig={self.folder / 'config'}", f"--cache-dir={self.folder / 'cache'}"]
        given = "" if stdin is None else stdin if isinstance(stdin, str) else json.dumps(stdin)
        done = subprocess.run(
            [*command, *arguments], input=given, capture_output=True, text=True, timeout=60, check=False,
            env={**os.environ, "HOME": str(self.folder)},
        )  # fmt: skip
        assert (done.returncode != 0) == fails, f"kubectl {arguments}: {done.stdout}{done.stderr}"
        return done.stderr if fails else done.stdout

    def get(self, *arguments: str) -> Any:
        return json.loads(self("get", *arguments, "-o", "json"))

    def until(self, what: str, probe: Callable[[], Any], seconds: float = 60.0) -> Any:
        """Ask until the answer is something."""
        ends = time.monotonic() + seconds
        while True:
            found = probe()
            if found:
                return found
            assert time.monotonic() < ends, f"{what}: not within {seconds} s"
            time.sleep(0.05)
