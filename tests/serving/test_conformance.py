"""The conformance kit against our own replica, through its real ports."""

import numpy as np
import pytest

from argosy.engines.base import Engine
from argosy.spec.endpoint import Runtime
from argosy.spec.signature import Signature, TensorSpec
from argosy_conformance import render, run
from tests.serving.engines import Identity, identities


class Pair(Engine):
    """Two inputs and two outputs of which one depends on both, so that a swapped or lost row shows."""

    releases_gil = True
    signature = Signature(
        inputs=(
            TensorSpec(name="x", datatype="FP32", shape=(-1, -1)),
            TensorSpec(name="k", datatype="INT64", shape=(-1, 1)),
        ),
        outputs=(
            TensorSpec(name="sum", datatype="FP64", shape=(-1, 1)),
            TensorSpec(name="k", datatype="INT64", shape=(-1, 1)),
        ),
    )

    def predict(self, inputs):
        total = inputs["x"].sum(axis=1, dtype="f8", keepdims=True) + inputs["k"]
        return [total, np.array(inputs["k"])]


def engines():
    ranks = {
        "identity_fp32_0d": Identity("FP32", (), batched=False),
        "identity_fp32_1d": Identity("FP32", (-1,)),
        "identity_bytes_1d": Identity("BYTES", (-1,)),
        "identity_int64_3d": Identity("INT64", (-1, -1, -1)),
    }
    return {"plain": Pair(), **identities(), **ranks, "slow": Identity("FP32", seconds=0.6)}


@pytest.mark.parametrize(
    ("inline", "mode"),
    [pytest.param(False, "tolerant", marks=pytest.mark.slow), (True, "strict")],
    ids=["threads-tolerant", "inline-strict"],
)
def test_the_replica_passes_every_check(run_replica, inline, mode):
    runtime = Runtime(max_body_bytes=1 << 27, strict=mode == "strict")
    running = run_replica(engines(), inline=inline, runtime=runtime)
    one_input = run(running.url, grpc=str(running.grpc), model="identity_fp32", checks=["tolerance"], mode=mode)
    assert one_input.ok, render(one_input)
    assert not one_input.of("skipped"), render(one_input)
    report = run(
        running.url, grpc=str(running.grpc), model="plain", mode=mode, disruptive=True, drain=running.begin_stop
    )
    assert report.ok, render(report)
    skipped = {result.id: result.note for result in report.of("skipped")}
    asked = {"readiness.loading", "readiness.unloaded", "repository.reload"}
    assert skipped.keys() == asked | {"tolerance.name", "tolerance.grpc_name"}, skipped


def test_the_other_mode_fails(run_replica):
    running = run_replica({"plain": Identity("FP32")})
    report = run(running.url, grpc=str(running.grpc), checks=["tolerance"], mode="strict")
    assert {result.id for result in report.of("failed")} == {result.id for result in report.results}
    either = ["tolerance", "malformed", "grpc_errors", "batching.one_bad", "grpc_service.stream_error"]
    assert run(running.url, grpc=str(running.grpc), checks=either).ok
