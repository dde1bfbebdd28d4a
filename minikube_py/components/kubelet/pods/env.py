"""The environment of a container: envFrom, env with all its sources, Service variables.

Order as in the kubelet: Service variables first, then envFrom, then env (later wins). Raises
``ConfigProblem`` with Kubernetes' text when a needed ConfigMap, Secret, key or file is missing: the
container then waits with CreateContainerConfigError.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from minikube_py.components.kubelet.pods.expansion import expand
from minikube_py.components.kubelet.pods.fields import FieldProblem, NodeFacts, field_value, resource_value
from minikube_py.components.kubelet.pods.model import spec_of
from minikube_py.machinery.objects import Object, name_of, namespace_of

Lookup = Callable[[str, str, str], Awaitable[Object | None]]
"""(kind: "configmap" or "secret", namespace, name) -> the object, or None when there is none."""


class ConfigProblem(Exception):
    """A container cannot be configured (yet); the text goes into its waiting state."""


@dataclass(frozen=True, slots=True)
class EnvSources:
    """Where values come from; ``volume_path`` gives the host folder of a mounted volume."""

    lookup: Lookup
    services: Sequence[Object]
    node: NodeFacts
    pod_ips: tuple[str, ...]
    volume_path: Callable[[str], Path | None]


async def environment(pod: Object, container: Object, sources: EnvSources) -> dict[str, str]:
    """Every variable of the container, in order of definition."""
    links = spec_of(pod).get("enableServiceLinks", True)
    variables = dict(service_variables(sources.services, namespace_of(pod), links=links))
    for source in container.get("envFrom") or ():
        variables.update(await _from_object(pod, source, sources))
    own: dict[str, str] = {}
    for item in container.get("env") or ():
        if item.get("valueFrom"):
            value = await _from_source(pod, container, item["valueFrom"], sources)
            if value is None:
                continue
        else:
            value = expand(str(item.get("value") or ""), {**variables, **own})
        own[item["name"]] = value
    variables.update(own)
    return variables


async def _from_object(pod: Object, source: Object, sources: EnvSources) -> dict[str, str]:
    kind = "configmap" if "configMapRef" in source else "secret"
    reference = source.get("configMapRef") or source.get("secretRef") or {}
    found = await _object(pod, kind, reference, sources)
    prefix = source.get("prefix") or ""
    return {prefix + key: value for key, value in text_data(found).items()} if found else {}


async def _object(pod: Object, kind: str, reference: Object, sources: EnvSources) -> Object | None:
    name = reference.get("name") or ""
    found = await sources.lookup(kind, namespace_of(pod), name)
    if found is None and not reference.get("optional"):
        raise ConfigProblem(f'{kind} "{name}" not found')
    return found


def text_data(obj: Object) -> dict[str, str]:
    """The text values of a ConfigMap or Secret (decoded)."""
    if obj.get("kind") == "Secret" or "type" in obj:
        return {
            key: base64.b64decode(value).decode(errors="surrogateescape")
            for key, value in (obj.get("data") or {}).items()
        }
    return dict(obj.get("data") or {})


async def _from_source(pod: Object, container: Object, source: Object, sources: EnvSources) -> str | None:
    """The value of one ``valueFrom``; None leaves the variable out (optional)."""
    try:
        if "fieldRef" in source:
            path = source["fieldRef"]["fieldPath"]
            return field_value(pod, path, node=sources.node, pod_ips=sources.pod_ips)
        if "resourceFieldRef" in source:
            return resource_value(pod, source["resourceFieldRef"], container, node=sources.node)
    except FieldProblem as problem:
        raise ConfigProblem(str(problem)) from problem
    if "fileKeyRef" in source:
        return await _from_file(pod, source["fileKeyRef"], sources)
    kind = "configmap" if "configMapKeyRef" in source else "secret"
    reference = source.get("configMapKeyRef") or source.get("secretKeyRef") or {}
    found = await _object(pod, kind, reference, sources)
    if found is None:
        return None
    key = reference.get("key", "")
    data = text_data(found)
    if key in data:
        return data[key]
    if reference.get("optional"):
        return None
    label = "ConfigMap" if kind == "configmap" else "Secret"
    raise ConfigProblem(f"couldn't find key {key} in {label} {namespace_of(pod)}/{name_of(found)}")


async def _from_file(pod: Object, reference: Object, sources: EnvSources) -> str | None:
    """A variable from an env file in a volume (``fileKeyRef``)."""
    folder = sources.volume_path(reference.get("volumeName", ""))
    if folder is None:
        raise ConfigProblem(f'cannot find the volume "{reference.get("volumeName", "")}" referenced by FileKeyRef')
    path, key = folder / reference.get("path", ""), reference.get("key", "")
    try:
        real = await asyncio.to_thread(path.resolve)
        if not real.is_relative_to(await asyncio.to_thread(folder.resolve)):
            raise ConfigProblem(f"file {reference.get('path')} lies outside of the volume")
        text = await asyncio.to_thread(real.read_text)
    except (OSError, UnicodeDecodeError) as error:
        if reference.get("optional"):
            return None
        raise ConfigProblem(f"couldn't parse env file: {error}") from error
    value = _env_file(text).get(key)
    if value is None and not reference.get("optional"):
        raise ConfigProblem(f'environment variable key "{key}" not found in file "{reference.get("path")}"')
    return value


def _env_file(text: str) -> dict[str, str]:
    """``NAME='value'`` lines; comments and empty lines are skipped."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        stripped = line.strip()
        if not stripped or stripped.startswith("#") or "=" not in stripped:
            continue
        name, _, value = stripped.partition("=")
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        found[name.strip()] = value
    return found


def service_variables(services: Iterable[Object], namespace: str, *, links: bool) -> Iterable[tuple[str, str]]:
    """``NAME_SERVICE_HOST`` and Docker-style link variables; the API's Service is always there."""
    chosen: dict[str, Object] = {}
    for service in services:
        spec = service.get("spec") or {}
        if spec.get("clusterIP") in (None, "", "None"):
            continue
        master = name_of(service) == "kubernetes" and namespace_of(service) == "default"
        if namespace_of(service) == namespace and links:
            chosen[name_of(service)] = service
        elif master:
            chosen.setdefault("kubernetes", service)
    for name in sorted(chosen):
        yield from _variables_of(name, chosen[name]["spec"])


def _variables_of(service: str, spec: Object) -> Iterable[tuple[str, str]]:
    name, address = _env_name(service), spec["clusterIP"]
    host = f"[{address}]" if ":" in address else address
    ports = spec.get("ports") or ()
    yield f"{name}_SERVICE_HOST", address
    for index, port in enumerate(ports):
        if index == 0:
            yield f"{name}_SERVICE_PORT", str(port["port"])
        if port.get("name"):
            yield f"{name}_SERVICE_PORT_{_env_name(port['name'])}", str(port["port"])
    for index, port in enumerate(ports):
        protocol = str(port.get("protocol") or "TCP")
        url = f"{protocol.lower()}://{host}:{port['port']}"
        if index == 0:
            yield f"{name}_PORT", url
        prefix = f"{name}_PORT_{port['port']}_{protocol}"
        yield prefix, url
        yield f"{prefix}_PROTO", protocol.lower()
        yield f"{prefix}_PORT", str(port["port"])
        yield f"{prefix}_ADDR", address


def _env_name(name: str) -> str:
    return name.upper().replace("-", "_")
