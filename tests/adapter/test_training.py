"""Training: torchvision's losses, resuming bit for bit, learning, and what it says of bad input."""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from safetensors import safe_open
from safetensors.torch import load_file
from torchvision.models.detection import maskrcnn_resnet50_fpn
from torchvision.ops.misc import FrozenBatchNorm2d

from maskbridge.adapter import MaskbridgeError, MaskRCNN
from maskbridge.adapter.datasets.labeled_dataset import labeled_images
from maskbridge.adapter.evaluation.measure import evaluate
from maskbridge.adapter.images import as_float, read
from maskbridge.adapter.instances import BACKGROUND
from maskbridge.adapter.long_jobs import run_to_end
from maskbridge.adapter.training.classes import with_classes
from maskbridge.adapter.training.data import EpochBatches, TrainingImages
from maskbridge.adapter.training.epoch_saver import CHECKPOINT, Step
from maskbridge.adapter.training.module import LOSSES, TrainingError, TrainingModule
from maskbridge.adapter.training.run import train
from maskbridge.adapter.training.settings import TrainingSettings
from maskbridge.adapter.training.steps import train_steps
from seeded import seeded
from shapes import CLASSES, SMALL, images_of, shapes


@pytest.fixture(scope="module")
def model() -> MaskRCNN:
    """A trained trunk with new heads, for small images: steps of a tenth of a second."""
    start = MaskRCNN("bundled")
    return with_classes(MaskRCNN(replace(start.weights, arguments=SMALL)), CLASSES)


def test_losses_equal_torchvisions() -> None:
    ours = seeded("maskrcnn_resnet50_fpn", frozen=True, num_classes=3, min_size=128, max_size=160)
    theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=3, min_size=128, max_size=160)
    for name, module in list(theirs.backbone.body.named_modules()):
        if isinstance(module, torch.nn.BatchNorm2d):  # as torchvision's builder has them with pretrained values
            parent = theirs.backbone.body.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], FrozenBatchNorm2d(module.num_features))
    theirs.load_state_dict(ours.network.state_dict())
    theirs.train()
    module = TrainingModule(ours, TrainingSettings(), 10)
    module.network.train()
    pairs = shapes(3)
    images, targets = [as_float(read(pixels)) for pixels, _ in pairs], [instances.to_target() for _, instances in pairs]
    with torch.random.fork_rng():
        torch.manual_seed(7)
        expected = theirs([image.clone() for image in images], [dict(target) for target in targets])
        torch.manual_seed(7)
        losses = module.network(images, targets)
    assert set(expected) == set(LOSSES)
    for name in LOSSES:
        assert expected[name].item() > 0
        torch.testing.assert_close(losses[name], expected[name], rtol=1e-6, atol=1e-9)


def test_overfitting_a_few_images(model: MaskRCNN, tmp_path: Path) -> None:
    images = images_of(shapes(4) * 12)
    settings = TrainingSettings(epochs=8, batch_size=4, learning_rate=1e-3, scale_jitter=None)
    steps: list[Step] = []
    report = train(model, images, tmp_path, settings, progress=False, on_step=steps.append)
    assert report.history[-1]["loss"] < report.history[0]["loss"] / 3
    trained = MaskRCNN(str(report.best))
    assert trained.class_names == CLASSES
    assert run_to_end(evaluate(trained, images)).scores["masks"].numbers["AP50"] >= 0.9
    assert [step.done for step in steps] == list(range(1, 97))
    assert set(steps[-1].losses) == {"loss", *LOSSES}
    with safe_open(report.best, framework="pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["training_data"])["objects"] == images.objects
    assert json.loads(metadata["metrics"])["epoch"] == 8
    header, *rows = (tmp_path / "metrics.csv").read_text().splitlines()
    assert header.startswith("epoch,loss,loss_classifier")
    assert len(rows) == 8
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))


@pytest.mark.parametrize(
    ("options", "killed_at", "done"),
    [
        ({}, "epoch 1 of 3, step 2 of 9", 0),
        ({}, "epoch 2 of 3, step 4 of 9", 1),
        ({"copy_paste": 0.5, "ema_decay": 0.9}, "epoch 2 of 3, step 4 of 9", 1),
    ],
    ids=["before the first epoch", "after one", "copy-paste and average"],
)
def test_killed_and_started_again_it_ends_with_the_same_weights(
    model: MaskRCNN, tmp_path: Path, options: dict[str, float], killed_at: str, done: int
) -> None:
    images, validation = images_of(shapes(5)), images_of(shapes(3, seed=9))
    settings = TrainingSettings(epochs=3, seed=3, **options)
    script = tmp_path / "run.py"
    script.write_text(
        "import importlib.util, sys\n"
        f"sys.path[:0] = {sys.path!r}\n"
        f"spec = importlib.util.spec_from_file_location('test_training_import', {__file__!r})\n"
        "module = importlib.util.module_from_spec(spec); sys.modules['test_training_import'] = module\n"
        "spec.loader.exec_module(module)\n"
        "module.train_in_process(*sys.argv[1:])\n"
    )
    undisturbed = train(model, images, tmp_path / "whole", settings, progress=False, validation=validation)
    broken = tmp_path / "broken"
    with subprocess.Popen(
        [sys.executable, script, broken, json.dumps(options)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(killed_at):
                os.kill(process.pid, signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    assert (broken / CHECKPOINT).exists() == bool(done)
    resumed = train(model, images, broken, settings, progress=False, validation=validation)
    assert (undisturbed.resumed, resumed.resumed) == (0, done)
    for ours, theirs in ((resumed.last, undisturbed.last), (resumed.best, undisturbed.best)):
        values, expected = load_file(ours), load_file(theirs)
        assert all(torch.equal(values[name], expected[name]) for name in expected)
    same = [{k: v for k, v in row.items() if k != "seconds"} for row in resumed.history]
    assert same == [{k: v for k, v in row.items() if k != "seconds"} for row in undisturbed.history]
    again = train(model, images, broken, settings, progress=False, validation=validation)
    assert again.resumed == 3, "a finished run is not repeated"


def train_in_process(out: str, options: str) -> None:
    """What the test above kills."""
    start = with_classes(MaskRCNN(replace(MaskRCNN("bundled").weights, arguments=SMALL)), CLASSES)
    train(
        start,
        images_of(shapes(5)),
        out,
        TrainingSettings(epochs=3, seed=3, **json.loads(options)),
        progress=False,
        validation=images_of(shapes(3, seed=9)),
        on_step=lambda step: (print(step, flush=True), time.sleep(0.5))[0],
    )


def test_the_average_of_the_weights_is_saved_and_validated(model: MaskRCNN, tmp_path: Path) -> None:
    images, weights = images_of(shapes(4)), []
    for decay in (0.0, 0.99):
        settings = TrainingSettings(epochs=2, ema_decay=decay, learning_rate=1e-3)
        report = train(model, images, tmp_path / str(decay), settings, progress=False, validation=images)
        weights.append(load_file(report.last))
        measured = run_to_end(evaluate(MaskRCNN(report.last), images)).scores["masks"].numbers["AP"]
        assert report.history[-1]["mask_mAP"] == pytest.approx(measured, abs=1e-9)
    trained = weights[0]
    start = model.network.state_dict()
    changed = [name for name in start if not torch.equal(trained[name], start[name])]
    assert changed
    distances = [sum(float((values[name] - start[name]).norm()) for name in changed) for values in weights]
    assert 0 < distances[1] < distances[0], "the average follows the weights from where they started"


def test_classes_that_stay_keep_what_is_known_of_them() -> None:
    model = seeded("maskrcnn_resnet50_fpn_v2", num_classes=3, class_names=["cat", "dog"])
    changed_list = with_classes(model, ["bird", "dog"])
    old, new = model.network.roi_heads, changed_list.network.roi_heads
    for ours, theirs, rows in (
        (new.box_predictor.cls_score, old.box_predictor.cls_score, 1),
        (new.box_predictor.bbox_pred, old.box_predictor.bbox_pred, 4),
        (new.mask_predictor.mask_fcn_logits, old.mask_predictor.mask_fcn_logits, 1),
    ):
        assert torch.equal(ours.weight[2 * rows : 3 * rows], theirs.weight[2 * rows : 3 * rows])
        assert torch.equal(ours.bias[:rows], theirs.bias[:rows])
        assert not torch.equal(ours.weight[rows : 2 * rows], theirs.weight[rows : 2 * rows])
    assert changed_list.class_names == (BACKGROUND, "bird", "dog")
    assert model.class_names == (BACKGROUND, "cat", "dog")
    same = with_classes(changed_list, ["bird", "dog"], seed=1)
    assert same.fingerprint == changed_list.fingerprint


def test_changes_follow_from_seed_and_epoch() -> None:
    images = images_of(shapes(4))
    one, same = (TrainingImages(images, TrainingSettings(seed=1), (800, 1333))[(2, 0)] for _ in range(2))
    assert torch.equal(one[0], same[0])
    assert torch.equal(one[1]["masks"], same[1]["masks"])
    other = TrainingImages(images, TrainingSettings(seed=1), (800, 1333))[(3, 0)]
    assert not torch.equal(one[0], other[0])
    batches = EpochBatches(images, TrainingSettings(seed=1), lambda: 5)
    assert list(batches) == list(batches)
    assert sorted(index for batch in batches for _, index in batch) == [0, 1, 2, 3]


def test_work_is_shared_out_without_losing_an_image() -> None:
    images = images_of(shapes(7))
    ranks = [EpochBatches(images, TrainingSettings(), lambda: 0, rank=rank, world_size=3) for rank in range(3)]
    assert [len(list(rank)) for rank in ranks] == [len(rank) for rank in ranks] == [2, 2, 2]
    assert {index for rank in ranks for batch in rank for _, index in batch} == set(range(7))


def test_a_loss_that_is_no_number_names_the_batch(model: MaskRCNN, tmp_path: Path) -> None:
    images = images_of(shapes(2))
    report = train(model, images, tmp_path, TrainingSettings(epochs=1), progress=False)
    kept = report.last.read_bytes()
    broken = with_classes(model, CLASSES)
    with torch.no_grad():
        broken.network.roi_heads.mask_predictor.mask_fcn_logits.bias.fill_(float("nan"))
    (tmp_path / CHECKPOINT).unlink()
    with pytest.raises(TrainingError, match=r"epoch 1, step 1 .*image [01], image [01]"):
        train(broken, images, tmp_path, TrainingSettings(epochs=1), progress=False)
    assert report.last.read_bytes() == kept


def test_it_can_be_stopped_and_resumes(model: MaskRCNN, tmp_path: Path) -> None:
    images, settings = images_of(shapes(4)), TrainingSettings(epochs=2)
    steps = train_steps(model, images, tmp_path, settings)
    for step in steps:
        if step.epoch == 2:
            break
    steps.close()
    report = run_to_end(train_steps(model, images, tmp_path, settings))
    assert report.resumed == 1
    assert [row["epoch"] for row in report.history] == [1, 2]


def test_one_object_of_one_class(model: MaskRCNN, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image, instances = shapes(1)[0]
    one = labeled_images([(image, instances[:1])])
    with caplog.at_level(logging.WARNING):
        report = train(model, one, tmp_path, TrainingSettings(epochs=1), class_names=instances[:1].names, progress=False)
    assert "there is one image to train on" in caplog.text
    assert MaskRCNN(report.best).class_names == (BACKGROUND, instances.names[0])


def test_a_split_leaves_something_to_train_on() -> None:
    one = images_of(shapes(1))
    for fraction in (0.1, 0.9):
        training, validation = one.split(fraction)
        assert (len(training), len(validation)) == (1, 0)
        assert len(training.notes) == 1
    training, validation = images_of(shapes(30)).split(0.5)
    assert min(len(training), len(validation)) > 5
    assert training.notes == ()


def test_two_trainings_in_one_folder(model: MaskRCNN, tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(TrainingError, match="a training run is in progress in this folder"):
        train(model, images_of(shapes(1)), tmp_path, progress=False)


def test_a_folder_of_another_training(model: MaskRCNN, tmp_path: Path) -> None:
    train(model, images_of(shapes(2)), tmp_path, TrainingSettings(epochs=1), progress=False)
    other = replace(images_of(shapes(2)), images=tuple(replace(i, name=f"other {i.name}") for i in images_of(shapes(2))))
    for images, options, message in (
        (images_of(shapes(2)), {"seed": 1}, "(epochs done: 1): seed is 1, not 0"),
        (images_of(shapes(2)), {"epochs": 3, "flip": 0.0}, "epochs is 3, not 1; flip is 0.0, not 0.5"),
        (images_of(shapes(3)), {}, "there are 3 images, not 2; the labels or the names of their images differ"),
        (other, {}, "): the labels or the names of their images differ"),
    ):
        with pytest.raises(TrainingError, match=re.escape(message)):
            train(model, images, tmp_path, TrainingSettings(**{"epochs": 1, **options}), progress=False)  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match=r"1\): the classes are disc, not .*bar.*\. Choose another folder"):
        train(model, images_of(shapes(2)), tmp_path, TrainingSettings(epochs=1), class_names=["disc"], progress=False)
    with pytest.raises(TrainingError, match=r"1\): the weights to start from differ"):
        train(MaskRCNN("bundled"), images_of(shapes(2)), tmp_path, TrainingSettings(epochs=1), progress=False)
    (tmp_path / CHECKPOINT).write_bytes(b"half")
    with pytest.raises(TrainingError, match="cannot be read as a checkpoint"):
        train(model, images_of(shapes(2)), tmp_path, TrainingSettings(epochs=1), progress=False)


def test_a_full_disk_keeps_the_last_good_files(model: MaskRCNN, tmp_path: Path) -> None:
    images = images_of(shapes(2))
    report = train(model, images, tmp_path, TrainingSettings(epochs=1), progress=False)
    kept = {path: path.read_bytes() for path in (report.last, report.best)}
    (tmp_path / CHECKPOINT).unlink()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, before[1]))  # no file may grow beyond 2 MB
    try:
        with pytest.raises(MaskbridgeError, match="cannot be written"):
            train(model, images, tmp_path, TrainingSettings(epochs=1, seed=1), progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, old)
    assert {path: path.read_bytes() for path in kept} == kept
    assert not list(tmp_path.glob(".*.safetensors.*"))
