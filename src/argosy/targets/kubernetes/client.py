"""Requests to one API server of Kubernetes, for one namespace: objects as they are, errors in a user's words.

Every request may be made again: objects are applied (server-side), merged or deleted, never created blindly. Sources:
Kubernetes API concepts and server-side apply, 1.37.
"""

import asyncio
import contextlib
import random
import re
import socket
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import httpx
import msgspec

from argosy.spec.errors import ArgosyError, Conflict, InvalidArgument, NotFound, PermissionDenied, Unavailable
from argosy.spec.foreign import printable
from argosy.spec.settings import KubernetesSettings
from argosy.targets.kubernetes import kubeconfig
from argosy.targets.kubernetes.objects import Object

PAGE = 500
"""Objects in one answer to a list."""
SECONDS = 30.0
"""How long one request may take, with all that is tried again."""
QUIET = 3600.0
"""Seconds for which a log that is followed may say nothing."""
TRIES = 4
FRESH = 1.0
"""Seconds in which credentials that were read are not read anew, though they are not taken."""
LONGEST = 64 * 1024 * 1024
"""Bytes of an answer, and of one event of a watch."""
EVERYWHERE = frozenset(
    ("APIService", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "DeviceClass", "GatewayClass")
) | {"Namespace", "Node", "PersistentVolume", "PriorityClass", "RuntimeClass", "StorageClass"}
"""Kinds that belong to no namespace."""
_WRITTEN = ("create", "patch")
RIGHTS = {
    ("v1", "Pod"): ("list", "watch", "patch", "delete"),
    ("v1", "Pod/log"): ("get",),
    ("apps/v1", "Deployment"): ("list", "watch", *_WRITTEN),
    ("v1", "ConfigMap"): ("list", "delete", *_WRITTEN),
    ("v1", "Secret"): _WRITTEN,
    ("v1", "ServiceAccount"): _WRITTEN,
    ("networking.k8s.io/v1", "NetworkPolicy"): _WRITTEN,
    ("policy/v1", "PodDisruptionBudget"): _WRITTEN,
    ("resource.k8s.io/v1", "ResourceClaimTemplate"): _WRITTEN,
    ("metrics.k8s.io/v1beta1", "Pod"): ("list",),
}
"""What the target does with which kinds. What it makes is owned by a ConfigMap, with which the cluster deletes it."""
_QUOTED = re.compile(r'"([^"]*)"')
AWAY = httpx.HTTPError, httpx.StreamError, OSError, ssl.SSLError


class Expired(Conflict):
    """What a list or watch goes on from is too old (410): list again."""


class Full(Unavailable):
    """A quota leaves no room for this now."""


class Status(msgspec.Struct):
    """What an API server says of a request that it did not do."""

    message: str = ""
    reason: str = ""
    code: int = 0
    details: dict[str, Any] | None = None


class PageMetadata(msgspec.Struct, rename="camel"):
    """Of which version a list is; a token for the rest of it."""

    resource_version: str = ""
    go_on: str = msgspec.field(name="continue", default="")


class Page(msgspec.Struct):
    """Some objects of a list."""

    items: list[Object] | None = None
    metadata: PageMetadata = msgspec.field(default_factory=PageMetadata)


class Session:
    """The connections of one access; they are closed once nobody uses them and another has taken its place."""

    def __init__(self, access: kubeconfig.Access) -> None:
        self.access, self.users, self.made = access, 0, time.monotonic()
        options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
        for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, name):
                options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=16)
        transport = httpx.AsyncHTTPTransport(
            verify=access.context, proxy=access.proxy, limits=limits, socket_options=options
        )
        self.http = httpx.AsyncClient(base_url=access.server.server, transport=transport)


class Cluster:
    """One API server, one namespace."""

    def __init__(
        self,
        access: Callable[[], kubeconfig.Access],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        seconds: float = SECONDS,
    ) -> None:
        self._find, self._sleep, self._seconds = access, sleep, seconds
        self._session = Session(access())
        self.namespace = self._session.access.namespace

    @classmethod
    def of(cls, settings: KubernetesSettings) -> "Cluster":
        """The cluster that the settings name; nothing is asked of it yet. Raises InvalidArgument."""
        return cls(lambda: kubeconfig.find(settings))

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return self._session.access.server.server

    async def apply(
        self, obj: Object, *, manager: str = "argosy", force: bool = False, dry: bool = False, part: str = ""
    ) -> Object:
        """Have these fields of an object be as they are here, as this manager of fields (server-side apply): those that
        it had and that are not here any more are taken away. `force` takes fields from other managers, `dry` changes
        nothing, `part` may be `status`. The object as it is then. Raises Conflict, PermissionDenied, InvalidArgument,
        NotFound, Unavailable."""
        metadata = obj["metadata"]
        path = path_of(obj["apiVersion"], obj["kind"], metadata.get("namespace") or self.namespace, metadata["name"])
        path += f"/{part}" if part else ""
        params = {"fieldManager": manager, "force": str(force).lower()} | ({"dryRun": "All"} if dry else {})
        return await self._ask("PATCH", path, params, obj, "application/apply-patch+yaml")

    async def get(self, version: str, kind: str, name: str) -> Object | None:
        """An object; None where there is none."""
        with contextlib.suppress(NotFound):
            return await self._ask("GET", path_of(version, kind, self.namespace, name))
        return None

    async def pages(self, version: str, kind: str, selector: str = "") -> AsyncIterator[tuple[list[Object], str]]:
        """The objects with these labels, some at a time, each time with the version that they are all of. Raises
        Expired where they can no longer be had of one version: begin again."""
        params = {"limit": str(PAGE)} | ({"labelSelector": selector} if selector else {})
        while True:
            answer = await self._ask("GET", path_of(version, kind, self.namespace), params)
            try:
                page = msgspec.convert(answer, Page)
            except msgspec.ValidationError as error:
                raise Unavailable(f"{self.server} answered with what is no list: {error}") from None
            for each in page.items or ():  # members of a list do not say what they are
                each.setdefault("apiVersion", version)
                each.setdefault("kind", kind)
            yield page.items or [], page.metadata.resource_version
            if not page.metadata.go_on:
                return
            params["continue"] = page.metadata.go_on

    async def delete(self, version: str, kind: str, name: str, *, seconds: int | None = None) -> None:
        """Delete an object and what it owns; `seconds` replaces the grace of a pod. Absent is fine."""
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        options |= {} if seconds is None else {"gracePeriodSeconds": seconds}
        with contextlib.suppress(NotFound):
            await self._ask("DELETE", path_of(version, kind, self.namespace, name), {}, options)

    async def annotate(self, version: str, kind: str, name: str, annotations: Mapping[str, str | None]) -> None:
        """Set annotations of an object, and take away those that are None. Raises NotFound."""
        body: Object = {"metadata": {"annotations": dict(annotations)}}
        path = path_of(version, kind, self.namespace, name)
        await self._ask("PATCH", path, {"fieldManager": "argosy"}, body, "application/merge-patch+json")

    async def log(self, pod: str, container: str, lines: int, *, follow: bool) -> AsyncIterator[bytes]:
        """The last lines of a container's log, and with `follow` what it writes from now on."""
        path = f"{path_of('v1', 'Pod', self.namespace, pod)}/log"
        params = {"container": container, "tailLines": str(lines), "follow": str(follow).lower()}
        async with self.stream("GET", path, params, silence=QUIET if follow else SECONDS) as answer:
            async for chunk in answer.aiter_bytes():
                yield chunk

    async def version(self) -> str:
        """The version of the API server, as in v1.37.2."""
        return str((await self._ask("GET", "/version")).get("gitVersion", ""))

    async def allowed(self, verb: str, version: str, kind: str) -> bool:
        """Whether this verb may be used on objects of a kind in the namespace."""
        group, _, _ = version.rpartition("/")
        resource, _, part = plural(kind).partition("/")
        what = {"namespace": self.namespace, "verb": verb, "group": group, "resource": resource, "subresource": part}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        found = await self._ask("POST", path, {}, review | {"spec": {"resourceAttributes": what}})
        return bool(found.get("status", {}).get("allowed"))

    async def close(self) -> None:
        """Close all connections."""
        await self._session.http.aclose()

    async def _ask(
        self, method: str, path: str, params: Mapping[str, str] | None = None, body: Object | None = None, of: str = ""
    ) -> Object:
        """An answer, tried again for as long as that may help. Raises what `_refused` says, and Unavailable."""
        headers = {"content-type": of or "application/json"} if body is not None else {}
        content, error, renewed = msgspec.json.encode(body) if body is not None else None, None, False
        try:
            async with asyncio.timeout(self._seconds):
                for tried in range(TRIES):
                    pause = random.uniform(0.5, 1.0) * 0.25 * 4**tried
                    try:
                        async with self.stream(method, path, params, headers, content) as answer:
                            data = await _read(answer)
                        return msgspec.json.decode(data, type=dict[str, Any]) if data else {}
                    except msgspec.DecodeError:
                        error = Unavailable(
                            f"{self.server} answered {method} {path} with what is no JSON: no API server"
                        )
                    except Full:
                        raise
                    except Unavailable as busy:
                        error, pause = busy, busy.retry_after or pause
                    except PermissionDenied as refused:
                        if renewed or refused.retry_after is None:
                            raise
                        error, renewed, pause = refused, True, 0.0
                    if tried + 1 < TRIES:
                        await self._sleep(pause)
        except TimeoutError:
            error = error or Unavailable(f"{self.server} did not answer {method} {path} within {self._seconds:.0f} s")
        assert error is not None
        raise error

    @contextlib.asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] = {},
        content: bytes | None = None,
        silence: float = SECONDS,
    ) -> AsyncGenerator[httpx.Response]:
        """One request, its body not read yet; `silence` is how long nothing may come. Raises what a server's refusal
        means; PermissionDenied with a time to wait where credentials were renewed meanwhile."""
        session = self._session
        session.users += 1
        try:
            login = await session.access.headers()
            name = session.access.server.tls_server_name
            async with session.http.stream(
                method, path, params=params, content=content, headers={**headers, **login},
                timeout=httpx.Timeout(silence, connect=5.0), extensions={"sni_hostname": name} if name else None,
            ) as answer:  # fmt: skip
                if not answer.is_success:
                    raise self._refused(answer, await _read(answer), f"{method} {path}", session)
                yield answer
        except AWAY as error:
            if _about_tls(error):
                self._renew(session)
            said = f"{type(error).__name__}: {error}".rstrip(": ")
            raise Unavailable(f"the API server {self.server} cannot be reached: {said}") from error
        finally:
            session.users -= 1
            if session is not self._session and not session.users:
                await session.http.aclose()

    def _renew(self, session: Session) -> bool:
        """Read anew where the server is and who asks, unless that was just done. Whether another session is used from
        now on."""
        if session is self._session and time.monotonic() - session.made > FRESH:
            self._session = Session(self._find())
        return session is not self._session

    def _refused(self, answer: httpx.Response, data: bytes, what: str, session: Session) -> ArgosyError:
        """What an answer that is none means."""
        code, who = answer.status_code, session.access.who
        try:
            status = msgspec.json.decode(data, type=Status)
        except msgspec.MsgspecError:
            status = Status(message=data[:200].decode(errors="replace").strip())
        said = printable(status.message)[:2000] or "nothing"
        text = f"{self.server} answered {code} to {what}: {said}"
        asked = answer.headers.get("retry-after", "")
        pause = min(float(asked), 10.0) if asked.isdecimal() else None
        if code == 401:
            after = 0.0 if self._renew(session) else None
            where = f"{who} of {session.access.where}"
            return PermissionDenied(f"{self.server} does not take the credentials of {where}", retry_after=after)
        if code == 403 and "exceeded quota" in status.message:
            return Full(f"a quota of namespace {self.namespace} leaves no room: {said}")
        if code == 403:
            return PermissionDenied(f"{who} may not do this in namespace {self.namespace}: {said}")
        if code == 404:
            return NotFound(f"{said} ({what})" if status.reason else f"the cluster has no such API: {what}")
        if code == 409:
            held = _conflict(status)
            return Conflict(f"others manage fields that {what} sets: {held}" if held else text)
        if code == 410:
            return Expired(text)
        if 400 <= code < 500 and code not in (408, 425, 429):
            return InvalidArgument(f"the cluster refuses this: {said} ({what})")
        return Unavailable(text, retry_after=pause)

    async def list(self, version: str, kind: str, selector: str = "") -> list[Object]:
        """All objects with these labels, of one version."""
        for _ in range(TRIES):
            found: list[Object] = []
            with contextlib.suppress(Expired):
                async for page, _ in self.pages(version, kind, selector):
                    found += page
                return found
        raise Unavailable(f"{self.server} forgets its lists of {plural(kind)} before they are read: try later")


def path_of(version: str, kind: str, namespace: str, name: str = "") -> str:
    """The path of an object, or of all of its kind."""
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    within = "" if kind in EVERYWHERE else f"/namespaces/{namespace}"
    return f"{root}{within}/{plural(kind)}" + (f"/{name}" if name else "")


def plural(kind: str) -> str:
    """The name of a kind, or of a part of it, in paths and rules: `networkpolicies` of NetworkPolicy, `pods/log`."""
    kind, slash, part = kind.partition("/")
    if part:
        return f"{plural(kind)}{slash}{part}"
    name = kind.lower()
    if name.endswith("y") and name[-2] not in "aeiou":
        return f"{name[:-1]}ies"
    return name if name == "endpoints" else f"{name}es" if name.endswith(("s", "x", "ch")) else f"{name}s"


def _conflict(status: Status) -> str:
    """Which fields others hold; empty where it is not about that."""
    causes: list[dict[str, Any]] = (status.details or {}).get("causes") or []
    held = [
        f"{each.get('field', '')} (held by {', '.join(_QUOTED.findall(each.get('message', '')))})"
        for each in causes
        if each.get("reason") == "FieldManagerConflict"
    ]
    return printable("; ".join(held))[:2000]


async def _read(answer: httpx.Response) -> bytes:
    """A body, if it is of a bearable length. Raises Unavailable."""
    data = bytearray()
    async for chunk in answer.aiter_bytes():
        data += chunk
        if len(data) > LONGEST:
            raise Unavailable(
                f"{answer.request.url.host} answered more than {LONGEST} bytes to {answer.request.url.path}"
            )
    return bytes(data)


def _about_tls(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    return error is not None
