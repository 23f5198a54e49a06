"""The volumes of a pod of the process kubelet: folders, whose files follow the objects that they are made of.

As in a real kubelet, `NAME` is a link to `..data/NAME` and `..data` a link to a folder, so that all files of a volume
change at once. Files of a `subPath` do not change.
"""

import base64
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.kubernetes.api import Object

if TYPE_CHECKING:
    from tests.kubernetes.kubelet import Pod

FRESH = 0.8
"""Seconds for which what the API told of an object is taken as true."""


class Unusable(Exception):
    """What is declared and cannot be had now, in the words of a kubelet."""


class Objects:
    """The Secrets and ConfigMaps of a node's pods and the tokens of their accounts, asked for when they are old."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, Object]] = {}

    async def get(self, pod: "Pod", kind: str, name: str, optional: bool = False) -> dict[str, bytes]:
        """The data of a Secret or ConfigMap of the pod's namespace; empty where it is absent and `optional`."""
        path = f"{pod.namespaced}/{kind}s/{name}"
        until, found = self._known.get(path, (0.0, {}))
        if until < time.monotonic():
            answer = await pod.kubelet.api.ask("GET", path)
            if answer.status_code == 404 and optional:
                return {}
            if answer.status_code != 200:
                raise Unusable(answer.json()["message"])
            found = answer.json()
            self._known[path] = (time.monotonic() + (3600 if found.get("immutable") else FRESH), found)
        if kind == "secret":
            return {name: base64.b64decode(text) for name, text in found.get("data", {}).items()}
        binary = {name: base64.b64decode(text) for name, text in found.get("binaryData", {}).items()}
        return {name: text.encode() for name, text in found.get("data", {}).items()} | binary

    async def token(self, pod: "Pod", source: Object) -> bytes:
        """A token of the pod's account, another one once most of its life is over."""
        seconds, audience = source.get("expirationSeconds", 3600), source.get("audience")
        key = f"{pod.uid}/{audience}/{seconds}"
        until, found = self._known.get(key, (0.0, {}))
        if until < time.monotonic():
            bound = {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid}
            spec = {"expirationSeconds": seconds, "boundObjectRef": bound}
            spec |= {"audiences": [audience]} if audience else {}
            request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
            account = pod.spec.get("serviceAccountName", "default")
            path = f"{pod.namespaced}/serviceaccounts/{account}/token"
            answer = await pod.kubelet.api.ask("POST", path, json=request)
            if answer.status_code != 201:
                raise Unusable(answer.json()["message"])
            found = answer.json()["status"]
            self._known[key] = (time.monotonic() + 0.8 * seconds, found)
        return found["token"].encode()

    def forget(self, pod: "Pod") -> None:
        """The tokens of a pod that is gone."""
        for key in [key for key in self._known if key.startswith(f"{pod.uid}/")]:
            del self._known[key]


class Volumes:
    """The volumes of one pod, each a folder."""

    def __init__(self, pod: "Pod") -> None:
        self.pod = pod
        self.declared: dict[str, Object] = {each["name"]: each for each in pod.spec.get("volumes", [])}
        self._written: dict[str, dict[str, tuple[bytes, int]]] = {}
        self._number = 0

    def place(self, name: str) -> Path:
        """Where the files of a volume are; a volume of an image has what its entry says."""
        match self.declared[name]:
            case {"image": {"reference": reference}}:
                return Path(self.pod.kubelet.image(reference).get("folder", "/nonexistent"))
            case {"hostPath": {"path": path}}:
                return Path(path)
            case _:
                return self.pod.folder / "volumes" / name

    async def make(self) -> None:
        """Make all, or bring what has changed up to date. Raises Unusable for what cannot be had."""
        for name, volume in self.declared.items():
            match volume:
                case {"emptyDir": _}:
                    self.place(name).mkdir(parents=True, exist_ok=True)
                case {"image": _} | {"hostPath": _}:
                    pass
                case {"configMap": _} | {"secret": _} | {"projected": _} | {"downwardAPI": _}:
                    self._write(name, await self._files(volume))
                case _:
                    raise Unusable(f"this kubelet cannot mount {volume}")

    def followed(self) -> bool:
        """Whether any of them is made of objects."""
        return any(each.keys() & {"configMap", "secret", "projected"} for each in self.declared.values())

    async def _files(self, volume: Object, mode: int = 0o644) -> dict[str, tuple[bytes, int]]:
        objects, pod = self.pod.kubelet.objects, self.pod
        match volume:
            case {"configMap": source}:
                found = await objects.get(pod, "configmap", source["name"], source.get("optional", False))
                return _chosen(found, source, f"configmap references non-existent config key: {{}} ({source['name']})")
            case {"secret": source}:
                name = source.get("secretName") or source["name"]  # the second within `projected`
                found = await objects.get(pod, "secret", name, source.get("optional", False))
                return _chosen(found, source, f"references non-existent secret key: {{}} ({name})")
            case {"serviceAccountToken": source}:
                return {source["path"]: (await objects.token(pod, source), 0o600)}
            case {"downwardAPI": source}:
                fields = pod.fields()
                return {
                    each["path"]: (fields.get(each["fieldRef"]["fieldPath"], "").encode(), each.get("mode", mode))
                    for each in source.get("items", [])
                }
            case {"projected": source}:
                made: dict[str, tuple[bytes, int]] = {}
                for each in source["sources"]:
                    made |= await self._files(each, source.get("defaultMode", 0o644))
                return made
            case _:
                raise Unusable(f"this kubelet cannot mount {volume}")

    def _write(self, name: str, files: dict[str, tuple[bytes, int]]) -> None:
        if self._written.get(name) == files:
            return
        place = self.place(name)
        place.mkdir(parents=True, exist_ok=True)
        self._number += 1
        stamp, before = f"..{self._number}", place / "..data"
        for path, (content, mode) in files.items():
            file = place / stamp / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(self.pod.rewritten(content))
            file.chmod(mode)
        (place / stamp).mkdir(exist_ok=True)
        old = before.readlink() if before.is_symlink() else None
        (place / "..new").symlink_to(stamp)
        (place / "..new").rename(before)
        tops = {path.split("/")[0] for path in files}
        for link in [each for each in place.iterdir() if not each.name.startswith("..") and each.name not in tops]:
            link.unlink()
        for top in tops:
            if not (place / top).is_symlink():
                os.symlink(f"..data/{top}", place / top)
        if old is not None:
            shutil.rmtree(place / old)
        self._written[name] = files


def _chosen(found: dict[str, bytes], source: Object, absent: str) -> dict[str, tuple[bytes, int]]:
    mode = source.get("defaultMode", 0o644)
    if "items" not in source:
        return {name: (content, mode) for name, content in found.items()}
    for item in source["items"]:
        if item["key"] not in found and not source.get("optional"):
            raise Unusable(absent.format(item["key"]))
    return {
        item["path"]: (found[item["key"]], item.get("mode", mode)) for item in source["items"] if item["key"] in found
    }
