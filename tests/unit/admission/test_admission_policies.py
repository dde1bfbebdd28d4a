"""ValidatingAdmissionPolicy and MutatingAdmissionPolicy at work in a real API server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from admission_cluster import Cluster

from minikube_py.client.clock import SystemClock
from minikube_py.client.types import WriteOptions
from minikube_py.components.apiserver.admission.policies import evaluating, source
from minikube_py.components.apiserver.admission.policies.status import run_policy_status
from minikube_py.components.apiserver.registry.core import Core
from minikube_py.components.apiserver.types import AdmissionRequest
from minikube_py.machinery.cel import Program
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.resources import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, PODS

RULE = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}


def config_map(name: str = "cm", data: dict[str, str] | None = None, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": labels},
        "data": data or {"a": "1"},
    }


class Recorder:
    """The admission chain, with a look at what it leaves in requests."""

    def __init__(self, core: Core) -> None:
        self.chain = core.admission
        self.requests: list[AdmissionRequest] = []
        core.admission = self

    async def admit(self, request: AdmissionRequest) -> None:
        self.requests.append(request)
        await self.chain.admit(request)

    async def validate(self, request: AdmissionRequest) -> None:
        await self.chain.validate(request)


@pytest.fixture
def seen(cluster: Cluster) -> Iterator[list[AdmissionRequest]]:
    yield Recorder(cluster.api.core).requests


async def install(
    cluster: Cluster, *validations: dict[str, Any], actions: tuple[str, ...] = ("Deny",), **spec: Any
) -> None:
    binding = spec.pop("binding", {})
    full = {"matchConstraints": {"resourceRules": [spec.pop("rule", RULE)]}, "validations": list(validations), **spec}
    await cluster.client.create(source.VALIDATING, {"metadata": {"name": "p"}, "spec": full})
    bound = {"policyName": "p", "validationActions": list(actions), **binding}
    await cluster.client.create(source.VALIDATING_BINDINGS, {"metadata": {"name": "b"}, "spec": bound})


async def mutate(cluster: Cluster, *mutations: dict[str, Any], name: str = "m", **spec: Any) -> None:
    binding = spec.pop("binding", {})
    full = {
        "matchConstraints": {"resourceRules": [spec.pop("rule", RULE)]},
        "mutations": list(mutations),
        "reinvocationPolicy": "Never",
        **spec,
    }
    await cluster.client.create(source.MUTATING, {"metadata": {"name": name}, "spec": full})
    await cluster.client.create(
        source.MUTATING_BINDINGS, {"metadata": {"name": name}, "spec": {"policyName": name, **binding}}
    )


def applying(expression: str) -> dict[str, Any]:
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


def patching(expression: str) -> dict[str, Any]:
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}


async def refused(cluster: Cluster, body: dict[str, Any] | None = None) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await cluster.client.create(CONFIG_MAPS, body or config_map(), "ns")
    return caught.value


DENIED = "configmaps \"cm\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: "


@pytest.mark.parametrize(
    ("validation", "code", "reason", "text"),
    [
        ({"expression": "'b' in object.data"}, 422, "Invalid", "failed expression: 'b' in object.data"),
        ({"expression": "false", "message": "no"}, 422, "Invalid", "no"),
        ({"expression": "false", "message": "no", "reason": "Forbidden"}, 403, "Forbidden", "no"),
        ({"expression": "false", "reason": "RequestEntityTooLarge"}, 413, "RequestEntityTooLarge",
         "failed expression: false"),
        ({"expression": "false", "message": "no", "messageExpression": "'name ' + object.metadata.name"}, 422,
         "Invalid", "name cm"),
        ({"expression": "false", "message": "no", "messageExpression": "'a\\nb'"}, 422, "Invalid", "no"),
        ({"expression": "false", "message": "no", "messageExpression": "string(object.data.zz)"}, 422, "Invalid", "no"),
        ({"expression": "object.data.zz == ''"}, 422, "Invalid",
         "expression 'object.data.zz == ''' resulted in error: no such key: zz"),
        ({"expression": "request.userInfo.username == 'bob'"}, 422, "Invalid",
         "failed expression: request.userInfo.username == 'bob'"),
        ({"expression": "namespaceObject.metadata.labels.kind == 'other'"}, 422, "Invalid",
         "failed expression: namespaceObject.metadata.labels.kind == 'other'"),
        ({"expression": "!authorizer.group('').resource('pods').namespace('ns').check('create').allowed()",
          "message": "may"}, 422, "Invalid", "may"),
        ({"expression": "!authorizer.requestResource.check('create').allowed()", "message": "may"}, 422, "Invalid",
         "may"),
        ({"expression": "authorizer.serviceAccount('ns', 'default').group('').resource('pods').check('get').allowed()",
          "message": "may not"}, 422, "Invalid", "may not"),
    ],
)  # fmt: skip
async def test_what_a_failed_validation_says(
    cluster: Cluster, validation: dict[str, Any], code: int, reason: str, text: str
) -> None:
    await install(cluster, validation)
    error = await refused(cluster)
    assert (error.code, error.reason, error.message) == (code, reason, DENIED + text)
    assert error.details is not None
    assert error.details["causes"] == [{"message": DENIED.partition("forbidden: ")[2] + text}]


async def test_the_deletion_of_a_collection_names_no_object(cluster: Cluster) -> None:
    rule = {**RULE, "operations": ["DELETE"]}
    named = {"expression": "false", "messageExpression": "has(request.name) ? request.name : 'no name'"}
    await install(cluster, named, rule=rule)
    await cluster.client.create(CONFIG_MAPS, config_map("one"), "ns")
    with pytest.raises(ApiError) as caught:
        await cluster.client.delete_collection(CONFIG_MAPS, "ns")
    assert caught.value.message == DENIED.replace('"cm"', '"Unknown"') + "no name"
    with pytest.raises(ApiError) as caught:
        await cluster.client.delete(CONFIG_MAPS, "one", "ns")
    assert caught.value.message == DENIED.replace('"cm"', '"one"') + "one"


async def test_what_holds_passes(cluster: Cluster) -> None:
    await install(
        cluster,
        {"expression": "variables.both"},
        {"expression": "oldObject == null && request.operation == 'CREATE' && request.namespace == 'ns'"},
        {"expression": "params == null"},
        variables=[
            {"name": "n", "expression": "size(object.data)"},
            {"name": "both", "expression": "variables.n == 1 && object.data.a == '1'"},
            {"name": "never", "expression": "object.data.nope"},
        ],
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
    )
    await cluster.client.create(CONFIG_MAPS, config_map(), "ns")


async def test_a_variable_that_fails_spoils_what_uses_it(cluster: Cluster) -> None:
    variables = [{"name": "x", "expression": "object.data.nope"}]
    await install(cluster, {"expression": "variables.x == 'y'"}, variables=variables)
    assert (await refused(cluster)).message == (
        DENIED + "expression 'variables.x == 'y'' resulted in error: "
        'composited variable "x" fails to evaluate: no such key: nope'
    )


async def test_ignored_failures_pass_but_false_does_not(cluster: Cluster) -> None:
    await install(
        cluster,
        {"expression": "object.data.nope == ''"},
        {"expression": "object.data.a != '2'"},
        failurePolicy="Ignore",
    )
    await cluster.client.create(CONFIG_MAPS, config_map(), "ns")
    assert "failed expression: object.data.a != '2'" in (await refused(cluster, config_map(data={"a": "2"}))).message


async def test_warnings_and_audit(cluster: Cluster, seen: list[AdmissionRequest]) -> None:
    await install(
        cluster,
        {"expression": "false", "message": "1 < 2"},
        actions=("Warn", "Audit"),
        auditAnnotations=[
            {"key": "who", "valueExpression": "'user ' + request.userInfo.username"},
            {"key": "none", "valueExpression": "null"},
        ],
    )
    await cluster.client.create(CONFIG_MAPS, config_map(), "ns")
    request = seen[-1]
    assert request.warnings == ["Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': 1 < 2"]
    assert request.audit_annotations == {
        "p/who": "user alice",
        "validation.policy.admission.k8s.io/validation_failure": (
            '[{"message":"1 \\u003c 2","policy":"p","binding":"b","expressionIndex":0,'
            '"validationActions":["Warn","Audit"]}]'
        ),
    }


async def test_rules_exclusions_and_conditions_choose(cluster: Cluster) -> None:
    exclude = {**RULE, "resourceNames": ["free"]}
    spec = {
        "matchConstraints": {
            "resourceRules": [RULE],
            "excludeResourceRules": [exclude],
            "namespaceSelector": {"matchLabels": {"kind": "ns"}},
        },
        "matchConditions": [{"name": "c", "expression": "!('skip' in object.metadata.labels)"}],
    }
    binding = {"matchResources": {"objectSelector": {"matchExpressions": [{"key": "off", "operator": "DoesNotExist"}]}}}
    await install(cluster, {"expression": "false"}, binding=binding, **spec)
    for body, namespace in (
        (config_map("free"), "ns"),
        (config_map("a", off="x"), "ns"),
        (config_map("b", skip="x"), "ns"),
        (config_map("c"), "other"),
    ):
        await cluster.client.create(CONFIG_MAPS, body, namespace)
    await refused(cluster, config_map("d", x="y"))


async def test_parameters_by_name_and_by_selector(cluster: Cluster) -> None:
    def binding(**reference: Any) -> dict[str, Any]:
        return {"paramRef": {"parameterNotFoundAction": "Deny", **reference}}

    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    await install(
        cluster,
        {"expression": "object.data.a == params.data.a", "messageExpression": "'not ' + params.data.a"},
        paramKind=kind,
        binding=binding(name="want", namespace="other"),
    )
    assert (await refused(cluster)).message == (
        DENIED + "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
    )
    other = cluster.api.client()
    await cluster.client.delete(source.VALIDATING_BINDINGS, "b")
    await other.create(CONFIG_MAPS, config_map("want", {"a": "7"}, set="x"), "other")
    await other.create(CONFIG_MAPS, config_map("want2", {"a": "1"}, set="x"), "other")
    bound = {"policyName": "p", "validationActions": ["Deny"]}
    spec = {**bound, **binding(name="want", namespace="other")}
    await cluster.client.create(source.VALIDATING_BINDINGS, {"metadata": {"name": "b"}, "spec": spec})
    assert (await refused(cluster)).message == DENIED + "not 7"
    await cluster.client.delete(source.VALIDATING_BINDINGS, "b")
    spec = {**bound, **binding(selector={"matchLabels": {"set": "x"}}, namespace="other")}
    await cluster.client.create(source.VALIDATING_BINDINGS, {"metadata": {"name": "b"}, "spec": spec})
    assert (await refused(cluster)).message == DENIED + "not 7"  # each parameter must agree
    await cluster.client.delete(source.VALIDATING_BINDINGS, "b")
    spec = {**bound, **binding(name="gone", namespace="other")}
    spec["paramRef"]["parameterNotFoundAction"] = "Allow"
    await cluster.client.create(source.VALIDATING_BINDINGS, {"metadata": {"name": "b"}, "spec": spec})
    await cluster.client.create(CONFIG_MAPS, config_map(), "ns")


async def test_a_parameter_kind_that_is_not_served_is_the_policys_fault(cluster: Cluster) -> None:
    await install(
        cluster,
        {"expression": "true"},
        paramKind={"apiVersion": "example.com/v1", "kind": "Nope"},
        binding={"paramRef": {"name": "x", "parameterNotFoundAction": "Deny"}},
    )
    assert (await refused(cluster)).message == (
        "configmaps \"cm\" is forbidden: ValidatingAdmissionPolicy 'p' denied request: failed to configure policy: "
        "failed to find resource referenced by paramKind: 'example.com/v1, Kind=Nope'"
    )


async def test_a_budget_is_shared_by_all_expressions(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluating, "RUNTIME_BUDGET", 12)
    await install(cluster, *({"expression": "object.data.a == '1'"} for _ in range(5)))
    assert (await refused(cluster)).message == (
        DENIED + "validation failed due to running out of cost budget, no further validation rules will be run"
    )
    await cluster.client.patch(source.VALIDATING, "p", {"spec": {"failurePolicy": "Ignore"}})
    await cluster.client.create(CONFIG_MAPS, config_map(), "ns")


async def test_costly_expressions_leave_the_loop(cluster: Cluster) -> None:
    numbers = str(list(range(40)))
    await install(cluster, {"expression": f"{numbers}.all(a, {numbers}.all(b, b >= 0 && object.data.a == '1'))"})
    for name in ("first", "second"):
        await cluster.client.create(CONFIG_MAPS, config_map(name), "ns")
    plugin = next(item for item in cluster.api.core.admission.plugins if item.name == "ValidatingAdmissionPolicy")  # type: ignore[attr-defined]
    assert plugin._evaluating.source.policies()[0].validations[0].expression.costly


_COSTLY = f"{list(range(40))}.all(a, {list(range(40))}.all(b, b >= 0 && object.data.a == '1'))"


@pytest.mark.parametrize(
    ("expression", "variables"),
    [
        (_COSTLY, []),
        ("variables.costly", [{"name": "costly", "expression": _COSTLY}]),
        # an operator that forgives errors does not forgive that the variable may not be computed on the loop
        ("!variables.costly || true", [{"name": "costly", "expression": _COSTLY}]),
    ],
    ids=["itself", "a variable of it", "a variable of an alternative"],
)
async def test_not_even_the_first_costly_evaluation_ends_on_the_loop(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, expression: str, variables: list[Any]
) -> None:
    loop, beside, evaluate = threading.get_ident(), list[bool](), Program.evaluate

    def watched(program: Program, values: Any, *, budget: Any = None) -> Any:
        found = evaluate(program, values, budget=budget)
        beside.append(threading.get_ident() != loop)
        return found

    monkeypatch.setattr(Program, "evaluate", watched)
    await install(cluster, {"expression": expression}, variables=variables)
    beside.clear()
    await cluster.client.create(CONFIG_MAPS, config_map(), "ns")
    assert beside == [True]


async def test_what_is_compiled_is_kept_until_its_policy_changes(cluster: Cluster) -> None:
    policies = source.PolicySource(cluster.client, source.VALIDATING, source.VALIDATING_BINDINGS)
    await install(cluster, {"expression": "true"})
    first = policies.policies()[0]
    await cluster.client.patch(source.VALIDATING, "p", {"status": {"observedGeneration": 1}}, subresource="status")
    bound = {"policyName": "p", "validationActions": ["Warn"]}
    await cluster.client.create(source.VALIDATING_BINDINGS, {"metadata": {"name": "c"}, "spec": bound})
    second = policies.policies()[0]
    assert [binding.name for binding in second.bindings] == ["b", "c"]
    assert second.validations is first.validations
    await cluster.client.patch(source.VALIDATING, "p", {"spec": {"validations": [{"expression": "1 == 1"}]}})
    assert policies.policies()[0].validations[0].expression.text == "1 == 1"
    await cluster.client.delete(source.VALIDATING, "p")
    assert policies.policies() == []


async def test_deletions_and_updates_show_both_states(cluster: Cluster) -> None:
    await cluster.client.create(CONFIG_MAPS, config_map(), "ns")
    await install(
        cluster,
        {"expression": "request.operation != 'DELETE' || (object == null && oldObject.data.a == '2')"},
        {"expression": "request.operation != 'UPDATE' || int(object.data.a) > int(oldObject.data.a)"},
    )
    with pytest.raises(ApiError):
        await cluster.client.delete(CONFIG_MAPS, "cm", "ns")
    await cluster.client.patch(CONFIG_MAPS, "cm", {"data": {"a": "2"}}, "ns")
    with pytest.raises(ApiError):
        await cluster.client.patch(CONFIG_MAPS, "cm", {"data": {"a": "1"}}, "ns")
    await cluster.client.delete(CONFIG_MAPS, "cm", "ns")


async def test_namespaces_have_no_namespace_object(cluster: Cluster) -> None:
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["namespaces"]}
    await install(cluster, {"expression": "namespaceObject == null"}, rule=rule)
    await cluster.client.create(NAMESPACES, {"metadata": {"name": "fresh"}})


async def test_policies_do_not_judge_policies(cluster: Cluster) -> None:
    everything = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}
    await install(cluster, {"expression": "false"}, rule=everything)
    await refused(cluster)
    await cluster.client.delete(source.VALIDATING_BINDINGS, "b")
    await cluster.client.create(CONFIG_MAPS, config_map(), "ns")


async def test_an_apply_configuration_is_merged_and_owned_by_nobody(cluster: Cluster) -> None:
    await mutate(cluster, applying("Object{metadata: Object.metadata{labels: {'added': object.data.a}}}"))
    stored = await cluster.client.create(CONFIG_MAPS, config_map(own="x"), "ns")
    assert stored["metadata"]["labels"] == {"own": "x", "added": "1"}
    assert "f:added" not in str(stored["metadata"]["managedFields"])


async def test_keyed_lists_are_merged(cluster: Cluster) -> None:
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
    await mutate(
        cluster,
        applying(
            "Object{spec: Object.spec{initContainers: [Object.spec.initContainers{name: 'side', image: 'i', "
            "restartPolicy: 'Always'}]}}"
        ),
        rule=rule,
    )
    spec = {"containers": [{"name": "c", "image": "i"}], "initContainers": [{"name": "first", "image": "i"}]}
    stored = await cluster.client.create(PODS, {"metadata": {"name": "p"}, "spec": spec}, "ns")
    assert [item["name"] for item in stored["spec"]["initContainers"]] == ["first", "side"]
    assert stored["spec"]["initContainers"][1]["terminationMessagePolicy"] == "File"


async def test_json_patches_see_the_changes_before_them(cluster: Cluster) -> None:
    await mutate(
        cluster,
        patching("[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('x.io/y'), value: 'z'}]"),
        patching(
            "[JSONPatch{op: 'test', path: '/metadata/labels/x.io~1y', value: 'no'}, "
            "JSONPatch{op: 'remove', path: '/data/a'}]"
        ),
        patching("'x.io/y' in object.metadata.labels ? [JSONPatch{op: 'remove', path: '/data/a'}] : []"),
    )
    stored = await cluster.client.create(CONFIG_MAPS, config_map(data={"a": "1", "b": "2"}, own="x"), "ns")
    assert stored["data"] == {"b": "2"} and stored["metadata"]["labels"] == {"own": "x", "x.io/y": "z"}


FAILING = [
    (applying("Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{tolerations: "
              "[Object.spec.template.spec.tolerations{key: 'a'}]}}}}"),
     "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: "
     ".spec.template.spec.tolerations"),
    (patching("[JSONPatch{op: 'remove', path: '/nope'}]"),
     "JSON Patch: error in remove for path: '/nope': Unable to remove nonexistent key: nope: missing value"),
    (applying("Object{metadata: Object.metadata{labels: {'a': object.nope}}}"),
     "expression 'Object{metadata: Object.metadata{labels: {'a': object.nope}}}' resulted in error: no such key: nope"),
]  # fmt: skip


@pytest.mark.parametrize(("mutation", "text"), FAILING)
@pytest.mark.parametrize("policy", ["Fail", "Ignore"])
async def test_mutations_that_fail(cluster: Cluster, mutation: dict[str, Any], text: str, policy: str) -> None:
    rule = {"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}
    await mutate(cluster, mutation, rule=rule, failurePolicy=policy)
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    body = {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}
    if policy == "Ignore":
        await cluster.client.create(DEPLOYMENTS, body, "ns")
        return
    with pytest.raises(ApiError) as caught:
        await cluster.client.create(DEPLOYMENTS, body, "ns")
    error = caught.value
    assert (error.code, error.reason) == (403, "Invalid")
    assert error.message == f"policy 'm' with binding 'm' denied request: {text}"


@pytest.mark.parametrize("policy", ["Fail", "Ignore"])
async def test_a_patch_to_a_field_that_the_type_does_not_have(cluster: Cluster, policy: str) -> None:
    await mutate(cluster, patching("[JSONPatch{op: 'add', path: '/nope', value: 'x'}]"), failurePolicy=policy)
    with pytest.raises(ApiError) as caught:
        await cluster.client.create(CONFIG_MAPS, config_map(data={"a": "1"}), "ns")
    message = 'Internal error occurred: strict decoding error: unknown field "nope"'
    assert (caught.value.code, caught.value.message) == (500, message)


async def test_policies_run_again_after_a_change(cluster: Cluster) -> None:
    await mutate(
        cluster,
        patching("[JSONPatch{op: 'add', path: '/data/seen', value: string(size(object.data))}]"),
        name="m1",
        reinvocationPolicy="IfNeeded",
    )
    await mutate(cluster, patching("[JSONPatch{op: 'add', path: '/data/more', value: 'x'}]"), name="m2")
    stored = await cluster.client.create(CONFIG_MAPS, config_map(), "ns", options=WriteOptions(dry_run=True))
    assert stored["data"] == {"a": "1", "more": "x", "seen": "3"}


async def test_type_checking_warns_in_the_status(cluster: Cluster) -> None:
    rule = {
        "operations": ["CREATE"], "apiGroups": ["apps", ""], "apiVersions": ["v1"],
        "resources": ["deployments", "configmaps"],
    }  # fmt: skip
    await install(
        cluster,
        {
            "expression": "object.spec.replicas > 1",
            "messageExpression": "string(object.metadata.namespace) + string(variables.n)",
        },
        {"expression": "object.metadata.name == 'x'"},
        {"expression": "object.spec.replicas == 'many' || object.spec.template.spec.containers.all(c, c.imag == '')"},
        rule=rule,
        variables=[{"name": "n", "expression": "object.metadata.name"}],
    )
    task = asyncio.create_task(run_policy_status(cluster.client, cluster.api.kinds, SystemClock(), lambda: None))
    async with asyncio.timeout(30), cluster.client.watch(source.VALIDATING) as events:
        async for event in events:
            status = event.object.get("status") or {}
            if status.get("observedGeneration"):
                break
    task.cancel()
    assert status["observedGeneration"] == 1
    warnings = {item["fieldRef"]: item["warning"] for item in status["typeChecking"]["expressionWarnings"]}
    assert list(warnings) == ["spec.validations[0].expression", "spec.validations[2].expression"]
    assert warnings["spec.validations[0].expression"] == (
        "/v1, Kind=ConfigMap: ERROR: <input>:1:7: undefined field 'spec'\n | object.spec.replicas > 1\n | ......^\n"
    )
    assert "no matching overload for '_==_' applied to '(int, string)'" in warnings["spec.validations[2].expression"]
    assert "undefined field 'imag'" in warnings["spec.validations[2].expression"]


INVALID = [
    ({"validations": [{"expression": "object.x +"}]}, "spec.validations[0].expression", "Syntax error"),
    ({"validations": [{"expression": "nope == 1"}]}, "spec.validations[0].expression",
     "compilation failed: ERROR: <input>:1:1: undeclared reference to 'nope' (in container '')\n | nope == 1\n | ^"),
    ({"validations": [{"expression": "'text'"}]}, "spec.validations[0].expression", "must evaluate to bool"),
    ({"validations": [{"expression": "params.x"}]}, "spec.validations[0].expression",
     "undeclared reference to 'params'"),
    ({"validations": [{"expression": "true", "messageExpression": "1"}]}, "spec.validations[0].messageExpression",
     "must evaluate to string"),
    ({"validations": [{"expression": "true", "messageExpression": "authorizer.path('/').check('get').reason()"}]},
     "spec.validations[0].messageExpression", "undeclared reference to 'authorizer'"),
    ({"validations": [{"expression": "variables.a"}]}, "spec.validations[0].expression",
     "undefined field 'a'"),
    ({"validations": [{"expression": "variables.b"}], "variables": [{"name": "a", "expression": "1"}]},
     "spec.validations[0].expression", "undefined field 'b'"),
    ({"validations": [{"expression": "true"}], "variables": [{"name": "a", "expression": "variables.b"},
      {"name": "b", "expression": "1"}]}, "spec.variables[0].expression", "undefined field 'b'"),
    ({"validations": [{"expression": "true"}], "auditAnnotations": [{"key": "k", "valueExpression": "true"}]},
     "spec.auditAnnotations[0].valueExpression", "must evaluate to one of [string null_type]"),
    ({"validations": [{"expression": "true"}], "matchConditions": [{"name": "c", "expression": "1"}]},
     "spec.matchConditions[0].expression", "must evaluate to bool"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "path", "text"), INVALID)
async def test_expressions_that_do_not_compile_are_refused(
    cluster: Cluster, spec: dict[str, Any], path: str, text: str
) -> None:
    full = {"matchConstraints": {"resourceRules": [RULE]}, **spec}
    with pytest.raises(ApiError) as caught:
        await cluster.client.create(source.VALIDATING, {"metadata": {"name": "p"}, "spec": full})
    assert caught.value.details is not None
    causes = [cause for cause in caught.value.details["causes"] if cause["field"] == path]
    assert caught.value.reason == "Invalid" and text in causes[0]["message"].replace("\\n", "\n")


async def test_mutations_that_do_not_compile_are_refused(cluster: Cluster) -> None:
    with pytest.raises(ApiError, match="must evaluate to Object"):
        await mutate(cluster, applying("{'a': 1}"))
    with pytest.raises(ApiError, match=r"must evaluate to list\(JSONPatch\)"):
        await mutate(cluster, patching("['a']"))
    condition = {"matchConditions": [{"name": "c", "expression": "params == 1"}]}
    with pytest.raises(ApiError, match="undeclared reference to 'params'"):
        await cluster.register(cluster.webhook(**condition))
