"""Flushing to the disk is the machine's business; these tests would wait for it most of their time."""

from __future__ import annotations

import pytest

from minikube_py.pki import files


@pytest.fixture(autouse=True)
def no_flushes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_flush_all", lambda paths: None)
