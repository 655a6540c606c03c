"""Which certificates are trusted: those of certifi and of the system, and those that ``SSL_CERT_FILE`` adds."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import certifi

from maskbridge.adapter.errors import SettingsError

UNTRUSTED = "its certificate is not trusted: set SSL_CERT_FILE to the file (PEM) of the authority that signed it"


def tls_context() -> ssl.SSLContext:
    """A context for https connections, also with the authorities in the files ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` name.

    Raises:
        SettingsError: a file or folder that they name does not exist, or is not of certificates.

    Example:
        >>> tls_context().verify_mode.name
        'CERT_REQUIRED'
    """
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        if (value := os.environ.get(name)) and not Path(value).exists():
            raise SettingsError(f"{name} is {value}, which does not exist")
    context = ssl.create_default_context()  # OpenSSL reads the two variables, and ignores what is wrong with them
    context.load_verify_locations(certifi.where())
    if file := os.environ.get("SSL_CERT_FILE"):
        try:
            context.load_verify_locations(file)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"SSL_CERT_FILE is {file}, which is not a file of certificates: {error}") from None
    return context


def is_untrusted(error: BaseException | None) -> bool:
    """Whether a connection failed, directly or by what caused it, because the certificate is not trusted.

    Example:
        >>> is_untrusted(OSError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"))
        True
    """
    while error is not None:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
