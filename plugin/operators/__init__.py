"""The operators of the App's menu, one file each. Importing them imports no torch."""

from maskbridge.plugin.operators.describe_run import DescribeRun
from maskbridge.plugin.operators.finetune import Finetune
from maskbridge.plugin.operators.segment_boxes import SegmentBoxes
from maskbridge.plugin.operators.segment_instances import SegmentInstances
from maskbridge.plugin.operators.stop_run import StopRun

OPERATORS = (SegmentInstances, SegmentBoxes, Finetune, DescribeRun, StopRun)

__all__ = ["OPERATORS"]
