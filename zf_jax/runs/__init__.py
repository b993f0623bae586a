"""What a run leaves on disk: checkpoints and their records."""
