"""The model that the options of a command name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskbridge.adapter.settings import EngineName, Precision

if TYPE_CHECKING:
    from maskbridge.adapter import MaskRCNN


def load_model(
    weights: str,
    *,
    builder: str | None,
    class_names: str | None,
    norm_eps: float | None,
    device: str | None,
    precision: Precision = "auto",
    engine: EngineName = "torch",
    streams: int = 1,
) -> MaskRCNN:
    """Loads the model; the options are those of `maskbridge.cli.options`.

    Raises:
        MaskbridgeError: an option is invalid, or the weights cannot be loaded.

    Example:
        >>> load_model("bundled", builder=None, class_names="human", norm_eps=None, device="cpu").class_names
        ('__background__', 'human')
    """
    from maskbridge.adapter import MaskRCNN
    from maskbridge.adapter.weights.class_names import parse_class_names

    return MaskRCNN(
        weights,
        builder=builder,
        class_names=parse_class_names(class_names),
        norm_eps=norm_eps,
        device=device,
        precision=precision,
        engine=engine,
        streams=streams,
    )
