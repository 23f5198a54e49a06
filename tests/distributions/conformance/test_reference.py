"""The kit against a correct server, and against servers that are wrong in one way each."""

import pytest

from argosy_conformance import render, run, select
from argosy_conformance.check import GROUPS
from tests.distributions.conformance.reference_grpc import reference


def test_a_correct_server_fails_nothing() -> None:
    with reference() as (url, grpc, drain):
        report = run(url, grpc=grpc, model="plain", disruptive=True, drain=drain)
    assert report.ok, render(report)
    skipped = {result.id for result in report.of("skipped")}
    assert skipped == {
        "binary.BF16",
        "binary.raw_request",
        "readiness.loading",
        "tolerance.name",
        "tolerance.grpc_name",
    }


FAULTS = {
    "not-live": "health.live",
    "ready-any": "health.unknown_model",
    "redirect": "metadata.server_slash",
    "int-versions": "metadata.model",
    "swallow-id": "ids.present",
    "float-detour": "data.INT64",
    "nan-literal": "data.not_a_number",
    "ignore-outputs": "outputs.one",
    "detail": "malformed.not_json",
    "no-count": "malformed.too_many",
    "trusting": "malformed.misnamed_input",
    "shapeless": "tolerance.axis",
    "sloppy": "binary.leftover",
    "always-json": "binary.json_in",
    "no-deflate": "compression.deflate_json",
    "always-gzip": "compression.unasked",
    "bare-stream": "grpc_service.stream",
    "big-endian": "grpc_data.raw_INT32",
    "mixed": "grpc_errors.mixed",
    "rounded": "equivalence.rows",
    "swap": "batching.alone",
    "load-anything": "readiness.failed_load",
    "no-drain": "readiness.drain",
    "index-needs-body": "repository.index",
    "reload-gap": "repository.reload",
    "deaf": "cancellation.frees",
    "late": "cancellation.deadline",
}


@pytest.mark.parametrize(("fault", "id"), FAULTS.items())
def test_a_fault_is_found(fault: str, id: str) -> None:
    with reference(fault) as (url, grpc, drain):
        report = run(url, grpc=grpc, model="plain", disruptive=True, checks=[id], drain=drain)
    assert report[id].verdict == "failed", render(report)
    assert report[id].note
    assert not report.ok


def test_every_group_has_a_fault_that_fails_it() -> None:
    assert {id.partition(".")[0] for id in FAULTS.values()} == set(GROUPS)
    assert set(FAULTS.values()) <= {check.id for check in select()}
