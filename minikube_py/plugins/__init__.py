"""Python in the process: operators, admission hooks and scheduler plugins as one file each.

A file in ``<data-dir>/server/plugins/`` (or an installed package's entry point in the group ``pyk3s.plugins``) makes
one ``Plugin`` and declares its parts with decorators::

    from minikube_py.plugins import Deny, Plugin

    plugin = Plugin("owners")

    @plugin.validate("apps/v1/Deployment")
    def has_owner(request):
        if "owner" not in (request.object["metadata"].get("labels") or {}):
            raise Deny("a Deployment needs the label owner")

What is exported here is the whole interface. ``docs/plugins.md`` has worked examples.

A plugin is trusted code: it runs as the server does, and its client acts as ``system:pyk3s:plugin:<name>`` with all
rights. What isolation protects from is mistakes: a plugin that fails, waits forever or blocks the event loop is
named, interrupted and, when it goes on, switched off; the server goes on.
"""

from minikube_py.plugins.context import Context, Key
from minikube_py.plugins.declaration import Deny, Plugin, PluginError, Request

__all__ = ["Context", "Deny", "Key", "Plugin", "PluginError", "Request"]
