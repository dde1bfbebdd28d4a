"""Who may do what: RBAC, the Node authorizer, escalation, reviews, and the bootstrap policy they start from."""

from __future__ import annotations

import asyncio

import pytest

from minikube_py.client.testing.fake_client import FakeClient
from minikube_py.client.testing.fake_clock import FakeClock
from minikube_py.components.apiserver.authorization.denial import denied
from minikube_py.components.apiserver.authorization.escalation import EscalationCheck
from minikube_py.components.apiserver.authorization.node import NodeAuthorizer
from minikube_py.components.apiserver.authorization.rbac import RbacAuthorizer
from minikube_py.components.apiserver.authorization.reviews import (
    LocalSubjectAccessReviewHandler,
    SelfSubjectRulesReviewHandler,
    SubjectAccessReviewHandler,
)
from minikube_py.components.apiserver.authorization.rules import Rule, compile_rules, rule_allows, rule_text, uncovered
from minikube_py.components.apiserver.authorization.union import UnionAuthorizer
from minikube_py.components.apiserver.bootstrap import ensure_bootstrap
from minikube_py.components.apiserver.bootstrap.policy import bootstrap_sections, cluster_role_rules
from minikube_py.components.apiserver.http.request_info import parse_request
from minikube_py.components.apiserver.types import (
    AdmissionRequest,
    Attributes,
    Decision,
    Operation,
    RequestContext,
    UserInfo,
)
from minikube_py.machinery.errors import ApiError
from minikube_py.machinery.kind import Kind
from minikube_py.machinery.objects import thaw
from minikube_py.machinery.resources import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    ROLE_BINDINGS,
    ROLES,
    SUBJECT_ACCESS_REVIEWS,
)

RBAC = "rbac.authorization.k8s.io"
JOE = UserInfo("joe", ("devs", "system:authenticated"))
REVIEW = Kind(SUBJECT_ACCESS_REVIEWS, "subjectaccessreview", "x")
bootstrap_sections()  # reads a file: here, not on the loop


def ask(verb: str, resource: str, *, group: str = "", namespace: str = "", name: str = "", fields: str = ""):
    resource, _, subresource = resource.partition("/")
    return Attributes(verb, "", True, group, "v1", resource, subresource, namespace, name, field_selector=fields)


def url(path: str, verb: str = "get") -> Attributes:
    return Attributes(verb, path)


@pytest.fixture
def client() -> FakeClient:
    client = FakeClient(FakeClock())
    client.seed(
        ROLES,
        {
            "metadata": {"name": "r", "namespace": "ns"},
            "rules": [
                {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]},
                {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["one"], "verbs": ["get"]},
            ],
        },
    )
    client.seed(
        CLUSTER_ROLES,
        {
            "metadata": {"name": "c"},
            "rules": [
                {"apiGroups": ["apps"], "resources": ["*/scale"], "verbs": ["*"]},
                {"nonResourceURLs": ["/custom/*"], "verbs": ["get"]},
            ],
        },
    )
    reference = {"apiGroup": RBAC, "kind": "Role", "name": "r"}
    client.seed(
        ROLE_BINDINGS,
        {
            "metadata": {"name": "b", "namespace": "ns"},
            "roleRef": reference,
            "subjects": [{"kind": "User", "name": "joe"}, {"kind": "ServiceAccount", "name": "bot"}],
        },
    )
    client.seed(
        CLUSTER_ROLE_BINDINGS,
        {
            "metadata": {"name": "cb"},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "c"},
            "subjects": [{"kind": "Group", "name": "devs"}],
        },
    )
    return client


BOT = UserInfo("system:serviceaccount:ns:bot", ("system:serviceaccounts",))
TO_JOE = 'RBAC: allowed by RoleBinding "b/ns" of Role "r" to User "joe"'
TO_BOT = 'RBAC: allowed by RoleBinding "b/ns" of Role "r" to ServiceAccount "bot/ns"'
TO_DEVS = 'RBAC: allowed by ClusterRoleBinding "cb" of ClusterRole "c" to Group "devs"'


@pytest.mark.parametrize(
    ("user", "attributes", "reason"),
    [
        (JOE, ask("list", "configmaps", namespace="ns"), TO_JOE),
        (JOE, ask("list", "configmaps", namespace="other"), None),
        (JOE, ask("list", "configmaps"), None),
        (JOE, ask("delete", "configmaps", namespace="ns"), None),
        (JOE, ask("get", "secrets", namespace="ns", name="one"), TO_JOE),
        (JOE, ask("get", "secrets", namespace="ns", name="two"), None),
        (JOE, ask("list", "secrets", namespace="ns"), None),
        (JOE, ask("update", "deployments/scale", group="apps", namespace="any", name="d"), TO_DEVS),
        (JOE, ask("update", "deployments", group="apps", namespace="any", name="d"), None),
        (JOE, url("/custom/x"), TO_DEVS),
        (JOE, url("/custom"), None),
        (JOE, url("/custom/x", "post"), None),
        (BOT, ask("get", "configmaps", namespace="ns"), TO_BOT),
        (UserInfo("system:serviceaccount:x:bot"), ask("get", "configmaps", namespace="ns"), None),
    ],
)
async def test_rbac(client: FakeClient, user: UserInfo, attributes: Attributes, reason: str | None) -> None:
    expected = (Decision.NO_OPINION, "") if reason is None else (Decision.ALLOW, reason)
    assert await RbacAuthorizer(client).authorize(user, attributes) == expected


async def test_rbac_follows_changes_at_once(client: FakeClient) -> None:
    rbac = RbacAuthorizer(client)
    question = ask("get", "configmaps", namespace="ns")
    assert (await rbac.authorize(JOE, question))[0] is Decision.ALLOW
    role = thaw(await client.get(ROLES, "r", "ns"))
    role["rules"] = []
    await client.update(ROLES, role, "ns")
    assert (await rbac.authorize(JOE, question))[0] is Decision.NO_OPINION
    await client.delete(ROLES, "r", "ns")
    assert await rbac.authorize(JOE, question) == (Decision.NO_OPINION, f'RBAC: role.{RBAC} "r" not found')
    await client.delete(ROLE_BINDINGS, "b", "ns")
    assert await rbac.authorize(JOE, question) == (Decision.NO_OPINION, "")


async def test_five_thousand_bindings_do_not_slow_a_decision(client: FakeClient) -> None:
    reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "c"}
    for index in range(5000):
        subject = {"kind": "User", "name": f"u{index}"}
        meta = {"name": f"b{index}", "namespace": "ns"}
        client.seed(ROLE_BINDINGS, {"metadata": meta, "roleRef": reference, "subjects": [subject]})
    rbac = RbacAuthorizer(client)
    await rbac.ready()
    looked_at = rbac._index.bindings_of(JOE, "ns")
    assert [binding.name for binding in looked_at] == ["cb", "b"]


async def test_masters_may_do_everything(client: FakeClient) -> None:
    union = UnionAuthorizer([RbacAuthorizer(client)])
    assert await union.authorize(UserInfo("x", ("system:masters",)), ask("*", "*")) == (Decision.ALLOW, "")


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        (
            ask("list", "pods", namespace="y"),
            'pods is forbidden: User "joe" cannot list resource "pods" in API group "" in the namespace "y"',
        ),
        (
            ask("get", "nodes", name="n"),
            'nodes "n" is forbidden: User "joe" cannot get resource "nodes" in API group "" at the cluster scope',
        ),
        (
            ask("get", "deployments/scale", group="apps", namespace="y", name="x"),
            'deployments.apps "x" is forbidden: User "joe" cannot get resource "deployments/scale" in API group '
            '"apps" in the namespace "y"',
        ),
        (url("/metrics"), 'forbidden: User "joe" cannot get path "/metrics"'),
    ],
)
def test_texts_of_denial(attributes: Attributes, text: str) -> None:
    error = denied(JOE, attributes)
    assert (error.code, error.reason, error.message) == (403, "Forbidden", text)


@pytest.mark.parametrize(
    ("owned", "wanted", "missing"),
    [
        ("get,list on pods in core", "get on pods in core", []),
        ("get on pods in core", "get,list on pods,secrets in core", ["list pods", "get secrets", "list secrets"]),
        ("* on * in *", "get on pods/log in core named a", []),
        ("get on */log in core", "get on pods/log in core", []),
        ("get on pods in core", "get on pods/log in core", ["get pods/log"]),
        ("get on pods in core named a", "get on pods in core", ["get pods"]),
        ("get on pods in core", "get on pods in core named a", []),
        ("get at /api/*", "get at /api/v1", []),
        ("get at /api", "get at /api/*", ["get /api/*"]),
    ],
)
def test_coverage_of_rules(owned: str, wanted: str, missing: list[str]) -> None:
    from minikube_py.components.apiserver.bootstrap.policy import parse_rule

    found = uncovered(compile_rules([parse_rule(owned)]), compile_rules([parse_rule(wanted)]))
    assert [f"{rule.verbs[0]} {(rule.resources + rule.urls)[0]}" for rule in found] == missing


def test_rule_text() -> None:
    assert rule_text(Rule(("get", "list"), ("",), ("pods",))) == (
        '{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}'
    )


def writing(resource, draft: dict, user: UserInfo) -> AdmissionRequest:
    kind = Kind(resource, "x", "x")
    return AdmissionRequest(Operation.CREATE, kind, "", "ns", draft["metadata"]["name"], user, draft, None, {})


async def test_role_beyond_own_rights_is_refused(client: FakeClient) -> None:
    rbac = RbacAuthorizer(client)
    check = EscalationCheck(rbac, rbac)
    rules = [{"apiGroups": [""], "resources": ["configmaps", "pods"], "verbs": ["get"]}]
    with pytest.raises(ApiError) as caught:
        await check.admit(writing(ROLES, {"metadata": {"name": "esc"}, "rules": rules}, JOE))
    assert caught.value.message == (
        'roles.rbac.authorization.k8s.io "esc" is forbidden: user "joe" (groups=["devs" "system:authenticated"]) '
        "is attempting to grant RBAC permissions not currently held:\n"
        '{APIGroups:[""], Resources:["pods"], Verbs:["get"]}'
    )
    rules[0]["resources"] = ["configmaps"]
    await check.admit(writing(ROLES, {"metadata": {"name": "fine"}, "rules": rules}, JOE))


@pytest.mark.parametrize(("role", "refused"), [("r", False), ("big", True), ("gone", True)])
async def test_binding_needs_the_rights_of_its_role(client: FakeClient, role: str, refused: bool) -> None:
    rule = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    client.seed(ROLES, {"metadata": {"name": "big", "namespace": "ns"}, "rules": [rule]})
    rbac = RbacAuthorizer(client)
    draft = {"metadata": {"name": "new"}, "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": role}}
    request = writing(ROLE_BINDINGS, draft, JOE)
    if not refused:
        await EscalationCheck(rbac, rbac).admit(request)
        return
    with pytest.raises(ApiError):
        await EscalationCheck(rbac, rbac).admit(request)


FULL = [
    {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
    {"nonResourceURLs": ["*"], "verbs": ["*"]},
]
GATHERING = {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}
OF_PODS = {"apiGroups": [""], "resources": ["pods"]}
NEEDS_ADMIN = "must have cluster-admin privileges to use the aggregationRule"


@pytest.mark.parametrize(
    ("owned", "new", "old", "why"),
    [
        ([], {"aggregationRule": GATHERING}, None, NEEDS_ADMIN),
        ([], {"rules": []}, {"aggregationRule": GATHERING}, NEEDS_ADMIN),
        ([], {"aggregationRule": {}}, None, ""),
        (FULL, {"aggregationRule": GATHERING, "rules": FULL}, None, ""),
        ([], {"rules": FULL, "metadata": {"name": "r", "finalizers": ["x/y"]}}, {"rules": FULL}, ""),
        (
            [],
            {"rules": FULL[1:], "metadata": {"name": "r", "labels": {"a": "b"}}},
            {"rules": FULL[1:]},
            'user "ann" (groups=[]) is attempting to grant RBAC permissions not currently held:\n'
            '{NonResourceURLs:["*"], Verbs:["*"]}',
        ),
        (
            [{**OF_PODS, "resourceNames": ["a"], "verbs": ["get"]}],
            {"rules": [{**OF_PODS, "resourceNames": ["a", "b"], "verbs": ["get", "list"]}]},
            None,
            'user "ann" (groups=[]) is attempting to grant RBAC permissions not currently held:\n'
            '{APIGroups:[""], Resources:["pods"], ResourceNames:["a"], Verbs:["list"]}\n'
            '{APIGroups:[""], Resources:["pods"], ResourceNames:["b"], Verbs:["get" "list"]}',
        ),
    ],
)
async def test_cluster_roles_beyond_own_rights(owned: list, new: dict, old: dict | None, why: str) -> None:
    client = FakeClient(FakeClock())
    client.seed(CLUSTER_ROLES, {"metadata": {"name": "own"}, "rules": owned})
    subjects = [{"kind": "User", "name": "ann"}]
    reference = {"kind": "ClusterRole", "name": "own"}
    client.seed(CLUSTER_ROLE_BINDINGS, {"metadata": {"name": "own"}, "roleRef": reference, "subjects": subjects})
    rbac = RbacAuthorizer(client)
    named = {"metadata": {"name": "r"}}
    before = None if old is None else {**named, **old}
    operation = Operation.CREATE if old is None else Operation.UPDATE
    kind = Kind(CLUSTER_ROLES, "x", "x")
    request = AdmissionRequest(operation, kind, "", "", "r", UserInfo("ann"), {**named, **new}, before, {})
    found = ""
    try:
        await EscalationCheck(rbac, rbac).admit(request)
    except ApiError as error:
        found = error.message
    assert found == (f'clusterroles.rbac.authorization.k8s.io "r" is forbidden: {why}' if why else "")


async def test_roles_that_are_missing_are_told(client: FakeClient) -> None:
    subjects = [{"kind": "User", "name": "joe"}]
    for name in ("gone", "lost"):
        reference = {"kind": "Role", "name": name}
        meta = {"name": name, "namespace": "ns"}
        client.seed(ROLE_BINDINGS, {"metadata": meta, "roleRef": reference, "subjects": subjects})
    rbac = RbacAuthorizer(client)
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    with pytest.raises(ApiError) as caught:
        await EscalationCheck(rbac, rbac).admit(writing(ROLES, {"metadata": {"name": "esc"}, "rules": rules}, JOE))
    missing = '[role.rbac.authorization.k8s.io "gone" not found, role.rbac.authorization.k8s.io "lost" not found]'
    assert caught.value.message.endswith(f"; resolution errors: [{missing}]")
    handler = SelfSubjectRulesReviewHandler(UnionAuthorizer([rbac]))
    answer = await handler.create(RequestContext(JOE), REVIEW, "", "", {"spec": {"namespace": "ns"}})
    assert (answer["status"]["incomplete"], answer["status"]["evaluationError"]) == (False, missing)


EXISTS = {"key": "a", "operator": "Exists"}
PARTLY, WHOLLY = "partially ignored due to parse error", "ignored due to parse error"


@pytest.mark.parametrize(
    ("selectors", "error"),
    [
        ({"fieldSelector": {"rawSelector": "a=b"}, "labelSelector": {"rawSelector": "a in (b)"}}, None),
        ({"fieldSelector": {"rawSelector": "a"}}, f"spec.resourceAttributes.fieldSelector {WHOLLY}"),
        (
            {"labelSelector": {"rawSelector": "!"}, "fieldSelector": {"requirements": [EXISTS]}},
            f"spec.resourceAttributes.fieldSelector {WHOLLY}; spec.resourceAttributes.labelSelector {WHOLLY}",
        ),
        (
            {"labelSelector": {"requirements": [EXISTS, {"key": "b", "operator": "New", "values": ["c"]}]}},
            f"spec.resourceAttributes.labelSelector {PARTLY}",
        ),
        (
            {"fieldSelector": {"requirements": [{"key": "a", "operator": "In", "values": ["b", "c"]}]}},
            f"spec.resourceAttributes.fieldSelector {WHOLLY}",
        ),
    ],
)
async def test_selectors_that_do_not_count_are_told(client: FakeClient, selectors: dict, error: str | None) -> None:
    handler = SubjectAccessReviewHandler(UnionAuthorizer([RbacAuthorizer(client)]))
    spec = {"user": "joe", "resourceAttributes": {"verb": "list", "resource": "pods", **selectors}}
    answer = await handler.create(RequestContext(JOE), REVIEW, "", "", {"spec": spec})
    assert answer["status"].get("evaluationError") == error


def test_refusals_hold_nothing_that_looks_like_a_page() -> None:
    refused = denied(UserInfo("<b>"), Attributes("get", "/a&b"), "a < b")
    assert refused.message == 'forbidden: User "&lt;b&gt;" cannot get path "/a&amp;b": a < b'


async def test_rules_review_lists_everything(client: FakeClient) -> None:
    handler = SelfSubjectRulesReviewHandler(UnionAuthorizer([RbacAuthorizer(client)]))
    answer = await handler.create(RequestContext(JOE), REVIEW, "", "", {"spec": {"namespace": "ns"}})
    assert answer["status"] == {
        "resourceRules": [
            {"verbs": ["*"], "apiGroups": ["apps"], "resources": ["*/scale"]},
            {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["configmaps"]},
            {"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["one"]},
        ],
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/custom/*"]}],
        "incomplete": False,
    }


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            {"user": "joe", "resourceAttributes": {"verb": "get", "resource": "configmaps", "namespace": "ns"}},
            {"allowed": True, "reason": TO_JOE},
        ),
        ({"user": "zed", "resourceAttributes": {"verb": "list", "resource": "nodes"}}, {"allowed": False}),
        (
            {"groups": ["devs"], "nonResourceAttributes": {"verb": "get", "path": "/custom/x"}},
            {"allowed": True, "reason": TO_DEVS},
        ),
        (
            {"resourceAttributes": {"verb": "list"}},
            '.authorization.k8s.io "" is invalid: spec.user: Invalid value: "": at least one of user or group must '
            "be specified",
        ),
    ],
)
async def test_subject_access_review(client: FakeClient, spec: dict, expected: dict | str) -> None:
    handler = SubjectAccessReviewHandler(UnionAuthorizer([RbacAuthorizer(client)]))
    if isinstance(expected, dict):
        answer = await handler.create(RequestContext(JOE), REVIEW, "", "", {"metadata": {}, "spec": spec})
        assert answer["status"] == expected
        return
    with pytest.raises(ApiError) as caught:
        await handler.create(RequestContext(JOE), REVIEW, "", "", {"metadata": {}, "spec": spec})
    assert (caught.value.code, caught.value.message) == (422, expected)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (
            {"user": "x", "resourceAttributes": {"verb": "get", "namespace": "z"}},
            'spec.resourceAttributes.namespace: Invalid value: "z": must match metadata.namespace',
        ),
        (
            {"user": "x", "nonResourceAttributes": {"path": "/x", "verb": "get"}},
            'spec.nonResourceAttributes: Invalid value: {"Path":"/x","Verb":"get"}: disallowed on this kind of request',
        ),
    ],
)
async def test_local_review_stays_in_its_namespace(client: FakeClient, spec: dict, text: str) -> None:
    handler = LocalSubjectAccessReviewHandler(RbacAuthorizer(client))
    with pytest.raises(ApiError) as caught:
        body = {"metadata": {"namespace": "ns"}, "spec": spec}
        await handler.create(RequestContext(JOE), REVIEW, "ns", "", body)
    assert caught.value.message == f'.authorization.k8s.io "" is invalid: {text}'


NODE = UserInfo("system:node:n1", ("system:nodes", "system:authenticated"))
FAR = UserInfo("system:node:n2", ("system:nodes", "system:authenticated"))


def node_world() -> NodeAuthorizer:
    client = FakeClient(FakeClock())
    spec = {
        "nodeName": "n1",
        "serviceAccountName": "bot",
        "imagePullSecrets": [{"name": "pull"}],
        "containers": [{"name": "c", "env": [{"name": "E", "valueFrom": {"secretKeyRef": {"name": "env"}}}]}],
        "volumes": [
            {"name": "a", "configMap": {"name": "cm"}},
            {"name": "b", "persistentVolumeClaim": {"claimName": "pvc"}},
            {"name": "c", "projected": {"sources": [{"secret": {"name": "proj"}}]}},
        ],
    }
    client.seed(PODS, {"metadata": {"name": "p", "namespace": "ns"}, "spec": spec})
    mirror = {"name": "m", "namespace": "ns", "annotations": {"kubernetes.io/config.mirror": "x"}}
    volumes = [{"name": "s", "secret": {"secretName": "mirrored"}}]
    client.seed(PODS, {"metadata": mirror, "spec": {"nodeName": "n1", "volumes": volumes}})
    client.seed(
        PERSISTENT_VOLUME_CLAIMS, {"metadata": {"name": "pvc", "namespace": "ns"}, "spec": {"volumeName": "pv"}}
    )
    reference = {"name": "stage", "namespace": "store"}
    client.seed(PERSISTENT_VOLUMES, {"metadata": {"name": "pv"}, "spec": {"csi": {"nodeStageSecretRef": reference}}})
    return NodeAuthorizer(client, compile_rules(cluster_role_rules("system:node")))


@pytest.mark.parametrize(
    ("attributes", "mine", "other"),
    [
        (ask("get", "secrets", namespace="ns", name="pull"), True, False),
        (ask("get", "secrets", namespace="ns", name="env"), True, False),
        (ask("watch", "secrets", namespace="ns", name="proj"), True, False),
        (ask("get", "secrets", namespace="store", name="stage"), True, False),
        (ask("get", "secrets", namespace="ns", name="mirrored"), False, False),
        (ask("get", "secrets", namespace="ns", name="other"), False, False),
        (ask("list", "secrets", namespace="ns"), False, False),
        (ask("update", "secrets", namespace="ns", name="env"), False, False),
        (ask("get", "configmaps", namespace="ns", name="cm"), True, False),
        (ask("get", "persistentvolumeclaims", namespace="ns", name="pvc"), True, False),
        (ask("get", "persistentvolumes", name="pv"), True, False),
        (ask("create", "serviceaccounts/token", namespace="ns", name="bot"), True, False),
        (ask("create", "serviceaccounts/token", namespace="ns", name="default"), False, False),
        (ask("get", "pods", namespace="ns", name="p"), True, False),
        (ask("list", "pods", fields="spec.nodeName=n1"), True, False),
        (ask("list", "pods"), False, False),
        (ask("get", "nodes", name="n1"), True, False),
        (ask("watch", "nodes", fields="metadata.name=n1"), True, False),
        (ask("list", "nodes"), False, False),
        (ask("update", "nodes/status", name="n1"), True, True),
        (ask("update", "leases", group="coordination.k8s.io", namespace="kube-node-lease", name="n1"), True, False),
        (ask("update", "leases", group="coordination.k8s.io", namespace="ns", name="n1"), False, False),
        (ask("list", "services"), True, True),
        (ask("create", "events", namespace="ns"), True, True),
        (ask("delete", "deployments", group="apps", namespace="ns", name="d"), False, False),
    ],
)
async def test_nodes_read_what_their_pods_need(attributes: Attributes, mine: bool, other: bool) -> None:
    authorizer = node_world()
    for user, expected in ((NODE, mine), (FAR, other)):
        decision, reason = await authorizer.authorize(user, attributes)
        assert (decision is Decision.ALLOW) == expected, reason


async def test_nobody_else_concerns_the_node_authorizer() -> None:
    for user in (JOE, UserInfo("system:node:n1")):
        assert await node_world().authorize(user, ask("get", "nodes", name="n1")) == (Decision.NO_OPINION, "")


async def test_bootstrap_fills_an_empty_store_and_then_writes_nothing() -> None:
    client = FakeClient(FakeClock())
    await ensure_bootstrap(client)
    for section in bootstrap_sections():
        assert len(client.all(section.resource)) == len(section.objects)
    written = len(client.actions)
    assert written == 160
    await ensure_bootstrap(client)
    assert len(client.actions) == written


async def test_bootstrap_mends_what_opted_in() -> None:
    client = FakeClient(FakeClock())
    await ensure_bootstrap(client)
    kept = thaw(await client.get(CLUSTER_ROLES, "system:discovery"))
    kept["rules"] = []
    await client.update(CLUSTER_ROLES, kept)
    own = thaw(await client.get(CLUSTER_ROLES, "system:basic-user"))
    own["rules"] = []
    own["metadata"]["annotations"] = {"rbac.authorization.kubernetes.io/autoupdate": "false"}
    await client.update(CLUSTER_ROLES, own)
    binding = thaw(await client.get(CLUSTER_ROLE_BINDINGS, "system:discovery"))
    binding["subjects"] = [{"kind": "User", "apiGroup": RBAC, "name": "guest"}]
    await client.update(CLUSTER_ROLE_BINDINGS, binding)
    await client.delete(CLUSTER_ROLES, "view")
    await ensure_bootstrap(client)
    assert (await client.get(CLUSTER_ROLES, "system:discovery"))["rules"]
    assert (await client.get(CLUSTER_ROLES, "system:basic-user"))["rules"] == []
    subjects = (await client.get(CLUSTER_ROLE_BINDINGS, "system:discovery"))["subjects"]
    assert [item["name"] for item in subjects] == ["guest", "system:authenticated"]
    assert await client.get(CLUSTER_ROLES, "view")


async def test_bootstrap_policy_decides_as_documented() -> None:
    client = FakeClient(FakeClock())
    await ensure_bootstrap(client)
    rbac = RbacAuthorizer(client)
    anonymous = UserInfo("system:anonymous", ("system:unauthenticated",))
    cases = [
        (anonymous, url("/healthz"), True),
        (anonymous, url("/api"), False),
        (JOE, url("/apis/apps/v1"), True),
        (JOE, ask("create", "selfsubjectaccessreviews", group="authorization.k8s.io"), True),
        (JOE, ask("list", "pods", namespace="default"), False),
        (UserInfo("system:kube-scheduler"), ask("create", "pods/binding", namespace="x", name="p"), True),
        (UserInfo("system:kube-proxy"), ask("watch", "services"), True),
        (UserInfo("system:kube-controller-manager"), ask("create", "serviceaccounts/token", namespace="a"), True),
    ]
    for user, attributes, expected in cases:
        decision, _ = await rbac.authorize(user, attributes)
        assert (decision is Decision.ALLOW) == expected, (user.name, attributes)


def test_rule_matching_needs_the_exact_subresource() -> None:
    rule = Rule(("get",), ("",), ("pods",))
    assert rule_allows(rule, ask("get", "pods"))
    assert not rule_allows(rule, ask("get", "pods/log"))


async def test_cached_decision_is_found_not_made(client: FakeClient) -> None:
    rbac = RbacAuthorizer(client)
    question = ask("list", "configmaps", namespace="ns")
    await rbac.authorize(JOE, question)
    rbac._decide = None  # type: ignore[assignment,method-assign]
    assert (await rbac.authorize(JOE, question))[0] is Decision.ALLOW


SECRETS_IN = "/api/v1/namespaces/ns/secrets"


@pytest.mark.parametrize(
    "target",
    [
        SECRETS_IN,
        "//api//v1/namespaces/ns//secrets",
        "/api/v1/namespaces/ns/%73ecrets",
        "/api/v1/namespaces%2Fns%2Fsecrets",
        "/api/v1/namespaces/ns/configmaps/../secrets",
        "/api/v1/namespaces/ns/configmaps/%2e%2e/secrets",
        "/api/v1/namespaces/ns/./secrets",
        "/custom/../api/v1/namespaces/ns/secrets",
        "/custom/%2e%2e/api/v1/namespaces/ns/secrets",
        "/api/v1/namespaces/ns/secrets/",
        "/api/v1/namespaces/ns/secrets;configmaps",
        "/api/v1/namespaces/ns/secrets?resource=configmaps",
        "/api/v1/namespaces/ns/secrets%3Fa/configmaps",
        "/api/v1/namespaces/ns/secrets%00configmaps",
        "/api/v1/watch/namespaces/ns/secrets",
        "/api/v1/namespaces/ns/secrets?watch=true&watch=false",
        "/api/v1/namespaces/ns/secrets/two?fieldSelector=metadata.name=one",
        "/api/v1/namespaces/ns/secrets?fieldSelector=metadata.name!=one",
        "/api/v1/namespaces/ns/secrets?fieldSelector=metadata.name=two,metadata.name=one",
        "/api/v1/namespaces/ns/Secrets",
        "/API/v1/namespaces/ns/secrets",
    ],
)
async def test_no_path_leads_past_the_rules(client: FakeClient, target: str) -> None:
    """Joe may read configmaps, the secret "one" and what is under /custom/; the path is judged as it is served."""
    for method in ("GET", "HEAD", "DELETE", "POST"):
        info = parse_request(method, target)
        decision, _ = await RbacAuthorizer(client).authorize(JOE, info.attributes())
        if decision is Decision.ALLOW:
            # No resource is served at such a path: non-resource paths are looked up exactly as they came.
            assert (info.resource_request, info.path.startswith("/custom/")) == (False, True)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/api/v1/namespaces/ns/secrets/one", True),
        ("/api/v1/namespaces/ns/secrets/%6fne", True),
        ("/api/v1/namespaces/ns/secrets/one/", True),
        ("/api/v1/namespaces/ns/secrets/one%2Fstatus", False),
        ("/api/v1/namespaces/ns/secrets/ONE", False),
        ("/api/v1/secrets/one", False),
        ("/api/v1/namespaces/other/secrets/one", False),
    ],
)
async def test_names_in_paths(client: FakeClient, target: str, expected: bool) -> None:
    decision, _ = await RbacAuthorizer(client).authorize(JOE, parse_request("GET", target).attributes())
    assert (decision is Decision.ALLOW) is expected


async def test_many_bindings_are_taken_in_while_others_have_their_turn(client: FakeClient) -> None:
    reference = {"apiGroup": RBAC, "kind": "Role", "name": "r"}
    for number in range(500):
        meta, subject = {"name": f"b-{number:03}", "namespace": "ns"}, {"kind": "User", "name": f"u-{number}"}
        client.seed(ROLE_BINDINGS, {"metadata": meta, "roleRef": reference, "subjects": [subject]})
    rbac = RbacAuthorizer(client)

    async def allowed(number: int) -> bool:
        user = UserInfo(f"u-{number}", ())
        return (await rbac.authorize(user, ask("get", "configmaps", namespace="ns")))[0] is Decision.ALLOW

    first = asyncio.create_task(allowed(1))
    await asyncio.sleep(0)
    assert rbac._starting.locked()
    first.cancel()  # whoever asks first goes away: the next one begins anew
    await asyncio.wait({first})
    assert not rbac._ready
    asked = [asyncio.create_task(allowed(number)) for number in (0, 250, 499)]
    await asyncio.sleep(0)
    assert rbac._starting.locked()
    await client.delete(ROLE_BINDINGS, "b-499", "ns")  # it is still to be taken in
    assert [await answer for answer in asked] == [True, True, False]
    assert len(rbac._index._keys) == 499 + 2
    await client.delete(ROLE_BINDINGS, "b-250", "ns")
    assert [await allowed(number) for number in (0, 250)] == [True, False]
