"""Windows options of security contexts (``validateWindowsSecurityContextOptions`` and host processes)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from minikube_py.machinery.errors import invalid_value
from minikube_py.machinery.kinds.common.checks import Errors, subdomain

_MAX_SPEC_KIB = 64
_MAX_DOMAIN = 256
_MAX_USER = 104
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NETBIOS = re.compile(r'[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}')
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_BAD_USER = re.compile(r'["/\\:;|=,+*?<>@\[\]]')
_PREFIX = "runAsUserName"


def windows_option_errors(path: str, options: Mapping[str, Any] | None) -> Errors:
    """The options of a pod's or container's security context."""
    if options is None:
        return []
    errors: Errors = []
    if options.get("gmsaCredentialSpecName") is not None:
        errors += subdomain(f"{path}.gmsaCredentialSpecName", options["gmsaCredentialSpecName"])
    spec = options.get("gmsaCredentialSpec")
    if spec is not None:
        if not spec:
            text = "gmsaCredentialSpec cannot be an empty string"
            errors.append(invalid_value(f"{path}.gmsaCredentialSpec", spec, text))
        elif len(spec.encode()) > _MAX_SPEC_KIB * 1024:
            text = f"gmsaCredentialSpec size must be under {_MAX_SPEC_KIB} KiB"
            errors.append(invalid_value(f"{path}.gmsaCredentialSpec", spec, text))
    user = options.get("runAsUserName")
    if user is not None:
        errors += [invalid_value(f"{path}.runAsUserName", user, f"{_PREFIX}{text}") for text in _user_texts(user)]
    return errors


def _user_texts(name: str) -> list[str]:
    """What is wrong with ``DOMAIN\\user``, each text without the field's name in front."""
    if not name:
        return [" cannot be an empty string"]
    if _CONTROL.search(name):
        return [" cannot contain control characters"]
    if name.count("\\") > 1:
        return [" cannot contain more than one backslash"]
    domain, separator, user = name.rpartition("\\")
    texts = []
    if len(domain) >= _MAX_DOMAIN:
        texts.append(f"'s Domain length must be under {_MAX_DOMAIN} characters")
    if separator and not _NETBIOS.fullmatch(domain) and not _DOMAIN.fullmatch(domain):
        texts.append("'s Domain doesn't match the NetBios nor the DNS format")
    if not user:
        texts.append("'s User cannot be empty")
    elif len(user) > _MAX_USER:
        texts.append(f"'s User length must not be longer than {_MAX_USER} characters")
    if user and not user.strip(". "):
        texts.append("'s User cannot contain only periods or spaces")
    if _BAD_USER.search(user):
        texts.append("'s User cannot contain the following characters: \"/\\:;|=,+*?<>@[]")
    return texts


def host_process_errors(path: str, spec: Mapping[str, Any]) -> Errors:
    """``validateWindowsHostProcessPod``: all containers are host processes or none, in the host's network."""
    whole = _host_process(spec)
    errors: Errors = []
    total = hosted = 0
    for sort in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(sort) or ()):
            own = _host_process(container)
            total += 1
            hosted += bool(whole if own is None else own)
            if whole is not None and own is not None and whole != own:
                field = f"{path}.{sort}[{index}].securityContext.windowsOptions.hostProcess"
                was = "true" if whole else "false"
                text = f"pod hostProcess value must be identical if both are specified, was {was}"
                errors.append(invalid_value(field, own, text))
    if not hosted:
        return errors
    if hosted != total:
        text = "If pod contains any hostProcess containers then all containers must be HostProcess containers"
        errors.append(invalid_value(path, "", text))
    if not spec.get("hostNetwork"):
        text = "hostNetwork must be true if pod contains any hostProcess containers"
        errors.append(invalid_value(f"{path}.hostNetwork", False, text))
    return errors


def _host_process(holder: Mapping[str, Any]) -> bool | None:
    options = (holder.get("securityContext") or {}).get("windowsOptions") or {}
    found: bool | None = options.get("hostProcess")
    return found
