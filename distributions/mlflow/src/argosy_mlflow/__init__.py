"""MLflow's deployments on the platform: the target `argosy`."""
