"""One module a step of the pipeline."""
