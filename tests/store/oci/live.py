"""Debian's docker-registry, behind TLS and a login, as tests start it."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import yaml

from tests.ports import free
from tests.programs import need

USER, PASSWORD = "ada", "s3cret"
HASHED = "$2b$04$SbTZ5YQQo2EUrPF0ynfS9eS4V66cAyDAwEdz7pOL8WObMFLEmX3c."
"""The password as `htpasswd -B` writes it."""


@contextmanager
def running(root: Path) -> "Iterator[Registry]":
    """A registry with TLS and a login, which ends with the block."""
    registry = Registry(root)
    try:
        yield registry.ready()
    finally:
        registry.stop()


class Registry:
    """A registry that runs: its address, and the authority that vouches for it ("" in plain text)."""

    def __init__(self, root: Path, *, tls: bool = True) -> None:
        program = need("docker-registry")
        self.root, self.host = root, f"localhost:{free()}"
        root.mkdir()
        http: dict[str, object] = {"addr": self.host, "secret": "s", "net": "tcp"}
        config: dict[str, object] = {"version": "0.1", "log": {"level": "warn"}, "http": http}
        config["storage"] = {"filesystem": {"rootdirectory": str(root / "data")}, "delete": {"enabled": True}}
        self.ca = ""
        if tls:
            self.ca = str(root / "cert.pem")
            certificate(Path(self.ca), root / "key.pem")
            http["tls"] = {"certificate": self.ca, "key": str(root / "key.pem")}
            (root / "htpasswd").write_text(f"{USER}:{HASHED}\n")
            config["auth"] = {"htpasswd": {"realm": "r", "path": str(root / "htpasswd")}}
        (root / "config.yml").write_text(yaml.safe_dump(config))
        self.log = (root / "log").open("wb")
        self.process = subprocess.Popen(
            [program, "serve", root / "config.yml"], stdout=self.log, stderr=self.log, env={"PATH": os.environ["PATH"]}
        )

    def ready(self) -> "Registry":
        """Wait until it answers."""
        while True:
            assert self.process.poll() is None, Path(self.root, "log").read_text()
            try:
                httpx.get(f"http{'s' * bool(self.ca)}://{self.host}/v2/", verify=False, trust_env=False)
            except httpx.TransportError:
                time.sleep(0.02)
                continue
            return self

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()


def certificate(cert: Path, key: Path) -> None:
    """A certificate of localhost that is its own authority."""
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    words = [need("openssl"), "req", *kind, *names, "-keyout", str(key), "-out", str(cert)]
    subprocess.run(words, check=True, capture_output=True)
