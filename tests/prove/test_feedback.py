from prove import feedback


def test_a_small_run_counts_as_one_plain_join_does(tmp_path, monkeypatch):
    monkeypatch.setattr(feedback, "DAYS", 6)
    feedback.make(tmp_path, 2_880)
    first = feedback.turn(tmp_path, "first.parquet")
    assert first["joined"] == first["labels"] > 2_700
    feedback.more(tmp_path, 2_880)
    assert feedback.turn(tmp_path, "second.parquet")["days"] > 1
    assert feedback.exact(tmp_path)
