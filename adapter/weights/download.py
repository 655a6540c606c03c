"""Downloads: checked by their hash, atomic, with a progress bar, within limits."""

from __future__ import annotations

import hashlib
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from typing import Any

from maskbridge.adapter.atomic_write import atomic_write
from maskbridge.adapter.errors import WeightsError

MAX_BYTES = 4 * 1024**3
TIMEOUT = 30.0
_CHUNK = 1 << 20


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *response: Any) -> Any:
        *_, url = response
        if urllib.parse.urlsplit(url).scheme != "https":
            raise urllib.error.URLError(f"redirected to {url}, which is not https")
        return super().redirect_request(*response)


def sha256(path: Path) -> str:
    """The sha256 of a file, in hex.

    Example:
        >>> from tempfile import NamedTemporaryFile
        >>> with NamedTemporaryFile() as file:
        ...     sha256(Path(file.name))[:8]
        'e3b0c442'
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def download(url: str, to: Path, *, sha256_prefix: str, progress: bool = True, limit: float | None = None) -> Path:
    """Downloads a file over https: into a temporary file beside its path, renamed once the hash matches.

    Args:
        url: https only, also after redirects.
        to: where the file goes.
        sha256_prefix: what the hex sha256 of the file must start with.
        progress: whether a bar is shown on standard error.
        limit: seconds that the download may take; None for no limit, as long as each chunk arrives within `TIMEOUT`.

    Raises:
        WeightsError: the file cannot be downloaded, is too large, or does not have the hash.
    """
    if urllib.parse.urlsplit(url).scheme != "https":
        raise WeightsError(f"{url}: weights are downloaded over https only")
    deadline = time.monotonic() + (float("inf") if limit is None else limit)
    try:
        with atomic_write(to) as temporary, temporary.open("wb") as file, _open(url, limit) as response:
            size = int(response.headers.get("Content-Length") or 0)
            digest = _copy(response, file, size, name=to.name, progress=progress, deadline=deadline)
            if not digest.startswith(sha256_prefix.lower()):
                raise WeightsError(f"{url}: the sha256 is {digest}, not {sha256_prefix}: nothing was saved")
    except (OSError, ValueError) as error:
        reason = error if isinstance(error, urllib.error.HTTPError) else getattr(error, "reason", error)
        raise WeightsError(f"{url}: the download failed ({reason})") from error
    return to


def _open(url: str, limit: float | None) -> Any:
    """The response to a request, within the limit: resolving a name and trying each of its addresses have no other one."""
    opener = urllib.request.build_opener(_HttpsOnly)
    if limit is None:
        return opener.open(url, timeout=TIMEOUT)
    answer: Future[Any] = Future()

    def request() -> None:
        try:
            answer.set_result(opener.open(url, timeout=min(TIMEOUT, limit / 4)))
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=request, name="download", daemon=True).start()
    try:
        return answer.result(timeout=limit)
    except FutureTimeoutError:  # in Python 3.10 not yet an OSError
        raise OSError("no answer within the limit") from None


def _copy(response: Any, file: Any, size: int, *, name: str, progress: bool, deadline: float) -> str:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    digest, done = hashlib.sha256(), 0
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not progress) as bar:
        task = bar.add_task(name, total=size or None)
        while chunk := response.read1(_CHUNK):  # what has arrived: `read` would wait for a whole chunk, however slow
            done += len(chunk)
            if done > MAX_BYTES:
                raise OSError(f"more than {MAX_BYTES:,} bytes")
            if time.monotonic() > deadline:
                raise OSError("it takes longer than the limit")
            digest.update(chunk)
            file.write(chunk)
            bar.advance(task, len(chunk))
    if size and done != size:
        raise OSError(f"only {done:,} of {size:,} bytes arrived")
    return digest.hexdigest()
