"""Files for Prometheus and Grafana, generated from the metrics that `control/telemetry` tells."""
