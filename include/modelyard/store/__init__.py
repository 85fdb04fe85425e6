"""The model store: versions, aliases, deployments, step records and artifacts."""
