"""torchvision's Mask R-CNN with its parts, whose types `torch.nn.Module` hides from type checkers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torchvision.models.detection.mask_rcnn import MaskRCNN

if TYPE_CHECKING:
    from torchvision.models.detection.roi_heads import RoIHeads
    from torchvision.models.detection.rpn import RegionProposalNetwork

    class Network(MaskRCNN):
        backbone: Any
        rpn: RegionProposalNetwork
        roi_heads: RoIHeads
        transform: Any

else:
    Network = MaskRCNN
