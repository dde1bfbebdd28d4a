"""What the kubelet asks of a container runtime: records and the ``Runtime`` protocol.

The records are CRI v1's messages reduced to what a pod needs, in CRI's words. Times are Unix
nanoseconds as in CRI (0: not yet). ``cri`` implements the protocol over gRPC; ``fake`` keeps the
same promises in memory; one test suite runs against both.

Errors: every method may raise ``RuntimeFailure`` (code, message) and nothing else;
``not_found`` tells a missing container, sandbox or image.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol


class RuntimeFailure(Exception):
    """The runtime refused or failed; ``code`` is the gRPC status name, such as ``NOT_FOUND``."""

    def __init__(self, method: str, code: str, message: str) -> None:
        super().__init__(f"{method}: {message}")
        self.method = method
        self.code = code
        self.message = message

    @property
    def not_found(self) -> bool:
        return self.code == "NOT_FOUND"


class ContainerState(Enum):
    CREATED = 0
    RUNNING = 1
    EXITED = 2
    UNKNOWN = 3


class Propagation(Enum):
    PRIVATE = 0
    HOST_TO_CONTAINER = 1
    BIDIRECTIONAL = 2


class NamespaceMode(Enum):
    POD = 0
    CONTAINER = 1
    NODE = 2
    TARGET = 3


@dataclass(frozen=True, slots=True)
class PodIdentity:
    name: str
    namespace: str
    uid: str
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class PortMapping:
    container_port: int
    host_port: int
    protocol: str = "TCP"
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class DnsConfig:
    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NamespaceOptions:
    network: NamespaceMode = NamespaceMode.POD
    pid: NamespaceMode = NamespaceMode.CONTAINER
    ipc: NamespaceMode = NamespaceMode.POD
    target_id: str = ""


@dataclass(frozen=True, slots=True)
class SecurityProfile:
    """Seccomp or AppArmor: ``type`` is RuntimeDefault, Unconfined or Localhost."""

    type: str
    localhost_ref: str = ""


@dataclass(frozen=True, slots=True)
class Resources:
    """Linux resources; zero means unset."""

    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_shares: int = 0
    memory_limit_bytes: int = 0
    oom_score_adj: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    hugepage_limits: Mapping[str, int] = field(default_factory=dict)
    unified: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    identity: PodIdentity
    hostname: str
    log_directory: str
    cgroup_parent: str = ""
    dns: DnsConfig | None = None
    port_mappings: tuple[PortMapping, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    namespaces: NamespaceOptions = NamespaceOptions()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    run_as_user: int | None = None
    run_as_group: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    privileged: bool = False
    seccomp: SecurityProfile | None = None
    selinux: Mapping[str, str] = field(default_factory=dict)
    runtime_handler: str = ""
    resources: Resources | None = None


@dataclass(frozen=True, slots=True)
class Mount:
    container_path: str
    host_path: str
    readonly: bool = False
    selinux_relabel: bool = False
    propagation: Propagation = Propagation.PRIVATE


@dataclass(frozen=True, slots=True)
class Device:
    container_path: str
    host_path: str
    permissions: str = "rwm"


@dataclass(frozen=True, slots=True)
class ContainerSecurity:
    privileged: bool = False
    run_as_user: int | None = None
    run_as_group: int | None = None
    run_as_username: str = ""
    supplemental_groups: tuple[int, ...] = ()
    readonly_rootfs: bool = False
    no_new_privs: bool = False
    add_capabilities: tuple[str, ...] = ()
    drop_capabilities: tuple[str, ...] = ()
    seccomp: SecurityProfile | None = None
    apparmor: SecurityProfile | None = None
    selinux: Mapping[str, str] = field(default_factory=dict)
    masked_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    namespaces: NamespaceOptions = NamespaceOptions()


@dataclass(frozen=True, slots=True)
class ContainerConfig:
    """``log_path`` is relative to the sandbox's log directory; ``image`` is what ``image_id`` gave."""

    name: str
    attempt: int
    image: str
    user_specified_image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[tuple[str, str], ...] = ()
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    log_path: str = ""
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    resources: Resources = Resources()
    security: ContainerSecurity = ContainerSecurity()


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A sandbox as listed."""

    id: str
    identity: PodIdentity
    ready: bool
    created_at: int
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    runtime_handler: str = ""


@dataclass(frozen=True, slots=True)
class SandboxStatus:
    sandbox: Sandbox
    ips: tuple[str, ...] = ()
    network: NamespaceMode = NamespaceMode.POD
    pid: int = 0
    """Process id of the sandbox's first process in the host's pid namespace; 0 when unknown."""


@dataclass(frozen=True, slots=True)
class Container:
    """A container as listed."""

    id: str
    sandbox_id: str
    name: str
    attempt: int
    image: str
    image_ref: str
    state: ContainerState
    created_at: int
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    container: Container
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    log_path: str = ""
    mounts: tuple[Mount, ...] = ()
    resources: Resources | None = None


@dataclass(frozen=True, slots=True)
class Image:
    id: str
    repo_tags: tuple[str, ...] = ()
    repo_digests: tuple[str, ...] = ()
    size_bytes: int = 0
    uid: int | None = None
    username: str = ""
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class RegistryCredentials:
    username: str = ""
    password: str = ""
    auth: str = ""
    server_address: str = ""
    identity_token: str = ""
    registry_token: str = ""


@dataclass(frozen=True, slots=True)
class ExecResult:
    stdout: bytes
    stderr: bytes
    exit_code: int


@dataclass(frozen=True, slots=True)
class FilesystemUsage:
    mountpoint: str
    timestamp: int
    used_bytes: int
    inodes_used: int


@dataclass(frozen=True, slots=True)
class ContainerStats:
    container_id: str
    name: str
    sandbox_labels: Mapping[str, str]
    timestamp: int
    cpu_core_nanoseconds: int
    memory_working_set_bytes: int
    memory_usage_bytes: int = 0
    memory_rss_bytes: int = 0
    writable_layer_bytes: int = 0
    writable_layer_inodes: int = 0


class EventKind(Enum):
    CREATED = 0
    STARTED = 1
    STOPPED = 2
    DELETED = 3


@dataclass(frozen=True, slots=True)
class RuntimeEvent:
    """Something happened to a container or sandbox of the pod with this uid."""

    kind: EventKind
    container_id: str
    pod_uid: str
    timestamp: int


@dataclass(frozen=True, slots=True)
class RuntimeVersion:
    name: str
    version: str
    api_version: str


@dataclass(frozen=True, slots=True)
class RuntimeConditions:
    runtime_ready: bool
    network_ready: bool
    message: str = ""
    handlers: tuple[str, ...] = ()


class Runtime(Protocol):
    """A container runtime. All operations are idempotent in the way CRI asks for."""

    async def version(self) -> RuntimeVersion: ...

    async def status(self) -> RuntimeConditions: ...

    async def run_sandbox(self, config: SandboxConfig) -> str:
        """Create and start a sandbox (network included); returns its id."""

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """Stop it and free its network; all its containers are killed."""

    async def remove_sandbox(self, sandbox_id: str) -> None: ...

    async def sandbox_status(self, sandbox_id: str) -> SandboxStatus: ...

    async def list_sandboxes(self, *, pod_uid: str = "") -> Sequence[Sandbox]: ...

    async def create_container(self, sandbox_id: str, config: ContainerConfig, sandbox: SandboxConfig) -> str: ...

    async def start_container(self, container_id: str) -> None: ...

    async def stop_container(self, container_id: str, *, grace_seconds: int) -> None:
        """TERM, then KILL after the grace; returns when it has ended."""

    async def remove_container(self, container_id: str) -> None: ...

    async def container_status(self, container_id: str) -> ContainerStatus: ...

    async def list_containers(self, *, pod_uid: str = "", sandbox_id: str = "") -> Sequence[Container]: ...

    async def update_resources(self, container_id: str, resources: Resources) -> None: ...

    async def reopen_log(self, container_id: str) -> None: ...

    async def exec_sync(self, container_id: str, command: Sequence[str], *, timeout_seconds: float) -> ExecResult:
        """Run a command; a time-out raises RuntimeFailure with code DEADLINE_EXCEEDED."""

    async def exec_url(
        self, container_id: str, command: Sequence[str], *, stdin: bool, stdout: bool, stderr: bool, tty: bool
    ) -> str:
        """The URL of the runtime's streaming server for one exec session."""

    async def attach_url(self, container_id: str, *, stdin: bool, stdout: bool, stderr: bool, tty: bool) -> str: ...

    async def port_forward_url(self, sandbox_id: str, ports: Sequence[int]) -> str: ...

    async def image_status(self, image: str) -> Image | None: ...

    async def list_images(self) -> Sequence[Image]: ...

    async def pull_image(
        self, image: str, *, credentials: RegistryCredentials | None = None, sandbox: SandboxConfig | None = None
    ) -> str:
        """Fetch an image; returns its reference (id)."""

    async def remove_image(self, image: str) -> None: ...

    async def image_filesystem(self) -> Sequence[FilesystemUsage]: ...

    async def container_stats(self) -> Sequence[ContainerStats]: ...

    async def update_pod_cidr(self, cidr: str) -> None: ...

    def events(self) -> AsyncIterator[RuntimeEvent]:
        """Changes as they happen; ends with RuntimeFailure when the runtime goes away.

        A runtime without events gives none: the caller's slow relist is the backstop.
        """
