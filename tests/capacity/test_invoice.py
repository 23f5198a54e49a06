"""Invoices beside the ledger of cost."""

from datetime import UTC, datetime

import pytest

from argosy.capacity.invoice import InvoiceLine, compare, machines, read
from argosy.spec.errors import InvalidArgument
from argosy.spec.offer import Launch, Offer

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


CUR = """line_item_usage_start_date,line_item_unblended_cost,line_item_usage_type,line_item_resource_id
2026-11-26T22:00:00Z,2,BoxUsage:g6.xlarge,arn:aws:ec2:eu-west-1:1:instance/i-1
2026-11-26T23:00:00Z,2,BoxUsage:g6.xlarge,i-1
2026-11-26T23:00:00Z,2,BoxUsage:g6.xlarge,i-9
2026-11-26T00:00:00Z,0.25,EBS:VolumeUsage.gp3,
2026-11-26T01:00:00Z,0.25,EBS:VolumeUsage.gp3,
"""
MIDNIGHT = datetime(2026, 11, 27, tzinfo=UTC).timestamp()


def launched(machine, begin, end, price=0.0):
    offer = Offer(provider="aws", region="eu-west-1", instance="g6.xlarge", price=2.0)
    return Launch(id=f"l-{machine}", offer=offer, asked=begin, machine=machine, started=begin, ended=end, price=price)


def test_lines_by_the_machine_that_they_bill():
    launches = [
        launched("i-1", MIDNIGHT - 7200, MIDNIGHT - 3600),  # billed for an hour after its end
        launched("i-2", MIDNIGHT - 1800, None, price=3.0),  # not billed at all; goes on after the invoice
        launched("i-3", MIDNIGHT - 90000, MIDNIGHT - 86400),  # over before the invoice begins
        launched("i-4", MIDNIGHT + 10, None),
    ]
    found = [
        (each.machine, each.launch, each.what, each.lines, each.invoice, each.ledger)
        for each in machines(read(CUR), launches, {})
    ]
    assert found == [
        ("i-1", "l-i-1", "", 2, 4.0, 2.0),
        ("i-9", "", "BoxUsage:g6.xlarge", 1, 2.0, 0.0),
        ("i-2", "l-i-2", "", 0, 0.0, 1.5),
        ("", "", "EBS:VolumeUsage.gp3", 2, 0.5, 0.0),
    ]


def test_an_invoice_without_machines_misses_none():
    (row,) = machines(
        read("date,cost,currency,what\n2026-11-26,2,EUR,all\n"), [launched("i-1", 0.0, None)], {"EUR": 1.5}
    )
    assert (row.what, row.invoice, row.ledger, row.difference) == ("all", 3.0, 0.0, -3.0)


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
