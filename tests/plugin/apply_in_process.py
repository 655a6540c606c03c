"""Applies the model to a dataset, once for each FIELD,BATCH_SIZE,WORKERS.

In a process of its own, since Python's start method for workers is global.
"""

from __future__ import annotations

import multiprocessing
import sys

if __name__ == "__main__":
    method, dataset_name, *runs = sys.argv[1:]
    multiprocessing.set_start_method(method)
    import fiftyone as fo

    from maskbridge.plugin.model import MaskRCNNModel

    model = MaskRCNNModel("bundled", confidence_threshold=0.3)
    for run in runs:
        field, batch_size, num_workers = run.split(",")
        options = {"batch_size": int(batch_size), "num_workers": int(num_workers), "progress": False}
        fo.load_dataset(dataset_name).apply_model(model, label_field=field, **options)
