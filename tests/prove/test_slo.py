from prove import slo


def test_an_outage_pages():
    assert slo.outage(1.0, 1) <= 300


def test_no_false_page_in_a_year_and_more_of_the_table_alone():
    ours, table = slo.false_pages(0.001, 5, 1)
    assert ours <= 1
    assert table > ours
