"""``kube-system/extension-apiserver-authentication``: what aggregated servers need to know whom to believe.

Client certificates are judged by the client CA, ``X-Remote-*`` headers by the request-header CA. Written at the start
and whenever one of the authorities changes (``clusterauthenticationtrust`` controller).
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from minikube_py.client.types import Client, WriteOptions
from minikube_py.machinery.errors import ApiError, is_already_exists, is_not_found
from minikube_py.machinery.objects import Object
from minikube_py.machinery.resources import CONFIG_MAPS

NAMESPACE, NAME = "kube-system", "extension-apiserver-authentication"
_OPTIONS = WriteOptions(field_manager="kube-apiserver")


async def publish_authentication(
    client: Client, *, client_ca: str, request_header_ca: str, allowed_names: Sequence[str]
) -> None:
    """Create or correct the ConfigMap. ``client_ca`` and ``request_header_ca`` are PEM. Raises ApiError."""
    data = {
        "client-ca-file": client_ca,
        "requestheader-allowed-names": _list(allowed_names),
        "requestheader-client-ca-file": request_header_ca,
        "requestheader-extra-headers-prefix": _list(["X-Remote-Extra-"]),
        "requestheader-group-headers": _list(["X-Remote-Group"]),
        "requestheader-uid-headers": _list(["X-Remote-Uid"]),
        "requestheader-username-headers": _list(["X-Remote-User"]),
    }
    wanted: Object = {"metadata": {"name": NAME}, "data": data}
    try:
        found = await client.get(CONFIG_MAPS, NAME, NAMESPACE)
    except ApiError as error:
        if not is_not_found(error):
            raise
        try:
            await client.create(CONFIG_MAPS, wanted, NAMESPACE, options=_OPTIONS)
        except ApiError as late:
            if not is_already_exists(late):
                raise
        return
    if found.get("data") != data:
        await client.update(CONFIG_MAPS, {**found, "data": data}, NAMESPACE, options=_OPTIONS)


def _list(values: Sequence[str]) -> str:
    return orjson.dumps(list(values)).decode()
