"""Run by `test_label_studio_ml`: MaskRCNNBackend in label-studio-ml's own server, whichever version is imported.

Prints one line of JSON: what its routes answered.
"""

from __future__ import annotations

import inspect
import json
import sys

from label_studio_ml.api import init_app
from label_studio_ml.model import LabelStudioMLBase

from maskbridge.backend import MaskRCNNBackend

CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="{}" predicted_values="person"/></RectangleLabels></View>'
)


def main() -> None:
    url, folder = sys.argv[1], sys.argv[2]
    first = "1.0.9" if "train_output" in inspect.signature(LabelStudioMLBase).parameters else "2.x"
    app = init_app(MaskRCNNBackend, model_dir=folder) if first == "1.0.9" else init_app(MaskRCNNBackend)
    client = app.test_client()
    answers = {}
    for project, label in (("1.17", "First"), ("2.18", "Second")):
        setup = client.post(
            "/setup",
            json={
                "project": project,
                "schema": CONFIG.format(label),
                "hostname": "",
                "access_token": "",
                "extra_params": None,
            },
        )
        tasks = [{"id": 1, "data": {"image": url}}, {"id": 2, "data": {"image": "/etc/passwd"}}]
        body = {"tasks": tasks, "project": project, "label_config": CONFIG.format(label), "params": {"context": None}}
        predicted = client.post("/predict", json=body)
        answers[label] = {"setup": setup.get_json(), "predict": predicted.get_json()}
    model = MaskRCNNBackend(label_config=CONFIG.format("Direct"))
    answers["direct"] = {"predict": {"results": model.predict([{"id": 3, "data": {"image": url}}])}}
    answers["fit"] = (
        model.fit((), event="ANNOTATION_CREATED", data={}) if first == "1.0.9" else model.fit("START_TRAINING", {})
    )
    print(json.dumps({"version": first, "answers": answers}))


if __name__ == "__main__":
    main()
