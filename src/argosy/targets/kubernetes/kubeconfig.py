"""Where an API server is and who asks it: by kubeconfig files, or by the service account of the pod this runs in.

Sources: client-go's `clientcmd` and `rest`; ExecCredential of `client.authentication.k8s.io/v1`, Kubernetes 1.37.
"""

import asyncio
import base64
import datetime
import os
import shutil
import ssl
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from argosy.spec import foreign
from argosy.spec.errors import InvalidArgument, Unavailable
from argosy.spec.settings import KubernetesSettings
from argosy.spec.strict import convert
from argosy.store.oci.reference import is_loopback

POD = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where the kubelet keeps token, authority and namespace of a pod's service account."""
SECONDS = 60.0
"""How long a program that makes credentials may take; how long before their end they are made again is half of it."""
API = "client.authentication.k8s.io/"


class Program(msgspec.Struct, rename="camel"):
    """A program that prints credentials (`exec`)."""

    command: str
    api_version: str
    args: list[str] | None = None
    env: list[dict[str, str]] | None = None
    install_hint: str = ""
    interactive_mode: str = ""
    provide_cluster_info: bool = False


class Server(msgspec.Struct, rename="kebab"):
    """An API server, and how it is known."""

    server: str = ""
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    insecure_skip_tls_verify: bool = False
    tls_server_name: str = ""
    proxy_url: str = ""
    folder: Path = Path()


class User(msgspec.Struct, rename="kebab"):
    """Who asks."""

    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    token: str = ""
    token_file: str = msgspec.field(name="tokenFile", default="")
    username: str = ""
    password: str = ""
    program: Program | None = msgspec.field(name="exec", default=None)
    auth_provider: Any = None
    impersonated: str = msgspec.field(name="as", default="")
    folder: Path = Path()


class Context(msgspec.Struct):
    """A server, a user of it and a namespace."""

    cluster: str
    user: str = ""
    namespace: str = ""


class Access:
    """How requests to one API server are made. `who` and `where` are for messages."""

    def __init__(self, server: Server, user: User, namespace: str, who: str, where: str) -> None:
        self.server, self.namespace, self.who, self.where = server, namespace or "default", who, where
        self._user, self._printed, self._ends, self._turn = user, "", float("inf"), asyncio.Lock()
        if not server.server.startswith(("https://", "http://")):
            raise InvalidArgument(f"{where}: the server is https://HOST[:PORT], not '{server.server[:80]}'")
        if user.auth_provider or user.impersonated:
            raise InvalidArgument(f"{where}: {who} has auth-provider or as, which are not supported: use exec or token")
        self.proxy = _proxy(server, where)
        try:
            self._authority = _content(
                server.folder, server.certificate_authority, server.certificate_authority_data
            ).decode()
            self.context = ssl.create_default_context(cadata=self._authority or None)
            if server.insecure_skip_tls_verify:
                self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
            self._show(
                _content(user.folder, user.client_certificate, user.client_certificate_data),
                _content(user.folder, user.client_key, user.client_key_data),
            )
        except (OSError, ValueError) as error:
            raise InvalidArgument(f"{where}: the certificates for {who} cannot be read: {error}") from None

    def _show(self, certificate: bytes, key: bytes) -> None:
        """Show a certificate, if there is one, to the server from the next connection on."""
        if certificate:
            with tempfile.TemporaryDirectory() as made:  # ssl reads files alone
                Path(made, "certificate").write_bytes(certificate)
                Path(made, "key").write_bytes(key)
                self.context.load_cert_chain(Path(made, "certificate"), Path(made, "key"))

    async def headers(self) -> dict[str, str]:
        """What tells the server who asks, as of now: tokens in files and credentials of programs are renewed. Raises
        Unavailable, InvalidArgument."""
        user = self._user
        if user.token_file:
            try:
                return _bearer((user.folder / user.token_file).read_text().strip())
            except OSError as error:
                raise Unavailable(f"the token of {self.who} cannot be read: {error}") from None
        if user.token:
            return _bearer(user.token)
        if user.program is not None:
            async with self._turn:
                if time.time() > self._ends - SECONDS / 2 or not self._printed:
                    await self._run(user.program)
            return _bearer(self._printed) if self._printed != "-" else {}
        if user.username:
            login = base64.b64encode(f"{user.username}:{user.password}".encode()).decode()
            return {"authorization": f"Basic {login}"}
        return {}

    async def _run(self, program: Program) -> None:
        """Have credentials printed. Raises Unavailable, InvalidArgument."""
        name, path = f"{program.command}, which {self.where} names for {self.who},", os.environ.get("PATH")
        found = str(self._user.folder / program.command) if "/" in program.command else program.command
        if not program.api_version.startswith(API) or program.interactive_mode == "Always":
            raise InvalidArgument(f"{name} speaks {program.api_version} or asks questions: neither works here")
        if not (command := shutil.which(found, path=path)):
            raise InvalidArgument(f"{name} is not installed. {' '.join(program.install_hint.split())[:400]}".strip())
        spec: dict[str, Any] = {"interactive": False}
        if program.provide_cluster_info:
            spec["cluster"] = {
                "server": self.server.server,
                "tls-server-name": self.server.tls_server_name,
                "insecure-skip-tls-verify": self.server.insecure_skip_tls_verify,
                "certificate-authority-data": base64.b64encode(self._authority.encode()).decode(),
            }
        info = {"apiVersion": program.api_version, "kind": "ExecCredential", "spec": spec}
        environ = dict(os.environ) | {each["name"]: each["value"] for each in program.env or ()}
        environ["KUBERNETES_EXEC_INFO"] = msgspec.json.encode(info).decode()
        arguments = [command, *(program.args or ())]
        run = partial(subprocess.run, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=SECONDS)
        try:
            done = await asyncio.to_thread(run, arguments, env=environ)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"{name} printed no credentials in {SECONDS:.0f} s") from None
        except OSError as error:
            raise Unavailable(f"{name} does not start: {error}") from None
        if done.returncode:
            text = foreign.printable(" ".join(done.stderr.decode(errors="replace").split()))[:400]
            raise Unavailable(f"{name} ended with status {done.returncode}: {text}")
        try:
            status = msgspec.json.decode(done.stdout)["status"]
            self._show(*(status.get(each, "").encode() for each in ("clientCertificateData", "clientKeyData")))
            ends = status.get("expirationTimestamp")
            self._ends = datetime.datetime.fromisoformat(ends).timestamp() if ends else float("inf")
            self._printed = status.get("token") or "-"
        except (msgspec.DecodeError, ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise Unavailable(f"{name} printed no ExecCredential: {type(error).__name__}: {error}") from None


def find(settings: KubernetesSettings, environ: Mapping[str, str] = os.environ, pod: Path = POD) -> Access:
    """The access that the settings name: a context of their kubeconfig, of the files of KUBECONFIG, or of
    ~/.kube/config; without any of these the service account of this pod. Raises InvalidArgument."""
    default = Path(environ.get("HOME") or Path.home(), ".kube", "config")
    files = [Path(settings.kubeconfig).expanduser()] if settings.kubeconfig else []
    if files and not files[0].is_file():
        raise InvalidArgument(f"kubernetes.kubeconfig: {files[0]} is not there")
    files = files or [Path(part) for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part] or [default]
    if found := [path for path in files if path.is_file()]:
        return _of_files(found, settings)
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (pod / "token").exists():
        raise InvalidArgument(
            f"no cluster is known: {', '.join(map(str, files))} is not there, and this is no pod; set "
            "kubernetes.kubeconfig, or KUBECONFIG"
        )
    server = Server(server=f"https://{f'[{host}]' if ':' in host else host}:{port}", certificate_authority="ca.crt")
    server.folder = pod
    user = User(token_file="token", folder=pod)
    namespace = settings.namespace or (pod / "namespace").read_text().strip()
    return Access(server, user, namespace, "the service account of this pod", str(pod))


def _of_files(files: list[Path], settings: KubernetesSettings) -> Access:
    """A context of several files, of which the first that has a name wins."""
    chosen, parts = settings.context, {"clusters": dict[str, Any](), "users": dict[str, Any](), "contexts": {}}
    for path in files:
        try:
            text = path.read_bytes()
        except OSError as error:
            raise InvalidArgument(f"{path} cannot be read: {error.strerror}") from None
        config: dict[str, Any] = convert(foreign.document(text, str(path)) or {}, dict[str, Any], str(path))
        chosen = chosen or config.get("current-context") or ""
        for kind, entries in parts.items():
            for name, value in _named(config.get(kind), kind, path):
                entries.setdefault(name, (value, path))
    where = ", ".join(map(str, files))

    def pick(kind: str, name: str, type_: type[Any]) -> Any:
        if name not in parts[kind]:
            known = ", ".join(sorted(parts[kind])[:20]) or "none"
            raise InvalidArgument(f"{where}: no '{name}' among its {kind} ({known})")
        value, path = parts[kind][name]
        found = convert({key: each for key, each in value.items() if each is not None}, type_, f"{path}, {name}")
        if type_ is not Context:
            found.folder = path.absolute().parent
        return found

    if not chosen:
        raise InvalidArgument(f"{where}: there is no current-context; set kubernetes.context")
    context: Context = pick("contexts", chosen, Context)
    user = pick("users", context.user, User) if context.user else User()
    who = f"user '{context.user}'" if context.user else "nobody"
    namespace = settings.namespace or context.namespace
    return Access(pick("clusters", context.cluster, Server), user, namespace, who, where)


def _named(entries: Any, kind: str, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for entry in convert(entries or [], list[dict[str, Any]], f"{path}, {kind}"):
        if isinstance(name := entry.get("name"), str):
            yield name, convert(entry.get(kind[:-1]) or {}, dict[str, Any], f"{path}, {name}")


def _content(folder: Path, file: str, data: str) -> bytes:
    """What a file holds; data win over it. Empty without both. Raises ValueError, OSError."""
    if data:
        return base64.b64decode("".join(data.split()), validate=True)
    return (folder / file).read_bytes() if file else b""


def _bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def _proxy(server: Server, where: str) -> str | None:
    """The proxy of the file, else that of the environment, which never is one for this machine."""
    url = urllib.parse.urlsplit(server.server)
    host = url.hostname or ""
    proxy = server.proxy_url
    if not proxy and not is_loopback(url.netloc) and not urllib.request.proxy_bypass(host):
        proxy = urllib.request.getproxies().get(url.scheme, "")
    if proxy and not proxy.startswith(("http://", "https://")):
        raise InvalidArgument(f"{where}: proxy-url must begin with http:// or https://, not '{proxy[:80]}'")
    return proxy or None
