"""The log backend: one event a line, in a file that is rotated by size, number and age.

Names and rules of rotation are those of the flags ``--audit-log-maxsize`` (megabytes), ``-maxbackup`` and
``-maxage`` (days) and of the library behind them: a full ``audit.log`` becomes ``audit-<UTC time>.log``. All of it
runs in a thread. The file is 0600.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from minikube_py.components.apiserver.audit.batches import WriteFailed
from minikube_py.machinery.objects import Object

_MEGABYTE = 1024 * 1024
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class FileSettings:
    """``path`` "-" is standard output. Zero for a limit: none, as kube-apiserver has it."""

    path: str
    max_age_days: int = 0
    max_backups: int = 0
    max_size_megabytes: int = 0
    compress: bool = False
    legacy: bool = False
    """One line of text for each event instead of JSON (``--audit-log-format=legacy``)."""


class AuditFile:
    """See the module."""

    def __init__(self, settings: FileSettings, now: Callable[[], float]) -> None:
        self._settings = settings
        self._now = now
        self._size = -1

    async def write(self, events: Sequence[Object]) -> None:
        """Append the events. Raises WriteFailed."""
        form = legacy_line if self._settings.legacy else orjson.dumps
        lines = b"".join(form(event) + b"\n" for event in events)
        try:
            await asyncio.to_thread(self._append, lines)
        except OSError as error:
            raise WriteFailed(f"{self._settings.path}: {error.strerror or error}") from error

    def open(self) -> None:
        """Check that the file can be written. Blocks. Raises OSError."""
        if self._settings.path != "-":
            Path(self._settings.path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._append(b"")

    def _append(self, lines: bytes) -> None:
        if self._settings.path == "-":
            sys.stdout.buffer.write(lines)
            sys.stdout.buffer.flush()
            return
        path, limit = Path(self._settings.path), self._settings.max_size_megabytes * _MEGABYTE
        if self._size < 0:
            self._size = path.stat().st_size if path.exists() else 0
        if limit and self._size and self._size + len(lines) > limit:
            self._rotate(path)
            self._size = 0
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "ab") as file:
            file.write(lines)
        self._size += len(lines)

    def _rotate(self, path: Path) -> None:
        moment = datetime.fromtimestamp(self._now(), UTC)
        stamp = moment.strftime("%Y-%m-%dT%H-%M-%S.") + f"{moment.microsecond // 1000:03d}"
        backup = path.with_name(f"{path.stem}-{stamp}{path.suffix}")
        path.rename(backup)
        if self._settings.compress:
            packed = backup.with_name(backup.name + ".gz")
            with backup.open("rb") as plain, gzip.open(packed, "wb") as target:
                shutil.copyfileobj(plain, target)
            packed.chmod(0o600)
            backup.unlink()
        self._remove_old(path)

    def _remove_old(self, path: Path) -> None:
        settings = self._settings
        backups = sorted(path.parent.glob(f"{path.stem}-*{path.suffix}*"), reverse=True)
        surplus = set(backups[settings.max_backups :]) if settings.max_backups else set()
        if settings.max_age_days:
            oldest = self._now() - settings.max_age_days * _DAY_SECONDS
            surplus |= {backup for backup in backups if backup.stat().st_mtime < oldest}
        for backup in surplus:
            backup.unlink()


def legacy_line(event: Object) -> bytes:
    """An event as the text line of older servers (``audit.EventString``)."""
    user: dict[str, Any] = event["user"]
    reference: dict[str, Any] = event.get("objectRef") or {}
    as_user: dict[str, Any] = event.get("impersonatedUser") or {}
    fields = {
        "AUDIT": "",
        "id": event["auditID"],
        "stage": event["stage"],
        "ip": event["sourceIPs"][0],
        "method": event["verb"],
        "user": user["username"],
        "groups": _list(user.get("groups") or ()),
        "as": as_user.get("username") or "<self>",
        "asgroups": _list(as_user.get("groups") or ()) if as_user else "<lookup>",
        "user-agent": event.get("userAgent", ""),
        "namespace": reference.get("namespace") or "<none>",
        "uri": event["requestURI"],
        "response": str((event.get("responseStatus") or {}).get("code") or "<deferred>"),
    }
    parts = [f'{name}="{value}"' for name, value in fields.items() if name != "AUDIT"]
    return f"{event['stageTimestamp']} AUDIT: {' '.join(parts)}".encode()


def _list(values: Sequence[str]) -> str:
    return ",".join(f'\\"{value}\\"' for value in values)
