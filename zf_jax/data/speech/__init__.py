"""Speech: folders of recordings, their layouts, and the source that reads frames."""
