"""What the kubelet reads from a pod object: containers by role, restart rules, names, QoS.

Pure functions on read-only objects, no I/O. Labels and annotations on containers are those of the
real kubelet (``pkg/kubelet/kuberuntime/labels.go``), so that ``crictl`` and log collectors work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path

import orjson

from minikube_py.machinery.hashes import fnv32a
from minikube_py.machinery.objects import Object, annotations_of, name_of, namespace_of, uid_of
from minikube_py.machinery.quantities import quantity_milli, quantity_value

POD_NAME_LABEL = "io.kubernetes.pod.name"
POD_NAMESPACE_LABEL = "io.kubernetes.pod.namespace"
POD_UID_LABEL = "io.kubernetes.pod.uid"
CONTAINER_NAME_LABEL = "io.kubernetes.container.name"
HASH_ANNOTATION = "io.kubernetes.container.hash"
RESTART_COUNT_ANNOTATION = "io.kubernetes.container.restartCount"
TERMINATION_PATH_ANNOTATION = "io.kubernetes.container.terminationMessagePath"
TERMINATION_POLICY_ANNOTATION = "io.kubernetes.container.terminationMessagePolicy"
PRE_STOP_ANNOTATION = "io.kubernetes.container.preStopHandler"
PORTS_ANNOTATION = "io.kubernetes.container.ports"
DELETION_GRACE_ANNOTATION = "io.kubernetes.pod.deletionGracePeriod"
TERMINATION_GRACE_ANNOTATION = "io.kubernetes.pod.terminationGracePeriod"

CONFIG_SOURCE_ANNOTATION = "kubernetes.io/config.source"
CONFIG_HASH_ANNOTATION = "kubernetes.io/config.hash"
CONFIG_SEEN_ANNOTATION = "kubernetes.io/config.seen"
CONFIG_MIRROR_ANNOTATION = "kubernetes.io/config.mirror"

default_grace_seconds = 30


class Role(Enum):
    """Which list of the pod's spec a container comes from."""

    INIT = "initContainers"
    REGULAR = "containers"
    EPHEMERAL = "ephemeralContainers"

    @property
    def statuses(self) -> str:
        """The list of the pod's status that belongs to it."""
        return {"initContainers": "initContainerStatuses", "containers": "containerStatuses"}.get(
            self.value, "ephemeralContainerStatuses"
        )


def spec_of(pod: Object) -> Object:
    found: Object = pod.get("spec") or {}
    return found


def containers(pod: Object, role: Role = Role.REGULAR) -> Sequence[Object]:
    found: Sequence[Object] = spec_of(pod).get(role.value) or ()
    return found


def all_containers(pod: Object) -> Iterator[tuple[Role, Object]]:
    """Every container with its role: init, regular, ephemeral."""
    for role in Role:
        for container in containers(pod, role):
            yield role, container


def find_container(pod: Object, name: str) -> tuple[Role, Object] | None:
    return next(((role, item) for role, item in all_containers(pod) if item["name"] == name), None)


def is_sidecar(role: Role, container: Object) -> bool:
    """Whether it is a restartable init container, which runs beside the regular ones."""
    return role is Role.INIT and container.get("restartPolicy") == "Always"


def restart_policy(pod: Object) -> str:
    return str(spec_of(pod).get("restartPolicy") or "Always")


def restarts_after_exit(pod: Object, role: Role, container: Object, exit_code: int) -> bool:
    """Whether a container that ended with ``exit_code`` is run again while the pod lives.

    The container's own restartPolicyRules come first, then its restartPolicy, then the pod's
    (kubelet's ``ShouldContainerBeRestarted``). An ordinary init container that succeeded is done.
    """
    if role is Role.EPHEMERAL:
        return False
    if is_sidecar(role, container):
        return True
    for rule in container.get("restartPolicyRules") or ():
        codes = rule.get("exitCodes") or {}
        inside = exit_code in (codes.get("values") or ())
        if inside == (codes.get("operator") == "In"):
            return str(rule.get("action")) == "Restart"
    policy = container.get("restartPolicy") or restart_policy(pod)
    if policy == "Always":
        return role is not Role.INIT or exit_code != 0
    return policy == "OnFailure" and exit_code != 0


def container_hash(container: Object) -> str:
    """Changes when a running container must be replaced: the hash of its name and image, as upstream."""
    identity = orjson.dumps({"image": container.get("image", ""), "name": container["name"]})
    return format(fnv32a(identity), "x")


def describe(pod: Object) -> str:
    """``name_namespace(uid)``, the form of pods in Kubernetes' messages."""
    return f"{name_of(pod)}_{namespace_of(pod)}({uid_of(pod)})"


def log_directory(root: Path, pod: Object) -> Path:
    return root / f"{namespace_of(pod)}_{name_of(pod)}_{uid_of(pod)}"


def host_network(pod: Object) -> bool:
    return bool(spec_of(pod).get("hostNetwork"))


def is_static(pod: Object) -> bool:
    """Whether it comes from a file of this node rather than from the API."""
    source = annotations_of(pod).get(CONFIG_SOURCE_ANNOTATION)
    return source is not None and source != "api"


def is_mirror(pod: Object) -> bool:
    """Whether it is the API's picture of a static pod."""
    return CONFIG_MIRROR_ANNOTATION in annotations_of(pod)


def grace_seconds(pod: Object) -> int:
    """How long the pod's containers may take to end: the API's word, else the spec's; never under 1."""
    told = (pod.get("metadata") or {}).get("deletionGracePeriodSeconds")
    if told is None:
        told = spec_of(pod).get("terminationGracePeriodSeconds")
    return default_grace_seconds if told is None else max(int(told), 1)


def phase_of(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase") or "")


def is_finished(pod: Object) -> bool:
    return phase_of(pod) in ("Succeeded", "Failed")


def container_status_of(status: Object, role: Role, name: str) -> Object | None:
    """The API status of a container inside a pod status."""
    return next((item for item in status.get(role.statuses) or () if item.get("name") == name), None)


_COMPUTE = ("cpu", "memory")


def qos_class(pod: Object) -> str:
    """Guaranteed, Burstable or BestEffort (``ComputePodQOS``), pod-level resources first."""
    pod_level = spec_of(pod).get("resources") or {}
    if pod_level:
        groups = [pod_level]
    else:
        groups = [item.get("resources") or {} for role in (Role.REGULAR, Role.INIT) for item in containers(pod, role)]
    requests: dict[str, int] = {}
    limits: dict[str, int] = {}
    complete = True
    for group in groups:
        found = _positive(group.get("requests"))
        bounds = _positive(group.get("limits"))
        for key, value in found.items():
            requests[key] = requests.get(key, 0) + value
        for key, value in bounds.items():
            limits[key] = limits.get(key, 0) + value
        complete = complete and len(bounds) == len(_COMPUTE)
    if not requests and not limits:
        return "BestEffort"
    if complete and all(limits.get(key) == value for key, value in requests.items()) and len(requests) == len(limits):
        return "Guaranteed"
    return "Burstable"


def _positive(values: Object | None) -> dict[str, int]:
    read = {"cpu": quantity_milli, "memory": quantity_value}
    found = {key: read[key](value) for key, value in (values or {}).items() if key in _COMPUTE}
    return {key: value for key, value in found.items() if value > 0}


def requested(pod: Object, resource: str) -> int:
    """The pod's effective request (cpu in millicores): the larger of running and initialising, plus overhead."""
    read = quantity_milli if resource == "cpu" else quantity_value

    def of(container: Object) -> int:
        value = ((container.get("resources") or {}).get("requests") or {}).get(resource)
        return read(value) if value is not None else 0

    pod_level = (spec_of(pod).get("resources") or {}).get("requests") or {}
    overhead = (spec_of(pod).get("overhead") or {}).get(resource)
    extra = read(overhead) if overhead is not None else 0
    if resource in pod_level:
        return read(pod_level[resource]) + extra
    running = sum(of(item) for item in containers(pod))
    sidecars = 0
    largest = 0
    for item in containers(pod, Role.INIT):
        if is_sidecar(Role.INIT, item):
            sidecars += of(item)
            largest = max(largest, sidecars)
        else:
            largest = max(largest, sidecars + of(item))
    return max(running + sidecars, largest) + extra
