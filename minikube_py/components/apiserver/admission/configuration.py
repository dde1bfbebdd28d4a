"""AdmissionConfiguration: the file of ``--admission-control-config-file``, by plugin.

Each plugin has its configuration inline (``configuration``) or in a file of its own (``path``, relative
to the folder of the main file). This module knows nothing of the plugins: whoever has a configuration
asks ``document`` for it, with the versions it understands. Same file as
``k8s.io/apiserver/pkg/admission/config.go``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minikube_py.components.apiserver.admission.chain import ORDER
from minikube_py.components.apiserver.configuration_file import (
    GROUP,
    ConfigurationError,
    Section,
    check_version,
    parse_document,
    raise_errors,
    read_document,
)

_ACCEPTED = {(f"{GROUP}/v1", "AdmissionConfiguration"): "all plugins"}
_WEBHOOK = {(f"{GROUP}/v1", "WebhookAdmissionConfiguration"): "webhooks"}


@dataclass(frozen=True, slots=True)
class PluginDocument:
    """A plugin's configuration and the words that name its place in errors."""

    content: Mapping[str, Any]
    where: str
    folder: Path


@dataclass(frozen=True, slots=True)
class AdmissionConfiguration:
    """What the file says, by plugin name."""

    plugins: Mapping[str, PluginDocument] = field(default_factory=dict)

    def document(self, plugin: str, accepted: Mapping[tuple[str, str], str]) -> PluginDocument | None:
        """The plugin's document, None without one. Raises ConfigurationError for a version it does not know.

        Nothing accepted: the plugin's configuration has no version.
        """
        found = self.plugins.get(plugin)
        if found is not None and accepted:
            check_version(found.content, found.where, accepted)
        return found

    def webhook_kubeconfig(self, plugin: str) -> Path | None:
        """``kubeConfigFile`` of MutatingAdmissionWebhook or ValidatingAdmissionWebhook; relative to the file's folder.

        Its users prove the API server's identity to webhooks. Raises ConfigurationError.
        """
        found = self.document(plugin, _WEBHOOK)
        if found is None:
            return None
        errors: list[str] = []
        section = Section(found.content, "", errors)
        path = section.text("kubeConfigFile")
        section.close()
        raise_errors(found.where, errors)
        return found.folder / path if path else None


def read_admission_configuration(path: Path) -> AdmissionConfiguration:
    """Read the file and those it names. Blocks. Raises ConfigurationError."""
    errors: list[str] = []
    root = Section(read_document(path, _ACCEPTED), "", errors)
    plugins: dict[str, PluginDocument] = {}
    for section in root.sections("plugins"):
        name, file, inline = section.text("name"), section.text("path"), section.raw("configuration")
        section.close()
        if name not in ORDER:
            errors.append(f"{section.at('name')}: no admission plugin is named {name!r}")
        elif name in plugins:
            errors.append(f"{section.at('name')}: {name} is configured twice")
        elif inline is not None and not isinstance(inline, Mapping):
            errors.append(f"{section.at('configuration')}: must be an object")
        elif inline is not None:
            plugins[name] = PluginDocument(inline, f"{path}: {section.at('configuration')}", path.parent)
        elif file:
            plugins[name] = _from_file(path.parent / file)
    root.close()
    raise_errors(str(path), errors)
    return AdmissionConfiguration(plugins)


def _from_file(path: Path) -> PluginDocument:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    return PluginDocument(parse_document(data, str(path), None), str(path), path.parent)
