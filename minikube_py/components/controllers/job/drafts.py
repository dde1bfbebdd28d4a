"""The pods of a Job; pure."""

from __future__ import annotations

from minikube_py.components.controllers.job.counting import TRACKING
from minikube_py.components.controllers.job.indexes import INDEX
from minikube_py.components.controllers.job.planning import FAILURES_OF_INDEX
from minikube_py.components.controllers.pods import pod_from_template
from minikube_py.machinery.objects import Object, name_of
from minikube_py.machinery.resources import JOBS

INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
longest_label = 63
suffix_length = 5


def pod_draft(job: Object, index: int | None, past_failures: int) -> Object:
    """A pod of the Job; with an index: named, labelled and told in its environment by it."""
    draft = pod_from_template(job["spec"].get("template") or {}, job, JOBS)
    meta, spec = draft["metadata"], draft["spec"]
    meta["finalizers"] = [*meta.get("finalizers", ()), TRACKING]
    if index is None:
        return draft
    meta["generateName"] = _prefix(name_of(job), index)
    meta["annotations"][INDEX] = str(index)
    meta["labels"][INDEX] = str(index)
    if job["spec"].get("backoffLimitPerIndex") is not None:
        meta["annotations"][FAILURES_OF_INDEX] = str(past_failures)
    spec["hostname"] = _hostname(name_of(job), index)
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        variables = container.setdefault("env", [])
        if not any(variable.get("name") == INDEX_VARIABLE for variable in variables):
            path = f"metadata.labels['{INDEX}']"
            variables.append({"name": INDEX_VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": path}}})
    return draft


def _prefix(name: str, index: int) -> str:
    ending = f"-{index}-"
    return name[: longest_label - suffix_length - len(ending)] + ending


def _hostname(name: str, index: int) -> str:
    ending = f"-{index}"
    return name[: longest_label - len(ending)] + ending
