"""Invoices beside the ledger of cost."""

import pytest

from argosy.capacity.invoice import InvoiceLine, compare, read
from argosy.spec.errors import InvalidArgument

AWS = """\ufefflineItem/UsageStartDate,lineItem/UnblendedCost,lineItem/CurrencyCode,product/region,lineItem/UsageType
2026-11-26T00:00:00Z,1.5,USD,eu-west-1,BoxUsage:g6.xlarge
2026-11-26T01:00:00Z,-0.5,USD,eu-west-1,Credit
2026-11-27T00:00:00Z,2,USD,us-east-1,BoxUsage:g6.xlarge
"""
GCP = """usage_start_time,cost,currency,location.region,sku.description
2026-11-26 21:00:00 UTC,3.25,EUR,europe-west4,L4
"""
LEDGER = [
    {"day": "2026-11-25", "region": "eu-west-1", "cost": 9.0},
    {"day": "2026-11-26", "region": "eu-west-1", "cost": 1.25},
    {"day": "2026-11-27", "region": "eu-west-1", "cost": 0.5},
]


def test_aws_by_day_and_region():
    lines = read(AWS)
    assert lines[0] == InvoiceLine(number=2, day="2026-11-26", cost=1.5, region="eu-west-1", what="BoxUsage:g6.xlarge")
    found = [(row.day, row.region, row.lines, row.invoice, row.ledger) for row in compare(lines, LEDGER, {})]
    assert found == [
        ("2026-11-26", "eu-west-1", 2, 1.0, 1.25),
        ("2026-11-27", "eu-west-1", 0, 0.0, 0.5),
        ("2026-11-27", "us-east-1", 1, 2.0, 0.0),
    ]
    assert [row.difference for row in compare(lines, LEDGER, {})] == [0.25, 0.5, -2.0]


def test_another_currency_needs_its_rate():
    with pytest.raises(InvalidArgument, match=r"line 2 of the invoice is in EUR.*rates"):
        compare(read(GCP), [], {"GBP": 1.3})
    (row,) = compare(read(GCP), [{"day": "2026-11-26", "region": "", "cost": 4.0}], {"EUR": 2.0})
    assert (row.region, row.invoice, row.difference) == ("", 6.5, -2.5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("when,price\n1,2\n", "none of the columns"),
        ("", "none of the columns"),
        ("date,cost\n", "no lines"),
        ("date,cost\n2026-11-26,1\n2026-11-27,nan\n", "line 3"),
        ("date,cost\nyesterday,1\n", "line 2.*'yesterday'"),
        ("date,cost\n2026-11-26,\n", "line 2"),
    ],
    ids=["columns", "empty", "no lines", "nan", "day", "no number"],
)
def test_what_is_no_invoice_is_refused(text, said):
    with pytest.raises(InvalidArgument, match=said):
        read(text)
