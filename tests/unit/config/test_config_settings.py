"""Settings: precedence of the three sources, and one clear line for everything that is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from minikube_py import config
from minikube_py.components.controllers.horizontal_pod_autoscaler.settings import AutoscalerSettings
from minikube_py.serving.loops import autoscaler_settings


def load(flags: dict[str, Any] | None = None, env: dict[str, str] | None = None) -> config.ServerSettings:
    return config.load_settings(flags or {}, env or {})


def test_flags_beat_environment_beats_file(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("data-dir: /file\ncluster-domain: file.local\nnode-name: file\ntls-san: [a, b]\n")
    env = {"PYK3S_CLUSTER_DOMAIN": "env.local", "PYK3S_NODE_NAME": "env", "PYK3S_DISABLE_AGENT": "true"}
    found = load({"config": str(path), "node_name": "flag"}, env)
    assert (found.data_dir, found.cluster_domain, found.node_name) == ("/file", "env.local", "flag")
    assert found.tls_san == ("a", "b")
    assert found.disable_agent is True


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("data-dri: /x", "unknown key 'data-dri'; did you mean 'data-dir'?", id="misspelt key"),
        pytest.param("https-listen-port: many", "'many' is not a whole number", id="not a number"),
        pytest.param("disable-agent: maybe", "'maybe' is neither true nor false", id="not a truth"),
        pytest.param("data-dir: {a: 1}", "expected a single value", id="mapping for a value"),
        pytest.param("[1, 2]", "must be a mapping", id="not a mapping"),
        pytest.param("a: [", "is not YAML", id="not YAML"),
        pytest.param("\tdata-dir: x", "is not YAML", id="a tab for indentation"),
        pytest.param("a: *b", "is not YAML", id="an alias of nothing"),
        pytest.param("[" * 600, "is nested too deeply", id="six hundred brackets"),
        pytest.param("tls-san: [{a: 1}]", "expected a list of single values", id="mapping in a list"),
        pytest.param("max-pods:", "'' is not a whole number", id="no value"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(config.ConfigError, match=r"config\.yaml") as caught:
        load({"config": str(path)})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(config.ConfigError, match=r"config\.yaml is not UTF-8 text"):
        load({"config": str(path)})


def test_values_of_a_file_count_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "write-kubeconfig-mode: 0644\nnode-name: 1.10\ntoken: 0123\ndebug: on\ntls-san: a, b\nmax-pods: 20\n"
    )
    found = load({"config": str(path)})
    assert (found.write_kubeconfig_mode, found.node_name, found.token) == ("0644", "1.10", "0123")
    assert (found.debug, found.tls_san, found.max_pods) == (True, ("a", "b"), 20)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        pytest.param({"config": "/nowhere.yaml"}, "does not exist", id="missing file"),
        pytest.param({"cluster_cidr": "10.42.0.1/16"}, "--cluster-cidr", id="host bits set"),
        pytest.param({"service_cidr": "10.42.0.0/20"}, "overlap", id="overlapping ranges"),
        pytest.param({"node_ip": "host"}, "--node-ip: 'host' is not an IP address", id="name for an address"),
        pytest.param({"https_listen_port": 70000}, "is not a port", id="port out of range"),
        pytest.param({"service_node_port_range": "9-3"}, "is not LOW-HIGH", id="empty port range"),
        pytest.param({"tls_min_version": "VersionTLS11"}, "'VersionTLS11' is not offered", id="old TLS"),
        pytest.param({"tls_cipher_suites": ("RC4",)}, "cipher suite 'RC4' is not offered", id="weak suite"),
        pytest.param({"token_file": "/nowhere"}, "--token-file: cannot read /nowhere", id="no token file"),
        pytest.param({"agent_token_file": "/dev/null"}, "/dev/null is empty", id="empty token file"),
        pytest.param({"token": "a", "token_file": "/dev/null"}, "both given", id="token twice"),
        pytest.param({"certificate_duration": "59s"}, "too short to renew in time", id="certificates of seconds"),
        pytest.param({"max_requests_inflight": 0}, "must be at least 1", id="no seats"),
        pytest.param(
            {"horizontal_pod_autoscaler_sync_period": "0s"},
            "--horizontal-pod-autoscaler-sync-period: '0s' is no time at all",
            id="looking without a pause",
        ),
        pytest.param(
            {"horizontal_pod_autoscaler_downscale_stabilization": "5"},
            "--horizontal-pod-autoscaler-downscale-stabilization: '5' is not a duration",
            id="window without a unit",
        ),
        pytest.param(
            {"horizontal_pod_autoscaler_tolerance": "-0.1"},
            "--horizontal-pod-autoscaler-tolerance: '-0.1' is not a number such as 0.1",
            id="negative tolerance",
        ),
        pytest.param({"horizontal_pod_autoscaler_tolerance": "nan"}, "is not a number", id="no number"),
        pytest.param({"datastore_client_rate": -1}, "--datastore-client-rate", id="negative rate"),
        pytest.param({"disable": ("coffee",)}, "unknown part 'coffee'", id="unknown part"),
        pytest.param({"node_label": ("x",)}, "is not key=value", id="label without value"),
        pytest.param({"node_taint": ("x=y:Never",)}, "is not key=value:Effect", id="taint with a wrong effect"),
        pytest.param({"authorization_mode": ("ABAC",)}, "unknown mode", id="unknown authorizer"),
        pytest.param({"authorization_webhook_cache_authorized_ttl": "5"}, "is not a duration", id="TTL without a unit"),
        pytest.param({"authentication_token_webhook_cache_ttl": ""}, "is not a duration", id="empty TTL"),
        pytest.param({"datastore_endpoint": "mysql://u:secret@h/x"}, "use sqlite:///PATH or", id="unknown datastore"),
        pytest.param({"etcd_listen": "2379"}, "is not HOST:PORT", id="etcd address without host"),
        pytest.param({"etcd_listen": "h:0"}, "is not HOST:PORT", id="etcd address without port"),
        pytest.param({"etcd_trusted_ca_file": "/ca"}, "without --etcd-listen", id="CA of nobody's clients"),
        pytest.param({"log_format": "xml"}, "'xml' is not one of text, json", id="a word that is no choice"),
        pytest.param({"bind_address": ""}, "'' is not an IP address", id="no address to listen on"),
        pytest.param({"node_ip": "127.0.0.1"}, "that no other host can reach", id="node at loopback"),
        pytest.param({"advertise_address": "0.0.0.0"}, "that no other host can reach", id="API at no address"),
        pytest.param({"advertise_address": "169.254.1.1"}, "that no other host can reach", id="API on one link"),
        pytest.param({"tls_san": ("x y",)}, "neither an IP address nor a DNS name", id="a name with a blank"),
        pytest.param({"tls_san": ("\u00e4.org",)}, "neither an IP address nor a DNS name", id="a name beyond ASCII"),
        pytest.param({"cluster_cidr": "10.42.0.0/25"}, "is too small: each node gets a /24", id="too few pods"),
        pytest.param({"service_cidr": "10.43.0.0/30"}, "is too small: it needs 8", id="too few Services"),
        pytest.param({"service_cidr": "10.43.0.0/29"}, "too small for a cluster DNS", id="no room for DNS"),
        pytest.param({"service_cidr": "10.43.0.0/16,10.44.0.0/16"}, "two ranges of one IP family", id="one family"),
        pytest.param({"service_cidr": "10.43.0.0/16,fd00::/112,fd01::/112"}, "more than two ranges", id="three ranges"),
        pytest.param({"service_cidr": "fd00::/112,10.43.0.0/16"}, "'fd00::/112' is not an IPv4 range", id="IPv6 first"),
        pytest.param({"service_cidr": "10.43.0.0/16,fd00::1/112"}, "not a range such as fd00:43::/112", id="host bits"),
        pytest.param({"service_cidr": "10.43.0.0/16,"}, "'' is not a range such as", id="nothing after the comma"),
        pytest.param({"service_cidr": "10.43.0.0/16,fd00::/126"}, "is too small: it needs 8", id="too few of IPv6"),
        pytest.param({"service_cidr": "10.43.0.0/16,fd00::/48"}, "the mask must be 64 or more", id="too many of IPv6"),
        pytest.param({"cluster_dns": "1.2.3.4"}, "is outside of --service-cidr 10.43.0.0/16", id="DNS elsewhere"),
        pytest.param({"cluster_dns": "x", "disable_agent": True}, "'x' is not an IP address", id="DNS at a name"),
        pytest.param({"cluster_domain": "-x"}, "is not a DNS domain", id="no domain"),
        pytest.param({"node_name": "a_b"}, "--node-name: 'a_b' is not a name of letters", id="no name for a node"),
        pytest.param({"node_label": ("a b=c",)}, "--node-label: 'a b=c': name part must consist of", id="label key"),
        pytest.param({"node_label": ("a=b c",)}, "--node-label: 'a=b c': a valid label must be", id="label value"),
        pytest.param({"node_taint": ("a b:NoExecute",)}, "--node-taint: 'a b:NoExecute': name part", id="taint key"),
        pytest.param({"kubelet_port": 6443}, "are the same; choose separate ports", id="one port for two"),
        pytest.param({"bridge_name": "a b"}, "is not the name of an interface", id="a blank in an interface"),
        pytest.param({"bridge_name": "x" * 16}, "is not the name of an interface", id="a long interface"),
        pytest.param({"service_account_issuer": ""}, "is neither a URL nor a word", id="no issuer"),
        pytest.param({"service_account_issuer": "::"}, "is neither a URL nor a word", id="issuer of colons"),
        pytest.param({"authorization_mode": ()}, "at least one is needed", id="no authorizer"),
        pytest.param({"authorization_webhook_version": "v2"}, "not one of v1, v1beta1", id="version of no webhook"),
        pytest.param({"max_pods": -1}, "--max-pods: must be 0 or more", id="fewer pods than none"),
    ],
)  # fmt: skip
def test_bad_values(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(config.ConfigError) as caught:
        load(flags)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param({"tls_san": ("*.example.org", "API.example.org", "::1", "10.0.0.1")}, id="names and addresses"),
        pytest.param({"service_cidr": "10.43.0.0/29", "cluster_dns": "10.43.0.3"}, id="few Services, DNS among them"),
        pytest.param({"service_cidr": "10.43.0.0/29", "disable_agent": True}, id="few Services, no DNS"),
        pytest.param({"service_cidr": "10.43.0.0/16, fd00:43::/112"}, id="two families"),
        pytest.param({"cluster_dns": "1.2.3.4", "disable": ("dns",)}, id="a DNS of their own"),
        pytest.param({"node_name": "Host-1.Example.org"}, id="a name in capitals"),
        pytest.param({"node_taint": ("example.org/a=b:NoSchedule", "c:NoExecute")}, id="taints"),
        pytest.param({"https_listen_port": 10250, "disable_agent": True}, id="the port of no node"),
    ],
)
def test_good_values(flags: dict[str, Any]) -> None:
    load(flags)


def test_derived_addresses() -> None:
    settings = load({"service_cidr": "10.99.0.0/24"})
    assert config.service_address(settings, 1) == "10.99.0.1"
    assert config.cluster_dns_address(settings) == "10.99.0.10"
    assert config.node_port_range(settings) == (30000, 32767)
    both = load({"service_cidr": "10.99.0.0/24,fd00:43::/112"})
    assert config.service_address(both, 1) == "10.99.0.1"
    assert config.node_service_cidr(both) == "10.99.0.0/24"


def test_run_dir_follows_the_data_dir() -> None:
    assert config.run_dir(load()) == Path("/run/pyk3s")
    assert config.run_dir(load({"data_dir": "/x"})) == Path("/x/run")


def test_servers_side_by_side_have_cgroups_of_their_own() -> None:
    assert config.cgroup_root(load()) == ""
    first, second = (config.cgroup_root(load({"data_dir": name})) for name in ("/x", "/y"))
    assert first.startswith("/pyk3s-") and second.startswith("/pyk3s-") and first != second


def test_a_host_without_any_address_needs_one() -> None:
    program = "from minikube_py import config; print(config.node_ip(config.ServerSettings()))"
    done = subprocess.run(
        ["unshare", "--user", "--net", sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert "give one with --node-ip" in done.stderr


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30.0), ("2m0s", 120.0), ("1h", 3600.0), ("1h1m1.5s", 3661.5), ("0s", 0.0)]
)
def test_durations(text: str, seconds: float) -> None:
    assert config.seconds("authentication_token_webhook_cache_ttl", text) == seconds


def test_what_autoscalers_are_told(tmp_path: Path) -> None:
    assert autoscaler_settings(load({})) == AutoscalerSettings(), "kube-controller-manager's defaults"
    path = tmp_path / "config.yaml"
    path.write_text("horizontal-pod-autoscaler-sync-period: 30s\nhorizontal-pod-autoscaler-tolerance: 0.25\n")
    flags = {
        "config": str(path),
        "horizontal_pod_autoscaler_downscale_stabilization": "1m30s",
        "horizontal_pod_autoscaler_initial_readiness_delay": "0s",
    }
    found = load(flags, {"PYK3S_HORIZONTAL_POD_AUTOSCALER_CPU_INITIALIZATION_PERIOD": "1h"})
    assert autoscaler_settings(found) == AutoscalerSettings(30.0, 0.25, 90.0, 0.0, 3600.0)


def test_tokens_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one\n")
    found = load({"token_file": str(tmp_path / "token")}, {"PYK3S_AGENT_TOKEN_FILE": str(tmp_path / "token")})
    assert (found.token, found.agent_token) == ("one", "one")


@pytest.mark.parametrize(
    ("endpoint", "secrets"),
    [
        ("", ()),
        ("sqlite:////var/lib/x/state.db", ()),
        ("postgresql://user:s3cret@host:5432/db?sslmode=require", ("s3cret",)),
        ("postgresql://user:a/b:c@host/db", ("a/b:c",)),
        ("postgresql://user@host:5432/db", ()),
        ("postgresql://host/db?user=u&password=s3cret&sslpassword=other", ("s3cret", "other")),
    ],
)
def test_secrets_of_the_command_line(endpoint: str, secrets: tuple[str, ...]) -> None:
    found = load({"token": "t", "agent_token": "a", "datastore_endpoint": endpoint})
    assert config.secret_arguments(found) == ("t", "a", *secrets)
