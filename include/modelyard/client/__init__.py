"""What a training script calls; standard library only, because it runs in the project's own environment."""
