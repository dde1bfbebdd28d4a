"""The chain of admission plugins: which there are, which are on by default, and their order.

The order is Kubernetes' (``pkg/kubeapiserver/options/plugins.go``); it does not depend on the order of
flags. Dynamic admission (pyk3s' own plugins, webhooks and policies) has its places before ResourceQuota,
which must be last so that nothing is counted that another plugin refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic

from minikube_py.components.apiserver.configuration_file import ConfigurationError
from minikube_py.components.apiserver.metrics.admission import ADMIT, VALIDATE, AdmissionMetrics
from minikube_py.components.apiserver.types import AdmissionPlugin, AdmissionRequest, Operation
from minikube_py.machinery.errors import ApiError

ORDER = (
    "NamespaceLifecycle",
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
    "EventRateLimit",
    "DefaultStorageClass",
    "StorageObjectInUseProtection",
    "PersistentVolumeClaimResize",
    "RuntimeClass",
    "CertificateApproval",
    "CertificateSigning",
    "CertificateSubjectRestriction",
    "DefaultIngressClass",
    "DenyServiceExternalIPs",
    "PodTopologyLabels",
    "PythonPlugin",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionWebhook",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionWebhook",
    "ResourceQuota",
)
_PASSED, _REFUSED = "false", "true"
_MOST_REMEMBERED = 4096
_Concerned = tuple[AdmissionPlugin, bool, Callable[[float], None]]
_BOTH = (ADMIT, VALIDATE)
DEFAULT_OFF = frozenset(
    {"AlwaysPullImages", "DenyServiceExternalIPs", "EventRateLimit", "ImagePolicyWebhook", "PodNodeSelector"}
)
# NodeRestriction is off in kube-apiserver's own defaults, but every distribution turns it on, k3s included.


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
        self._concerned: dict[tuple[str, str, Operation, str], dict[str, tuple[_Concerned, ...]]] = {}

    async def admit(self, request: AdmissionRequest) -> None:
        begin, rejected = self._monotonic(), _REFUSED
        try:
            await self._admit_once(request)
            if request.reinvocation.wanted:
                request.reinvocation.again = True
                await self._admit_once(request)
            rejected = _PASSED
        finally:
            self._metrics.phase((ADMIT, str(request.operation), rejected), self._monotonic() - begin)

    async def _admit_once(self, request: AdmissionRequest) -> None:
        begin = self._monotonic()
        for plugin, handles, took in self._concerned_by(request, ADMIT):
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
        begin, rejected = self._monotonic(), _REFUSED
        try:
            await self._validate_once(request)
            rejected = _PASSED
        finally:
            self._metrics.phase((VALIDATE, str(request.operation), rejected), self._monotonic() - begin)

    async def _validate_once(self, request: AdmissionRequest) -> None:
        begin = self._monotonic()
        for plugin, handles, took in self._concerned_by(request, VALIDATE):
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

    def _concerned_by(self, request: AdmissionRequest, step: str) -> tuple[_Concerned, ...]:
        """The plugins that may have a say, whether they are known to handle the request, and what takes their times."""
        resource = request.kind.resource
        key = (resource.group, resource.plural, request.operation, request.subresource)
        found = self._concerned.get(key)
        if found is None:
            sure = [(plugin, bool(getattr(plugin, "handles_by_kind", False))) for plugin in self.plugins]
            concerned = [(plugin, known) for plugin, known in sure if not known or plugin.handles(request)]
            operation, times = str(request.operation), self._metrics.controllers.of
            found = {
                phase: tuple(
                    (plugin, known, times((plugin.name, phase, operation, _PASSED)).observe)
                    for plugin, known in concerned
                    if phase in getattr(plugin, "phases", _BOTH)
                )
                for phase in _BOTH
            }
            if len(self._concerned) >= _MOST_REMEMBERED:
                self._concerned.clear()
            self._concerned[key] = found
        return found[step]


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
