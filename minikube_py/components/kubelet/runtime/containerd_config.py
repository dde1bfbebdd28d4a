"""containerd's configuration for a cluster of our own: paths, capabilities of this machine, few plugins.

``render_config`` is pure; ``probe_machine`` (blocking, call it in a thread) finds what the machine
can do. The configuration is version 2, which containerd 1.3 to 2.x read.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minikube_py.components.kubelet.runtime.images.pause import PAUSE_IMAGE

_cap_sys_resource = 24
_CNI_FOLDERS = ("/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")
_CNI_PLUGINS = ("bridge", "host-local", "loopback", "portmap")
_SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Plugins that nothing here uses; each costs start time (zfs and devmapper even run programs).
_DISABLED = (
    "io.containerd.internal.v1.opt",
    "io.containerd.internal.v1.restart",
    "io.containerd.internal.v1.tracing",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.tracing.processor.v1.otlp",
)
# Sizes of containers' writable layers are measured by walking them: seldom is enough.
_stats_collect_period_seconds = 120
# The collector looks for work whenever the average run's length is this share of the time since the
# last one. A run takes 0.3 ms here: the default (0.02) would wake containerd 70 times a second for ever.
_gc_share_of_time = 0.0001


class RuntimeMissing(Exception):
    """Programs that pods need are not installed; the text is one line with the command that mends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerdSettings:
    """Where an own containerd keeps its things. Empty strings mean "find out"."""

    root: Path
    """Images, snapshots and metadata: ``<data-dir>/agent/containerd``."""
    state: Path
    """Sockets, pid file and what lives as long as the machine runs; short, for the length of socket paths."""
    config_file: Path
    log_file: Path
    cni_conf_dir: Path
    images_dir: Path
    """Archives that are imported at every start (k3s's ``agent/images``)."""
    registry_config_dir: Path
    """Registry hosts in containerd's ``certs.d`` form."""
    cni_bin_dir: str = ""
    snapshotter: str = ""
    systemd_cgroup: bool = False
    extra_config: str = ""
    """TOML that is appended, for further runtimes."""

    @property
    def socket(self) -> Path:
        return self.state / "containerd.sock"

    @property
    def pid_file(self) -> Path:
        return self.state / "containerd.pid"


def containerd_settings(
    data_dir: Path, run_dir: Path, *, snapshotter: str = "", systemd_cgroup: bool = False
) -> ContainerdSettings:
    """The layout under ``data_dir`` (k3s's) and ``run_dir``."""
    agent = data_dir / "agent"
    return ContainerdSettings(
        root=agent / "containerd",
        state=run_dir / "containerd",
        config_file=agent / "etc" / "containerd" / "config.toml",
        log_file=agent / "containerd" / "containerd.log",
        cni_conf_dir=agent / "etc" / "cni" / "net.d",
        images_dir=agent / "images",
        registry_config_dir=agent / "etc" / "containerd" / "certs.d",
        snapshotter=snapshotter,
        systemd_cgroup=systemd_cgroup,
    )


@dataclass(frozen=True, slots=True)
class Machine:
    """What was found on this machine."""

    containerd: str
    cni_bin_dir: str
    snapshotter: str
    may_lower_oom_score: bool
    has_apparmor: bool


def probe_machine(settings: ContainerdSettings) -> Machine:
    """Find programs and abilities. Raises RuntimeMissing. Blocks (a trial mount)."""
    containerd = find_program("containerd")
    cni_bin_dir = settings.cni_bin_dir or _find_cni()
    missing = [
        package
        for package, found in (
            ("containerd", containerd and find_program("containerd-shim-runc-v2")),
            ("runc", find_program("runc")),
            ("containernetworking-plugins", cni_bin_dir),
        )
        if not found
    ]
    if missing:
        raise RuntimeMissing(f"cannot run pods: {', '.join(missing)} missing; run: apt-get install {' '.join(missing)}")
    return Machine(
        containerd=containerd,
        cni_bin_dir=cni_bin_dir,
        snapshotter=settings.snapshotter or ("overlayfs" if overlay_works(settings.root) else "native"),
        may_lower_oom_score=has_capability(_cap_sys_resource),
        has_apparmor=Path("/sys/kernel/security/apparmor/profiles").exists(),
    )


def find_program(name: str) -> str:
    """Its path, or the empty string. Looks into the system folders even when PATH lacks them."""
    return shutil.which(name, path=program_path()) or ""


def program_path() -> str:
    """PATH for containerd and what it starts."""
    own = os.environ.get("PATH", "")
    return f"{own}:{_SEARCH_PATH}" if own else _SEARCH_PATH


def _find_cni() -> str:
    for folder in _CNI_FOLDERS:
        if all(os.access(Path(folder, plugin), os.X_OK) for plugin in _CNI_PLUGINS):
            return folder
    return ""


def has_capability(number: int) -> bool:
    """Whether this process has a capability in its effective set."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def overlay_works(root: Path) -> bool:
    """Whether overlayfs can be mounted over folders of ``root`` (it cannot over itself, nor over NFS)."""
    libc = ctypes.CDLL(None, use_errno=True)
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".overlay-") as text:
        folder = Path(text)
        for name in ("lower", "upper", "work", "merged"):
            (folder / name).mkdir()
        options = f"lowerdir={folder / 'lower'},upperdir={folder / 'upper'},workdir={folder / 'work'}"
        target = os.fsencode(folder / "merged")
        if libc.mount(b"overlay", target, b"overlay", 0, options.encode()) != 0:
            return False
        with contextlib.suppress(OSError):
            (folder / "merged" / "probe").touch()
        worked = (folder / "upper" / "probe").exists()
        libc.umount2(target, 0)
        return worked


def render_config(settings: ContainerdSettings, machine: Machine) -> str:
    """The configuration file."""
    cri = "io.containerd.grpc.v1.cri"
    lines = [
        "# Written by pyk3s at every start; changes are lost.",
        "version = 2",
        f"root = {_quote(settings.root)}",
        f"state = {_quote(settings.state)}",
        f"disabled_plugins = {_list(_DISABLED)}",
        "oom_score = 0" if not machine.may_lower_oom_score else "oom_score = -999",
        "[debug]",
        'level = "warn"',  # one line for each call of CRI would wear the disk
        "[grpc]",
        f"address = {_quote(settings.socket)}",
        "[ttrpc]",
        f"address = {_quote(str(settings.socket) + '.ttrpc')}",
        '[plugins."io.containerd.gc.v1.scheduler"]',
        f"pause_threshold = {_gc_share_of_time}",
        f'[plugins."{cri}"]',
        f"sandbox_image = {_quote(PAUSE_IMAGE)}",
        f"restrict_oom_score_adj = {_bool(not machine.may_lower_oom_score)}",
        f"disable_apparmor = {_bool(not machine.has_apparmor)}",
        "disable_tcp_service = true",
        "netns_mounts_under_state_dir = true",
        'stream_server_address = "127.0.0.1"',
        'stream_server_port = "0"',
        f"stats_collect_period = {_stats_collect_period_seconds}",
        "enable_unprivileged_ports = true",
        "enable_unprivileged_icmp = true",
        "max_concurrent_downloads = 3",
        f'[plugins."{cri}".cni]',
        f"bin_dir = {_quote(machine.cni_bin_dir)}",
        f"conf_dir = {_quote(settings.cni_conf_dir)}",
        f'[plugins."{cri}".registry]',
        f"config_path = {_quote(settings.registry_config_dir)}",
        f'[plugins."{cri}".containerd]',
        f"snapshotter = {_quote(machine.snapshotter)}",
        'default_runtime_name = "runc"',
        "discard_unpacked_layers = false",
        f'[plugins."{cri}".containerd.runtimes.runc]',
        'runtime_type = "io.containerd.runc.v2"',
        f'[plugins."{cri}".containerd.runtimes.runc.options]',
        f"SystemdCgroup = {_bool(settings.systemd_cgroup)}",
        f"Root = {_quote(settings.state / 'runc')}",  # else in /run/containerd, where others live too
    ]
    return "\n".join(lines) + "\n" + settings.extra_config


def _quote(value: object) -> str:
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _list(values: Sequence[str]) -> str:
    return "[" + ", ".join(_quote(value) for value in values) + "]"


def _bool(value: bool) -> str:
    return "true" if value else "false"
