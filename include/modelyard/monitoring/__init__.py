"""What models in production answer, and what came true: sent to the object store and read back from there."""
