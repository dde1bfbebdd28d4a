"""What can be told of a server's settings without touching the machine: one line for the first thing that is wrong.

Each check names the option, what is wrong with its value and what would be right. Raises ConfigError.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from urllib.parse import urlsplit

from minikube_py import config
from minikube_py.config import ConfigError, ServerSettings, flag_name
from minikube_py.machinery.names import (
    dns1123_subdomain_errors,
    label_value_errors,
    qualified_name_errors,
    wildcard_subdomain_errors,
)

AUTHORIZATION_MODES = ("Node", "RBAC", "Webhook", "AlwaysAllow", "AlwaysDeny")
_DURATIONS = (
    "certificate_duration",
    "cluster_signing_duration",
    "node_monitor_grace_period",
    "horizontal_pod_autoscaler_sync_period",
    "horizontal_pod_autoscaler_downscale_stabilization",
    "horizontal_pod_autoscaler_initial_readiness_delay",
    "horizontal_pod_autoscaler_cpu_initialization_period",
    "authentication_token_webhook_cache_ttl",
    "authorization_webhook_cache_authorized_ttl",
    "authorization_webhook_cache_unauthorized_ttl",
)
_LEAST = {
    "datastore_client_rate": (0, "0 (no limit) or more writes a second"),
    "max_pods": (0, "0 or more"),
    "pod_max_pids": (-1, "-1 (no limit) or more"),
    "audit_log_maxage": (0, "0 (keep all) or more days"),
    "audit_log_maxbackup": (0, "0 (keep all) or more files"),
    "audit_log_maxsize": (0, "0 (never rotate) or more megabytes"),
    "audit_truncate_max_event_size": (0, "0 (no limit) or more bytes"),
    "max_requests_inflight": (1, "at least 1, so that requests can be served at all"),
    "max_mutating_requests_inflight": (1, "at least 1, so that requests can be served at all"),
}
"""The least value of an option, and the words for it."""
_SHORTEST_CERTIFICATE_SECONDS = 60.0
_FEWEST_SERVICE_ADDRESSES = 8
_WIDEST_IPV6_PREFIX = 64
_NODE_PREFIX = 24
"""Every node gets a part of this size of the pods' range."""


def check(settings: ServerSettings) -> None:
    """Raise ConfigError for the first setting that cannot work."""
    _check_choices(settings)
    _check_numbers(settings)
    _check_addresses(settings)
    _check_ranges(settings)
    _check_names(settings)
    _check_node(settings)
    for name in _DURATIONS:
        config.seconds(name, getattr(settings, name))
    period = "horizontal_pod_autoscaler_sync_period"
    if not config.seconds(period, getattr(settings, period)):
        raise _wrong(period, getattr(settings, period), "no time at all; give one such as 15s")
    if config.seconds("certificate_duration", settings.certificate_duration) < _SHORTEST_CERTIFICATE_SECONDS:
        raise _wrong(
            "certificate_duration", settings.certificate_duration, "too short to renew in time; give 1m or more"
        )
    config.share("horizontal_pod_autoscaler_tolerance", settings.horizontal_pod_autoscaler_tolerance)
    if not re.fullmatch(r"0?[0-7]{3}", settings.write_kubeconfig_mode):
        raise _wrong("write_kubeconfig_mode", settings.write_kubeconfig_mode, "not an octal mode such as 0600")
    if (settings.tls_min_version, settings.tls_cipher_suites) != ("VersionTLS12", ()):
        config.tls_policy(settings)
    if settings.datastore_endpoint:
        from minikube_py.datastore.endpoints import sqlite_path  # brings the store's own modules

        try:
            sqlite_path(settings.datastore_endpoint)
        except ValueError as error:
            raise ConfigError(f"--datastore-endpoint: {error}") from None


def _wrong(name: str, value: object, text: str) -> ConfigError:
    return ConfigError(f"--{flag_name(name)}: {value!r} is {text}")


def _check_choices(settings: ServerSettings) -> None:
    """Options of a fixed vocabulary; the command line has checked its own, files and environment have not."""
    for item in dataclasses.fields(settings):
        choices, value = item.metadata["choices"], getattr(settings, item.name)
        if choices and value not in choices:
            raise _wrong(item.name, value, f"not one of {', '.join(choices)}")
    for part in settings.disable:
        if part not in config.DISABLEABLE:
            raise ConfigError(f"--disable: unknown part {part!r}; known are {', '.join(config.DISABLEABLE)}")
    if not settings.authorization_mode:
        raise ConfigError(f"--authorization-mode: at least one is needed; known are {', '.join(AUTHORIZATION_MODES)}")
    for mode in settings.authorization_mode:
        if mode not in AUTHORIZATION_MODES:
            known = ", ".join(AUTHORIZATION_MODES)
            raise ConfigError(f"--authorization-mode: unknown mode {mode!r}; known are {known}")


def _check_numbers(settings: ServerSettings) -> None:
    for name, (least, words) in _LEAST.items():
        if getattr(settings, name) < least:
            raise ConfigError(f"--{flag_name(name)}: must be {words}")
    for name in ("https_listen_port", "kubelet_port"):
        if not 0 < getattr(settings, name) < 65536:
            raise _wrong(name, getattr(settings, name), "not a port (1-65535)")
    if settings.https_listen_port == settings.kubelet_port and not settings.disable_agent:
        raise ConfigError("--https-listen-port and --kubelet-port are the same; choose separate ports")
    config.node_port_range(settings)


def _check_addresses(settings: ServerSettings) -> None:
    _address("bind_address", settings.bind_address)
    for name in ("advertise_address", "node_ip"):
        if getattr(settings, name):
            _check_reachable(name, getattr(settings, name))
    found = re.fullmatch(r"(\S+):(\d{1,5})", settings.etcd_listen)
    if settings.etcd_listen and (found is None or not 0 < int(found[2]) < 65536):
        raise _wrong("etcd_listen", settings.etcd_listen, "not HOST:PORT")
    if settings.etcd_trusted_ca_file and not settings.etcd_listen:
        raise ConfigError("--etcd-trusted-ca-file: nobody connects without --etcd-listen; set both")
    for name in settings.tls_san:
        if not _is_address(name) and dns1123_subdomain_errors(name.lower()) and wildcard_subdomain_errors(name.lower()):
            raise _wrong("tls_san", name, "neither an IP address nor a DNS name")


def _check_reachable(name: str, value: str) -> None:
    """An address that others reach: pods find the API by it, and nodes each other."""
    found = _address(name, value)
    if found.is_loopback or found.is_unspecified or found.is_multicast or found.is_link_local:
        raise _wrong(name, value, "an address that no other host can reach; give one of this host's network")


def _check_ranges(settings: ServerSettings) -> None:
    pods, services = _network("cluster_cidr", settings.cluster_cidr), _service_network(settings)
    if pods.overlaps(services):
        raise ConfigError("--cluster-cidr and --service-cidr overlap; choose separate ranges")
    if pods.prefixlen > _NODE_PREFIX:
        raise _wrong("cluster_cidr", settings.cluster_cidr, f"too small: each node gets a /{_NODE_PREFIX} of it")
    chosen = _address("cluster_dns", settings.cluster_dns) if settings.cluster_dns else None
    if settings.disable_agent or "dns" in settings.disable:
        return
    if chosen is not None and chosen not in services:
        raise _wrong("cluster_dns", settings.cluster_dns, f"outside of --service-cidr {settings.service_cidr}")
    if chosen is None and services.num_addresses <= config.DNS_ADDRESS_INDEX:
        raise _wrong("service_cidr", settings.service_cidr, "too small for a cluster DNS; choose it with --cluster-dns")


def _service_network(settings: ServerSettings) -> ipaddress.IPv4Network:
    """The range that nodes carry, of one range, or two: then the second is an IPv6 range for the API to give out."""
    texts = config.service_cidrs(settings)
    if len(texts) > 2:
        raise _wrong("service_cidr", settings.service_cidr, "more than two ranges")
    first = _network("service_cidr", texts[0])
    if first.num_addresses < _FEWEST_SERVICE_ADDRESSES:
        raise _wrong("service_cidr", texts[0], f"too small: it needs {_FEWEST_SERVICE_ADDRESSES} addresses or more")
    for text in texts[1:]:
        try:
            second = ipaddress.ip_network(text)
        except ValueError as error:
            raise _wrong("service_cidr", text, f"not a range such as fd00:43::/112: {error}") from None
        if second.version == first.version:
            raise _wrong("service_cidr", settings.service_cidr, "two ranges of one IP family; the second must be IPv6")
        if second.num_addresses < _FEWEST_SERVICE_ADDRESSES:
            raise _wrong("service_cidr", text, f"too small: it needs {_FEWEST_SERVICE_ADDRESSES} addresses or more")
        if second.prefixlen < _WIDEST_IPV6_PREFIX:
            raise _wrong("service_cidr", text, f"too large: the mask must be {_WIDEST_IPV6_PREFIX} or more")
    return first


def _check_names(settings: ServerSettings) -> None:
    if dns1123_subdomain_errors(settings.cluster_domain):
        raise _wrong("cluster_domain", settings.cluster_domain, "not a DNS domain such as cluster.local")
    name = config.node_name(settings)
    if dns1123_subdomain_errors(name):
        text = "not a name of letters, digits, - and ., with a letter or digit at both ends"
        raise _wrong("node_name", name, text + ("" if settings.node_name else "; it is this host's, give another"))
    if not re.fullmatch(r"[^\s/:]{1,15}", settings.bridge_name) or settings.bridge_name in (".", ".."):
        raise _wrong(
            "bridge_name", settings.bridge_name, "not the name of an interface: at most 15 characters, no / or :"
        )
    issuer = settings.service_account_issuer
    if not issuer or (":" in issuer and not urlsplit(issuer).scheme):
        raise _wrong("service_account_issuer", issuer, "neither a URL nor a word without colons")


def _check_node(settings: ServerSettings) -> None:
    for label in settings.node_label:
        key, equals, value = label.partition("=")
        if not equals:
            raise ConfigError(f"--node-label: {label!r} is not key=value")
        if errors := qualified_name_errors(key) + label_value_errors(value):
            raise ConfigError(f"--node-label: {label!r}: {errors[0]}")
    for taint in settings.node_taint:
        found = re.fullmatch(r"([^=:]+)(?:=([^:]*))?:(NoSchedule|PreferNoSchedule|NoExecute)", taint)
        if found is None:
            text = "not key=value:Effect with NoSchedule, PreferNoSchedule or NoExecute"
            raise ConfigError(f"--node-taint: {taint!r} is {text}")
        if errors := qualified_name_errors(found[1]) + label_value_errors(found[2] or ""):
            raise ConfigError(f"--node-taint: {taint!r}: {errors[0]}")


def _network(name: str, value: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(value)
    except ValueError as error:
        raise _wrong(name, value, f"not an IPv4 range such as 10.42.0.0/16: {error}") from None


def _address(name: str, value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(value)
    except ValueError:
        raise _wrong(name, value, "not an IP address") from None


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
