"""The chain of admission plugins: which there are, which are on by default, and their order.

The order is Kubernetes' (``pkg/kubeapiserver/options/plugins.go``); it does not depend on the order of
flags. Dynamic admission (pyk3s' own plugins, webhooks and policies) has its places before ResourceQuota,
which must come after all that may refuse, so that nothing is counted in vain (AlwaysDeny has refused before).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

from minikube_py.components.apiserver.configuration_file import ConfigurationError
from minikube_py.components.apiserver.metrics.admission import ADMIT, VALIDATE, AdmissionMetrics
from minikube_py.components.apiserver.types import AdmissionPlugin, AdmissionRequest, Operation
from minikube_py.machinery.errors import ApiError

ORDER = (
    "AlwaysAdmit",
    "NamespaceAutoProvision",
    "NamespaceLifecycle",
    "NamespaceExists",
    "LimitPodHardAntiAffinityTopology",
    "LimitRanger",
    "ServiceAccount",
    "NodeRestriction",
    "TaintNodesByCondition",
    "AlwaysPullImages",
    "ImagePolicyWebhook",
    "PodSecurity",
    "PodNodeSelector",
    "Priority",
    "DefaultTolerationSeconds",
    "PodTolerationRestriction",
    "EventRateLimit",
    "ExtendedResourceToleration",
    "DefaultStorageClass",
    "StorageObjectInUseProtection",
    "OwnerReferencesPermissionEnforcement",
    "PersistentVolumeClaimResize",
    "RuntimeClass",
    "CertificateApproval",
    "CertificateSigning",
    "ClusterTrustBundleAttest",
    "CertificateSubjectRestriction",
    "DefaultIngressClass",
    "DenyServiceExternalIPs",
    "PodTopologyLabels",
    "NodeDeclaredFeatureValidator",
    "PodResizeValidator",
    "PodGroupWorkloadExists",
    "PodGroupProtection",
    "JobValidation",
    "PythonPlugin",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionWebhook",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionWebhook",
    "ResourceQuota",
    "AlwaysDeny",
)
"""All names that flags may say. AlwaysAdmit does nothing; ClusterTrustBundleAttest, PodGroupWorkloadExists,
PodGroupProtection and JobValidation are about resources behind gates that v1.36 has off."""
_PASSED, _REFUSED = "false", "true"
_MOST_REMEMBERED = 4096
_Concerned = tuple[AdmissionPlugin, bool, Callable[[float], None]]
"""A plugin that may have a say, whether it is known to handle the request, and what takes its times."""
_BOTH = (ADMIT, VALIDATE)
DEFAULT_OFF = frozenset(
    {
        "AlwaysAdmit",
        "AlwaysDeny",
        "AlwaysPullImages",
        "DenyServiceExternalIPs",
        "EventRateLimit",
        "ExtendedResourceToleration",
        "ImagePolicyWebhook",
        "LimitPodHardAntiAffinityTopology",
        "NamespaceAutoProvision",
        "NamespaceExists",
        "OwnerReferencesPermissionEnforcement",
        "PodNodeSelector",
        "PodTolerationRestriction",
    }
)
# NodeRestriction is off in kube-apiserver's own defaults, but every distribution turns it on, k3s included.


@dataclass(frozen=True, slots=True)
class _Phase:
    """One phase for all requests of one resource, operation and subresource; ``passed`` takes its times."""

    concerned: tuple[_Concerned, ...]
    passed: Callable[[float], None]


class PluginChain:
    """Runs plugins in order; the first refusal ends a phase.

    The mutating phase runs once more when a webhook or policy changed the object (``admission/reinvocation``). A plugin
    with a true attribute ``handles_by_kind`` looks at nothing but resource, operation and subresource to say whether it
    handles a request; it is asked once for each of them, not for each request. One that has a say in one phase alone
    names it in an attribute ``phases``.
    """

    def __init__(
        self,
        plugins: Iterable[AdmissionPlugin],
        metrics: AdmissionMetrics | None = None,
        monotonic: Callable[[], float] = monotonic,
    ) -> None:
        self.plugins: tuple[AdmissionPlugin, ...] = tuple(plugins)
        self._metrics = metrics or AdmissionMetrics()
        self._monotonic = monotonic
        self._phases: dict[tuple[str, str, Operation, str], dict[str, _Phase]] = {}

    async def admit(self, request: AdmissionRequest) -> None:
        begin, phase = self._monotonic(), self._phase(request, ADMIT)
        try:
            await self._admit_once(request, phase.concerned)
            if request.reinvocation.wanted:
                request.reinvocation.again = True
                await self._admit_once(request, phase.concerned)
        except BaseException:
            self._ended_early(request, ADMIT, begin)
            raise
        phase.passed(self._monotonic() - begin)

    async def _admit_once(self, request: AdmissionRequest, concerned: tuple[_Concerned, ...]) -> None:
        begin = self._monotonic()
        for plugin, handles, took in concerned:
            if handles or plugin.handles(request):
                try:
                    await plugin.admit(request)
                except ApiError:
                    self._refused(plugin, ADMIT, request, begin)
                    raise
                end = self._monotonic()
                took(end - begin)
                begin = end

    async def validate(self, request: AdmissionRequest) -> None:
        begin, phase = self._monotonic(), self._phase(request, VALIDATE)
        try:
            await self._validate_once(request, phase.concerned)
        except BaseException:
            self._ended_early(request, VALIDATE, begin)
            raise
        phase.passed(self._monotonic() - begin)

    async def _validate_once(self, request: AdmissionRequest, concerned: tuple[_Concerned, ...]) -> None:
        begin = self._monotonic()
        for plugin, handles, took in concerned:
            if handles or plugin.handles(request):
                try:
                    await plugin.validate(request)
                except ApiError:
                    self._refused(plugin, VALIDATE, request, begin)
                    raise
                end = self._monotonic()
                took(end - begin)
                begin = end

    def _refused(self, plugin: AdmissionPlugin, step: str, request: AdmissionRequest, begin: float) -> None:
        labels = (plugin.name, step, str(request.operation), _REFUSED)
        self._metrics.controllers.observe(labels, self._monotonic() - begin)

    def _ended_early(self, request: AdmissionRequest, step: str, begin: float) -> None:
        labels = (step, str(request.operation), _REFUSED)
        self._metrics.whole_phases(labels).observe(self._monotonic() - begin)

    def _phase(self, request: AdmissionRequest, step: str) -> _Phase:
        resource = request.kind.resource
        key = (resource.group, resource.plural, request.operation, request.subresource)
        found = self._phases.get(key)
        if found is None:
            if len(self._phases) >= _MOST_REMEMBERED:
                self._phases.clear()
            found = self._phases[key] = self._composed(request)
        return found[step]

    def _composed(self, request: AdmissionRequest) -> dict[str, _Phase]:
        """Both phases."""
        sure = [(plugin, bool(getattr(plugin, "handles_by_kind", False))) for plugin in self.plugins]
        having_a_say = [(plugin, known) for plugin, known in sure if not known or plugin.handles(request)]
        operation, times = str(request.operation), self._metrics.controllers.of
        found: dict[str, _Phase] = {}
        for step in _BOTH:
            concerned = tuple(
                (plugin, known, times((plugin.name, step, operation, _PASSED)).observe)
                for plugin, known in having_a_say
                if step in getattr(plugin, "phases", _BOTH)
            )
            found[step] = _Phase(concerned, self._metrics.whole_phases((step, operation, _PASSED)).observe)
        return found


def build_chain(
    plugins: Mapping[str, AdmissionPlugin],
    *,
    enable: Sequence[str] = (),
    disable: Sequence[str] = (),
    always: Sequence[AdmissionPlugin] = (),
    last: Sequence[AdmissionPlugin] = (),
    metrics: AdmissionMetrics | None = None,
) -> PluginChain:
    """The chain of the enabled plugins, between steps of the registry that are always on.

    ``always`` come first; ``last`` come after everything that may change an object.

    Raises ConfigurationError, in kube-apiserver's words, for names that do not exist.
    """
    for option, names in (("enable", enable), ("disable", disable)):
        unknown = [name for name in names if name not in ORDER]
        if unknown:
            raise ConfigurationError(f"{option}-admission-plugins plugin {unknown[0]!r} is unknown")
    both = sorted(set(enable) & set(disable))
    if both:
        raise ConfigurationError(
            f"{', '.join(both)} in enable-admission-plugins and disable-admission-plugins overlapped"
        )
    wanted = (set(ORDER) - DEFAULT_OFF | set(enable)) - set(disable)
    ordered = (plugins[name] for name in ORDER if name in wanted and name in plugins)
    return PluginChain([*always, *ordered, *last], metrics)
