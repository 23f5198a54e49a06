"""Bills of material: CycloneDX 1.6 in JSON, the same bytes for the same content.

Source: CycloneDX 1.6 (ECMA-424). The objects are written as they are in the specification: cyclonedx-python-lib has no
`modelCard`, and tests hold the result against the schema that it ships.
"""

import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from argosy.spec.package import ModelManifest
from argosy.spec.signature import TensorSpec
from argosy.store.manifest import canonical

CYCLONEDX = "application/vnd.cyclonedx+json"
"""Media type of a bill, and the artifact type under which it is attached."""
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "argosy")
Kind = Literal["application", "container", "file", "framework", "library", "machine-learning-model", "operating-system"]
_PINNED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(\[[^\]]*\])?\s*(?:===?\s*([^\s;,*]+)\s*)?(?=[\s;<>=!~,]|$)")
_SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*( (AND|OR|WITH) [A-Za-z0-9][A-Za-z0-9.+-]*)*")


class Component(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that something is made of. `purl` as in `pkg:pypi/numpy@2.1.0`, `sha256` in hex, `license` a name or an
    SPDX expression; `properties` are for what CycloneDX has no field for."""

    name: str
    kind: Kind = "library"
    version: str = ""
    purl: str = ""
    sha256: str = ""
    license: str = ""
    description: str = ""
    properties: tuple[tuple[str, str], ...] = ()

    @property
    def ref(self) -> str:
        """What names it within a bill."""
        return self.purl or f"{self.kind}:{self.name}" + (f"@{self.version}" if self.version else "")

    def fields(self) -> dict[str, Any]:
        """As CycloneDX has it."""
        found: dict[str, Any] = {"type": self.kind, "bom-ref": self.ref, "name": self.name}
        found |= {
            key: value
            for key, value in (("version", self.version), ("purl", self.purl), ("description", self.description))
            if value
        }
        if self.sha256:
            found["hashes"] = [{"alg": "SHA-256", "content": self.sha256}]
        if self.license:
            spdx = _SPDX.fullmatch(self.license)
            found["licenses"] = [{"expression": self.license} if spdx else {"license": {"name": self.license}}]
        if self.properties:
            found["properties"] = [{"name": name, "value": value} for name, value in self.properties]
        return found


def bill(
    subject: Component, components: Iterable[Component], *, digest: str, more: Mapping[str, Any] | None = None
) -> bytes:
    """The bill of what has this digest (`sha256:…`): its own component, with the fields `more`, and those that it is
    made of, each once, by name. No clock: the serial number is UUIDv5 of the digest."""
    parts = {each.ref: each.fields() for each in components}
    refs = sorted(parts)
    return canonical(
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, digest)}",
            "version": 1,
            "metadata": {
                "component": subject.fields() | dict(more or {}),
                "tools": {"components": [{"type": "application", "name": "argosy"}]},
            },
            "components": [parts[ref] for ref in refs],
            "dependencies": [{"ref": subject.ref, "dependsOn": refs}],
        }
    )


def package_bill(manifest: ModelManifest, files: Mapping[str, str], digest: str) -> bytes:
    """The bill of a model package of this digest and these files (path → SHA-256 in hex): the model with its card, its
    files, what it requires, and the model that it was made of."""
    subject = Component(
        name=manifest.name,
        kind="machine-learning-model",
        version=digest,
        purl=f"pkg:oci/{manifest.name}@{digest.replace(':', '%3A')}",
        license=manifest.license,
        description=manifest.description,
        properties=(("argosy:engine", manifest.engine), ("argosy:scan", manifest.scan.verdict)),
    )
    source: dict[str, Any] = {"type": "machine-learning-model", "name": manifest.source.name}
    if found := re.fullmatch(r"sha256:([0-9a-f]{64})", manifest.source.digest):
        source["hashes"] = [{"alg": "SHA-256", "content": found[1]}]
    parameters = {
        "modelArchitecture": manifest.engine,
        "inputs": [{"format": _format(each)} for each in manifest.signature.inputs],
        "outputs": [{"format": _format(each)} for each in manifest.signature.every_output],
    }
    more = {
        "modelCard": {"modelParameters": parameters},
        "pedigree": {"ancestors": [source], "notes": manifest.conversion.reason},
    }
    parts = [Component(name=path, kind="file", sha256=digest) for path, digest in files.items()]
    return bill(subject, [*parts, *map(required, manifest.requirements)], digest=digest, more=more)


def required(requirement: str) -> Component:
    """A line of a requirements.txt as a component; with a version where it is pinned."""
    found = _PINNED.match(requirement)
    name = re.sub(r"[-_.]+", "-", found[1] if found else requirement).lower()
    version = (found[3] or "") if found else ""
    purl = f"pkg:pypi/{name}" + (f"@{version}" if version else "")
    return Component(name=name, version=version, purl=purl, properties=(("argosy:requirement", requirement),))


def _format(spec: TensorSpec) -> str:
    return f"{spec.name} {spec.datatype} {list(spec.shape)}"
