"""Writing secrets so that a crash leaves either the old file or the new one, readable by root alone.

A batch costs one round of parallel flushes instead of one flush after the other: on the flash of
small boards a single ``fsync`` takes milliseconds, and a first start writes thirty files.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

private_file_mode = 0o600
private_directory_mode = 0o700
parallel_flushes = 8


def make_private_directory(path: Path) -> None:
    """Create a directory (and its parents) that only its owner may enter.

    Parents that exist keep their mode; the directory itself is narrowed to 0700.
    """
    path.mkdir(mode=private_directory_mode, parents=True, exist_ok=True)
    path.chmod(private_directory_mode)


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold the lock of a file (made when missing); waits for another process that holds it. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, private_file_mode)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write_file(path: Path, content: bytes, mode: int = private_file_mode) -> None:
    """Replace one file atomically and durably. Raises OSError."""
    write_files({path: content}, mode)


def write_files(contents: Mapping[Path, bytes], mode: int = private_file_mode) -> None:
    """Replace several files, each atomically, in the mapping's order; durable on return.

    On an error every file is either untouched or completely replaced, and no temporary file stays.
    Raises OSError.
    """
    if not contents:
        return
    temporary: dict[Path, Path] = {}
    try:
        for path, content in contents.items():
            temporary[path] = _write_temporary(path, content, mode)
        _flush_all(list(temporary.values()))
        for path in contents:
            temporary[path].replace(path)
            del temporary[path]
        _flush_all(sorted({path.parent for path in contents}))
    finally:
        for leftover in temporary.values():
            leftover.unlink(missing_ok=True)


def read_file(path: Path) -> bytes | None:
    """The content, or None when there is no such file. Raises OSError for any other failure."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _write_temporary(path: Path, content: bytes, mode: int) -> Path:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_all(paths: list[Path]) -> None:
    if len(paths) == 1:
        _flush(paths[0])
        return
    with ThreadPoolExecutor(min(parallel_flushes, len(paths)), thread_name_prefix="pki-flush") as pool:
        for done in [pool.submit(_flush, path) for path in paths]:
            done.result()
