"""The platforms that an image can be built for, by the names that OCI, Debian and wheels give them."""

import platform as machine

import msgspec

from argosy.spec.errors import Unsupported


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """`name` is OCI's; `debian` an architecture of apt; `wheels` uv's name of the oldest platform whose wheels run;
    `triplet` the folder of libraries; `loader` the dynamic loader, from the root of the image."""

    name: str
    debian: str
    wheels: str
    triplet: str
    loader: str

    @property
    def oci(self) -> dict[str, str]:
        """The `platform` of a descriptor."""
        system, _, architecture = self.name.partition("/")
        return {"architecture": architecture, "os": system}


PLATFORMS = {
    "linux/amd64": Platform(
        name="linux/amd64",
        debian="amd64",
        wheels="x86_64-manylinux_2_36",
        triplet="x86_64-linux-gnu",
        loader="usr/lib64/ld-linux-x86-64.so.2",
    ),
    "linux/arm64": Platform(
        name="linux/arm64",
        debian="arm64",
        wheels="aarch64-manylinux_2_36",
        triplet="aarch64-linux-gnu",
        loader="usr/lib/ld-linux-aarch64.so.1",
    ),
}
_MACHINES = {"x86_64": "linux/amd64", "aarch64": "linux/arm64", "arm64": "linux/arm64"}


def host() -> Platform:
    """That of this machine. Raises Unsupported where no image can be built for it."""
    found = _MACHINES.get(machine.machine(), "") if machine.system() == "Linux" else ""
    if not found:
        raise Unsupported(
            f"images are built on Linux on x86_64 or aarch64; this machine is {machine.system()} on {machine.machine()}"
        )
    return PLATFORMS[found]
