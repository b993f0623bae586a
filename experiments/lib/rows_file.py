"""A table of results as one file: JSON lines or parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments.lib.cli import UserError, as_json, warn
from experiments.lib.output_files import check_file, replaced


class RowsFile:
    """A file to write once; what could not be written is known before anything is computed."""

    def __init__(self, path: str):
        """Check the name and the folder.

        Raises:
          UserError: another ending than .jsonl or .parquet, or no folder that can be written.
          MissingExtra: a .parquet file, and pyarrow is not installed.
        """
        self.path = Path(path)
        if self.path.suffix not in (".jsonl", ".parquet"):
            raise UserError(f"--out={path} must end in .jsonl or .parquet")
        check_file(self.path, f"--out={path}")
        if self.path.suffix == ".parquet":
            from zf_jax.data import arrow  # noqa: F401

    def write(self, rows: list[dict[str, Any]]) -> bool:
        """Write the rows and return whether that went well; if not, warn."""
        try:
            with replaced(self.path) as unfinished:
                if self.path.suffix == ".parquet":
                    from zf_jax.data.arrow import write_rows

                    write_rows(rows, unfinished)
                else:
                    unfinished.write_text("".join(as_json(row) + "\n" for row in rows), encoding="utf-8")
        except OSError as error:
            warn(f"{self.path} cannot be written: {error.strerror or error}")
            return False
        return True
