"""The network as Lightning trains it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import get_ema_multi_avg_fn

from maskbridge.adapter.datasets.labeled_dataset import LabeledImage
from maskbridge.adapter.errors import MaskbridgeError
from maskbridge.adapter.evaluation.scores import Evaluator
from maskbridge.adapter.mask_rcnn import MaskRCNN
from maskbridge.adapter.training.data import Batch, seed_of
from maskbridge.adapter.training.settings import TrainingSettings

LOSSES = ("loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg")
"""The five losses, as torchvision names them."""


class TrainingError(MaskbridgeError):
    """A training run cannot continue."""


class TrainingModule(LightningModule):
    """The steps of a training run: torchvision's losses, AdamW, the scores of validation images.

    Attributes:
        result: the model that is validated and saved: the trained one, or with ``ema_decay`` the average of its weights.
        step_losses: of the last step, the five and their sum as ``loss``.
        scores: COCO's numbers of the last validation, by ``boxes`` and ``masks``; empty before the first.
    """

    def __init__(
        self, model: MaskRCNN, settings: TrainingSettings, steps: int, validation: Sequence[LabeledImage] = ()
    ) -> None:
        super().__init__()
        self.model = model
        # torchvision's own memory format: it rounds as torchvision does, so the same proposals are sampled.
        self.network = model.network.to(memory_format=torch.contiguous_format)
        self.settings, self.steps, self.validation = settings, steps, validation
        self.result, self.average = model, None
        if settings.ema_decay:
            self.result = MaskRCNN(model.weights, device=model.device)
            self.average = self.result.network.requires_grad_(False)  # registered: the checkpoint holds it
        self.step_losses: Mapping[str, float] = {}
        self.scores: Mapping[str, Mapping[str, float]] = {}
        self._evaluator = Evaluator(model.class_names)

    def on_fit_start(self) -> None:
        self.network.train()  # Lightning does not change the mode

    def training_step(self, batch: Batch, index: int) -> torch.Tensor:
        images, targets, names = batch
        losses = self.losses(images, targets, index)
        total = torch.stack([losses[name] for name in LOSSES]).sum()
        if not torch.isfinite(total):
            values = ", ".join(f"{name} {losses[name].item():g}" for name in LOSSES)
            raise TrainingError(
                f"the loss is not finite in epoch {self.current_epoch + 1}, step {index + 1} ({values}); its images: "
                f"{', '.join(names)}. The weights of the last complete epoch are kept; try a smaller learning rate"
            )
        self.step_losses = {"loss": total.item()} | {name: losses[name].item() for name in LOSSES}
        self.log_dict(self.step_losses, prog_bar=True, batch_size=len(images))
        return total

    def on_train_batch_end(self, outputs: Any, batch: Batch, index: int) -> None:
        if self.average is None:
            return
        # The average of the first steps is short, so that it does not keep the values from before the training run.
        decay = min(self.settings.ema_decay, (1 + self.global_step) / (10 + self.global_step))
        average, current = list(self.average.parameters()), list(self.network.parameters())
        get_ema_multi_avg_fn(decay)(average, current, self.global_step)
        for averaged, buffer in zip(self.average.buffers(), self.network.buffers()):
            averaged.copy_(buffer)

    def losses(self, images: list[torch.Tensor], targets: list[dict[str, torch.Tensor]], index: int) -> dict[str, Any]:
        """torchvision's five losses; the sampled proposals depend on seed, epoch, step and rank."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed_of(self.settings.seed, self.current_epoch, index, self.global_rank, "sampling"))
            return dict(self.network(images, targets))

    def validation_step(self, batch: list[int], index: int) -> None:
        for image_index in batch:
            image = self.validation[image_index]
            (predictions,) = self.result.predict([image.image])
            self._evaluator.add(image.instances, predictions)

    def on_validation_epoch_end(self) -> None:
        self.scores = {kind: self._evaluator.scores(kind).numbers for kind in ("boxes", "masks")}
        self._evaluator = Evaluator(self.model.class_names)
        metrics = {"box_mAP": self.scores["boxes"]["AP"], "mask_mAP": self.scores["masks"]["AP"]}
        self.log_dict(metrics, prog_bar=True, sync_dist=False, batch_size=1)

    def configure_optimizers(self) -> Any:
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": self.settings.weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
        # One fused kernel takes a third of the time. In mixed precision Lightning does not clip gradients for it.
        fused = self.settings.precision == "float32"
        used_groups = [group for group in groups if group["params"]]
        optimizer = torch.optim.AdamW(used_groups, lr=self.settings.learning_rate, fused=fused)
        scheduler = LambdaLR(optimizer, lambda step: rate(step, self.steps, self.settings.warmup_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def rate(step: int, steps: int, warmup: int | None = None) -> float:
    """The learning rate's factor at a step: a linear warm-up from a thousandth, then a cosine down to 0.

    Example:
        >>> [round(rate(step, 100, 10), 3) for step in (0, 5, 10, 55, 100)]
        [0.001, 0.5, 1.0, 0.5, 0.0]
    """
    warmup_steps = min(1000, steps // 10) if warmup is None else min(warmup, steps)
    if step < warmup_steps:
        return 0.001 + 0.999 * step / warmup_steps
    return 0.5 * (1 + math.cos(math.pi * min((step - warmup_steps) / max(steps - warmup_steps, 1), 1)))
