from prove import feedback


def test_a_small_run_counts_as_one_plain_join_does(tmp_path):
    feedback.make(tmp_path, 14_400)
    first = feedback.turn(tmp_path, "first.parquet")
    assert first["joined"] == first["labels"] > 13_000
    feedback.more(tmp_path, 14_400)
    assert feedback.turn(tmp_path, "second.parquet")["days"] > 1
    assert feedback.exact(tmp_path)
