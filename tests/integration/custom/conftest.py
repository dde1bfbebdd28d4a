"""A control plane with controllers, and kubectl."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kubectl_command import Kubectl

from tests.integration.api.api_process import api_process


@pytest.fixture(scope="session")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    folder = tmp_path_factory.mktemp("custom")
    with api_process(folder, controllers=True):
        made = Kubectl(folder)
        made.until("the kubeconfig", (folder / "config").exists)
        yield made
