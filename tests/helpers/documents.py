"""Runs the commands and examples of README and docs, page by page, as a reader would paste them.

    python tests/helpers/documents.py FOLDER [DOCUMENT …]     # in a fresh clone: .ci/documents

prints each line with its seconds and exit code. What cannot be run, or only with a stand-in, is listed
here and nowhere else.
"""

from __future__ import annotations

import os
import re
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

DOCUMENTS = (
    "README.md",
    "docs/adapter.md",
    "docs/command-line.md",
    "docs/fiftyone.md",
    "docs/label-studio.md",
    "docs/training.md",
    "docs/onnx.md",
    "docs/engines.md",
    "docs/accuracy.md",
    "docs/troubleshooting.md",
    "docs/stability.md",
)
"""In the order in which README names them."""

NOT_RUN = {
    r"uv run pytest$": "this is the suite itself",
    r"^docker ": "no Docker here; the Dockerfile's steps are tried one by one in tests/test_distribution.py",
    r"instances_val2017\.json": "needs COCO's val2017, 1 GB",
    r"streets": "needs a hundred images of a user's own",
    r"person-tiny\.pth|coco-mini|with-flat": "makes the bundled weights: an hour, and images from outside the repository",
}
"""Lines that are never run, by a pattern, with the reason."""

SERVERS = {
    r"fiftyone app launch": r"App launched|localhost:5151|Point your browser",
    r"label-studio start": r"Starting development server|Quit the server",
    r"maskbridge serve": r"ready: ",
}
"""Lines that keep running, by a pattern, and what they print once they are up. They are stopped after their page."""

ROOT = Path(__file__).resolve().parents[2]
FENCE_XML = re.compile(r"^```xml\n(.*?)^```", flags=re.M | re.S)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.M | re.S)


@dataclass(frozen=True)
class Step:
    """A line of shell, or a block of Python."""

    kind: str
    text: str


@dataclass(frozen=True)
class Result:
    """What a step did. ``exit_code`` is None where it was not run, ``note`` then has the reason."""

    step: Step
    exit_code: int | None
    seconds: float
    output: str
    note: str = ""


def steps(markdown: str) -> list[Step]:
    """The shell lines and Python blocks of a document, from top to bottom.

    A fence without a language is shell. A backslash continues a line.
    """
    result = []
    for language, text in FENCE.findall(markdown):
        if language == "python":
            result.append(Step("python", text))
        elif language in ("", "bash"):
            lines = text.replace("\\\n", " ").splitlines()
            result += [Step("shell", line) for line in lines if line.strip() and not line.startswith("#")]
    return result


def run_document(
    document: str,
    folder: Path,
    *,
    skip: dict[str, str] | None = None,
    stand_ins: dict[str, Callable[[], str]] | None = None,
) -> Iterator[Result]:
    """Runs a document's steps in a folder, which is laid out like a clone.

    Args:
        document: a path within the folder.
        folder: the current folder of all steps.
        skip: patterns of further lines that are not run, with the reason.
        stand_ins: by a pattern, a function that makes the text which replaces it before a line runs.
    """
    reasons = NOT_RUN | (skip or {})
    with tempfile.TemporaryDirectory() as state, _Python(folder) as python:
        servers: list[subprocess.Popen[str]] = []
        try:
            for step in steps((folder / document).read_text()):
                reason = next((why for pattern, why in reasons.items() if re.search(pattern, step.text)), None)
                if reason is not None:
                    yield Result(step, None, 0, "", reason)
                    continue
                text = step.text
                for pattern, stand_in in (stand_ins or {}).items():
                    if re.search(pattern, text):
                        text = re.sub(pattern, stand_in().replace("\\", r"\\"), text)
                started = time.monotonic()
                ready = next((line for pattern, line in SERVERS.items() if re.search(pattern, text)), None)
                if step.kind == "python":
                    code, output = python.run(text)
                elif ready is not None:
                    code, output = _start(text, ready, folder, Path(state), servers)
                else:
                    done = _shell(text, folder, Path(state))
                    output, _ = done.communicate()
                    code = done.returncode
                note = "" if text == step.text else "with a stand-in"
                yield Result(step, code, time.monotonic() - started, output, note)
        finally:
            for server in reversed(servers):
                _stop(server)


def _shell(line: str, folder: Path, state: Path) -> subprocess.Popen[str]:
    """A line in bash with the variables that earlier lines set."""
    variables = shlex.quote(str(state / "variables"))
    script = f"[ -f {variables} ] && . {variables}\nset -a\n{line}\ncode=$?\nset +a\nexport -p > {variables}\nexit $code"
    return subprocess.Popen(
        ["bash", "-o", "pipefail", "-c", script],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )


def _start(line: str, ready: str, folder: Path, state: Path, servers: list[subprocess.Popen[str]]) -> tuple[int, str]:
    """Starts what keeps running; returns once it prints that it is up, with code 0, or ends."""
    process = _shell(line, folder, state)
    servers.append(process)
    assert process.stdout is not None
    output = ""
    while part := os.read(process.stdout.fileno(), 65536).decode(errors="replace"):
        output += part
        if re.search(ready, output):
            return 0, output
    return process.wait() or 1, output


def _stop(process: subprocess.Popen[str]) -> None:
    """Ends a server and everything that it started; what it prints meanwhile is read, so that it cannot block."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
    assert process.stdout is not None
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if select.select([process.stdout], [], [], 0.2)[0]:
            os.read(process.stdout.fileno(), 65536)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class _Python:
    """One Python for all blocks of a page, since later ones use names of earlier ones."""

    _LOOP = (
        "import sys, traceback\n"
        "names = {'__name__': '__main__'}\n"
        "while True:\n"
        "    size = sys.stdin.readline()\n"
        "    if not size: break\n"
        "    code = 0\n"
        "    try: exec(compile(sys.stdin.read(int(size)), 'example', 'exec'), names)\n"
        "    except BaseException: traceback.print_exc(); code = 1\n"
        "    print(f'\\0{code}', flush=True)\n"
    )

    def __init__(self, folder: Path) -> None:
        self._folder, self._process = folder, None

    def __enter__(self) -> _Python:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None:
            self._process.communicate()

    _process: subprocess.Popen[str] | None

    def run(self, block: str) -> tuple[int, str]:
        if self._process is None:
            self._process = subprocess.Popen(
                ["uv", "run", "python", "-c", self._LOOP],
                cwd=self._folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{len(block)}\n{block}")
        self._process.stdin.flush()
        output = ""
        for line in self._process.stdout:
            if "\0" in line:
                before, code = line.split("\0")
                return int(code), output + before
            output += line
        return self._process.wait() or 1, output


def person_in_label_studio() -> str:
    """What a person does in the browser before the backend starts: a project with images, and a token; a line with it."""
    from label_studio_process import LabelStudioProcess, new_token

    url = "http://localhost:8080"
    label_studio = LabelStudioProcess(url, Path(os.devnull), new_token(url))
    config = FENCE_XML.search((ROOT / "docs" / "label-studio.md").read_text())
    assert config is not None
    images = [(path.name, path.read_bytes()) for path in sorted((ROOT / "cli" / "demo_images").glob("*.jpg"))]
    assert label_studio.project(config.group(1), images) == 1
    return f"LABEL_STUDIO_TOKEN={label_studio.token}"


def stand_ins() -> dict[str, Callable[[], str]]:
    """Of a transcript: what a person does in Label Studio's pages."""
    from label_studio_process import EMAIL, PASSWORD

    return {
        r"label-studio start": lambda: f"label-studio start --no-browser --username {EMAIL} --password {PASSWORD}",
        r"LABEL_STUDIO_TOKEN=…": person_in_label_studio,
    }


def main(arguments: Sequence[str], show: Callable[[str], None] = print) -> int:
    """Runs documents and prints a transcript; the number of lines that failed."""
    folder, *documents = arguments
    failed = run = 0
    for document in documents or DOCUMENTS:
        show(f"\n## {document}")
        for result in run_document(document, Path(folder).resolve(), stand_ins=stand_ins()):
            first, *more = result.step.text.strip().splitlines()
            text = first + (f" … ({len(more)} more lines)" if more else "")
            if result.exit_code is None:
                show(f"  not run   {text}\n            {result.note}")
                continue
            run += 1
            show(f"{result.seconds:7.1f} s  {text}" + (f"    [exit code {result.exit_code}]" if result.exit_code else ""))
            if result.exit_code:
                failed += 1
                show("".join(f"            | {line}\n" for line in result.output.splitlines()[-20:]))
    show(f"\n{run} lines run, {failed} failed")
    return failed


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
