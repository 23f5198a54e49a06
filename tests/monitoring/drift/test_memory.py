import numpy as np
import pytest

from argosy.monitoring.drift.detector import dump, evaluate, load, start
from argosy.spec.errors import InvalidArgument
from tests.monitoring.drift.tables import Table


def test_a_monitor_goes_on_where_it_was():
    table = Table(np.random.default_rng(0))
    state = start(table.where, table.reference)
    for _ in range(5):
        _, state = evaluate(table.where, state, table.window(100), table.reference)
    back = load(table.where, table.reference, dump(state))
    window = table.window(100, shift=1.0)
    ours, _ = evaluate(table.where, state, window, table.reference)
    theirs, _ = evaluate(table.where, back, window, table.reference)
    assert ours == theirs
    assert len(dump(state)) < 40_000


def test_a_state_of_other_columns_or_broken_is_refused():
    table, other = Table(np.random.default_rng(0)), Table(np.random.default_rng(0), normal=5)
    data = dump(start(table.where, table.reference))
    with pytest.raises(InvalidArgument, match="of another model or reference"):
        load(other.where, other.reference, data)
    for broken in (b"", data[:-9], data[: len(data) // 2], b"x" + data):
        with pytest.raises(InvalidArgument, match="cannot be read"):
            load(table.where, table.reference, broken)
