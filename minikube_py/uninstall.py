"""Takes a server or a worker off the machine: pods, runtime, mounts, network, tables, cgroups, files.

Order: the process must have ended; pods go through CRI, so that the runtime frees their network,
cgroups and mounts itself, then containerd ends; what the node's components keep in the kernel goes
next, files last. Every step is idempotent. ``leftovers`` checks the result.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

from minikube_py import config
from minikube_py.agent import NodeError, containerd_settings_of, network_settings
from minikube_py.config import ServerSettings
from minikube_py.host.commands import CommandFailed, run
from minikube_py.joining.cluster import told
from minikube_py.joining.identity import load_facts, node_files

Say = Callable[[str], object]


def remove_all(settings: ServerSettings, *, keep_data: bool, say: Say) -> None:
    """Stop and remove everything of this server or worker. Raises NodeError."""
    data = Path(settings.data_dir).resolve()
    for lock, what in ((data / "server" / "lock", "server"), (node_files(data).lock, "agent")):
        if is_held(lock):
            raise NodeError(f"the {what} of {data} is running; stop it first (systemctl stop pyk3s, or SIGTERM)")
    facts = load_facts(node_files(data))
    if facts is not None:  # a worker: its address ranges are its server's
        settings = told(settings, settings.node_name, facts)
    asyncio.run(_remove_from_machine(settings, data, say))
    if not keep_data:
        say(f"remove {data}")
        _remove_files(settings, data)


def is_held(lock: Path) -> bool:
    """Whether a process holds a lock."""
    import fcntl

    if not lock.exists():
        return False
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


async def _remove_from_machine(settings: ServerSettings, data: Path, say: Say) -> None:
    if not settings.container_runtime_endpoint:
        say("remove pods and containerd")
        await _remove_runtime(settings)
    await _unmount(data)
    await _unmount(config.run_dir(settings).resolve())
    await _remove_network(settings, say)
    await asyncio.to_thread(_remove_cgroups, settings)


async def _remove_runtime(settings: ServerSettings) -> None:
    from minikube_py.client.clock import SystemClock
    from minikube_py.components.kubelet.runtime.teardown import remove_containerd
    from minikube_py.components.kubelet.runtime.types import RuntimeFailure

    try:
        await remove_containerd(containerd_settings_of(settings), SystemClock())
    except RuntimeFailure as error:
        raise NodeError(f"cannot remove the pods: {error}") from error


async def _unmount(folder: Path) -> None:
    """Unmount everything below a folder, the deepest first."""
    for mount in reversed(_mounts_below(folder)):
        await run(["umount", "--lazy", str(mount)])


def _mounts_below(folder: Path) -> list[Path]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [Path(line.split()[4].encode().decode("unicode_escape")) for line in lines]
    return [point for point in points if point != folder and folder in point.parents]


async def _remove_network(settings: ServerSettings, say: Say) -> None:
    from minikube_py.components.dns.local_address import remove_local_address
    from minikube_py.components.network import remove_network
    from minikube_py.components.proxy import remove_proxy

    say("remove network")
    try:
        await remove_network(network_settings(settings))
        await remove_proxy("pyk3s", config.node_service_cidr(settings))
        await remove_local_address(config.cluster_dns_address(settings))
    except CommandFailed as error:
        raise NodeError(f"cannot remove the network: {error}") from error


def _remove_cgroups(settings: ServerSettings) -> None:
    """Remove the empty cgroups of pods, the deepest first; ones that are in use belong to somebody else."""
    for top in _pod_cgroups(settings):
        for folder in sorted((path for path in top.rglob("*") if path.is_dir()), key=lambda p: -len(p.parts)):
            _rmdir(folder)
        _rmdir(top)


def _pod_cgroups(settings: ServerSettings) -> list[Path]:
    """The top folder of this server's pods, in each cgroup hierarchy."""
    root = Path("/sys/fs/cgroup")
    name = config.cgroup_root(settings).strip("/") or "kubepods"
    return [path for path in (root / name, *root.glob(f"*/{name}")) if path.is_dir()]


def _rmdir(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


def _remove_files(settings: ServerSettings, data: Path) -> None:
    kubeconfig = Path(settings.write_kubeconfig)
    if _is_ours(kubeconfig, data):
        kubeconfig.unlink()
        _rmdir(kubeconfig.parent)
    logs = config.pod_logs_dir(settings)
    _remove_log_links(logs)
    for folder in (config.run_dir(settings).resolve(), logs, data):
        if folder.exists():
            shutil.rmtree(folder)


def _remove_log_links(logs: Path) -> None:
    """The links of ``/var/log/containers`` that lead into our logs, and the folder when it is empty then."""
    links = logs.parent / "containers"
    if logs.name != "pods" or not links.is_dir():
        return
    for link in links.iterdir():
        if link.is_symlink() and logs in link.readlink().parents:
            link.unlink()
    _rmdir(links)


def _is_ours(kubeconfig: Path, data: Path) -> bool:
    """Whether the kubeconfig trusts this installation's CA (another server may share the default path)."""
    import base64

    authority = data / "server" / "tls" / "server-ca.crt"
    if not kubeconfig.exists() or not authority.exists():
        return False
    return base64.b64encode(authority.read_bytes()).decode() in kubeconfig.read_text()


def leftovers(settings: ServerSettings, *, keep_data: bool) -> list[str]:
    """What is still there of this server, in words; empty when nothing is."""
    data, run_dir = Path(settings.data_dir).resolve(), config.run_dir(settings).resolve()
    left = [f"mount {mount}" for folder in (data, run_dir) for mount in _mounts_below(folder)]
    left += [f"process {pid}" for pid in _processes_of(run_dir, data)]
    if Path("/sys/class/net", settings.bridge_name).exists():
        left.append(f"interface {settings.bridge_name}")
    left += [f"cgroup {group}" for group in _pod_cgroups(settings)]
    if not keep_data:
        left += [f"folder {folder}" for folder in (data, run_dir) if folder.exists()]
    return left


def _processes_of(*folders: Path) -> list[int]:
    """Processes whose command line names one of the folders (containerd and its shims do), but not this one."""
    import os

    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in (os.getpid(), os.getppid()):
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if "containerd" in words and any(str(folder) in words for folder in folders):
                found.append(int(entry.name))
    return found
