"""Files for Prometheus and Grafana, generated from the metrics that `api/metrics` writes."""
