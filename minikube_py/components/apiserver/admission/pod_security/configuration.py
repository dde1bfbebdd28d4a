"""PodSecurityConfiguration: levels for namespaces without labels, and who is never judged.

Same document and checks as ``k8s.io/pod-security-admission/admission/api``.
"""

from __future__ import annotations

from minikube_py.components.apiserver.admission.configuration import AdmissionConfiguration
from minikube_py.components.apiserver.admission.pod_security.plugin import Exemptions
from minikube_py.components.apiserver.admission.pod_security.policy import LevelVersion, Policy, read_level, read_minor
from minikube_py.components.apiserver.configuration_file import Section, raise_errors
from minikube_py.machinery.errors import FieldError, duplicate, invalid_value, required
from minikube_py.machinery.names import dns1123_label_errors, dns1123_subdomain_errors

_GROUP = "pod-security.admission.config.k8s.io"
_ACCEPTED = {(f"{_GROUP}/{version}", "PodSecurityConfiguration"): "pod security" for version in ("v1", "v1beta1")}


def read_configuration(configuration: AdmissionConfiguration) -> tuple[Policy, Exemptions]:
    """Defaults and exemptions; those of Kubernetes without a configuration. Raises ConfigurationError."""
    document = configuration.document("PodSecurity", _ACCEPTED)
    if document is None:
        return Policy(), Exemptions()
    errors: list[str] = []
    found: list[FieldError] = []
    root = Section(document.content, "", errors)
    defaults, exempt = root.section("defaults"), root.section("exemptions")
    root.close()
    policy = Policy(*(_level(defaults, mode, found) for mode in ("enforce", "audit", "warn")))
    defaults.close()
    exemptions = Exemptions(
        users=exempt.texts("usernames"),
        namespaces=exempt.texts("namespaces"),
        runtime_classes=exempt.texts("runtimeClasses"),
    )
    exempt.close()
    found += _list_errors(exempt.at("usernames"), exemptions.users)
    for field, names in (("namespaces", exemptions.namespaces), ("runtimeClasses", exemptions.runtime_classes)):
        found += _list_errors(exempt.at(field), names)
        check = dns1123_label_errors if field == "namespaces" else dns1123_subdomain_errors
        for index, name in enumerate(names):
            found += [invalid_value(f"{exempt.at(field)}[{index}]", name, why) for why in check(name) if name]
    raise_errors(document.where, [*errors, *found])
    return policy, exemptions


def _level(section: Section, mode: str, found: list[FieldError]) -> LevelVersion:
    level, version = section.text(mode, "privileged"), section.text(f"{mode}-version", "latest")
    minor, problem = read_minor(version)
    if problem:
        found.append(invalid_value(section.at(f"{mode}-version"), version, problem))
    if problem := read_level(level):
        found.append(invalid_value(section.at(mode), level, problem))
    return LevelVersion(level, minor)


def _list_errors(field: str, values: tuple[str, ...]) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, value in enumerate(values):
        if not value:
            errors.append(required(f"{field}[{index}]"))
        elif value in values[:index]:
            errors.append(duplicate(f"{field}[{index}]", value))
    return errors
