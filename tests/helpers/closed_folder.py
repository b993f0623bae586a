"""A folder that cannot be read, whoever runs the tests: permissions do not stop a superuser."""

import os


def close_folder(folder, monkeypatch):
    """Make a folder that ``os.scandir`` refuses."""
    folder.mkdir()
    scandir = os.scandir

    def refusing(path):
        if str(path) == str(folder):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
