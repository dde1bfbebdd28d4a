"""The message of a container that has ended: its termination file, else the end of its log.

``FallbackToLogsOnError`` takes the last 80 lines (2 KiB) of the log of a failed container. Blocking.
"""

from __future__ import annotations

import os
from pathlib import Path

from minikube_py.components.kubelet.pods.model import TERMINATION_PATH_ANNOTATION, TERMINATION_POLICY_ANNOTATION
from minikube_py.components.kubelet.runtime.types import ContainerStatus

longest_message_bytes = 4096
longest_log_bytes = 2048
most_log_lines = 80


def termination_message(status: ContainerStatus) -> str:
    """The message, or what the runtime says when there is none."""
    notes = status.container.annotations
    inside = notes.get(TERMINATION_PATH_ANNOTATION)
    file = next((item.host_path for item in status.mounts if item.container_path == inside), None)
    message = _tail(Path(file), longest_message_bytes) if file else ""
    fallback = notes.get(TERMINATION_POLICY_ANNOTATION) == "FallbackToLogsOnError"
    if not message and fallback and status.exit_code != 0 and status.log_path:
        message = _log_end(Path(status.log_path))
    return message or status.message


def _tail(path: Path, size: int) -> str:
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(file.tell() - size, 0))
            return file.read(size).decode(errors="replace")
    except OSError as error:
        # A missing file is an empty message; other causes are told, as the kubelet does.
        return (
            "" if isinstance(error, FileNotFoundError) else f"Error on reading termination log {path}: {error.strerror}"
        )


def _log_end(path: Path) -> str:
    """The contents of the last lines of a log in CRI's format (``time stream tag content``)."""
    text = _tail(path, longest_log_bytes * 2)
    parts: list[str] = []
    for line in text.splitlines()[-most_log_lines:]:
        fields = line.split(" ", 3)
        if len(fields) == 4 and fields[1] in ("stdout", "stderr"):
            parts.append(fields[3] + ("\n" if fields[2].startswith("F") else ""))
    return "".join(parts)[-longest_log_bytes:]
