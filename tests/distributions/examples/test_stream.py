import time
from types import SimpleNamespace

import numpy as np

from argosy.spec.errors import Unavailable
from argosy_examples.stream import Stream

ROWS = np.arange(40.0).reshape(20, 2), np.arange(20) % 2


class Endpoint:
    """Answers as version 1, and keeps what it was sent."""

    def __init__(self):
        self.sent, self.told, self.refused, self.fails = [], [], [], False

    def infer(self, model, tensors, *, id):
        if self.fails:
            raise Unavailable("nobody is there")
        self.sent.append((id, tensors[0].array.tolist()))
        return SimpleNamespace(model_version="1")

    def feedback(self, model, labels):
        self.told.append(labels)
        return {"taken": len(labels), "refused": self.refused}

    def close(self):
        self.sent.append("closed")


def until(good):
    end = time.monotonic() + 60
    while not good():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_rows_go_in_order_at_their_pace_and_labels_follow():
    endpoint = Endpoint()
    with Stream(endpoint, per_second=400, each=8, after=0.2) as stream:
        time.sleep(0.1)
        assert endpoint.sent == []
        began = time.time()
        assert began <= stream.use(*ROWS) <= time.time()
        until(lambda: len(endpoint.sent) >= 20)
        until(lambda: endpoint.told)
    assert endpoint.sent.pop() == "closed"
    assert [id for id, _ in endpoint.sent[:3]] == ["demo-0", "demo-1", "demo-2"]
    assert endpoint.sent[0][1] == ROWS[0][:8].tolist()
    assert endpoint.sent[1][1] == ROWS[0][8:16].tolist()
    assert endpoint.sent[2][1] == endpoint.sent[0][1], "a rest that is no whole request is left out"
    labels = [each for part in endpoint.told for each in part]
    assert labels[:8] == [{"request_id": "demo-0", "row": row, "label": row % 2} for row in range(8)]
    assert stream.answered["1"] == 8 * len(endpoint.sent)
    assert (stream.told, stream.failed) == (len(labels), "")


def test_a_failure_is_kept_and_the_stream_goes_on():
    endpoint = Endpoint()
    endpoint.fails = True
    with Stream(endpoint, per_second=400, each=8, after=0.1) as stream:
        stream.use(*ROWS)
        until(lambda: stream.failed)
        endpoint.fails = False
        until(lambda: endpoint.sent)
    assert stream.failed == "nobody is there"


def test_a_label_that_is_refused_is_a_failure():
    endpoint = Endpoint()
    endpoint.refused = [{"index": 0, "reason": "too old"}]
    with Stream(endpoint, per_second=400, each=8, after=0.1) as stream:
        stream.use(*ROWS)
        until(lambda: stream.failed)
    assert stream.failed == "a label was refused: too old"
