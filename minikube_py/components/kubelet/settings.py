"""Settings of the kubelet: one frozen record, filled by ``server.py`` or ``agent.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from minikube_py.host.tls_policy import TlsPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeletSettings:
    """What a node needs to know of itself and of its cluster. Times are seconds, sizes bytes."""

    node_name: str
    node_ip: str
    root_dir: Path
    """Holds volumes, hosts files and termination logs of pods: ``<root_dir>/pods/<uid>/...``."""
    pod_logs_dir: Path = Path("/var/log/pods")
    cluster_dns: tuple[str, ...] = ()
    cluster_domain: str = "cluster.local"
    resolv_conf: Path = Path("/etc/resolv.conf")
    static_pod_dir: Path | None = None
    max_pods: int = 110
    node_labels: Mapping[str, str] = field(default_factory=dict)
    node_taints: tuple[str, ...] = ()
    """Taints for a new node, as ``key=value:Effect``."""
    provider_id: str = ""
    version: str = "v1.36.2"

    bind_address: str = "0.0.0.0"
    port: int = 10250
    """Port of the node API; 0 binds any free port, and the node object carries the bound one."""
    tls_cert_file: Path | None = None
    """Without a certificate the node API is not served."""
    tls_key_file: Path | None = None
    client_ca_file: Path | None = None
    tls_policy: TlsPolicy = field(default_factory=TlsPolicy)
    anonymous_auth: bool = False

    cgroup_mount: Path = Path("/sys/fs/cgroup")
    cgroup_root: str = ""
    """Prefix of ``/kubepods`` in the cgroup tree, for several nodes on one machine."""
    cpu_cfs_quota: bool = True
    pod_pids_limit: int = 0
    """Most processes of one pod; 0: no limit of its own."""
    allowed_unsafe_sysctls: tuple[str, ...] = ()
    """Sysctls that pods may set beside the safe ones; a name may end in ``*``."""
    seccomp_default: bool = False
    """Whether containers that ask for no seccomp profile get the runtime's."""
    reserved_cpu_milli: int = 0
    reserved_memory_bytes: int = 0

    lease_seconds: float = 10.0
    lease_duration_seconds: int = 40
    node_status_report_seconds: float = 300.0
    relist_seconds: float = 60.0
    parallel_syncs: int = 12
    """How many pods may start sandboxes and containers at the same moment."""
    parallel_image_pulls: int = 4
    image_gc_high_percent: int = 85
    image_gc_low_percent: int = 80
    housekeeping_seconds: float = 300.0
    eviction_memory_available_bytes: int = 100 * 1024 * 1024
    eviction_nodefs_available_percent: int = 10
    container_log_max_bytes: int = 10 * 1024 * 1024
    container_log_max_files: int = 5
    image_service_timeout_seconds: float = 900.0

    def pod_dir(self, uid: str) -> Path:
        """``<root_dir>/pods/<uid>``: everything the kubelet keeps on disk for one pod but its logs."""
        return self.root_dir / "pods" / uid
