"""``python -m maskbridge``: the command ``maskbridge``."""

from __future__ import annotations

from maskbridge.cli.main import run

if __name__ == "__main__":
    run()
