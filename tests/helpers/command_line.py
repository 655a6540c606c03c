"""The command line in the tests' own process: the seconds that torch takes to import are paid once."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys

import pytest

from maskbridge.cli.main import run


def maskbridge(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Runs a command, as its console script does; what it said and its exit code."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["maskbridge", *map(str, arguments)])
        try:
            run()
        except SystemExit as end:
            code = int(end.code or 0)
    return subprocess.CompletedProcess(["maskbridge", *map(str, arguments)], code, out.getvalue(), err.getvalue())
