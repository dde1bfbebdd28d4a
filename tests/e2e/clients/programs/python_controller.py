"""A controller with the official Python client: ``python_controller.py KUBECONFIG NAMESPACE``.

For each Site it keeps a ConfigMap with the same name that it owns, and reports its text's length in the
Site's status. Sites are listed once and watched from there on; a watch that ends resumes from the last
version it saw, a 410 lists again. A SharedInformer brings back ConfigMaps that someone deletes or changes.
It says on standard output what happens and runs until it is ended.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from typing import Any

import urllib3
from kubernetes import client, config, watch
from kubernetes.informer import ADDED, DELETED, MODIFIED, SharedInformer

GROUP, VERSION, PLURAL = "clients.example.com", "v1", "sites"


def say(*words: object) -> None:
    print(*words, flush=True)


def reconcile(namespace: str, name: str) -> None:
    """Make the ConfigMap and the status what the Site wants."""
    custom, core = client.CustomObjectsApi(), client.CoreV1Api()
    try:
        site = custom.get_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL, name)
    except client.ApiException as error:
        if error.status != 404:
            raise
        return  # the garbage collector takes the ConfigMap away
    text = site["spec"]["text"]
    owner = client.V1OwnerReference(
        api_version=f"{GROUP}/{VERSION}", kind="Site", name=name, uid=site["metadata"]["uid"], controller=True,
        block_owner_deletion=True,
    )  # fmt: skip
    wanted = client.V1ConfigMap(
        metadata=client.V1ObjectMeta(name=name, labels={"site": name}, owner_references=[owner]), data={"text": text}
    )
    try:
        found = core.read_namespaced_config_map(name, namespace)
    except client.ApiException as error:
        if error.status != 404:
            raise
        core.create_namespaced_config_map(namespace, wanted)
    else:
        if found.data != wanted.data:
            wanted.metadata.resource_version = found.metadata.resource_version
            core.replace_namespaced_config_map(name, namespace, wanted)
    status = {"length": len(text), "observedGeneration": site["metadata"]["generation"]}
    if site.get("status") != status:
        custom.patch_namespaced_custom_object_status(GROUP, VERSION, namespace, PLURAL, name, {"status": status})
        say("reconciled", name, status["observedGeneration"])


def follow(namespace: str, names: queue.Queue[str]) -> None:
    """Feed the names of Sites that changed, for ever."""
    custom = client.CustomObjectsApi()
    version = ""
    while True:
        try:
            if not version:
                listed = custom.list_namespaced_custom_object(GROUP, VERSION, namespace, PLURAL)
                for item in listed["items"]:
                    names.put(item["metadata"]["name"])
                version = listed["metadata"]["resourceVersion"]
                say("listed", len(listed["items"]))
            watcher = watch.Watch()
            for event in watcher.stream(
                custom.list_namespaced_custom_object, GROUP, VERSION, namespace, PLURAL,
                resource_version=version, allow_watch_bookmarks=True, timeout_seconds=3,
            ):  # fmt: skip
                version = event["raw_object"]["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    names.put(event["raw_object"]["metadata"]["name"])
            say("resumes")
        except client.ApiException as error:
            say("watch error", error.status)
            if error.status == 410:
                version = ""
            time.sleep(0.2)
        except urllib3.exceptions.HTTPError:
            say("no connection")
            time.sleep(0.2)


def main() -> None:
    config.load_kube_config(sys.argv[1])
    namespace = sys.argv[2]
    names: queue.Queue[str] = queue.Queue()
    threading.Thread(target=follow, args=(namespace, names), daemon=True).start()
    informer = SharedInformer(client.CoreV1Api().list_namespaced_config_map, namespace, label_selector="site")

    def enqueue(obj: Any) -> None:
        names.put(obj.metadata.labels["site"])

    for kind in (MODIFIED, DELETED):
        informer.add_event_handler(kind, enqueue)
    informer.add_event_handler(ADDED, lambda obj: say("informed of", obj.metadata.name))
    informer.start()
    while True:
        name = names.get()
        try:
            reconcile(namespace, name)
        except (client.ApiException, urllib3.exceptions.HTTPError) as error:
            say("again", name, getattr(error, "status", type(error).__name__))
            time.sleep(0.2)
            names.put(name)


if __name__ == "__main__":
    main()
