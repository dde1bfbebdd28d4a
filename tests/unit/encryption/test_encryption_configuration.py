"""Encryption configurations: which providers a resource gets, and how a wrong file is reported."""

from __future__ import annotations

import base64

import pytest

from minikube_py.components.apiserver.configuration_file import ConfigurationError
from minikube_py.components.apiserver.storage.encryption import managed
from minikube_py.components.apiserver.storage.encryption.configuration import (
    EncryptionConfiguration,
    parse_encryption,
)

SECRET = base64.b64encode(b"k" * 32).decode()
KEY = f"{{keys: [{{name: key1, secret: {SECRET}}}]}}"


def parse(resources: str) -> EncryptionConfiguration:
    text = f"apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n{resources}"
    return parse_encryption(text.encode(), "file")


@pytest.mark.parametrize(
    ("resources", "group", "plural", "kinds"),
    [
        ("[secrets]", "", "secrets", ["aescbc", "identity"]),
        ("[secrets]", "", "configmaps", []),
        ("[secrets, deployments.apps]", "apps", "deployments", ["aescbc", "identity"]),
        ("[deployments.apps]", "", "deployments", []),
        ("['*.apps']", "apps", "anything", ["aescbc", "identity"]),
        ("['*.']", "", "configmaps", ["aescbc", "identity"]),
        ("['*.']", "apps", "deployments", []),
        ("['*.*']", "apps", "deployments", ["aescbc", "identity"]),
    ],
)
def test_resources(resources: str, group: str, plural: str, kinds: list[str]) -> None:
    found = parse(f"- {{resources: {resources}, providers: [{{aescbc: {KEY}}}, {{identity: {{}}}}]}}")
    assert [provider.kind for provider in found.providers(group, plural)] == kinds


def test_the_first_entry_that_names_a_resource_decides() -> None:
    found = parse(
        "- {resources: [secrets], providers: [{identity: {}}]}\n"
        f"- {{resources: ['*.*'], providers: [{{aesgcm: {KEY}}}]}}"
    )
    assert [provider.kind for provider in found.providers("", "secrets")] == ["identity"]


@pytest.mark.parametrize(
    ("resources", "text"),
    [
        ("  []", "at least one entry"),
        ("- {resources: [], providers: [{identity: {}}]}", "resources[0].resources: must contain"),
        ("- {resources: [secrets], providers: []}", "resources[0].providers: must contain"),
        ("- {resources: ['*'], providers: [{identity: {}}]}", "use '*.<group>'"),
        ("- {resources: [Secrets], providers: [{identity: {}}]}", "must be lower case"),
        ("- {resources: [secrets], providers: [{}]}", "exactly one of"),
        (f"- {{resources: [secrets], providers: [{{aescbc: {KEY}, aesgcm: {KEY}}}]}}", "exactly one of"),
        ("- {resources: [secrets], providers: [{aescbc: {keys: []}}]}", "at least one key"),
        ("- {resources: [secrets], providers: [{aescbc: {keys: [{name: a, secret: '###'}]}}]}", "must be base64"),
        ("- {resources: [secrets], providers: [{aescbc: {keys: [{name: a, secret: YWJj}]}}]}", "is of 3 bytes"),
        (f"- {{resources: [secrets], providers: [{{aescbc: {{keys: [{{secret: {SECRET}}}]}}}}]}}", "must be given"),
        ("- {resources: [secrets], providers: [{rot13: {}}]}", "exactly one of"),
        ("- {resources: [secrets], providers: [{kms: {name: a, endpoint: 'unix:///x'}}]}", "only v2"),
        ("- {resources: [secrets], providers: [{kms: {apiVersion: v2, name: a, endpoint: 'tcp://x'}}]}", "unix:///"),
        (
            "- {resources: [secrets], providers: [{identity: {}}]}\n"
            "- {resources: [secrets], providers: [{identity: {}}]}",
            "'secrets' is already in resources[0]",
        ),
    ],
)
def test_a_wrong_file_is_named(resources: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(resources)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_key_shows_in_an_error_or_a_repr() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(f"- {{resources: [secrets], providers: [{{aescbc: {{keys: [{{name: a, secret: {SECRET}aa}}]}}}}]}}")
    assert SECRET not in str(caught.value)
    assert "kkkk" not in repr(parse(f"- {{resources: [secrets], providers: [{{aescbc: {KEY}}}]}}"))


def test_rotation_of_the_managed_configuration() -> None:
    content = managed.generated("aescbc", 1.0)
    assert managed.is_enabled(content)
    [(kind, first)] = managed.keys(content)
    assert kind == "aescbc"
    content = managed.with_new_key(content, 2.0)
    names = [name for _, name in managed.keys(content)]
    assert names[0] == first
    assert len(set(names)) == 2
    content = managed.with_last_key_first(content)
    assert [name for _, name in managed.keys(content)] == names[::-1]
    content = managed.with_first_key_alone(content)
    assert managed.keys(content) == [("aescbc", names[1])]
    off = managed.enabled(content, on=False)
    assert not managed.is_enabled(off)
    assert managed.keys(off) == managed.keys(content)
    assert managed.enabled(off, on=True) == content
