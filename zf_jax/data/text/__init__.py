"""Text: folders of documents, their words and vocabulary."""
