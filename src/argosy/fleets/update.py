"""A package of the store → the signed update of a fleet; and which devices cannot run it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from cryptography import x509

from argosy.edge import statement, wire
from argosy.packaging.package import MANIFEST, Package, stored
from argosy.profiles.layout import layout
from argosy.spec.errors import BadSignature, InvalidArgument, PayloadTooLarge, Unsupported
from argosy.spec.fleet import Deployment
from argosy.spec.signing import Signatures
from argosy.store.fleets import Fleet
from argosy.store.store import Store
from argosy.store.version import Version
from argosy.trust import policy

ENGINE = "onnx"
MACHINES = ("x86_64", "aarch64")
"""For which onnxruntime is made, and the agent tested."""
ONNXRUNTIME = ("1.24", "2")
"""Versions that answer as the one here does: at least, and below."""
LOADED = 1.2
"""Times the size of its weights that a model takes of a device's memory, at least."""
MARGIN = 64 * 1024 * 1024
"""Bytes of a device's memory that are for others than the model."""


def update(
    store: Store, signatures: Signatures, fleet: Fleet, declared: Deployment, version: Version, number: int
) -> wire.Update:
    """What devices are to be told, as long as nothing makes it impossible. Raises Unsupported, BadSignature,
    PayloadTooLarge."""
    manifest, ref = version.manifest, version.ref
    if manifest.engine != ENGINE:
        why = f": it was not converted when it was pushed, {manifest.conversion.reason}" if manifest.engine else ""
        raise Unsupported(f"{ref} runs by {manifest.engine}, and devices have onnxruntime alone{why}")
    policy.admit_stored(signatures, store.layout, version.digest, ref, f"fleet/{fleet.name}")
    package = stored(store, version.digest)
    files = store.layout.files(version.digest)
    found = wire.Update(
        fleet=fleet.name,
        index=number,
        ref=ref,
        package=version.digest,
        files=tuple(
            wire.UpdateFile(path=path, size=each.size, sha256=each.digest.removeprefix("sha256:"))
            for path, each in sorted(files.items())
        ),
        manifest=msgspec.to_builtins(manifest),
        reference=reference(package),
        machines=MACHINES,
        onnxruntime=ONNXRUNTIME,
        budget=msgspec.convert(msgspec.to_builtins(declared.budget), wire.Budget),
        trial=msgspec.convert(msgspec.to_builtins(declared.trial), wire.Trial),
        payloads=declared.payloads,
    )
    if (size := len(msgspec.json.encode(found))) > statement.MOST_BYTES:
        raise PayloadTooLarge(
            f"what devices are told of {ref} takes {size:,} bytes, {statement.MOST_BYTES:,} at the most: its "
            f"{MANIFEST} and its reference profile are too large; push it with a sample of fewer columns"
        )
    return found


def reference(package: Package) -> tuple[dict[str, Any], ...]:
    """The columns and cells in which devices count; none where the package was made without a sample."""
    profile = package.profile()
    if profile is None:
        return ()
    return tuple(msgspec.to_builtins(each) for each in layout(profile, package.manifest.signature).columns)


def sealed(store: Store, fleet: Fleet, found: wire.Update) -> bytes:
    """The update in its signed envelope, as JSON. Raises BadSignature where the fleet wants a signature of the package
    that is not there."""
    bundle = b""
    if fleet.signers:
        package = policy.stored(store.layout, found.package, found.ref)
        counting = {pem: _by(pem) for pem in fleet.signers}
        try:
            bundle = package.bundles[policy.good(policy.judge(package, counting), found.ref).place]
        except BadSignature as error:
            raise BadSignature(
                f"the devices of fleet '{fleet.name}' take no package without a signature that counts there: "
                f"{error.message}; argosy sign {found.ref} --key KEY.pem"
            ) from None
    return msgspec.json.encode(statement.seal(found, store.fleet_keys.current, bundle))


def _by(pem: str) -> policy.Check:
    """Signed by this public key, or with a certificate that leads to one of these."""
    if "BEGIN CERTIFICATE" in pem:
        roots = x509.load_pem_x509_certificates(pem.encode())
        return lambda bundle: bundle.check_authority(roots)
    key = statement.public_key(pem)
    return lambda bundle: bundle.check_key(key)


def unfit(found: wire.Update, facts: Mapping[str, Any]) -> str:
    """Why a device with these facts cannot run an update; empty where it can. What it does not say is not held against
    it."""
    machine, runtime = str(facts.get("machine", "")), str(facts.get("onnxruntime", ""))
    if found.machines and machine and machine not in found.machines:
        return f"runs on {' and '.join(found.machines)}, not on {machine[:32]}"
    low, high = found.onnxruntime
    if runtime and not wire.within(found.onnxruntime, runtime):
        return f"needs onnxruntime {low} or later, below {high}; the device has {runtime[:32]}"
    memory, disk, size = int(facts.get("memory") or 0), int(facts.get("disk") or 0), sum(f.size for f in found.files)
    weights = str(found.manifest.get("weights", ""))
    loaded = sum(each.size for each in found.files if each.path == weights or each.path.startswith(weights + "/"))
    needed = max(found.budget.memory, int(loaded * LOADED)) + MARGIN
    if memory and memory < needed:
        return f"takes at least {_mebibytes(needed)} of memory; the device has {_mebibytes(memory)}"
    if disk and disk < size:
        return f"has {_mebibytes(size)} of files; the device has {_mebibytes(disk)} free"
    return ""


def check_some_fit(found: wire.Update, devices: Iterable[Mapping[str, Any]]) -> None:
    """Raises InvalidArgument where there are devices and none can run the update, with the reasons."""
    reasons = Counter(unfit(found, facts) for facts in devices)
    if reasons and "" not in reasons:
        told = "; ".join(f"{found.ref} {reason} ({count:,} devices)" for reason, count in reasons.most_common(3))
        raise InvalidArgument(f"none of the devices that it is for can run it: {told}")


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
