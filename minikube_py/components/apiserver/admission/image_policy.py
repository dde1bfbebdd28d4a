"""ImagePolicyWebhook: a remote service says whether a pod may use its images.

Configuration (without apiVersion, as in Kubernetes)::

    imagePolicy:
      kubeConfigFile: /etc/images/kubeconfig.yaml   # relative to the configuration file
      allowTTL: 50          # seconds an answer is remembered; -1 for not at all
      denyTTL: 50
      retryBackoff: 500     # milliseconds before the second attempt
      defaultAllow: true    # when the service cannot be asked

Same rules and texts as ``plugin/pkg/admission/imagepolicy``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from minikube_py.client.kubeconfig import Connection
from minikube_py.components.apiserver.admission.configuration import AdmissionConfiguration
from minikube_py.components.apiserver.admission.refusal import is_for, refuse
from minikube_py.components.apiserver.configuration_file import Section, raise_errors
from minikube_py.components.apiserver.types import AdmissionRequest, Operation
from minikube_py.components.apiserver.webhook_client import Webhook, WebhookError, read_webhook_kubeconfig
from minikube_py.machinery.clock import Clock
from minikube_py.machinery.errors import FieldError, invalid_value, required
from minikube_py.machinery.objects import Object, metadata
from minikube_py.machinery.resources import PODS

log = logging.getLogger(__name__)

NAME = "ImagePolicyWebhook"
_AUDIT = "imagepolicywebhook.image-policy.k8s.io/"
_ANNOTATIONS = ".image-policy.k8s.io/"
default_ttl_seconds = 50
longest_ttl_seconds = 1800
default_backoff_milliseconds = 500
longest_backoff_milliseconds = 300_000
most_entries = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePolicySettings:
    """Where to ask, how long answers hold (zero: not at all), and what a failure means."""

    connection: Connection
    allow_ttl_seconds: float
    deny_ttl_seconds: float
    first_delay_seconds: float
    default_allow: bool


def read_settings(configuration: AdmissionConfiguration) -> ImagePolicySettings | None:
    """The plugin's settings, None without a configuration. Blocks for the kubeconfig. Raises ConfigurationError."""
    document = configuration.document(NAME, {})
    if document is None:
        return None
    errors: list[str] = []
    found: list[FieldError] = []
    root = Section(document.content, "", errors)
    section = root.section("imagePolicy")
    root.close()
    path = section.text("kubeConfigFile")
    if not path:
        found.append(required(section.at("kubeConfigFile")))
    allow = _ranged(section, "allowTTL", default_ttl_seconds, longest_ttl_seconds, found)
    deny = _ranged(section, "denyTTL", default_ttl_seconds, longest_ttl_seconds, found)
    backoff = _ranged(section, "retryBackoff", default_backoff_milliseconds, longest_backoff_milliseconds, found)
    default_allow = section.flag("defaultAllow")
    section.close()
    raise_errors(document.where, [*errors, *found])
    return ImagePolicySettings(
        connection=read_webhook_kubeconfig(document.folder / path),
        allow_ttl_seconds=allow,
        deny_ttl_seconds=deny,
        first_delay_seconds=backoff / 1000,
        default_allow=default_allow,
    )


def _ranged(section: Section, name: str, default: int, limit: int, found: list[FieldError]) -> int:
    """Absent and 0 mean the default, -1 means none."""
    value = section.number(name) or default
    if value == -1:
        return 0
    if not 1 <= value <= limit:
        found.append(invalid_value(section.at(name), value, f"valid value is between 1 and {limit}"))
    return value


class ImagePolicyWebhook:
    """The plugin."""

    name = NAME
    handles_by_kind = True

    def __init__(self, settings: ImagePolicySettings, webhook: Webhook, clock: Clock) -> None:
        self._settings = settings
        self._webhook = webhook
        self._clock = clock
        self._entries: dict[bytes, tuple[Mapping[str, Any], float]] = {}

    def handles(self, request: AdmissionRequest) -> bool:
        both = (Operation.CREATE, Operation.UPDATE)
        return is_for(request, PODS, *both) or is_for(request, PODS, *both, subresource="ephemeralcontainers")

    async def admit(self, request: AdmissionRequest) -> None:
        """Nothing to fill in."""

    async def validate(self, request: AdmissionRequest) -> None:
        pod = request.object or {}
        if request.operation is Operation.UPDATE and _images(pod) == _images(request.old or {}):
            return
        spec = _review_spec(pod, request.namespace)
        try:
            status = await self._review(spec)
        except WebhookError as error:
            log.warning("image policy webhook failed", extra={"error": str(error)})
            if not self._settings.default_allow:
                raise refuse(request, f"image policy webhook backend could not be asked: {error}") from error
            request.audit_annotations[f"{_AUDIT}failed-open"] = "true"
            return
        for key, value in (status.get("auditAnnotations") or {}).items():
            request.audit_annotations[f"{_AUDIT}{key}"] = str(value)
        if status.get("allowed") is not True:
            why = "image policy webhook backend denied one or more images"
            reason = status.get("reason")
            raise refuse(request, f"{why}: {reason}" if reason else why)

    async def close(self) -> None:
        """Close the connections."""
        await self._webhook.close()

    async def _review(self, spec: Object) -> Mapping[str, Any]:
        """The service's verdict, remembered for a while. Raises WebhookError."""
        key, now = orjson.dumps(spec, option=orjson.OPT_SORT_KEYS), self._clock.monotonic()
        known = self._entries.get(key)
        if known is not None and now < known[1]:
            return known[0]
        question = {"apiVersion": "imagepolicy.k8s.io/v1alpha1", "kind": "ImageReview", "metadata": {}, "spec": spec}
        status: Mapping[str, Any] = (await self._webhook.ask(question))["status"]
        annotations = status.get("auditAnnotations") or {}
        if not isinstance(status.get("allowed", False), bool) or not isinstance(annotations, dict):
            raise WebhookError("the answer's status is malformed")
        allowed = status.get("allowed") is True
        ttl = self._settings.allow_ttl_seconds if allowed else self._settings.deny_ttl_seconds
        self._entries.pop(key, None)
        if ttl > 0:
            if len(self._entries) >= most_entries:
                del self._entries[next(iter(self._entries))]
            self._entries[key] = (status, self._clock.monotonic() + ttl)
        return status


def _images(pod: Object) -> list[str]:
    spec = pod.get("spec") or {}
    fields = ("containers", "initContainers", "ephemeralContainers")
    return [str(item.get("image") or "") for field in fields for item in spec.get(field) or ()]


def _review_spec(pod: Object, namespace: str) -> Object:
    annotations = metadata(pod).get("annotations") or {}
    chosen = {key: value for key, value in annotations.items() if _ANNOTATIONS in key}
    spec: Object = {"containers": [{"image": image} for image in _images(pod)], "namespace": namespace}
    if chosen:
        spec["annotations"] = chosen
    return spec
