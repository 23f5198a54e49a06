"""Counters and rates of gateway and replicas, and exports of them."""
