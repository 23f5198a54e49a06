"""Families of metrics with labels, which samples are added to."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily


def gauge(name: str, text: str, labels: tuple[str, ...] = ()) -> "GaugeMetricFamily":
    """What goes up and down."""
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(name, text, labels=labels)


def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> "CounterMetricFamily":
    """What only grows; its samples end with `_total`."""
    from prometheus_client.core import CounterMetricFamily

    return CounterMetricFamily(name, text, labels=labels)
