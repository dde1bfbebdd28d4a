"""One process for each data folder: the folder is made, and a locked file in it says that it is taken."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from minikube_py.serving.errors import StartError


def take_folder(lock: Path, *, shown: str, owner: str) -> int:
    """Make the lock's folder (0700) and lock the file; returns its descriptor, which holds the lock until it is closed.

    ``shown`` is what the user calls the folder, ``owner`` who else may have it. Raises StartError.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StartError(f"cannot use {shown}: {error.strerror}; choose another with --data-dir") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise StartError(f"{shown} is in use by another {owner}; stop that one or choose another --data-dir") from None
    return descriptor
