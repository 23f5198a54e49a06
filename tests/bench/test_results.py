from bench.results import Results, Target


def test_samples_of_one_figure_gather_and_their_median_counts():
    results = Results()
    for sample in (1.0, 100.0, 3.0):
        results.add("json", "req/s", "1/s", "argosy", sample)
    results.add("json", "req/s", "1/s", "fastapi", 7.0)
    assert len(results.figures) == 2
    assert results.find("json", "req/s", "argosy").value == 3.0
    assert results.find("json", "req/s", "mlserver") is None


def test_targets_include_their_bound():
    assert Target("c", "m", ">=", 8).met(8)
    assert not Target("c", "m", ">=", 8).met(7.99)
    assert Target("c", "m", "<=", 8).met(8)
    assert not Target("c", "m", "<=", 8).met(8.01)
