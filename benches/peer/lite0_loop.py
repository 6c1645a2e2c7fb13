#!/usr/bin/env python3
"""The job as a plain Python loop: pictures one after another, the model on all cores, batch after batch.

    python benches/peer/lite0_loop.py MODEL.onnx TABLE OUT
"""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from lite0 import BATCH, Classifier


def main():
    model, table, out = sys.argv[1:]
    classifier = Classifier(model, threads=0)
    Path(out).mkdir(parents=True, exist_ok=True)
    writer = None
    for batch in pq.ParquetFile(table).iter_batches(BATCH):
        answers = classifier.columns([image["bytes"] for image in batch["image"].to_pylist()])
        rows = pa.table({name: batch[name] for name in batch.schema.names} | answers)
        writer = writer or pq.ParquetWriter(Path(out) / "part.parquet", rows.schema)
        writer.write_table(rows)
    writer.close()


if __name__ == "__main__":
    main()
