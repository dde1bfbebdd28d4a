"""Which sources this program was built from, and when; for ``/version`` and the metrics that repeat it.

In: ``build.json`` beside this module, which ``scripts/build_hook.py`` puts into packages; in a source tree, which has
none, the commit that git has checked out there. Out: ``BuildInfo``. What nobody knows is empty, as in Kubernetes.
"""

from __future__ import annotations

import json
import platform
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from minikube_py import KUBERNETES_VERSION, __version__

_HERE = Path(__file__).resolve().parent
_BUILT = "machinery/definitions.bundle"
"""What a build leaves in a source tree: its time is the build's."""
_NEVER = "1970-01-01T00:00:00Z"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class BuildInfo:
    """``commit``: 40 hexadecimal digits; ``tree_state``: clean or dirty; ``date``: RFC 3339, UTC, in seconds."""

    commit: str = ""
    tree_state: str = ""
    date: str = _NEVER


def read_build_info(package: Path) -> BuildInfo:
    """Of the package in a folder."""
    try:
        found = json.loads((package / "build.json").read_bytes())
        return BuildInfo(str(found["commit"]), str(found["treeState"]), str(found["date"]))
    except (OSError, ValueError, KeyError, TypeError):
        return BuildInfo(commit=checked_out(package.parent / ".git"), date=_time_of(package / _BUILT))


def version_info() -> dict[str, str]:
    """The body of /version (``k8s.io/apimachinery/pkg/version.Info``)."""
    major, minor = KUBERNETES_VERSION.lstrip("v").split(".")[:2]
    build = BUILD
    return {
        "major": major,
        "minor": minor,
        "emulationMajor": major,
        "emulationMinor": minor,
        "minCompatibilityMajor": major,
        "minCompatibilityMinor": str(int(minor) - 1),
        "gitVersion": f"{KUBERNETES_VERSION}+pyk3s{__version__}",
        "gitCommit": build.commit,
        "gitTreeState": build.tree_state,
        "buildDate": build.date,
        "goVersion": f"python{'.'.join(map(str, sys.version_info[:3]))}",
        "compiler": platform.python_implementation().lower(),
        "platform": f"linux/{_MACHINES.get(platform.machine(), platform.machine())}",
    }


def checked_out(folder: Path) -> str:
    """The commit that HEAD of a ``.git`` folder names; "" when it cannot be told from loose and packed references."""
    try:
        head = (folder / "HEAD").read_text().strip()
        name = head.removeprefix("ref: ")
        if name == head:
            return head
        loose = folder / name
        if loose.is_file():
            return loose.read_text().strip()
        packed = (folder / "packed-refs").read_text().splitlines()
    except OSError:
        return ""
    return next((line.split()[0] for line in packed if line.endswith(f" {name}")), "")


def _time_of(file: Path) -> str:
    try:
        seconds = file.stat().st_mtime
    except OSError:
        return _NEVER
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


BUILD = read_build_info(_HERE)
"""Of this installation: at most four small files, read with the code, before there is an event loop to block."""
