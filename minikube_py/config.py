"""Settings of a server: config file < environment < flags, as one typed, frozen record.

``ServerSettings`` is the single list of options: the command line (``cli``), the configuration
file (``/etc/pyk3s/config.yaml``, keys are flag names without dashes) and the environment
(``PYK3S_DATA_DIR`` for ``--data-dir``) are all derived from its fields. Names are k3s's where k3s
has one, else kube-apiserver's or the kubelet's.

Errors: ``ConfigError``, whose text is one line that names the option, what is wrong and the mend.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import ipaddress
import os
import re
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from minikube_py.host.tls_policy import TlsPolicy

config_file_default = Path("/etc/pyk3s/config.yaml")
environment_prefix = "PYK3S_"
SIOCGIFADDR = 0x8915
"""Linux's number of the request for an interface's IPv4 address."""


class ConfigError(Exception):
    """A setting that cannot be used; the text is what the user sees."""


def option(default: Any, text: str, *, choices: tuple[str, ...] = (), short: str = "") -> Any:
    """A settings field; a tuple default makes the option repeatable."""
    return field(default=default, metadata={"help": text, "choices": choices, "short": short})


DISABLEABLE = ("dns", "proxy", "network", "local-storage", "servicelb")
DNS_ADDRESS_INDEX = 10
"""The cluster DNS has this address of the Service range unless it is chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Everything ``pyk3s server`` can be told. Empty strings and tuples mean "choose"."""

    data_dir: str = option("/var/lib/pyk3s", "Folder that holds all state", short="-d")
    run_dir: str = option(
        "", "Folder for sockets and pid files (default: <data-dir>/run, or /run/pyk3s with the default data-dir)"
    )
    bind_address: str = option("0.0.0.0", "Address the API listens on")
    https_listen_port: int = option(6443, "Port the API listens on")
    advertise_address: str = option("", "Address under which others reach the API (default: node-ip)")
    tls_san: tuple[str, ...] = option((), "Further name or address for the API's certificate")
    tls_min_version: str = option("VersionTLS12", "Oldest TLS version of API and node API: VersionTLS12, VersionTLS13")
    tls_cipher_suites: tuple[str, ...] = option((), "Cipher suite of TLS 1.2 to offer (default: the modern ones)")
    token: str = option("", "Secret that joins servers and agents (default: generated)")
    token_file: str = option("", "File with that secret, which the command line then does not show")
    certificate_duration: str = option(
        "8760h0m0s", "Life of the server's own certificates, which are renewed when a third of it is left"
    )
    cluster_signing_duration: str = option("8760h0m0s", "Longest life of certificates signed on request")
    node_monitor_grace_period: str = option(
        "50s", "Silence after which a node is taken for dead; nodes speak every 10s"
    )
    horizontal_pod_autoscaler_sync_period: str = option("15s", "Time between two looks at each autoscaler's metrics")
    horizontal_pod_autoscaler_tolerance: str = option(
        "0.1", "How far measured and wanted may differ, as a share, before an autoscaler acts"
    )
    horizontal_pod_autoscaler_downscale_stabilization: str = option(
        "5m0s", "How long autoscalers look back, and keep to the highest recommendation, before they scale down"
    )
    horizontal_pod_autoscaler_initial_readiness_delay: str = option(
        "30s", "Time after a pod's start in which its becoming ready is taken for the first time"
    )
    horizontal_pod_autoscaler_cpu_initialization_period: str = option(
        "5m0s", "Time after a pod's start in which autoscalers use its CPU samples only while it is ready"
    )
    agent_token: str = option("", "Secret that joins agents, but not servers (default: the token)")
    agent_token_file: str = option("", "File with that secret")
    write_kubeconfig: str = option("/etc/pyk3s/pyk3s.yaml", "File for the administrator's kubeconfig")
    write_kubeconfig_mode: str = option("0600", "Mode of that file, octal")
    datastore_endpoint: str = option("", "sqlite:///PATH or postgresql://... (default: SQLite under data-dir)")
    datastore_client_rate: int = option(
        0, "Writes a second that one client (user agent) may make on average; beyond it waits (0: no limit)"
    )
    etcd_listen: str = option("", "HOST:PORT on which the datastore speaks etcd's v3 API, with client certificates")
    etcd_trusted_ca_file: str = option("", "CA of etcd's clients (default: every client certificate of the cluster)")

    cluster_cidr: str = option("10.42.0.0/16", "Addresses of pods")
    service_cidr: str = option("10.43.0.0/16", "Addresses of Services: an IPv4 range, or it and an IPv6 range: A,B")
    service_node_port_range: str = option("30000-32767", "Ports for NodePort Services")
    cluster_dns: str = option("", "Address of the cluster DNS (default: tenth of service-cidr)")
    cluster_domain: str = option("cluster.local", "Domain of the cluster")
    flannel_backend: str = option(
        "vxlan",
        "How pods of different nodes reach each other (k3s's words): tunnels, routes on a shared link, or your own way",
        choices=("vxlan", "host-gw", "none"),
    )

    disable: tuple[str, ...] = option((), "Packaged part to leave out: dns, proxy, network, local-storage, servicelb")
    default_local_storage_path: str = option(
        "", "Folder on every node for volumes of class local-path (default: storage in data-dir)"
    )
    disable_agent: bool = option(False, "Run no kubelet, proxy, DNS and container runtime here")
    disable_scheduler: bool = option(False, "Run no scheduler here")
    disable_controller_manager: bool = option(False, "Run no controllers here")

    node_name: str = option("", "Name of this node (default: the host's name)")
    node_ip: str = option("", "Address of this node (default: that of the default route)")
    node_label: tuple[str, ...] = option((), "Label of the node, key=value")
    node_taint: tuple[str, ...] = option((), "Taint of the node, key=value:Effect")
    container_runtime_endpoint: str = option("", "Socket of a CRI runtime to use instead of starting containerd")
    snapshotter: str = option("", "containerd snapshotter (default: overlayfs, native where it cannot work)")
    pod_logs_dir: str = option(
        "", "Folder for container logs (default: /var/log/pods, or under a data-dir of your own)"
    )
    kubelet_port: int = option(10250, "Port of the node API")
    max_pods: int = option(110, "Most pods on this node")
    pod_max_pids: int = option(-1, "Most processes of one pod (-1: no limit)")
    allowed_unsafe_sysctls: tuple[str, ...] = option((), "Sysctls that pods may set beside the safe ones; * at the end")
    seccomp_default: bool = option(False, "Give containers that ask for none the runtime's seccomp profile")
    protect_kernel_defaults: bool = option(False, "Start no kubelet where the kernel is not set as kubelets need it")
    bridge_name: str = option("cni0", "Bridge that joins the node's pods")

    token_auth_file: str = option("", 'CSV file of static tokens: token,user,uid,"group1,group2"')
    authentication_config: str = option("", "File with an AuthenticationConfiguration (OIDC issuers, anonymous access)")
    oidc_issuer_url: str = option("", "URL of an OpenID Connect issuer whose ID tokens are accepted")
    oidc_client_id: str = option("", "Audience that the issuer's tokens must have")
    oidc_ca_file: str = option("", "CA certificates of the issuer's server (default: the system's)")
    oidc_username_claim: str = option("sub", "Claim that is the user's name")
    oidc_username_prefix: str = option("", "Prefix of user names, - for none (default: ISSUER#, none for email)")
    oidc_groups_claim: str = option("", "Claim that lists the user's groups")
    oidc_groups_prefix: str = option("", "Prefix of group names")
    oidc_signing_algs: tuple[str, ...] = option(("RS256",), "Signature algorithm that is accepted")
    oidc_required_claim: tuple[str, ...] = option((), "Claim that tokens must have, key=value")
    authentication_token_webhook_config_file: str = option("", "Kubeconfig of a service that reviews tokens")
    authentication_token_webhook_cache_ttl: str = option("2m0s", "How long its answers are remembered")
    authentication_token_webhook_version: str = option(
        "v1beta1", "Version of TokenReview it speaks", choices=("v1", "v1beta1")
    )
    service_account_issuer: str = option("https://kubernetes.default.svc", "Issuer of service account tokens")
    service_account_extend_token_expiration: bool = option(
        True, "Let tokens that pods get by default live for a year, for programs that never read them again"
    )
    api_audiences: tuple[str, ...] = option((), "Audiences of the API (default: the issuer)")
    anonymous_auth: bool = option(True, "Let requests without credentials in as system:anonymous")
    authorization_mode: tuple[str, ...] = option(
        ("Node", "RBAC"), "Authorizers in order: Node, RBAC, Webhook, AlwaysAllow, AlwaysDeny"
    )
    authorization_config: str = option("", "File with an AuthorizationConfiguration; instead of authorization-mode")
    authorization_webhook_config_file: str = option("", "Kubeconfig of a service that reviews access (mode Webhook)")
    authorization_webhook_version: str = option(
        "v1beta1", "Version of SubjectAccessReview it speaks", choices=("v1", "v1beta1")
    )
    authorization_webhook_cache_authorized_ttl: str = option("5m0s", "How long its permissions are remembered")
    authorization_webhook_cache_unauthorized_ttl: str = option("30s", "How long its refusals are remembered")
    secrets_encryption: bool = option(False, "Encrypt Secrets at rest with keys that the server keeps itself")
    secrets_encryption_provider: str = option(
        "aescbc", "Cipher of those keys", choices=("aescbc", "secretbox", "aesgcm")
    )
    encryption_provider_config: str = option("", "EncryptionConfiguration of your own")
    encryption_provider_config_automatic_reload: bool = option(False, "Use changes of that file without a restart")
    audit_policy_file: str = option("", "Policy file that says which requests are audited")
    audit_log_path: str = option("", "File for audit events; - for standard output")
    audit_log_maxage: int = option(0, "Days that a rotated audit log is kept; 0 keeps it")
    audit_log_maxbackup: int = option(10, "Rotated audit logs that are kept; 0 keeps all")
    audit_log_maxsize: int = option(100, "Megabytes after which the audit log is rotated; 0 never")
    audit_log_compress: bool = option(False, "Compress rotated audit logs with gzip")
    audit_log_format: str = option("json", "Form of the audit log", choices=("json", "legacy"))
    audit_log_mode: str = option(
        "blocking", "Whether requests wait for the audit log", choices=("batch", "blocking", "blocking-strict")
    )
    audit_webhook_config_file: str = option("", "kubeconfig of the service that audit events are sent to")
    audit_webhook_mode: str = option(
        "batch", "Whether requests wait for that service", choices=("batch", "blocking", "blocking-strict")
    )
    audit_truncate_max_event_size: int = option(0, "Bytes above which an event for the service loses its objects")
    enable_priority_and_fairness: bool = option(True, "Queue and refuse requests by FlowSchemas and priority levels")
    max_requests_inflight: int = option(400, "Reading requests served at a time; with the next one: the seats to share")
    max_mutating_requests_inflight: int = option(200, "Writing requests served at a time")
    enable_admission_plugins: tuple[str, ...] = option((), "Admission plugin to add to the default ones")
    disable_admission_plugins: tuple[str, ...] = option((), "Admission plugin to leave out")
    admission_control_config_file: str = option("", "File with an AdmissionConfiguration: configures admission plugins")

    log_format: str = option("text", "Form of the log", choices=("text", "json"))
    debug: bool = option(False, "Log at debug level")
    config: str = option("", "Configuration file", short="-c")


def flag_name(name: str) -> str:
    """``data_dir`` -> ``data-dir``: the flag (after two dashes) and the configuration key."""
    return name.replace("_", "-")


def load_settings(flags: Mapping[str, Any], environment: Mapping[str, str]) -> ServerSettings:
    """Merge the three sources and check every value.

    ``flags`` holds only what was given on the command line, under field names. Raises ConfigError.
    """
    from minikube_py import config_checks  # which needs what this module defines

    known = {item.name: item for item in dataclasses.fields(ServerSettings)}
    settings = ServerSettings(**merged(known, flags, environment, foreign=AGENT_ONLY))
    config_checks.check(settings)
    return settings


AGENT_ONLY = frozenset({"server"})
"""Keys of a configuration file that only ``pyk3s agent`` knows: other commands of that host read the file too."""


def merged(
    known: Mapping[str, dataclasses.Field[Any]],
    flags: Mapping[str, Any],
    environment: Mapping[str, str],
    *,
    foreign: frozenset[str],
) -> dict[str, Any]:
    """The values of the fields from all three sources; a key in ``foreign`` is passed over. Raises ConfigError."""
    path = str(flags.get("config") or environment.get(environment_prefix + "CONFIG", ""))
    values = _from_file(Path(path) if path else config_file_default, known, foreign, must_exist=bool(path))
    values |= _from_environment(environment, known)
    values |= dict(flags)
    for name in ("token", "agent_token"):
        _secret_from_file(name, values)
    return values


def _from_file(
    path: Path, known: Mapping[str, dataclasses.Field[Any]], foreign: frozenset[str], *, must_exist: bool
) -> dict[str, Any]:
    """The file's values. Scalars count as they are written: 0644 is a mode, and 1.10 a name, not YAML's numbers."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        if must_exist:
            raise ConfigError(f"configuration file {path} does not exist") from None
        return {}
    except OSError as error:
        raise ConfigError(f"cannot read configuration file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"configuration file {path} is not UTF-8 text: {error.reason}") from error
    try:
        content = yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as error:
        where = " ".join(str(error).split())
        raise ConfigError(f"configuration file {path} is not YAML: {where}") from error
    except RecursionError as error:
        raise ConfigError(f"configuration file {path} is nested too deeply") from error
    if not content:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"configuration file {path} must be a mapping of option names to values")
    values: dict[str, Any] = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name in foreign:
            continue
        if name not in known or name == "config":
            raise ConfigError(f"configuration file {path}: unknown key {key!r}{_suggest(str(key), known)}")
        values[name] = _convert(value, known[name], f"configuration file {path}: {key}")
    return values


def _suggest(key: str, known: Mapping[str, Any]) -> str:
    import difflib

    close = difflib.get_close_matches(key.replace("_", "-"), [flag_name(name) for name in known], n=1)
    return f"; did you mean {close[0]!r}?" if close else "; see pyk3s server --help for the names"


def _from_environment(environment: Mapping[str, str], known: Mapping[str, dataclasses.Field[Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, item in known.items():
        variable = environment_prefix + name.upper()
        if variable in environment and name != "config":
            values[name] = _convert(environment[variable], item, f"environment variable {variable}")
    return values


def _secret_from_file(name: str, values: dict[str, Any]) -> None:
    """Put what ``<name>_file`` holds in the place of ``name``."""
    path, flag = values.get(f"{name}_file"), flag_name(name)
    if not path:
        return
    if values.get(name):
        raise ConfigError(f"--{flag} and --{flag}-file are both given; leave out the first")
    try:
        values[name] = Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--{flag}-file: cannot read {path}: {getattr(error, 'strerror', error)}") from error
    if not values[name]:
        raise ConfigError(f"--{flag}-file: {path} is empty")


_TRUTHS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def _convert(value: Any, item: dataclasses.Field[Any], where: str) -> Any:
    """A value from a file or the environment as the field's type."""
    if isinstance(item.default, tuple):
        items = value if isinstance(value, list) else str(value).split(",")
        if any(isinstance(part, dict | list) for part in items):
            raise ConfigError(f"{where}: expected a list of single values")
        return tuple(text for part in items if (text := str(part).strip()))
    if isinstance(item.default, bool):
        found = _TRUTHS.get(str(value).lower())
        if found is None:
            raise ConfigError(f"{where}: {value!r} is neither true nor false")
        return found
    if isinstance(item.default, int):
        try:
            return int(value)
        except (TypeError, ValueError):
            raise ConfigError(f"{where}: {value!r} is not a whole number") from None
    if isinstance(value, dict | list):
        raise ConfigError(f"{where}: expected a single value")
    return str(value)


def tls_policy(settings: ServerSettings) -> TlsPolicy:
    """What the API, the node API and the etcd face offer. Raises ConfigError."""
    from minikube_py.host import tls_policy as policies  # brings ssl, which most commands never need

    try:
        return policies.tls_policy(settings.tls_min_version, settings.tls_cipher_suites)
    except ValueError as error:
        raise ConfigError(f"--tls-min-version, --tls-cipher-suites: {error}") from None


def secret_arguments(settings: ServerSettings) -> tuple[str, ...]:
    """Values that may stand on the command line and that no other user of the machine should see."""
    endpoint = settings.datastore_endpoint
    passwords = re.findall(r"://[^/@]*?:([^@]+)@", endpoint) + re.findall(r"[?&](?:ssl)?password=([^&]+)", endpoint)
    return (settings.token, settings.agent_token, *passwords)


def seconds(name: str, value: str) -> float:
    """The seconds of a duration option such as ``1m30s``. Raises ConfigError."""
    parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?", value)
    if parts is None or not value:
        raise ConfigError(f"--{flag_name(name)}: {value!r} is not a duration such as 30s or 2m0s")
    hours, minutes, rest = (float(part or 0) for part in parts.groups())
    return hours * 3600 + minutes * 60 + rest


def share(name: str, value: str) -> float:
    """The number of an option such as ``0.1``, not negative. Raises ConfigError."""
    if not re.fullmatch(r"\d+(\.\d+)?|\.\d+", value, re.ASCII):
        raise ConfigError(f"--{flag_name(name)}: {value!r} is not a number such as 0.1")
    return float(value)


def node_port_range(settings: ServerSettings) -> tuple[int, int]:
    """First and last node port (inclusive)."""
    found = re.fullmatch(r"(\d+)-(\d+)", settings.service_node_port_range)
    low, high = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 0 < low <= high < 65536:
        raise ConfigError(f"--service-node-port-range: {settings.service_node_port_range!r} is not LOW-HIGH")
    return low, high


def service_address(settings: ServerSettings, index: int) -> str:
    """The ``index``-th address of the service range (1: the API, 10: cluster DNS)."""
    return str(ipaddress.IPv4Network(node_service_cidr(settings))[index])


def service_cidrs(settings: ServerSettings) -> list[str]:
    """The Service ranges: one, or two of different families."""
    return [text.strip() for text in settings.service_cidr.split(",")]


def node_service_cidr(settings: ServerSettings) -> str:
    """The range whose Services a node carries: the first. The second family is the API's alone."""
    return service_cidrs(settings)[0]


def datastore_endpoint(settings: ServerSettings) -> str:
    """The endpoint that is set, else SQLite in k3s's place under the data folder."""
    if settings.datastore_endpoint:
        return settings.datastore_endpoint
    return f"sqlite:///{Path(settings.data_dir).resolve()}/server/db/state.db"


def cluster_dns_address(settings: ServerSettings) -> str:
    return settings.cluster_dns or service_address(settings, DNS_ADDRESS_INDEX)


def node_name(settings: ServerSettings) -> str:
    """The node's name, lower-case as Kubernetes needs it."""
    return (settings.node_name or socket.gethostname()).lower()


def node_ip(settings: ServerSettings) -> str:
    """The node's address: the given one, else the default route's, else any that is not loopback's.

    Connecting a UDP socket sends nothing: it only asks the kernel for the route. Raises ConfigError on
    a host that has no address but loopback's: pods and other nodes could not reach it.
    """
    if settings.node_ip:
        return settings.node_ip
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            found = str(probe.getsockname()[0])
        except OSError:
            found = ""
        found = found or next(_interface_addresses(probe), "")
    if not found:
        raise ConfigError("this host has no address but loopback's; give one with --node-ip")
    return found


def _interface_addresses(probe: socket.socket) -> Iterator[str]:
    """The first IPv4 address of each interface, loopback's left out."""
    for _, name in socket.if_nameindex():
        request = struct.pack("256s", name.encode())
        try:
            answer = fcntl.ioctl(probe.fileno(), SIOCGIFADDR, request)
        except OSError:
            continue  # the interface has no address
        address = socket.inet_ntoa(answer[20:24])
        if not address.startswith("127."):
            yield address


def run_dir(settings: ServerSettings) -> Path:
    """Where sockets and pid files live; short, since socket paths are limited to 107 bytes."""
    if settings.run_dir:
        return Path(settings.run_dir)
    if settings.data_dir == "/var/lib/pyk3s":
        return Path("/run/pyk3s")
    return Path(settings.data_dir) / "run"


def local_storage_path(settings: ServerSettings) -> Path:
    """Where volumes of class ``local-path`` lie, on this node and on workers."""
    return Path(settings.default_local_storage_path or Path(settings.data_dir).resolve() / "storage")


def pod_logs_dir(settings: ServerSettings) -> Path:
    """Where container logs lie."""
    if settings.pod_logs_dir:
        return Path(settings.pod_logs_dir)
    if settings.data_dir == "/var/lib/pyk3s":
        return Path("/var/log/pods")
    return Path(settings.data_dir) / "agent" / "pod-logs"


def cgroup_root(settings: ServerSettings) -> str:
    """What ``/kubepods`` lies under: nothing with the default data-dir, else a name of this server's own.

    Servers side by side on one machine see one cgroup tree, and each clears away pods it does not know.
    """
    if settings.data_dir == "/var/lib/pyk3s":
        return ""
    return f"/pyk3s-{hashlib.sha256(str(Path(settings.data_dir).resolve()).encode()).hexdigest()[:8]}"


def environment() -> Mapping[str, str]:
    """The process environment; the one place that reads it."""
    return os.environ


def clear_secret_environment() -> None:
    """Take secrets out of the environment that programs started from here would inherit."""
    for name in ("TOKEN", "AGENT_TOKEN", "DATASTORE_ENDPOINT"):
        os.environ.pop(environment_prefix + name, None)


def labels(pairs: Sequence[str]) -> dict[str, str]:
    """``key=value`` texts as a mapping."""
    return dict(pair.split("=", 1) for pair in pairs)
