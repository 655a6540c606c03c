"""A training run from its start, or from where it was interrupted, to its end."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import TQDMProgressBar
from rich.console import Console
from rich.progress import Progress
from torch.utils.data import DataLoader

from maskbridge.adapter.datasets.labeled_dataset import LabeledDataset, SkippedImage, usable
from maskbridge.adapter.datasets.readable import readable, refuse_skipped_images
from maskbridge.adapter.long_jobs import run_to_end
from maskbridge.adapter.mask_rcnn import MaskRCNN
from maskbridge.adapter.training.classes import with_classes
from maskbridge.adapter.training.data import EpochBatches, TrainingImages, collate
from maskbridge.adapter.training.devices import check_device, is_child_rank, rank_of_process
from maskbridge.adapter.training.epoch_saver import BEST, CHECKPOINT, LAST, EpochSaver, Row, Step
from maskbridge.adapter.training.module import TrainingError, TrainingModule
from maskbridge.adapter.training.run_key import differences, run_key
from maskbridge.adapter.training.settings import TrainingSettings

logger = logging.getLogger(__name__)

PRECISIONS: Mapping[str, Any] = {"float32": "32-true", "bfloat16": "bf16-mixed", "float16": "16-mixed"}
"""Lightning's names."""


@dataclass(frozen=True)
class TrainingReport:
    """The result of a training run.

    Attributes:
        best: the weights file of the epoch with the highest mask mAP on the validation images; without them of the last.
        last: the weights file of the last epoch.
        history: the metrics of each epoch.
        best_epoch: the epoch of ``best``.
        skipped_labels: how many labels were skipped for each reason.
        skipped_images: images that cannot be read, or are not of the size that their labels are for.
        resumed: the epoch after which an interrupted run was resumed, 0 if it was not.
        seconds: duration of this call.
    """

    best: Path
    last: Path
    history: Sequence[Row]
    best_epoch: int
    skipped_labels: Mapping[str, int]
    skipped_images: tuple[SkippedImage, ...]
    resumed: int
    seconds: float


def train(
    model: MaskRCNN,
    images: LabeledDataset,
    out: str | os.PathLike[str],
    settings: TrainingSettings | None = None,
    *,
    class_names: Sequence[str] | None = None,
    validation: LabeledDataset | None = None,
    strict: bool = False,
    progress: bool = True,
    on_step: Callable[[Step], None] = lambda step: None,
) -> TrainingReport:
    """Trains a model on labeled images, and writes weights, a checkpoint, metrics and curves into a folder.

    Called again with the same arguments after an interruption, it resumes after the last complete epoch; on a CPU the
    result is bit for bit that of an uninterrupted run. Losses are torchvision's own.

    Args:
        model: the model to start from; it is not changed.
        images: what to train on (see `maskbridge.adapter.datasets.labeled_dataset.usable` for what is skipped). Each image
            is read once before the first step, and skipped if that fails.
        out: the folder: ``best.safetensors`` and ``last.safetensors`` (which `MaskRCNN` takes), ``metrics.csv``,
            ``curves.png``, TensorBoard's events, and the checkpoint.
        settings: how to train; by default `TrainingSettings()`.
        class_names: the classes of the new weights; by default those of the images.
        validation: images to evaluate on after each epoch.
        strict: whether an image that cannot be used is an error; by default it is skipped.
        progress: whether bars show the images read and the losses.
        on_step: called after each step; `StoppedError` raised by it ends the run, which can be resumed.

    Raises:
        DataError: no label can be used, the class list is empty, or with ``strict`` an image cannot be used.
        SettingsError: a setting is invalid.
        TrainingError: the loss is not finite, the folder holds another training run, or one is running in it.

    Example:
        >>> from maskbridge.adapter.datasets.labeled_dataset import labeled_images
        >>> train(MaskRCNN("bundled"), labeled_images([]), "runs/first", class_names=["person"])
        Traceback (most recent call last):
        maskbridge.adapter.datasets.labeled_dataset.DataError: no label can be used in 0 images: they have none
    """
    settings = settings or TrainingSettings()
    check_device(model.device, settings)
    folder = Path(out)
    with _lock(folder), _quiet_lightning():
        started = time.monotonic()
        readable_images = _readable(images, strict=strict, progress=progress)
        labeled = usable(readable_images, images.class_names if class_names is None else class_names)
        validation_images = None
        if validation is not None and _has_classes(validation, labeled.class_names):
            validation_images = _readable(validation, strict=strict, progress=progress)
        start = with_classes(
            model, labeled.class_names, trainable_backbone_layers=settings.trainable_backbone_layers, seed=settings.seed
        )
        if len(labeled) == 1:
            logger.warning("there is one image to train on: the new weights will fit that image, and few others")
        key = run_key(model, labeled, validation_images, settings)
        saver = EpochSaver(folder, key, _metadata(model, labeled, settings), on_step)
        checkpoint = _checkpoint(folder / CHECKPOINT, saver)
        resumed = len(saver.history)
        if resumed < settings.epochs:
            _fit(start, labeled, validation_images, settings, saver, checkpoint=checkpoint, progress=progress)
        return TrainingReport(
            best=folder / BEST,
            last=folder / LAST,
            history=tuple(saver.history),
            best_epoch=int(saver.best["epoch"]),
            skipped_labels=labeled.reasons(),
            skipped_images=labeled.skipped_images + (validation_images.skipped_images if validation_images else ()),
            resumed=resumed,
            seconds=time.monotonic() - started,
        )


def _fit(
    start: MaskRCNN,
    images: LabeledDataset,
    validation: LabeledDataset | None,
    settings: TrainingSettings,
    saver: EpochSaver,
    *,
    checkpoint: Path | None,
    progress: bool,
) -> None:
    rank, world_size = rank_of_process(), settings.devices
    on_gpu = start.device.type == "cuda"
    callbacks = [saver, *([_ProgressBar()] if progress else [])]
    trainer = Trainer(
        accelerator="gpu" if on_gpu else "cpu",
        devices=[start.device.index or 0] if on_gpu and world_size == 1 else world_size,
        strategy="auto" if world_size == 1 else "ddp_find_unused_parameters_true",
        precision=PRECISIONS[settings.precision],
        max_epochs=settings.epochs,
        gradient_clip_val=settings.clip,
        callbacks=callbacks,
        logger=_logger(saver.out),
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=saver.out,
    )
    batches = EpochBatches(images, settings, lambda: len(saver.history), rank=rank, world_size=world_size)
    worker_options: dict[str, Any] = {"num_workers": settings.workers, "persistent_workers": settings.workers > 0}
    if settings.workers:
        worker_options["multiprocessing_context"] = "spawn"
    module = TrainingModule(start, settings, len(batches) * settings.epochs, validation or ())
    train_loader: DataLoader[Any] = DataLoader(
        TrainingImages(images, settings, _sides(start)),
        batch_sampler=batches,
        collate_fn=collate,
        pin_memory=on_gpu,
        **worker_options,
    )
    val_loader: DataLoader[Any] | None = None
    if validation is not None:
        # Indices only: the module reads the images, as `predict` does.
        val_loader = DataLoader(range(len(validation)), batch_size=1, collate_fn=list)  # type: ignore[arg-type]
    try:
        trainer.fit(module, train_loader, val_loader, ckpt_path=checkpoint, weights_only=True if checkpoint else None)
    except OSError as error:
        raise TrainingError(
            f"{saver.out}: cannot be written ({error.strerror or error}); earlier files are kept"
        ) from error


def _sides(model: MaskRCNN) -> tuple[int, int]:
    """The largest short and long side of the network's input."""
    transform = model.network.transform
    if transform.fixed_size is not None:
        return min(transform.fixed_size), max(transform.fixed_size)
    return max(transform.min_size), transform.max_size


class _ProgressBar(TQDMProgressBar):
    """Lightning's bar, without the logger's version."""

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        return {name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"}


def _logger(out: Path) -> Any:
    from pytorch_lightning.loggers import TensorBoardLogger

    return TensorBoardLogger(out, name="", version="tensorboard", default_hp_metric=False)


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Locks the folder while the run lasts: two runs in one folder would overwrite each other's files."""
    if is_child_rank():  # its main process holds the lock
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise TrainingError(
            f"{folder}: a training run is in progress in this folder; wait for it, or choose another"
        ) from None
    except OSError as error:
        raise TrainingError(f"{folder}: cannot be created as a folder ({error.strerror})") from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Hides Lightning's warnings about deliberate choices (few workers, an unused GPU, …)."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _readable(images: LabeledDataset, *, strict: bool, progress: bool) -> LabeledDataset:
    """The images that can be read, each tried once with a bar."""
    console = Console(stderr=True)
    with Progress(console=console, disable=not progress or is_child_rank(), transient=True) as bar:
        task = bar.add_task("images read", total=len(images))
        checked = run_to_end(readable(images), lambda done: bar.update(task, completed=done))
    if strict:
        refuse_skipped_images(checked)
    return checked


def _has_classes(validation: LabeledDataset, class_names: tuple[str, ...]) -> bool:
    """Whether labels are of these classes. Other labels are ignored, crowds follow COCO's rules."""
    return len(validation) > 0 and bool(set(validation.class_names[1:]) & set(class_names))


def _metadata(model: MaskRCNN, images: LabeledDataset, settings: TrainingSettings) -> dict[str, str]:
    return {
        "trained_from": f"{model.weights_name} {model.fingerprint}",
        "training_settings": json.dumps(settings.result_settings()),
        "training_data": json.dumps({"images": len(images), "objects": images.objects, "hash": images.fingerprint()}),
    }


def _checkpoint(path: Path, saver: EpochSaver) -> Path | None:
    """The checkpoint to resume from, None if there is none. One of another training run raises `TrainingError`."""
    if not path.is_file():
        return None
    advice = f"{path}: %s. Choose another folder, or delete this one to start from scratch"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        saved = state["callbacks"][saver.state_key]
        saver.load_state_dict(saved)
        different = differences(saved["key"], saver.key)
    except (pickle.UnpicklingError, OSError, RuntimeError, EOFError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(advice % f"cannot be read as a checkpoint ({type(error).__name__})") from None
    if different:
        done = len(saver.history)
        raise TrainingError(advice % f"is of another training run (epochs done: {done}): {'; '.join(different)}")
    return path
