"""Kubeconfig files as kubectl reads them, and the service account of a pod."""

import asyncio
import base64
import json
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from argosy.spec.errors import InvalidArgument, Unavailable
from argosy.spec.settings import KubernetesSettings
from argosy.targets.kubernetes import client, kubeconfig
from argosy.targets.kubernetes.client import Cluster
from tests.kubernetes.certificates import Authority
from tests.targets.kubernetes.hostile import Hostile, Request, answer, hostile, in_turn


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates") / "all")


def written(
    path: Path, *, server: dict[str, Any] | None = None, user: dict[str, Any] | None = None, **more: Any
) -> Path:
    """A file with one context `c` of the server `s` and the user `u`."""
    content = {
        "current-context": "c",
        "clusters": [{"name": "s", "cluster": {"server": "http://127.0.0.1:1"} | (server or {})}],
        "users": [{"name": "u", "user": user or {}}],
        "contexts": [{"name": "c", "context": {"cluster": "s", "user": "u"}}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content | more))
    return path


def found(path: Path, **settings: str) -> kubeconfig.Access:
    return kubeconfig.find(KubernetesSettings(kubeconfig=str(path), **settings), {})


def data(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def test_the_context_of_the_settings_and_its_namespace(tmp_path):
    contexts = [
        {"name": "c", "context": {"cluster": "s", "user": "u", "namespace": "mine"}},
        {"name": "d", "context": {"cluster": "s"}},
    ]
    path = written(tmp_path / "config", contexts=contexts)
    assert (found(path).namespace, found(path).who) == ("mine", "user 'u'")
    assert (found(path, context="d").namespace, found(path, context="d").who) == ("default", "nobody")
    assert found(path, context="d", namespace="n").namespace == "n"
    with pytest.raises(InvalidArgument, match=r"no 'x' among its contexts \(c, d\)"):
        found(path, context="x")


def test_of_several_files_the_first_one_wins(tmp_path):
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "t").write_text("token of the second\n")
    first = written(tmp_path / "first" / "config", users=[], **{"current-context": ""})
    second = written(
        tmp_path / "second" / "config", server={"server": "http://other.test"}, user={"tokenFile": "t"}
    )  # fmt: skip
    environ = {"KUBECONFIG": f"{tmp_path / 'absent'}:{first}:{second}", "HOME": str(tmp_path)}
    access = kubeconfig.find(KubernetesSettings(), environ)
    assert access.server.server == "http://127.0.0.1:1"
    assert asyncio.run(access.headers()) == {"authorization": "Bearer token of the second"}
    written(tmp_path / ".kube" / "config", server={"server": "http://home.test"})
    assert kubeconfig.find(KubernetesSettings(), {"HOME": str(tmp_path)}).server.server == "http://home.test"


def test_no_cluster_at_all(tmp_path):
    with pytest.raises(
        InvalidArgument, match=r"no cluster is known: .*/\.kube/config is not there, and this is no pod"
    ):
        kubeconfig.find(KubernetesSettings(), {"HOME": str(tmp_path)}, tmp_path)
    with pytest.raises(InvalidArgument, match=r"kubernetes\.kubeconfig: .*absent is not there"):
        found(tmp_path / "absent")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"current-context": ""}, "there is no current-context; set kubernetes.context"),
        ({"contexts": [{"name": "c", "context": {"cluster": "x"}}]}, r"no 'x' among its clusters \(s\)"),
        ({"contexts": [{"name": "c", "context": {"cluster": "s", "user": "x"}}]}, r"no 'x' among its users \(u\)"),
        ({"contexts": [{"name": "c", "context": {}}]}, "missing required field `cluster`"),
        ({"clusters": 3}, "config, clusters: Expected `array`"),
        ({"server": {"server": "ftp://x"}}, r"the server is https://HOST\[:PORT\], not 'ftp://x'"),
        ({"server": {"server": ""}}, "not ''"),
        ({"server": {"proxy-url": "socks5://127.0.0.1:1"}}, "proxy-url must begin with http"),
        ({"server": {"certificate-authority-data": "*"}}, "certificates for user 'u' cannot be read"),
        ({"server": {"certificate-authority": "absent.pem"}}, "certificates for user 'u' cannot be read"),
        ({"user": {"client-certificate-data": "aGVsbG8=", "client-key-data": "aGVsbG8="}}, "cannot be read"),
        ({"user": {"auth-provider": {"name": "gcp"}}}, "has auth-provider or as, which are not supported"),
        ({"user": {"as": "somebody"}}, "has auth-provider or as, which are not supported"),
        ({"user": {"exec": {"apiVersion": "x"}}}, "missing required field `command`"),
    ],
    ids=str,
)
def test_a_file_that_cannot_be_used(tmp_path, changes, message):
    with pytest.raises(InvalidArgument, match=message):
        found(written(tmp_path / "config", **changes))


def test_a_file_that_is_no_yaml(tmp_path):
    (tmp_path / "config").write_text("{")
    with pytest.raises(InvalidArgument, match="config is not valid YAML"):
        found(tmp_path / "config")


PROGRAM = """
import json, os, sys
with open("runs", "a") as file:
    file.write(os.environ["KUBERNETES_EXEC_INFO"] + "\\n")
print(json.dumps({"kind": "ExecCredential", "status": json.loads(os.environ["STATUS"])}))
"""


def program(folder: Path, status: Any, script: str = PROGRAM, **more: Any) -> dict[str, Any]:
    (folder / "program.py").write_text(f"import os; os.chdir({str(folder)!r})\n{script}")
    env = [{"name": "STATUS", "value": json.dumps(status)}]
    exec_ = {"apiVersion": "client.authentication.k8s.io/v1", "command": sys.executable, "env": env}
    return {"exec": exec_ | {"args": [str(folder / "program.py")], "interactiveMode": "Never"} | more}


async def test_a_program_prints_credentials_until_they_end(tmp_path):
    status = {"token": "t", "expirationTimestamp": "2000-01-01T00:00:00Z"}
    access = found(written(tmp_path / "config", user=program(tmp_path, status, provideClusterInfo=True)))
    for _ in range(2):
        assert await access.headers() == {"authorization": "Bearer t"}
    runs = (tmp_path / "runs").read_text().splitlines()
    assert len(runs) == 2
    assert json.loads(runs[0])["spec"]["cluster"]["server"] == "http://127.0.0.1:1"
    (tmp_path / "runs").unlink()
    status["expirationTimestamp"] = "2999-01-01T00:00:00.5Z"
    access = found(written(tmp_path / "config", user=program(tmp_path, status)))
    await asyncio.gather(*(access.headers() for _ in range(10)))
    assert len((tmp_path / "runs").read_text().splitlines()) == 1


async def test_a_program_whose_token_is_not_taken_runs_again(tmp_path, monkeypatch):
    monkeypatch.setattr(client, "FRESH", -1.0)
    path = written(tmp_path / "config", user=program(tmp_path, {"token": "t"}))
    async with hostile(in_turn(answer(401), answer(200, {"gitVersion": "v1.37.2"}))) as server:
        written(path, server={"server": server.url}, user=program(tmp_path, {"token": "t"}))
        cluster = Cluster.of(KubernetesSettings(kubeconfig=str(path)))
        assert await cluster.version() == "v1.37.2"
        await cluster.close()
    assert len((tmp_path / "runs").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"command": "argosy-nothing", "installHint": "get\n it"}, InvalidArgument, "is not installed. get it"),
        ({"apiVersion": "client.example/v1"}, InvalidArgument, "speaks client.example/v1 or asks"),
        ({"interactiveMode": "Always"}, InvalidArgument, "asks questions"),
        ({"script": "print('no')"}, Unavailable, "printed no ExecCredential: DecodeError"),
        ({"script": "print('{}')"}, Unavailable, "printed no ExecCredential: KeyError"),
        ({"script": "print('{\"status\": 3}')"}, Unavailable, "printed no ExecCredential: AttributeError"),
        ({"script": "import sys; sys.exit('log in\\n first')"}, Unavailable, "ended with status 1: log in first"),
    ],
    ids=str,
)
async def test_a_program_that_prints_no_credentials(tmp_path, more, error, message):
    access = found(written(tmp_path / "config", user=program(tmp_path, {"token": "t"}, **more)))
    with pytest.raises(error, match=message):
        await access.headers()


async def test_a_program_that_does_not_end(tmp_path, monkeypatch):
    monkeypatch.setattr(kubeconfig, "SECONDS", 0.3)
    access = found(written(tmp_path / "config", user=program(tmp_path, {}, "import time; time.sleep(60)")))
    with pytest.raises(Unavailable, match="printed no credentials in 0 s"):
        await access.headers()


async def test_a_proxy_is_asked(tmp_path, monkeypatch):
    async def answers(request: Request) -> AsyncIterator[bytes]:
        yield answer(200, {"gitVersion": request.path})

    async with hostile(answers) as proxy:
        away = "http://cluster.test"
        path = written(tmp_path / "config", server={"server": away, "proxy-url": proxy.url})
        cluster = Cluster.of(KubernetesSettings(kubeconfig=str(path)))
        assert await cluster.version() == "/version"
        assert proxy.seen[0].headers["host"] == "cluster.test"
        await cluster.close()
        for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", proxy.url)
        assert found(written(path, server={"server": away})).proxy == proxy.url
        assert found(written(path, server={"server": "http://127.0.0.1:1"})).proxy is None
        monkeypatch.setenv("no_proxy", "cluster.test")
        assert found(written(path, server={"server": away})).proxy is None


class Tls(Hostile):
    """A server that speaks TLS, shows a certificate for `localhost`, and answers whose certificate it was shown."""

    def __init__(self, authority: Authority) -> None:
        super().__init__(in_turn(answer(200, {"gitVersion": "v1"})))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*authority.issue("server", server=True))
        self.context.load_verify_locations(authority.certificate)
        self.context.verify_mode = ssl.CERT_OPTIONAL

    async def open(self, port: int = 0) -> "Tls":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, ssl=self.context)
        self.url = f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self


def test_certificates_of_server_and_user(tmp_path, authority):
    certificate, key = authority.issue("somebody")
    own = {"client-certificate-data": data(certificate), "client-key-data": data(key)}
    (tmp_path / "ca.pem").write_bytes(authority.certificate.read_bytes())
    known = {"certificate-authority-data": data(authority.certificate)}
    cases = [
        (known, {}, ""),
        ({"certificate-authority": "ca.pem"}, own, ""),
        (known, {"client-certificate": str(certificate), "client-key": str(key)}, ""),
        (
            known,
            program(tmp_path, {"clientCertificateData": certificate.read_text(), "clientKeyData": key.read_text()}),
            "",
        ),
        ({"insecure-skip-tls-verify": True}, {}, ""),
        (known | {"tls-server-name": "localhost"}, {}, ""),
        (known | {"tls-server-name": "other.test"}, {}, "cannot be reached: .*other.test"),
        ({}, {}, "cannot be reached: .*(self.signed|unable to get local issuer)"),
    ]

    async def ask(server: dict[str, Any], user: dict[str, Any], message: str) -> None:
        tls = await Tls(authority).open()
        path = written(tmp_path / "config", server={"server": tls.url} | server, user=user)

        async def at_once(seconds: float) -> None:
            pass

        cluster = Cluster(lambda: kubeconfig.find(KubernetesSettings(kubeconfig=str(path)), {}), sleep=at_once)
        if message:
            with pytest.raises(Unavailable, match=message):
                await cluster.version()
        else:
            assert await cluster.version() == "v1"
        await cluster.close()
        await tls.close()

    for case in cases:
        asyncio.run(ask(*case))


async def test_an_authority_that_was_replaced_is_read_anew(tmp_path, authority, monkeypatch):
    monkeypatch.setattr(client, "FRESH", -1.0)
    other = Authority(tmp_path / "other")
    tls = await Tls(authority).open()
    path = written(tmp_path / "config", server={"server": tls.url, "certificate-authority": "ca.pem"})
    (tmp_path / "ca.pem").write_bytes(other.certificate.read_bytes())

    async def replaced(seconds: float) -> None:
        (tmp_path / "ca.pem").write_bytes(authority.certificate.read_bytes())

    cluster = Cluster(lambda: kubeconfig.find(KubernetesSettings(kubeconfig=str(path)), {}), sleep=replaced)
    assert await cluster.version() == "v1"
    await cluster.close()
    await tls.close()
