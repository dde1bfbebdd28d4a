"""Programs that use the client libraries which scripts/fetch_clients installed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from cluster import wait_until

HERE = Path(__file__).parent
CLIENTS = Path(sys.prefix) / "share" / "pyk3s" / "clients"


@dataclass(frozen=True, slots=True)
class Clients:
    """Interpreters with the libraries, and command lines of this folder's programs."""

    javascript: Path
    """The programs beside a node_modules folder: Node.js looks for packages there."""

    def python(self, program: str, *arguments: str) -> list[str]:
        return [str(CLIENTS / "python" / "bin" / "python"), str(HERE / "programs" / program), *arguments]

    def kopf(self, *arguments: str) -> list[str]:
        return [str(CLIENTS / "python" / "bin" / "kopf"), *arguments]

    def node(self, program: str, *arguments: str) -> list[str]:
        return [str(CLIENTS / "python" / "bin" / "node"), str(self.javascript / program), *arguments]


@dataclass(frozen=True, slots=True)
class Background:
    """A program that runs while a test works, and the file with what it says."""

    process: subprocess.Popen[bytes]
    output: Path

    @property
    def lines(self) -> list[str]:
        return self.output.read_text(errors="replace").splitlines()

    def said(self, text: str) -> bool:
        """Whether a line with this text has come; AssertionError when the program has ended."""
        assert self.process.poll() is None, f"ended with {self.process.returncode}:\n" + "\n".join(self.lines[-40:])
        return any(text in line for line in self.lines)

    def await_line(self, text: str, seconds: float = 60.0) -> None:
        try:
            wait_until(f"the program says {text!r}", lambda: self.said(text), seconds=seconds, every=0.05)
        except AssertionError as error:
            raise AssertionError(f"{error}\n" + "\n".join(self.lines[-40:])) from None
