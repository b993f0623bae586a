"""Read folders of recordings as frames of samples."""
