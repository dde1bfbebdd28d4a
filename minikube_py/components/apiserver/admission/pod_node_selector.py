"""PodNodeSelector: pods get the node selector of their namespace, and may not leave the namespace's allow list.

Configuration (without apiVersion, as in Kubernetes)::

    podNodeSelectorPluginConfig:
      clusterDefaultNodeSelector: pool=shared      # for namespaces without the annotation
      team-a: pool=a,disk=ssd                      # allow list of one namespace

The annotation ``scheduler.alpha.kubernetes.io/node-selector`` of a namespace names its own selector. Same
rules and texts as ``plugin/pkg/admission/podnodeselector``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from minikube_py.components.apiserver.admission.configuration import AdmissionConfiguration
from minikube_py.components.apiserver.admission.refusal import draft_spec, failed, is_for, refuse
from minikube_py.components.apiserver.configuration_file import Section, raise_errors
from minikube_py.components.apiserver.lookup import Lookup
from minikube_py.components.apiserver.types import AdmissionRequest, Operation
from minikube_py.machinery.names import label_value_errors, qualified_name_errors
from minikube_py.machinery.objects import metadata
from minikube_py.machinery.resources import PODS

NAME = "PodNodeSelector"
ANNOTATION = "scheduler.alpha.kubernetes.io/node-selector"
_DEFAULT = "clusterDefaultNodeSelector"


@dataclass(frozen=True, slots=True)
class PodNodeSelectorSettings:
    """The default selector, and the allow lists by namespace."""

    default: Mapping[str, str] = field(default_factory=dict)
    allowed: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def read_settings(configuration: AdmissionConfiguration) -> PodNodeSelectorSettings:
    """The plugin's settings. Raises ConfigurationError."""
    document = configuration.document(NAME, {})
    if document is None:
        return PodNodeSelectorSettings()
    errors: list[str] = []
    root = Section(document.content, "", errors)
    section = root.section("podNodeSelectorPluginConfig")
    root.close()
    default: Mapping[str, str] = {}
    allowed: dict[str, Mapping[str, str]] = {}
    for name in section.names():
        try:
            labels = labels_of_selector(section.text(name))
        except ValueError as error:
            errors.append(f"{section.at(name)}: {error}")
            continue
        if name == _DEFAULT:
            default = labels
        else:
            allowed[name] = labels
    raise_errors(document.where, errors)
    return PodNodeSelectorSettings(default, allowed)


def labels_of_selector(text: str) -> dict[str, str]:
    """The labels of ``key=value,key=value``. Raises ValueError, in the words of ``ConvertSelectorToLabelsMap``."""
    labels: dict[str, str] = {}
    for term in text.split(",") if text else ():
        key, separator, value = term.partition("=")
        key, value = key.strip(), value.strip()
        if not separator or "=" in value:
            raise ValueError(f"invalid selector: {term}")
        problems = qualified_name_errors(key) + label_value_errors(value)
        if problems:
            raise ValueError(f"invalid selector: {term}: {'; '.join(problems)}")
        labels[key] = value
    return labels


class PodNodeSelector:
    """The plugin."""

    name = NAME
    handles_by_kind = True

    def __init__(self, namespaces: Lookup, settings: PodNodeSelectorSettings) -> None:
        self._namespaces = namespaces
        self._settings = settings

    def handles(self, request: AdmissionRequest) -> bool:
        return is_for(request, PODS, Operation.CREATE)

    async def admit(self, request: AdmissionRequest) -> None:
        if request.object is None:
            return
        spec = draft_spec(request.object)
        wanted = await self._selector_of(request.namespace)
        given: Mapping[str, str] = spec.get("nodeSelector") or {}
        self._check(request, given, wanted)
        if wanted:
            spec["nodeSelector"] = {**given, **wanted}

    async def validate(self, request: AdmissionRequest) -> None:
        given = ((request.object or {}).get("spec") or {}).get("nodeSelector") or {}
        self._check(request, given, await self._selector_of(request.namespace))
        allowed = self._settings.allowed.get(request.namespace)
        if allowed and any(allowed.get(key) != value for key, value in given.items()):
            raise refuse(request, "pod node label selector labels conflict with its namespace whitelist")

    async def _selector_of(self, namespace_name: str) -> Mapping[str, str]:
        namespace = await self._namespaces.get(namespace_name)
        text = (metadata(namespace or {}).get("annotations") or {}).get(ANNOTATION)
        if text is None:
            return self._settings.default
        try:
            return labels_of_selector(text)
        except ValueError as error:
            raise failed(str(error)) from error

    @staticmethod
    def _check(request: AdmissionRequest, given: Mapping[str, str], wanted: Mapping[str, str]) -> None:
        if any(given.get(key, value) != value for key, value in wanted.items()):
            raise refuse(request, "pod node label selector conflicts with its namespace node label selector")
