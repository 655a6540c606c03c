"""The same predictor as a class of label-studio-ml, for deployments with its server and tools."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from maskbridge.backend.settings import server_settings
from maskbridge.backend.web.metrics import Metrics
from maskbridge.backend.web.payloads import project_number

_start_method = multiprocessing.get_start_method(allow_none=True)
from label_studio_ml.model import LabelStudioMLBase  # noqa: E402

multiprocessing.set_start_method(_start_method, force=True)  # its import sets "spawn" for the whole process

if TYPE_CHECKING:
    from maskbridge.backend.service import Service


@cache
def shared_service() -> Service:
    """The one service of the process, created at first use with settings from the environment.

    Raises:
        MaskbridgeError: a setting is invalid, or the model cannot be loaded.
    """
    from maskbridge.backend.service import start_service

    return start_service(server_settings(), Metrics())


class MaskRCNNBackend(LabelStudioMLBase):
    """The predictions of `maskbridge serve` as a class of label-studio-ml, versions 1.0.9 and 2.x.

    label-studio-ml creates an object for each request; all share one model, which is loaded once. The settings are those of
    the server, from ``MASKBRIDGE_*`` in the environment. The server of label-studio-ml 1.0.9 predicts with the label config
    of the last ``/setup`` and cannot return the model version; `maskbridge.backend._wsgi` runs our routes instead.

    Example:
        A ``_wsgi.py`` for label-studio-ml 2.x::

            from label_studio_ml.api import init_app
            from maskbridge.backend.ml_backend import MaskRCNNBackend

            app = init_app(model_class=MaskRCNNBackend)
    """

    def __init__(
        self, project_id: str | None = None, label_config: str | None = None, train_output: Any = None, **kwargs: Any
    ) -> None:
        # 1.0.9: (label_config, train_output, **kwargs); 2.x: (project_id, label_config), by position or by name.
        if label_config is None and isinstance(project_id, str) and project_id.lstrip().startswith("<"):
            project_id, label_config = None, project_id
        self._config = label_config or ""
        if hasattr(LabelStudioMLBase, "use_label_config"):
            super().__init__(project_id=project_id, label_config=label_config)
        else:
            super().__init__(label_config=label_config, train_output=train_output, **kwargs)
            self.project_id = project_id or ""

    def setup(self) -> None:
        """Sets the model version of predictions, for label-studio-ml 2.x."""
        self.set("model_version", shared_service().registry.version_of(project_number(self.project_id)))

    def predict(
        self, tasks: Sequence[Mapping[str, Any]], context: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> list[Any]:
        """A prediction for each task, in order; an empty list for a task without one (yet).

        Args:
            tasks: Label Studio's tasks.
            context: what an annotator drew with a smart tool; only the first task is then predicted.
            **kwargs: arguments of other versions; ignored.
        """
        service, project = shared_service(), project_number(self.project_id)
        if context and context.get("result") and tasks:
            return [json.loads(service.interactive.answer(tasks[0], context, self._config, project))]
        return [json.loads(answer) for answer in service.predictor.predict(tasks, self._config, project)]

    def fit(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Called for each annotation; does nothing."""
        return {}
