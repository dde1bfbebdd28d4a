"""An API server for tests that try to harm it or to load it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from api_process import Running, api_process


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with api_process(tmp_path_factory.mktemp("api")) as server:
        yield server
