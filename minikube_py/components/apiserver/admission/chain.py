"""The chain of admission plugins: which there are, which are on by default, and their order.

The order is Kubernetes' (``pkg/kubeapiserver/options/plugins.go``); it does not depend on the order of
flags. Dynamic admission (pyk3s' own plugins, webhooks and policies) has its places before ResourceQuota,
which must be last so that nothing is counted that another plugin refuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from minikube_py.components.apiserver.configuration_file import ConfigurationError
from minikube_py.components.apiserver.types import AdmissionPlugin, AdmissionRequest

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
    "PythonPlugin",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionWebhook",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionWebhook",
    "ResourceQuota",
)
DEFAULT_OFF = frozenset(
    {"AlwaysPullImages", "DenyServiceExternalIPs", "EventRateLimit", "ImagePolicyWebhook", "PodNodeSelector"}
)
# NodeRestriction is off in kube-apiserver's own defaults, but every distribution turns it on, k3s included.


class PluginChain:
    """Runs plugins in order; the first refusal ends a phase.

    The mutating phase runs once more when a webhook or policy changed the object (``admission/reinvocation``).
    """

    def __init__(self, plugins: Iterable[AdmissionPlugin]) -> None:
        self.plugins: tuple[AdmissionPlugin, ...] = tuple(plugins)

    async def admit(self, request: AdmissionRequest) -> None:
        await self._admit_once(request)
        if request.reinvocation.wanted:
            request.reinvocation.again = True
            await self._admit_once(request)

    async def _admit_once(self, request: AdmissionRequest) -> None:
        for plugin in self.plugins:
            if plugin.handles(request):
                await plugin.admit(request)

    async def validate(self, request: AdmissionRequest) -> None:
        for plugin in self.plugins:
            if plugin.handles(request):
                await plugin.validate(request)


def build_chain(
    plugins: Mapping[str, AdmissionPlugin],
    *,
    enable: Sequence[str] = (),
    disable: Sequence[str] = (),
    always: Sequence[AdmissionPlugin] = (),
    last: Sequence[AdmissionPlugin] = (),
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
    return PluginChain([*always, *(plugins[name] for name in ORDER if name in wanted and name in plugins), *last])
