"""The configuration of containerd and the CNI network, and the search for programs."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from minikube_py.components.kubelet.runtime import containerd_config
from minikube_py.components.kubelet.runtime.containerd_config import (
    Machine,
    RuntimeMissing,
    containerd_settings,
    probe_machine,
    render_config,
)
from minikube_py.components.kubelet.runtime.images.pause import PAUSE_IMAGE
from minikube_py.components.network.cni import NetworkSettings, pod_cidrs_of, render_cni
from minikube_py.components.network.component import host_port_removals, write_config

_machine = Machine("/usr/bin/containerd", "/usr/lib/cni", "overlayfs", may_lower_oom_score=False, has_apparmor=True)


def test_the_configuration_is_toml_that_names_our_own_places() -> None:
    settings = containerd_settings(Path('/data "quoted"'), Path("/run/p"))
    config = tomllib.loads(render_config(settings, _machine))
    cri = config["plugins"]["io.containerd.grpc.v1.cri"]
    assert config["version"] == 2 and config["root"] == '/data "quoted"/agent/containerd'
    assert config["grpc"]["address"] == "/run/p/containerd/containerd.sock"
    assert cri["sandbox_image"] == PAUSE_IMAGE
    assert cri["cni"] == {"bin_dir": "/usr/lib/cni", "conf_dir": '/data "quoted"/agent/etc/cni/net.d'}
    assert cri["containerd"]["runtimes"]["runc"]["options"] == {
        "SystemdCgroup": False,
        "Root": "/run/p/containerd/runc",
    }


@pytest.mark.parametrize(
    ("changes", "restrict", "score", "no_apparmor"),
    [
        pytest.param({}, True, 0, False, id="a container without CAP_SYS_RESOURCE"),
        pytest.param({"may_lower_oom_score": True, "has_apparmor": False}, False, -999, True, id="a host"),
    ],
)
def test_the_configuration_follows_the_machine(
    changes: dict[str, bool], restrict: bool, score: int, no_apparmor: bool
) -> None:
    machine = replace(_machine, **changes)  # type: ignore[arg-type]
    config = tomllib.loads(render_config(containerd_settings(Path("/d"), Path("/r")), machine))
    cri = config["plugins"]["io.containerd.grpc.v1.cri"]
    assert (cri["restrict_oom_score_adj"], config["oom_score"], cri["disable_apparmor"]) == (
        restrict,
        score,
        no_apparmor,
    )


def test_missing_programs_are_named_in_one_line_with_the_mend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(containerd_config, "_SEARCH_PATH", str(tmp_path))
    monkeypatch.setattr(containerd_config, "_CNI_FOLDERS", (str(tmp_path),))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeMissing) as caught:
        probe_machine(containerd_settings(tmp_path / "d", tmp_path / "r"))
    text = str(caught.value)
    assert "apt-get install containerd runc containernetworking-plugins" in text and "\n" not in text


def _network(folder: Path) -> NetworkSettings:
    return NetworkSettings(
        node_name="n", cluster_cidr="10.42.0.0/16", conf_dir=folder / "net.d", state_dir=folder / "state", bridge="br7"
    )


def test_the_network_configuration(tmp_path: Path) -> None:
    conflist = orjson.loads(render_cni(_network(tmp_path), ["10.42.3.0/24", "fd00:42::/64"]))
    bridge, host_ports = conflist["plugins"]
    assert bridge["bridge"] == "br7" and bridge["ipMasq"] is False and bridge["hairpinMode"] is True
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.42.3.0/24"}], [{"subnet": "fd00:42::/64"}]]
    assert bridge["ipam"]["routes"] == [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    assert host_ports["type"] == "portmap" and host_ports["capabilities"] == {"portMappings": True}


def test_the_network_configuration_is_written_only_when_it_changes(tmp_path: Path) -> None:
    settings = _network(tmp_path)
    assert write_config(settings, b"one")
    assert not write_config(settings, b"one")
    assert write_config(settings, b"two") and settings.conf_file.read_bytes() == b"two"
    assert [item.name for item in settings.conf_dir.iterdir()] == ["10-pyk3s.conflist"]


@pytest.mark.parametrize(
    ("spec", "cidrs"),
    [
        pytest.param({}, (), id="not assigned yet"),
        pytest.param({"podCIDR": "10.42.0.0/24"}, ("10.42.0.0/24",), id="one"),
        pytest.param({"podCIDR": "a", "podCIDRs": ["a", "b"]}, ("a", "b"), id="two families"),
    ],
)
def test_pod_ranges_of_a_node(spec: dict[str, object], cidrs: tuple[str, ...]) -> None:
    assert pod_cidrs_of({"spec": spec}) == cidrs


_ours = (
    '-A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \\"pyk3s\\" id: \\"a\\"" -m multiport '
    "--dports 80 -j CNI-DN-ours"
)
_other = _ours.replace("pyk3s", "podman").replace("ours", "other")
_chains = ["-N CNI-HOSTPORT-DNAT", "-N CNI-HOSTPORT-SETMARK"]
_jump = "-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT"


def test_host_port_rules_of_ours_are_removed_with_the_common_chains() -> None:
    commands = host_port_removals(["-P PREROUTING ACCEPT", *_chains, "-N CNI-DN-ours", _jump, _ours])
    assert commands[0][:2] == ["-D", "CNI-HOSTPORT-DNAT"] and commands[0][-1] == "CNI-DN-ours"
    assert ["-X", "CNI-DN-ours"] in commands and ["-X", "CNI-HOSTPORT-DNAT"] in commands
    assert ["-D", "PREROUTING", "-m", "addrtype", "--dst-type", "LOCAL", "-j", "CNI-HOSTPORT-DNAT"] in commands


def test_host_port_rules_of_others_stay() -> None:
    commands = host_port_removals([*_chains, _jump, _ours, _other])
    assert ["-X", "CNI-DN-ours"] in commands
    assert not [
        command for command in commands if "CNI-DN-other" in command or (command[0] == "-D" and "-N" in command)
    ]
    assert ["-X", "CNI-HOSTPORT-DNAT"] not in commands
