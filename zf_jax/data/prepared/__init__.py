"""Read original folders, download public sets, divide into splits, and prepare array_record files."""
