#!/usr/bin/env python3
"""The job in Daft with picsift's labeller as the batch UDF: read a Parquet table, label its images, write Parquet.

    python benches/peer/lite0_daft_labeler.py TABLE OUT

Daft calls the UDF from several threads; they share one labeller, which uses all cores itself. Keeping answers is off, as for the others.
"""

import sys

import daft
import picsift
import pyarrow as pa
from daft import DataType, col

from lite0 import CATEGORIES

KINDS = {"is": DataType.bool(), "score": DataType.float32()}
ANSWERS = DataType.struct({f"{kind}_{name}": dtype for name in CATEGORIES for kind, dtype in KINDS.items()})
BATCH = 256


@daft.cls
class Labels:
    def __init__(self):
        self.labeler = picsift.Labeler(CATEGORIES, model="efficientnet-lite0", no_cache=True)

    @daft.method.batch(return_dtype=ANSWERS, unnest=True, batch_size=BATCH)
    def of(self, images):
        labelled = self.labeler(pa.table({"image": images.to_arrow()}))
        names = [f"{kind}_{name}" for name in CATEGORIES for kind in KINDS]
        return pa.StructArray.from_arrays([labelled[name].combine_chunks() for name in names], names=names)


def main():
    table, out = sys.argv[1:]
    rows = daft.read_parquet(table)
    rows.select("*", Labels().of(col("image")["bytes"])).write_parquet(out, write_mode="overwrite")


if __name__ == "__main__":
    main()
