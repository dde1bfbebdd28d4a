"""ClusterRole: permissions in the whole cluster, or a template for namespaces."""

from __future__ import annotations

from minikube_py.machinery.errors import FieldError, invalid_value, required
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.kinds.common.checks import label_selector_errors
from minikube_py.machinery.kinds.common.strategy import keeping_empty, wire_form
from minikube_py.machinery.kinds.common.workload import valid_selector
from minikube_py.machinery.kinds.rbac.rules import rule_errors
from minikube_py.machinery.names import name_is_path_segment
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import CLUSTER_ROLES

DEFINITION = "io.k8s.api.rbac.v1.ClusterRole"


def validate(role: Object) -> list[FieldError]:
    """``ValidateClusterRole``."""
    errors = rule_errors(role.get("rules") or (), namespaced=False)
    aggregation = role.get("aggregationRule")
    if aggregation is None:
        return errors
    selectors = aggregation.get("clusterRoleSelectors") or ()
    if not selectors:
        text = "at least one clusterRoleSelector required if aggregationRule is non-nil"
        errors.append(required("aggregationRule.clusterRoleSelectors", text))
    for index, selector in enumerate(selectors):
        path = f"aggregationRule.clusterRoleSelectors[{index}]"
        errors += label_selector_errors(path, selector)
        if not valid_selector(selector):
            errors.append(invalid_value(path, None, "invalid label selector."))
    return errors


_default, _prepare = keeping_empty(wire_form(DEFINITION), "rules")

KIND = Kind(
    resource=CLUSTER_ROLES,
    singular="clusterrole",
    definition=DEFINITION,
    default=_default,
    prepare_create=_prepare,
    prepare_update=lambda new, old: _prepare(new),
    validate=validate,
    validate_update=lambda new, old: 2 * validate(new),  # so often does the strategy ask
    name_errors=name_is_path_segment,
    create_on_update=True,
)
