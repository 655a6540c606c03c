"""A journal of a long job: one JSON line for each finished item, by which an interrupted job resumes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from maskbridge.adapter.atomic_write import atomic_write

if TYPE_CHECKING:
    from typing_extensions import Self


class Journal:
    """The finished items of a job, in a file. Entries stay in the file: memory has only where each begins.

    Used in a ``with`` statement. An entry is written as soon as it is appended; an incomplete one, which a killed job may
    leave, is removed when the journal is opened again.

    Args:
        path: the file; created if it does not exist.
        key: a hash of all that the entries depend on. A journal with another key is replaced by an empty one.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with Journal(Path(folder) / "journal.jsonl", "key") as journal:
        ...         journal.append("a.jpg", {"objects": 2})
        ...     with Journal(Path(folder) / "journal.jsonl", "key") as journal:
        ...         "a.jpg" in journal, journal["a.jpg"]["objects"]
        (True, 2)
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key
        self._starts: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._starts, end = self._read()
        if not end:
            with atomic_write(self.path) as file:
                file.write_text(json.dumps({"key": self.key}) + "\n", encoding="utf-8")
            end = self.path.stat().st_size
        self._file: IO[bytes] = self.path.open("r+b")
        self._file.truncate(end)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def __contains__(self, name: str) -> bool:
        return name in self._starts

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, name: str) -> dict[str, Any]:
        """The last entry of an item."""
        self._file.seek(self._starts[name])
        return json.loads(self._file.readline())

    def append(self, name: str, entry: Mapping[str, Any]) -> None:
        """Writes the entry of an item, which replaces an earlier one.

        Raises:
            OSError: the file cannot be written.
        """
        start = self._file.seek(0, 2)
        try:
            self._file.write(json.dumps({"name": name, **entry}).encode() + b"\n")
            self._file.flush()
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(start)
            raise
        self._starts[name] = start

    def _read(self) -> tuple[dict[str, int], int]:
        """Where each entry begins, and the end of the last complete one; 0 if there is no journal of this key."""
        starts: dict[str, int] = {}
        if not self.path.is_file():
            return starts, 0
        with self.path.open("rb") as file, contextlib.suppress(ValueError, KeyError, TypeError):
            if json.loads(file.readline())["key"] != self.key:
                return starts, 0
            end = start = file.tell()
            for line in file:
                if not line.endswith(b"\n"):
                    break
                with contextlib.suppress(ValueError, KeyError, TypeError):  # a line that a full disk cut off
                    starts[json.loads(line)["name"]] = start
                start += len(line)
                end = start
            return starts, end
        return starts, 0
