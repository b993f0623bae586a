"""Files on disk: original folders, downloads, splits, and prepared array_record data sets."""
