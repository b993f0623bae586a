"""Read folders of documents as sentences of words."""
