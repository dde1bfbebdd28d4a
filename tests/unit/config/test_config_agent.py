"""Settings of a worker: where they come from and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from minikube_py import config
from minikube_py.config import ConfigError
from minikube_py.config_agent import load_agent_settings, node_settings

URL = "https://192.0.2.1:6443"


@pytest.mark.parametrize(
    ("flags", "environment", "server"),
    [
        ({"server": URL}, {}, URL),
        ({}, {"PYK3S_SERVER": URL}, URL),
        ({}, {"PYK3S_URL": URL}, URL),
        ({}, {"PYK3S_URL": "https://other:1", "PYK3S_SERVER": URL}, URL),
        ({"server": URL}, {"PYK3S_URL": "https://other:1"}, URL),
    ],
    ids=["flag", "environment", "k3s's name", "the exact name first", "flags first"],
)
def test_server(flags: dict[str, Any], environment: dict[str, str], server: str) -> None:
    assert load_agent_settings(flags, environment).server == server


def test_one_file_for_a_worker_and_the_other_commands_of_its_host(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("K10secret\n")
    path = tmp_path / "config.yaml"
    path.write_text(f"server: {URL}\ntoken-file: {tmp_path / 'token'}\ndata-dir: /d\ncluster-cidr: 10.0.0.0/16\n")
    found = load_agent_settings({"config": str(path)}, {})
    assert (found.server, found.token, found.data_dir) == (URL, "K10secret", "/d")
    assert config.load_settings({"config": str(path)}, {}).data_dir == "/d"
    path.write_text(f"server: {URL}\nserve: x\n")
    with pytest.raises(ConfigError, match="unknown key 'serve'"):
        load_agent_settings({"config": str(path)}, {})


def test_the_node_half_is_set_as_on_a_server() -> None:
    found = load_agent_settings({"server": URL, "node_label": ("a=b",), "max_pods": 7}, {})
    node = node_settings(found)
    assert (node.node_label, node.max_pods, node.kubelet_port) == (("a=b",), 7, 10250)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({}, "--server is missing"),
        ({"server": "192.0.2.1"}, "is not https://HOST:PORT"),
        ({"server": "http://192.0.2.1:6443"}, "is not https://HOST:PORT"),
        ({"server": "https://:6443"}, "is not https://HOST:PORT"),
        ({"server": "https://h:99999"}, "is not https://HOST:PORT"),
        ({"server": "https://h:6443/path"}, "is not https://HOST:PORT"),
        ({"server": URL, "node_ip": "x"}, "--node-ip"),
        ({"server": URL, "token": "a", "token_file": "/b"}, "--token and --token-file are both given"),
        ({"server": URL, "node_taint": ("a=b",)}, "--node-taint"),
        ({"server": URL, "node_label": ("node-role.kubernetes.io/x=y",)}, "may not give itself node-role"),
        ({"server": URL, "node_label": ("x.k8s.io/x=y",)}, "may not give itself x.k8s.io/x"),
    ],
)
def test_what_is_wrong_is_one_line(flags: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_agent_settings(flags, {})
    assert says in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("label", ["a=b", "topology.kubernetes.io/zone=z", "node.kubernetes.io/x=y", "example.com/x=y"])
def test_labels_that_a_node_may_have(label: str) -> None:
    assert load_agent_settings({"server": URL, "node_label": (label,)}, {}).node_label == (label,)
