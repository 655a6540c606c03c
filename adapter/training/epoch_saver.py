"""The files of an epoch: weights, a checkpoint to resume from, metrics and curves. Each is written atomically."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from maskbridge.adapter.atomic_write import atomic_write
from maskbridge.adapter.errors import MaskbridgeError
from maskbridge.adapter.training.curves import draw_curves
from maskbridge.adapter.training.module import TrainingModule

CHECKPOINT = "training.ckpt"
BEST = "best.safetensors"
LAST = "last.safetensors"
METRICS = "metrics.csv"
CURVES = "curves.png"

Row = dict[str, float]
"""The metrics of an epoch: its number, the mean losses, the learning rate, validation scores, seconds."""


class StoppedError(MaskbridgeError):
    """The training run was asked to stop."""


@dataclass(frozen=True)
class Step:
    """The progress of a training run: steps done and in total, the epoch, the losses of the last step.

    Attributes:
        scores: of the last validation, ``box_mAP`` and ``mask_mAP``; empty before the first.
    """

    done: int
    total: int
    epoch: int
    epochs: int
    losses: Mapping[str, float]
    scores: Mapping[str, float]

    def __str__(self) -> str:
        parts = [f"epoch {self.epoch} of {self.epochs}", f"step {self.done} of {self.total}"]
        parts += [f"{name} {value:.3f}" for name, value in self.losses.items() if name == "loss"]
        parts += [f"{name.replace('_', ' ')} {value:.3f}" for name, value in self.scores.items()]
        return ", ".join(parts)


class EpochSaver(Callback):
    """Saves at the end of each epoch, and reports progress after each step.

    Args:
        out: the folder.
        key: identifies the training run; checkpoints with another key are not resumed.
        metadata: for the weights files.
        on_step: called after each step; may raise `StoppedError`.
    """

    def __init__(self, out: Path, key: str, metadata: Mapping[str, str], on_step: Callable[[Step], None]) -> None:
        self.out, self.key, self.metadata, self.on_step = out, key, metadata, on_step
        self.history: list[Row] = []
        self._sums: dict[str, float] = {}
        self._steps = 0
        self._started = 0.0

    @property
    def best(self) -> Row:
        """The best of the epochs so far: by the masks' mAP, without validation the last one."""
        return max(self.history, key=lambda row: (row.get("mask_mAP", 0.0), row["epoch"]))

    def state_dict(self) -> dict[str, Any]:
        return {"key": self.key, "history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history = [dict(row) for row in state_dict["history"]]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._sums, self._steps, self._started = {}, 0, time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        losses = pl_module.step_losses
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._steps += 1
        scores = {name: self.history[-1][name] for name in _SCORES if self.history and name in self.history[-1]}
        step = Step(
            done=trainer.global_step,
            total=pl_module.steps,
            epoch=trainer.current_epoch + 1,
            epochs=trainer.max_epochs or 0,
            losses=losses,
            scores=scores,
        )
        self.on_step(step)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        row: Row = {"epoch": trainer.current_epoch + 1}
        row |= {name: value / max(self._steps, 1) for name, value in self._sums.items()}
        row["learning_rate"] = trainer.optimizers[0].param_groups[0]["lr"]
        for kind, name in (("boxes", "box_"), ("masks", "mask_")):
            numbers = pl_module.scores.get(kind, {})
            row |= {f"{name}{_NAMES[number]}": value for number, value in numbers.items() if number in _NAMES}
        row["seconds"] = round(time.monotonic() - self._started, 3)
        self.history.append(row)
        if trainer.is_global_zero:
            self._save(pl_module)
        new = self.out / f".{CHECKPOINT}.new"
        try:
            trainer.save_checkpoint(new, weights_only=False)  # called by all ranks; rank 0 writes
            if trainer.is_global_zero:
                new.replace(self.out / CHECKPOINT)
        finally:
            if trainer.is_global_zero:
                new.unlink(missing_ok=True)

    def _save(self, module: TrainingModule) -> None:
        row = self.history[-1]
        metadata = {**self.metadata, "metrics": json.dumps(row)}
        if self.best is row:
            module.result.save(self.out / BEST, extra=metadata)
        module.result.save(self.out / LAST, extra=metadata)
        with atomic_write(self.out / METRICS) as file, file.open("w", newline="", encoding="utf-8") as text:
            writer = csv.DictWriter(text, list(row))
            writer.writeheader()
            writer.writerows(self.history)
        with atomic_write(self.out / CURVES) as file:
            draw_curves(self.history, file)


_NAMES = {"AP": "mAP", "AP50": "AP50"}
_SCORES = ("box_mAP", "mask_mAP")
