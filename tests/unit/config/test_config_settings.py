"""Settings: precedence of the three sources, and one clear line for everything that is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from minikube_py import config


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
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(config.ConfigError, match=r"config\.yaml") as caught:
        load({"config": str(path)})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


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
        pytest.param({"max_requests_inflight": 0}, "must be at least 1", id="no seats"),
        pytest.param({"datastore_client_rate": -1}, "--datastore-client-rate", id="negative rate"),
        pytest.param({"disable": ("coffee",)}, "unknown part 'coffee'", id="unknown part"),
        pytest.param({"node_label": ("x",)}, "is not key=value", id="label without value"),
        pytest.param({"node_taint": ("x=y:Never",)}, "is not key=value:Effect", id="taint with a wrong effect"),
        pytest.param({"authorization_mode": ("ABAC",)}, "unknown mode", id="unknown authorizer"),
        pytest.param({"authorization_webhook_cache_authorized_ttl": "5"}, "is not a duration", id="TTL without a unit"),
        pytest.param({"authentication_token_webhook_cache_ttl": ""}, "is not a duration", id="empty TTL"),
        pytest.param({"datastore_endpoint": "mysql://u:secret@h/x"}, "use sqlite:///PATH or", id="unknown datastore"),
        pytest.param({"etcd_listen": "2379"}, "is not HOST:PORT", id="etcd address without host"),
    ],
)  # fmt: skip
def test_bad_values(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(config.ConfigError) as caught:
        load(flags)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_derived_addresses() -> None:
    settings = load({"service_cidr": "10.99.0.0/24"})
    assert config.service_address(settings, 1) == "10.99.0.1"
    assert config.cluster_dns_address(settings) == "10.99.0.10"
    assert config.node_port_range(settings) == (30000, 32767)


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
