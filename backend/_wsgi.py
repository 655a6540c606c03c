"""The WSGI module that ``label-studio-ml start``, or any WSGI server, runs: our app, with settings from the environment.

``label-studio-ml start path/to/maskbridge/backend --port 9090`` does the same as ``maskbridge serve --port 9090``. Under
another server (``waitress-serve maskbridge.backend._wsgi:app``) use one process, since each process loads the model.
"""

from __future__ import annotations

import argparse
import sys


def _main() -> None:
    """Does the same as `maskbridge serve`, with the options that label-studio-ml passes on."""
    from maskbridge.adapter.errors import MaskbridgeError
    from maskbridge.backend.settings import server_settings
    from maskbridge.backend.web.serving import serve

    parser = argparse.ArgumentParser(description="maskbridge's backend for Label Studio")
    parser.add_argument("-p", "--port", type=int)
    parser.add_argument("--host")
    parser.add_argument("--log-level", type=str.lower, choices=["debug", "info", "warning", "error"])
    options, ignored = parser.parse_known_args()
    if ignored:
        print(f"maskbridge: ignored: {' '.join(ignored)}", file=sys.stderr)
    try:
        serve(server_settings(host=options.host, port=options.port, log_level=options.log_level))
    except MaskbridgeError as error:
        sys.exit(f"maskbridge: {error}")


def __getattr__(name: str) -> object:
    # ``app`` is created when a server accesses it: importing this module starts nothing.
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from maskbridge.backend.settings import server_settings
    from maskbridge.backend.web.serving import start_app, start_logging

    settings = server_settings()
    start_logging(settings)
    globals()["app"] = start_app(settings)
    return globals()["app"]


if __name__ == "__main__":
    _main()
