"""What ``label-studio-ml start`` runs, and any WSGI server can: our app, with the settings of the environment.

``label-studio-ml start path/to/maskbridge/backend --port 9090`` is ``maskbridge serve --port 9090``; under another server
(``gunicorn maskbridge.backend._wsgi:app``), use one process, since each loads the model.
"""

from __future__ import annotations

import argparse
import sys


def main() -> None:
    """Serves as `maskbridge serve` does, with the options that label-studio-ml passes on."""
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
    # ``app`` is made when a server asks for it: importing this module starts nothing.
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from maskbridge.backend.settings import server_settings
    from maskbridge.backend.web import logging_setup
    from maskbridge.backend.web.serving import secrets_of, start_app

    settings = server_settings()
    logging_setup.configure(settings.log_level, secrets_of(settings))
    globals()["app"] = start_app(settings)
    return globals()["app"]


if __name__ == "__main__":
    main()
