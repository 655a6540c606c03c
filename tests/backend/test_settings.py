"""Settings of the server: a misspelled variable in the environment is reported, not ignored silently."""

from __future__ import annotations

import logging

import pytest

from maskbridge.backend import _wsgi
from maskbridge.backend.settings import ServerSettings, unknown_variables
from maskbridge.backend.web import logging_setup, serving


@pytest.fixture
def misspelled(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> str:
    """The warning for a misspelled variable in the environment; logging keeps pytest's handlers."""
    monkeypatch.setenv("MASKBRIDGE_CONFIDENC", "0.9")
    monkeypatch.setattr(logging_setup, "configure", lambda level, secrets: None)
    caplog.set_level(logging.WARNING)
    return "MASKBRIDGE_CONFIDENC is not a setting: did you mean 'CONFIDENCE'"


def test_all_settings_and_other_variables_are_accepted() -> None:
    names = [f"MASKBRIDGE_{name.upper()}" for name in ServerSettings.model_fields]
    assert unknown_variables(dict.fromkeys([*names, "MASKBRIDGE_HOME", "PATH", "CONFIDENCE"], "1")) == []


def test_unknown_variables_are_listed_without_their_values() -> None:
    first, second = unknown_variables({"MASKBRIDGE_VERBOSITY": "secret", "MASKBRIDGE_PROT": "80", "MASKBRIDGE_PORT": "80"})
    assert first.startswith("MASKBRIDGE_PROT is not a setting: did you mean 'PORT'")
    assert second.startswith("MASKBRIDGE_VERBOSITY is not a setting: ")
    assert "secret" not in second


def test_serve_warns_of_a_misspelled_variable(
    misspelled: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stop(settings: ServerSettings) -> None:
        raise InterruptedError

    monkeypatch.setattr(ServerSettings, "loggable", stop)  # the next step of the start
    with pytest.raises(InterruptedError):
        serving.serve(ServerSettings())
    (record,) = (record for record in caplog.records if misspelled in record.getMessage())
    assert record.levelno == logging.WARNING


def test_the_wsgi_app_warns_of_a_misspelled_variable(
    misspelled: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serving, "start_app", lambda settings: "the app")
    try:
        assert _wsgi.app == "the app"
    finally:
        vars(_wsgi).pop("app", None)
    assert misspelled in caplog.text
