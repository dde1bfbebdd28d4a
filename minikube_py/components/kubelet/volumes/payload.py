"""Volumes made of small files: configMap, secret, downwardAPI, projected.

Each builds a payload and hands it to the atomic writer; calling again after a change updates the
files in place. Raises VolumeProblem with Kubernetes' texts.
"""

from __future__ import annotations

import asyncio
import base64
import os

from minikube_py.components.kubelet.pods.fields import FieldProblem, field_value, resource_value
from minikube_py.components.kubelet.pods.model import Role, containers
from minikube_py.components.kubelet.volumes.atomic import BadPath, File, write_payload
from minikube_py.components.kubelet.volumes.mounting import mount_tmpfs
from minikube_py.components.kubelet.volumes.types import Mounted, VolumeContext, VolumeProblem
from minikube_py.machinery.objects import Object, namespace_of
from minikube_py.machinery.resources import Resource

default_mode = 0o644
token_mode = 0o600
default_token_seconds = 3600

CLUSTER_TRUST_BUNDLES = Resource(
    "certificates.k8s.io", "v1beta1", "clustertrustbundles", "ClusterTrustBundle", namespaced=False
)


async def config_map(context: VolumeContext) -> Mounted:
    payload = await _config_payload(context, "configmap", context.source, _mode(context.source))
    return await _write(context, "configmap", payload, memory=False)


async def secret(context: VolumeContext) -> Mounted:
    source = {**context.source, "name": context.source.get("secretName") or ""}
    return await _write(context, "secret", await _config_payload(context, "secret", source, _mode(source)), memory=True)


async def downward(context: VolumeContext) -> Mounted:
    return await _write(
        context, "downward-api", _downward_payload(context, context.source, _mode(context.source)), memory=True
    )


async def projected(context: VolumeContext) -> Mounted:
    """All sources in one folder; later ones win."""
    mode = _mode(context.source)
    payload: dict[str, File] = {}
    for source in context.source.get("sources") or ():
        if source.get("configMap") is not None:
            payload |= await _config_payload(context, "configmap", source["configMap"], mode)
        elif source.get("secret") is not None:
            payload |= await _config_payload(context, "secret", source["secret"], mode)
        elif source.get("downwardAPI") is not None:
            payload |= _downward_payload(context, source["downwardAPI"], mode)
        elif source.get("serviceAccountToken") is not None:
            payload |= await _token_payload(context, source["serviceAccountToken"], mode)
        elif source.get("clusterTrustBundle") is not None:
            payload |= await _bundle_payload(context, source["clusterTrustBundle"], mode)
        else:
            kinds = ", ".join(source)
            raise VolumeProblem(f"projected source {kinds} is not supported on this node")
    return await _write(context, "projected", payload, memory=True)


def _mode(source: Object) -> int:
    value = source.get("defaultMode")
    return default_mode if value is None else int(value)


async def _config_payload(context: VolumeContext, kind: str, source: Object, mode: int) -> dict[str, File]:
    name, optional = source.get("name") or "", bool(source.get("optional"))
    found = await context.config(kind, name)
    if found is None:
        if optional:
            return {}
        raise VolumeProblem(f'{kind} "{name}" not found')
    data = {key: str(value).encode() for key, value in (found.get("data") or {}).items()}
    if kind == "secret":
        data = {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}
    else:
        data |= {key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()}
    items = source.get("items")
    if not items:
        return {key: File(content, mode) for key, content in data.items()}
    payload = {}
    for item in items:
        if item["key"] in data:
            chosen = item.get("mode")
            payload[item["path"]] = File(data[item["key"]], mode if chosen is None else chosen)
        elif not optional:
            label = "config" if kind == "configmap" else "secret"
            raise VolumeProblem(f"references non-existent {label} key: {item['key']}")
    return payload


def _downward_payload(context: VolumeContext, source: Object, mode: int) -> dict[str, File]:
    payload = {}
    for item in source.get("items") or ():
        try:
            if item.get("fieldRef"):
                path = item["fieldRef"]["fieldPath"]
                text = field_value(context.pod, path, node=context.node, pod_ips=context.pod_ips)
            else:
                text = resource_value(context.pod, item["resourceFieldRef"], None, node=context.node)
        except FieldProblem as problem:
            raise VolumeProblem(str(problem)) from problem
        chosen = item.get("mode")
        payload[item["path"]] = File(text.encode(), mode if chosen is None else chosen)
    return payload


async def _token_payload(context: VolumeContext, source: Object, mode: int) -> dict[str, File]:
    lifetime = int(source.get("expirationSeconds") or default_token_seconds)
    token = await context.tokens.get(context.pod, source.get("audience") or "", lifetime)
    owner = _single_user(context.pod)
    if owner is not None or context.fs_group is not None:
        mode = token_mode
    return {source.get("path") or "token": File(token.encode(), mode, owner if context.fs_group is None else None)}


def _single_user(pod: Object) -> int | None:
    """The user that all containers run as, if it is one and known from the spec."""
    common = ((pod.get("spec") or {}).get("securityContext") or {}).get("runAsUser")
    users = {
        (item.get("securityContext") or {}).get("runAsUser", common)
        for role in (Role.INIT, Role.REGULAR)
        for item in containers(pod, role)
    }
    return next(iter(users)) if len(users) == 1 else None


async def _bundle_payload(context: VolumeContext, source: Object, mode: int) -> dict[str, File]:
    """A cluster trust bundle by name, or all of a signer that match the labels."""
    optional = bool(source.get("optional"))
    if source.get("name"):
        page = await context.client.list(CLUSTER_TRUST_BUNDLES, field_selector=f"metadata.name={source['name']}")
        found = list(page.items)
    else:
        from minikube_py.machinery.selectors import selector_from_label_selector

        selector = selector_from_label_selector(source.get("labelSelector"))
        page = await context.client.list(CLUSTER_TRUST_BUNDLES)
        found = [
            item
            for item in page.items
            if item["spec"].get("signerName") == source.get("signerName")
            and selector.matches(item["metadata"].get("labels") or {})
        ]
    if not found and not optional:
        what = source.get("name") or source.get("signerName")
        raise VolumeProblem(f'combination of signerName and labelSelector matched zero ClusterTrustBundles: "{what}"')
    anchors = sorted({item["spec"]["trustBundle"].strip() for item in found})
    return {source["path"]: File(("\n".join(anchors) + "\n").encode() if anchors else b"", mode)}


async def _write(context: VolumeContext, plugin: str, payload: dict[str, File], *, memory: bool) -> Mounted:
    folder = context.folder(plugin)

    def work() -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if memory:
            mount_tmpfs(folder, size_bytes=context.memory_limit)
        else:
            folder.mkdir(exist_ok=True)
        if context.fs_group is not None:
            os.chown(folder, -1, context.fs_group)
            folder.chmod(0o2777)
        else:
            folder.chmod(0o777)
        write_payload(folder, payload, group=context.fs_group)

    try:
        await asyncio.to_thread(work)
    except BadPath as error:
        raise VolumeProblem(f"{error} (volume of namespace {namespace_of(context.pod)})") from error
    return Mounted(folder, readonly=True)
