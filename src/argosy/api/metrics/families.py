"""Families of metrics with labels, which samples are added to."""

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily


def gauge(name: str, text: str, labels: tuple[str, ...] = ()) -> GaugeMetricFamily:
    """What goes up and down."""
    return GaugeMetricFamily(name, text, labels=labels)


def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> CounterMetricFamily:
    """What only grows; its samples end with `_total`."""
    return CounterMetricFamily(name, text, labels=labels)
