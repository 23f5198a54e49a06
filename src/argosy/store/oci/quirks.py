"""What registries do otherwise than the specification, or say badly: one row for each, found by its host.

Only rows that change what is sent or said are here. Sources: notes of the providers and reports of other clients; each
row has a test against a registry that behaves so (`tests/store/oci/test_quirks.py`). Harbor has any host: its row is
found by the header that its token service sets.
"""

import re

import msgspec

MIB = 1024 * 1024


class Quirks(msgspec.Struct, frozen=True, kw_only=True):
    """How a registry differs. `most_patch`: bytes of the body of one PATCH, 0 without a limit. `referrers`: whether it
    has the referrers API. `login`: what to log in with. `missing`: what to do where a repository is not there."""

    name: str = ""
    most_patch: int = 0
    referrers: bool = True
    login: str = ""
    missing: str = ""


ECR = Quirks(
    name="ECR",
    login="the user is AWS, the password that of `aws ecr get-login-password`, which is good for 12 hours",
    missing="ECR makes no repository by a push: run  aws ecr create-repository --repository-name {repository}",
)
GAR = Quirks(
    name="Artifact Registry",
    login="the user is oauth2accesstoken, the password that of `gcloud auth print-access-token`, good for an hour",
    missing="the repository is the second part of the path, and is made by  gcloud artifacts repositories create",
)
GHCR = Quirks(
    name="GHCR",
    most_patch=4 * MIB,
    referrers=False,
    login="the password is a classic token with the scope write:packages, or the job's own token in a workflow",
)
HARBOR = Quirks(
    name="Harbor",
    login="the name of a robot account contains a '$': quote it for the shell",
    missing="the project, which is the first part of the path, must be made in Harbor before the first push",
)
BY_HOST = {
    re.compile(r"\d+\.dkr\.ecr[.-].*"): ECR,
    re.compile(r"[a-z0-9-]+-docker\.pkg\..*"): GAR,
    re.compile(r"ghcr\..*"): GHCR,
    re.compile(r"(?:[a-z0-9.-]*\.)?harbor\..*"): HARBOR,
}


def of(host: str, service: str = "") -> Quirks:
    """The quirks of the registry at a host; `service` is what its login challenge names."""
    if service == "harbor-registry":
        return HARBOR
    return next((quirks for pattern, quirks in BY_HOST.items() if pattern.fullmatch(host)), Quirks())
