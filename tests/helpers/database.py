"""A mongod of the tests' own.

FiftyOne attaches to any database of its own that this user has running, whatever ``FIFTYONE_DATABASE_DIR`` says: tests
would write into the datasets of somebody whose App is open. An address keeps them apart.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from waiting import wait_for

_UNTIL_INPUT_ENDS = '"$@" & pid=$!; cat > /dev/null; kill -9 "$pid"'
"""A program that ends with the process that started it, however that ends; nobody needs what it would still write."""


@cache
def folder() -> Path:
    """The folder of this process's databases; pytest imports conftest.py twice, and this module once."""
    return Path(tempfile.mkdtemp(prefix="maskbridge-tests-"))


@cache
def start_mongod() -> tuple[subprocess.Popen[bytes], str] | None:
    """Starts the mongod that FiftyOne's packages carry, once, with its data in `folder`.

    Returns:
        The process and the address for ``FIFTYONE_DATABASE_URI``; None where no package carries one.
    """
    package = find_spec("fiftyone")  # not imported: it reads its settings when it is
    program = Path(package.origin or "").parent / "db" / "bin" / "mongod" if package else None
    if program is None or not program.is_file():
        return None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    data = folder() / "mongod"
    data.mkdir()
    options = ["--dbpath", data, "--port", str(port), "--bind_ip", "127.0.0.1", "--nounixsocket", "--quiet"]
    command = ["sh", "-c", _UNTIL_INPUT_ENDS, "mongod", program, *options]
    log = folder() / "mongod.log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file, stderr=subprocess.STDOUT)
    wait_for(lambda: _listens(port), process, log)
    return process, f"mongodb://127.0.0.1:{port}"


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=60):
        return True
    return False
