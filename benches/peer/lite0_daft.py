#!/usr/bin/env python3
"""The job in Daft: read a Parquet table, label its images in a batch UDF, write Parquet.

    python benches/peer/lite0_daft.py MODEL.onnx TABLE OUT

Daft calls the UDF from a thread for each core, and Pillow and onnxruntime leave Python's lock while they work; so each
batch is one thread's. That takes less time than `max_concurrency` processes, threads inside onnxruntime, or Daft's own
`decode_image`, whose pixels must be copied into the UDF. Daft's `resize` knows one size for all rows, so Pillow resizes.
"""

import sys

import daft
import pyarrow as pa
from daft import DataType, col

from lite0 import BATCH, CATEGORIES, Classifier

KINDS = {"is": DataType.bool(), "score": DataType.float32()}
ANSWERS = DataType.struct({f"{kind}_{name}": dtype for name in CATEGORIES for kind, dtype in KINDS.items()})


@daft.cls
class Labels:
    def __init__(self, model):
        self.classifier = Classifier(model, threads=1)

    @daft.method.batch(return_dtype=ANSWERS, unnest=True, batch_size=BATCH)
    def of(self, images):
        columns = self.classifier.columns(images.to_pylist())
        return pa.StructArray.from_arrays([pa.array(values) for values in columns.values()], names=list(columns))


def main():
    model, table, out = sys.argv[1:]
    rows = daft.read_parquet(table)
    rows.select("*", Labels(model).of(col("image")["bytes"])).write_parquet(out, write_mode="overwrite")


if __name__ == "__main__":
    main()
