"""Which parts of a node are started."""

from __future__ import annotations

import pytest

from minikube_py.agent import Node, node_components
from minikube_py.config import DISABLEABLE, ServerSettings


def no_node() -> Node:
    raise AssertionError("nothing is started here")


@pytest.mark.parametrize("disabled", [(), *((name,) for name in DISABLEABLE), DISABLEABLE])
def test_what_is_disabled_is_not_started(disabled: tuple[str, ...]) -> None:
    names = {component.name for component in node_components(ServerSettings(disable=disabled), no_node)}
    assert names == {"network", "kubelet", "proxy", "dns", "local-storage"} - set(disabled)
