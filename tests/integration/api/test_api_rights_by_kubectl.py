"""``kubectl auth can-i --list`` of whoever has a bootstrap role: the role's rules, and what everybody may, no more."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from api_process import api_process

KUBECTL = Path(sys.prefix) / "share" / "pyk3s" / "tools" / "kubectl"
ROLES = (
    "cluster-admin", "admin", "edit", "view", "system:node", "system:node-proxier", "system:kube-scheduler",
    "system:kube-controller-manager", "system:kube-dns", "system:monitoring", "system:volume-scheduler",
    "system:auth-delegator", "system:controller:deployment-controller", "system:controller:generic-garbage-collector",
    "system:controller:legacy-service-account-token-cleaner", "system:certificates.k8s.io:kubelet-serving-approver",
)  # fmt: skip
EVERYBODY = ("system:basic-user", "system:discovery", "system:public-info-viewer")
"""Roles of ``system:authenticated``."""

Rights = dict[tuple[str, str], set[str]]
"""Verbs by what they are for (a resource with its group, or a path) and the names that it is limited to."""


def rights_of(rules: Sequence[Mapping[str, Any]]) -> Rights:
    found: Rights = defaultdict(set)
    for rule in rules:
        names = " ".join(sorted(rule.get("resourceNames") or ()))
        for path in rule.get("nonResourceURLs") or ():
            found[path, names].update(rule["verbs"])
        for group in rule.get("apiGroups") or ():
            for resource in rule.get("resources") or ():
                main, slash, subresource = resource.partition("/")
                found[f"{main}.{group}{slash}{subresource}" if group else resource, names].update(rule["verbs"])
    return found


def rights_in(table: str) -> Rights:
    """What kubectl's table says: a resource, or one or more paths; names; verbs."""
    found: Rights = defaultdict(set)
    for line in table.splitlines():
        resource, parts = line.partition(" ")[0], re.findall(r"\[([^\]]*)\]", line)
        paths, names, verbs = parts
        for target in [resource] if resource else paths.split():
            found[target, " ".join(sorted(names.split()))].update(verbs.split())
    return found


class Kubectl:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        command = [str(KUBECTL), f"--kubeconfig={self._folder / 'config'}", f"--cache-dir={self._folder / 'cache'}"]
        done = subprocess.run(
            [*command, *arguments], input=stdin, capture_output=True, text=True, timeout=120, check=False,
            env={**os.environ, "HOME": str(self._folder)},
        )  # fmt: skip
        assert done.returncode == 0, f"kubectl {arguments}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    """With a user for each role, called as the role with a u in front."""
    folder = tmp_path_factory.mktemp("rights")
    with api_process(folder, controllers=True):
        found = Kubectl(folder)
        bindings = [
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": f"u-{role}"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": f"u-{role}"}],
            }
            for role in ROLES
        ]
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": bindings})
        found("create", "-f", "-", stdin=listed)
        yield found


def rules(kubectl: Kubectl, role: str) -> Sequence[Mapping[str, Any]]:
    listed: Sequence[Mapping[str, Any]] = (
        json.loads(kubectl("get", "clusterrole", role, "-o", "json")).get("rules") or ()
    )
    return listed


@pytest.mark.parametrize("role", ROLES)
def test_what_kubectl_lists_is_what_the_role_gives(kubectl: Kubectl, role: str) -> None:
    everybody = [rule for name in EVERYBODY for rule in rules(kubectl, name)]
    ends = time.monotonic() + 120
    while True:  # aggregated roles are filled by a controller
        given = rules(kubectl, role)
        listed = rights_in(kubectl("auth", "can-i", "--list", "--no-headers", f"--as=u-{role}"))
        if (given and listed == rights_of([*given, *everybody])) or time.monotonic() > ends:
            break
    assert given
    assert listed == rights_of([*given, *everybody])


@pytest.mark.parametrize(
    ("who", "asked", "answer"),
    [
        ("u-view", "get pods -n default", "yes"),
        ("u-view", "get secrets -n default", "no"),
        ("u-view", "create pods -n default", "no"),
        ("u-edit", "get secrets -n default", "yes"),
        ("u-edit", "create rolebindings -n default", "no"),
        ("u-admin", "create rolebindings -n default", "yes"),
        ("u-admin", "create resourcequotas -n default", "no"),
        ("u-cluster-admin", "* * --all-namespaces", "yes"),
        ("u-cluster-admin", "get /anything", "yes"),
        ("u-view", "get /livez", "yes"),
        ("u-view", "get /metrics", "no"),
        ("u-system:monitoring", "get /metrics", "yes"),
    ],
)
def test_single_questions(kubectl: Kubectl, who: str, asked: str, answer: str) -> None:
    command = [
        str(KUBECTL),
        f"--kubeconfig={kubectl._folder / 'config'}",
        "auth",
        "can-i",
        f"--as={who}",
        *asked.split(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout.strip(), done.returncode) == (answer, 0 if answer == "yes" else 1), done.stderr
