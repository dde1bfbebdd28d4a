"""Defaults of pod specs, for pods and for every pod template (``k8s.io/kubernetes/pkg/apis/core/v1/defaults.go``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.kinds.common.pod_sums import containers_need
from minikube_py.machinery.kinds.common.resource_names import is_huge_page, is_pod_resource
from minikube_py.machinery.kinds.common.setting import child, items, set_default
from minikube_py.machinery.objects import Object
from minikube_py.machinery.quantities import parse_quantity

DEFAULT_FILE_MODE = 0o644


def default_pod_template(template: Object) -> None:
    """Defaults of a PodTemplateSpec."""
    child(template, "metadata")
    default_pod_spec(child(template, "spec"))


def default_pod_spec(spec: Object) -> None:
    """Defaults that pods and pod templates share."""
    if spec.get("serviceAccountName"):
        spec["serviceAccount"] = spec["serviceAccountName"]
    elif spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"]
    set_default(
        spec,
        dnsPolicy="ClusterFirst",
        restartPolicy="Always",
        terminationGracePeriodSeconds=30,
        securityContext={},
        schedulerName="default-scheduler",
    )
    for volume in items(spec, "volumes"):
        _default_volume(volume)
    for name in ("initContainers", "containers"):
        for container in items(spec, name):
            default_container(container)
    for container in items(spec, "ephemeralContainers"):
        default_container(container)
    for constraint in items(spec, "topologySpreadConstraints"):
        set_default(constraint, nodeAffinityPolicy="Honor", nodeTaintsPolicy="Ignore")
    overhead = spec.get("overhead")
    if overhead:
        round_up_milli(overhead)


def default_host_network_ports(spec: Object) -> None:
    """Ports of containers in the host's network are host ports of the same number."""
    for name in ("containers", "initContainers"):
        for container in items(spec, name):
            for port in items(container, "ports"):
                if not port.get("hostPort") and port.get("containerPort"):
                    port["hostPort"] = port["containerPort"]


def default_container(container: Object) -> None:
    """Defaults of one container; the pull policy follows from the image's tag."""
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = (
            "Always" if image_tag(str(container.get("image") or "")) == "latest" else ("IfNotPresent")
        )
    set_default(container, terminationMessagePath="/dev/termination-log", terminationMessagePolicy="File")
    resources = child(container, "resources")
    for name in ("limits", "requests"):
        if resources.get(name):
            round_up_milli(resources[name])
    for port in items(container, "ports"):
        set_default(port, protocol="TCP")
    for variable in items(container, "env"):
        _default_env(variable)
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(name) is not None:
            _default_probe(container[name])
    lifecycle = container.get("lifecycle") or {}
    for name in ("postStart", "preStop"):
        if lifecycle.get(name):
            _default_http_get(lifecycle[name])


def round_up_milli(amounts: Object) -> None:
    """Amounts of resources have at most milli precision; finer ones are rounded up."""
    for name, text in amounts.items():
        if isinstance(text, str) and (text.endswith(("u", "n")) or "." in text or "e" in text):
            amounts[name] = str(parse_quantity(f"{parse_quantity(text).milli()}m"))


def image_tag(image: str) -> str:
    """The tag that decides on the pull policy: "latest" without tag and digest, "" for a digest alone."""
    name, _, digest = image.partition("@")
    _, colon, tag = name.rpartition(":")
    if colon and "/" not in tag:
        return tag
    return "" if digest else "latest"


def _default_env(variable: Object) -> None:
    source = variable.get("valueFrom")
    if not source:
        return
    if source.get("fieldRef") is not None:
        set_default(source["fieldRef"], apiVersion="v1")
    if source.get("fileKeyRef") is not None:
        set_default(source["fileKeyRef"], optional=False)


def _default_probe(probe: Object) -> None:
    set_default(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
    _default_http_get(probe)
    if probe.get("grpc") is not None:
        set_default(probe["grpc"], service="")


def _default_http_get(handler: Object) -> None:
    action = handler.get("httpGet")
    if action is not None:
        set_default(action, path="/", scheme="HTTP")


_VOLUME_SOURCES = frozenset(
    [
        "hostPath",
        "emptyDir",
        "gcePersistentDisk",
        "awsElasticBlockStore",
        "gitRepo",
        "secret",
        "nfs",
        "iscsi",
        "glusterfs",
        "persistentVolumeClaim",
        "rbd",
        "flexVolume",
        "cinder",
        "cephfs",
        "flocker",
        "downwardAPI",
        "fc",
        "azureFile",
        "configMap",
        "vsphereVolume",
        "quobyte",
        "azureDisk",
        "photonPersistentDisk",
        "projected",
        "portworxVolume",
        "scaleIO",
        "storageos",
        "csi",
        "ephemeral",
        "image",
    ]
)


def _default_volume(volume: Object) -> None:
    if not any(volume.get(name) is not None for name in _VOLUME_SOURCES):
        volume["emptyDir"] = {}
        return
    for name in ("configMap", "secret", "downwardAPI", "projected"):
        if volume.get(name) is not None:
            set_default(volume[name], defaultMode=DEFAULT_FILE_MODE)
    default_volume_source(volume)
    for item in items(volume.get("downwardAPI") or {}, "items"):
        _default_field(item)
    for source in items(volume.get("projected") or {}, "sources"):
        _default_projection(source)
    template = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
    if template:
        default_claim_spec(child(template, "spec"))
    image = volume.get("image")
    if image is not None and not image.get("pullPolicy"):
        image["pullPolicy"] = "Always" if image_tag(str(image.get("reference") or "")) == "latest" else "IfNotPresent"


def default_volume_source(volume: Object) -> None:
    """Defaults of the sources that pods and PersistentVolumes share."""
    if volume.get("hostPath") is not None:
        set_default(volume["hostPath"], type="")
    if volume.get("iscsi") is not None:
        set_default(volume["iscsi"], iscsiInterface="default")
    if volume.get("rbd") is not None:
        set_default(volume["rbd"], pool="rbd", user="admin", keyring="/etc/ceph/keyring")
    if volume.get("azureDisk") is not None:
        set_default(volume["azureDisk"], cachingMode="ReadWrite", kind="Shared", fsType="ext4", readOnly=False)
    if volume.get("scaleIO") is not None:
        set_default(volume["scaleIO"], storageMode="ThinProvisioned", fsType="xfs")


def _default_field(item: Object) -> None:
    if item.get("fieldRef") is not None:
        set_default(item["fieldRef"], apiVersion="v1")


def _default_projection(source: Object) -> None:
    if source.get("serviceAccountToken") is not None:
        set_default(source["serviceAccountToken"], expirationSeconds=3600)
    for item in items(source.get("downwardAPI") or {}, "items"):
        _default_field(item)
    if source.get("podCertificate") is not None:
        set_default(source["podCertificate"], maxExpirationSeconds=86400)


def default_claim_spec(spec: Object) -> None:
    """Defaults of the spec of a PersistentVolumeClaim or of a template for one."""
    set_default(spec, volumeMode="Filesystem")
    resources = child(spec, "resources")
    for name in ("limits", "requests"):
        if resources.get(name):
            round_up_milli(resources[name])


def drop_odd_sources(spec: Object, before: Mapping[str, Any] | None) -> None:
    """What a claim may not ask for is dropped silently, unless the old claim has it already.

    References into other namespaces are off by default (``DropDisabledFields``); a lone ``dataSource`` knows
    claims and snapshots only (``EnforceDataSourceBackwardsCompatibility``).
    """
    old = before or {}
    reference = spec.get("dataSourceRef")
    if reference is not None and reference.get("namespace") and old.get("dataSourceRef") is None:
        del spec["dataSourceRef"]
    source = spec.get("dataSource")
    in_use = old.get("dataSource") is not None or old.get("dataSourceRef") is not None
    if source is None or in_use or spec.get("dataSourceRef") is not None:
        return
    if (source.get("kind"), source.get("apiGroup") or "") not in _LEGACY_SOURCES:
        del spec["dataSource"]


_LEGACY_SOURCES = frozenset({("PersistentVolumeClaim", ""), ("VolumeSnapshot", "snapshot.storage.k8s.io")})


def mirror_data_source(spec: Object) -> None:
    """``NormalizeDataSources``: ``dataSource`` and ``dataSourceRef`` say the same where only one is given.

    A reference into another namespace has no ``dataSource`` that could say the same.
    """
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source is not None and reference is None:
        spec["dataSourceRef"] = dict(source)
    elif reference is not None and source is None and not reference.get("namespace"):
        spec["dataSource"] = {name: value for name, value in reference.items() if name != "namespace"}


def default_pod(draft: Object) -> None:
    """Defaults of pods alone (``SetDefaults_Pod``): requests follow limits, service links are on."""
    spec = child(draft, "spec")
    default_pod_spec(spec)
    if spec.get("hostNetwork"):
        default_host_network_ports(spec)
    for name in ("containers", "initContainers"):
        for container in items(spec, name):
            _requests_from_limits(container.get("resources") or {})
    set_default(spec, enableServiceLinks=True)
    if spec.get("resources"):
        _default_pod_resources(spec)
    _mirror_addresses(draft.get("status") or {})


def _default_pod_resources(spec: Object) -> None:
    """Resources of the pod as a whole follow from those of its containers, then requests from limits.

    Of what cannot be overcommitted (huge pages) the containers' limits give the pod's limit, which gives the request.
    """
    resources = spec["resources"]
    if not (resources.get("requests") or resources.get("limits")):
        return
    for name, amount in containers_need(spec, "limits").items():
        if is_huge_page(name):
            child(resources, "limits").setdefault(name, str(amount))
    requests = dict(resources.get("requests") or {})
    for name, amount in containers_need(spec, "requests").items():
        if name in ("cpu", "memory"):
            requests.setdefault(name, str(amount))
    for name, text in (resources.get("limits") or {}).items():
        if is_pod_resource(name):
            requests.setdefault(name, text)
    if requests:
        resources["requests"] = requests


def _mirror_addresses(status: Object) -> None:
    """``podIP`` is the first of ``podIPs``; where both are given and differ, ``podIP`` counts."""
    ip, listed = status.get("podIP"), status.get("podIPs")
    if ip and (not listed or listed[0].get("ip") != ip):
        status["podIPs"] = [{"ip": ip}]
    elif listed and listed[0].get("ip"):
        status["podIP"] = listed[0]["ip"]


def _requests_from_limits(resources: Object) -> None:
    limits = resources.get("limits")
    if not limits:
        return
    requests = child(resources, "requests")
    for name, amount in limits.items():
        requests.setdefault(name, amount)
