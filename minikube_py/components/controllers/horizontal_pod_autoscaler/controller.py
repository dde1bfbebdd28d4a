"""The loop of the horizontal pod autoscaler (``pkg/controller/podautoscaler``); keys are autoscalers.

Watches: autoscalers, pods. Reads: metrics APIs and the targets' scale, for each autoscaler as often as
``AutoscalerSettings`` say. Writes: the scale of targets of any kind, and the autoscalers' status. Holds: nothing is
scaled down while a metric that could want more is unknown, nor pods that several autoscalers claim.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minikube_py.client.types import EventType
from minikube_py.client.workqueue import WorkQueue
from minikube_py.components.controllers.horizontal_pod_autoscaler.metrics import Unmeasured
from minikube_py.components.controllers.horizontal_pod_autoscaler.proposals import Proposal, Target, Unusable, propose
from minikube_py.components.controllers.horizontal_pod_autoscaler.replicas import Situation, Tolerances
from minikube_py.components.controllers.horizontal_pod_autoscaler.rules import History, decide
from minikube_py.components.controllers.horizontal_pod_autoscaler.status import Draft
from minikube_py.components.controllers.kit import WRITE, Kit, follow, write_status
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.objects import (
    Object,
    key_of,
    labels_of,
    namespace_of,
    split_key,
    thaw,
)
from minikube_py.machinery.quantities import parse_quantity
from minikube_py.machinery.resources import HORIZONTAL_POD_AUTOSCALERS, PODS, Resource
from minikube_py.machinery.selectors import Selector, parse_label_selector

_NANO = 10**9


class HorizontalPodAutoscalerController:
    """The loop."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._autoscalers = kit.client.informer(HORIZONTAL_POD_AUTOSCALERS)
        self._pods = kit.client.informer(PODS)
        self._queue: WorkQueue[str] = WorkQueue(kit.clock, name="horizontal-pod-autoscaler")
        self._histories: dict[str, History] = {}
        self._selectors: dict[str, Selector] = {}

    async def run(self) -> None:
        """Run until cancelled."""
        await self._pods.synced()
        await follow(
            self._kit,
            "horizontal-pod-autoscaler",
            self._queue,
            self.reconcile,
            (self._autoscalers, self._on_autoscaler),
        )

    def _on_autoscaler(self, type: EventType, autoscaler: Object, old: Object | None) -> None:
        if type is EventType.DELETED or old is None or old.get("spec") != autoscaler.get("spec"):
            self._queue.add(key_of(autoscaler))

    async def reconcile(self, key: str) -> float | None:
        """Bring one target's scale and one autoscaler's status in step; the seconds until the next look."""
        namespace, name = split_key(key)
        autoscaler = self._autoscalers.get(name, namespace)
        if autoscaler is None:
            self._histories.pop(key, None)
            self._selectors.pop(key, None)
            return None
        draft = Draft(autoscaler, self._kit.clock.now())
        await self._scale(autoscaler, draft, key)
        await write_status(self._kit, HORIZONTAL_POD_AUTOSCALERS, autoscaler, draft.status)
        return self._kit.settings.autoscaling.sync_seconds

    async def _scale(self, autoscaler: Object, draft: Draft, key: str) -> None:
        """Set the target's replicas; what comes of it goes into the draft of the status."""
        try:
            resource, scale = await self._target(autoscaler)
        except (ApiError, LookupError, ValueError) as error:
            told = error.message if isinstance(error, ApiError) else str(error.args[0])
            self._event(autoscaler, "FailedGetScale", told)
            draft.able(
                False, "FailedGetScale", f"the HPA controller was unable to get the target's current scale: {told}"
            )
            return
        draft.able(True, "SucceededGetScale", "the HPA controller was able to get the target's current scale")
        current, now = int((scale.get("spec") or {}).get("replicas") or 0), self._kit.clock.now()
        window = self._kit.settings.autoscaling.downscale_stabilization_seconds
        history = self._histories.setdefault(key, History(recommendations=[(now, current)], downscale_window=window))
        low, high = _limits(autoscaler)
        if current == 0 and low != 0:
            why = "scaling is disabled since the replica count of the target is zero"
            draft.active(False, "ScalingDisabled", why)
            draft.counted(current, current, [])
            return
        if not low <= current <= high:
            side, wanted = ("above Spec.MaxReplicas", high) if current > high else ("below Spec.MinReplicas", low)
            await self._set(autoscaler, draft, resource, scale, wanted, f"Current number of replicas {side}", [])
            return
        found = await self._recommended(autoscaler, draft, scale, key)
        if found is None:
            return
        best, statuses = found
        behavior = autoscaler["spec"].get("behavior")
        decision = decide(history, current, best.replicas, low, high, behavior, now)
        draft.able(True, *decision.able)
        draft.limited(decision.limited, *decision.limit)
        if decision.replicas == current:
            draft.counted(current, current, statuses)
            return
        reason = f"{best.name} above target" if best.replicas > current else "All metrics below target"
        if best.replicas == current:
            reason = ""
        if await self._set(autoscaler, draft, resource, scale, decision.replicas, reason, statuses):
            history.changed(current, decision.replicas, behavior, now)

    async def _target(self, autoscaler: Object) -> tuple[Resource, Object]:
        """What is scaled, and its Scale. Raises ApiError, LookupError and ValueError."""
        reference = autoscaler["spec"]["scaleTargetRef"]
        failure: ApiError | None = None
        for resource in self._resources(reference):
            try:
                return resource, await self._kit.client.get(
                    resource, str(reference["name"]), namespace_of(autoscaler), subresource="scale"
                )
            except ApiError as error:
                failure = failure or error
        raise failure or LookupError("unrecognized resource")

    def _resources(self, reference: Mapping[str, Any]) -> Sequence[Resource]:
        """The served resources of a reference's kind. Raises LookupError, and ValueError for no group version."""
        version = str(reference.get("apiVersion") or "")
        if version.count("/") > 1:
            raise ValueError(f"unexpected GroupVersion string: {version}")
        group, kind = version.rpartition("/")[0], str(reference.get("kind"))
        found = [one for one in self._kit.resources() if one.group == group and one.kind == kind]
        if not found:
            raise LookupError(f'no matches for kind "{kind}" in group "{group}"')
        return found

    async def _recommended(
        self, autoscaler: Object, draft: Draft, scale: Object, key: str
    ) -> tuple[Proposal, list[Object]] | None:
        """The highest proposal of all metrics, and the metrics' statuses. None when nothing may be decided by them."""
        metrics: Sequence[Mapping[str, Any]] = autoscaler["spec"].get("metrics") or ()
        current = int((scale.get("spec") or {}).get("replicas") or 0)
        selector = self._selector(autoscaler, draft, scale, key)
        if isinstance(selector, str):
            self._failed(autoscaler, draft, current, [], selector)
            return None
        target = self._target_of(autoscaler, scale, selector)
        statuses: list[Object] = []
        best: Proposal | None = None
        failures: list[Unusable] = []
        for metric in metrics:
            try:
                proposal = await propose(self._kit.settings.metrics, metric, target)
            except Unusable as error:
                self._event(autoscaler, error.reason, error.detail)
                failures.append(error)
                statuses.append({"type": ""})
                continue
            statuses.append(proposal.status)
            if best is None or proposal.replicas > best.replicas:
                best = proposal
        if best is None or (failures and best.replicas < current):
            if failures:
                first = failures[0]
                draft.active(False, first.reason, f"the HPA was unable to compute the replica count: {first.detail}")
            counted = f"{len(failures)} invalid out of {len(metrics)}"
            told = f"invalid metrics ({counted}), first error is: {failures[0] if failures else None}"
            self._failed(autoscaler, draft, current, statuses, told)
            return None
        found = f"the HPA was able to successfully calculate a replica count from {best.name}"
        draft.active(True, "ValidMetricFound", found)
        return best, statuses

    def _failed(self, autoscaler: Object, draft: Draft, current: int, statuses: list[Object], told: str) -> None:
        draft.counted(current, None, statuses)
        self._event(autoscaler, "FailedComputeMetricsReplicas", told)

    def _selector(self, autoscaler: Object, draft: Draft, scale: Object, key: str) -> Selector | str:
        """The selector of the target's pods, or why it cannot be used."""
        text = str((scale.get("status") or {}).get("selector") or "")
        if not text:
            told = "selector is required"
            self._event(autoscaler, "SelectorRequired", told)
            draft.active(False, "InvalidSelector", "the HPA target's scale is missing a selector")
            return told
        try:
            selector = parse_label_selector(text)
        except ValueError as error:
            told = f"couldn't convert selector into a corresponding internal selector object: {error}"
            self._event(autoscaler, "InvalidSelector", told)
            draft.active(False, "InvalidSelector", told)
            return told
        self._selectors[key] = selector
        others = self._claimants(namespace_of(autoscaler), selector)
        if len(others) > 1:
            told = f"pods by selector {selector} are controlled by multiple HPAs: [{' '.join(others)}]"
            self._event(autoscaler, "AmbiguousSelector", told)
            draft.active(False, "AmbiguousSelector", told)
            return told
        return selector

    def _claimants(self, namespace: str, selector: Selector) -> list[str]:
        """Keys of the autoscalers that scale any of the pods that a selector names."""
        claims = [(key, one) for key, one in self._selectors.items() if split_key(key)[0] == namespace]
        if len(claims) < 2:
            return []
        pods = [labels_of(pod) for pod in self._pods.list(namespace) if selector.matches(labels_of(pod))]
        return sorted(key for key, one in claims if any(map(one.matches, pods)))

    def _target_of(self, autoscaler: Object, scale: Object, selector: Selector) -> Target:
        namespace = namespace_of(autoscaler)
        pods = [pod for pod in self._pods.list(namespace) if selector.matches(labels_of(pod))]
        current = int((scale.get("spec") or {}).get("replicas") or 0)
        settings = self._kit.settings.autoscaling
        tolerances = tolerances_of(autoscaler, settings.tolerance)
        situation = Situation(current, pods, tolerances, self._kit.clock.now(), settings)

        def resource_of(reference: Mapping[str, Any]) -> str:
            try:
                return self._resources(reference)[0].qualified
            except (LookupError, ValueError) as error:
                raise Unmeasured(f"unable to fetch metrics from custom metrics API: {error.args[0]}") from error

        observed = int((scale.get("status") or {}).get("replicas") or 0)
        return Target(namespace, str(selector), situation, observed, resource_of)

    async def _set(
        self,
        autoscaler: Object,
        draft: Draft,
        resource: Resource,
        scale: Object,
        replicas: int,
        reason: str,
        statuses: list[Object],
    ) -> bool:
        """Write the scale; whether it could be written."""
        wanted = thaw(scale)
        current = int((wanted.get("spec") or {}).get("replicas") or 0)
        wanted["spec"] = {**(wanted.get("spec") or {}), "replicas": replicas}
        try:
            await self._kit.client.update(
                resource, wanted, namespace_of(autoscaler), subresource="scale", options=WRITE
            )
        except ApiError as error:
            told = f"New size: {replicas}; reason: {reason}; error: {error.message}"
            self._event(autoscaler, "FailedRescale", told)
            why = f"the HPA controller was unable to update the target scale: {error.message}"
            draft.able(False, "FailedUpdateScale", why)
            draft.counted(current, None, statuses)
            return False
        done = f"the HPA controller was able to update the target scale to {replicas}"
        draft.able(True, "SucceededRescale", done)
        draft.counted(current, replicas, statuses, rescaled=True)
        self._kit.recorder.event(autoscaler, "Normal", "SuccessfulRescale", f"New size: {replicas}; reason: {reason}")
        return True

    def _event(self, autoscaler: Object, reason: str, message: str) -> None:
        self._kit.recorder.event(autoscaler, "Warning", reason, message)


def _limits(autoscaler: Object) -> tuple[int, int]:
    spec = autoscaler["spec"]
    low = spec.get("minReplicas")
    return 1 if low is None else int(low), int(spec["maxReplicas"])


def tolerances_of(autoscaler: Object, usual: float) -> Tolerances:
    """The tolerances that a behavior sets for either direction, or the usual one."""
    behavior = autoscaler["spec"].get("behavior") or {}

    def of(side: str) -> float:
        given = (behavior.get(side) or {}).get("tolerance")
        return usual if given is None else parse_quantity(given).nano / _NANO

    return Tolerances(of("scaleDown"), of("scaleUp"))
