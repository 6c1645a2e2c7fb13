#!/usr/bin/env python3
"""Makes a larger table of photographs, to measure throughput and peak memory of a whole run.

    python benches/make_table.py ROWS OUT [--distinct] [--row-group N] [--references]

ROWS JPEG rows from datasets/photos/embedded, in turn, written to the Parquet file OUT with the columns
`file` (string, distinct per row) and `image` (struct<bytes, path>).

--distinct      every row is a picture of its own: a random crop, perhaps mirrored, a little lighter or
                darker, scaled to 512 pixels at the longer side and encoded again as JPEG of quality 85.
                Otherwise the same pictures are repeated byte for byte, which shows what a run saves
                where pictures occur more than once.
--row-group N   rows per row group (default 256)
--references    `image` is a path (string) instead; the pictures lie beside OUT in images/

The same arguments, Pillow and pyarrow give the same bytes. One row group is held in memory at a time,
about 10 MB by default.

Needs: Python 3.10, pyarrow 15, Pillow 9.1, each or later.
"""

import argparse
import io
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageEnhance

PHOTOS = Path(__file__).resolve().parent.parent / "datasets" / "photos" / "embedded" / "photos.parquet"
EMBEDDED = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
LONGER_SIDE = 512
QUALITY = 85


def jpegs():
    """(file name, bytes) of every JPEG among the photographs."""
    table = pq.read_table(PHOTOS, columns=["file", "image"])
    rows = zip(table["file"].to_pylist(), table["image"].to_pylist())
    return [(file, image["bytes"]) for file, image in rows if image["bytes"][:3] == b"\xff\xd8\xff"]


def variant(encoded, row):
    """A picture that no other row has; the row number is the seed."""
    choose = random.Random(row)
    picture = Image.open(io.BytesIO(encoded)).convert("RGB")
    width, height = picture.size
    share = choose.uniform(0.7, 1.0)
    crop = (round(width * share), round(height * share))
    left, top = choose.randint(0, width - crop[0]), choose.randint(0, height - crop[1])
    picture = picture.crop((left, top, left + crop[0], top + crop[1]))
    scale = LONGER_SIDE / max(crop)
    size = (max(1, round(crop[0] * scale)), max(1, round(crop[1] * scale)))
    picture = picture.resize(size, Image.Resampling.BICUBIC)
    if choose.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    picture = ImageEnhance.Brightness(picture).enhance(choose.uniform(0.8, 1.2))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=QUALITY)
    return out.getvalue()


def rows(count, distinct):
    photos = jpegs()
    for row in range(count):
        file, encoded = photos[row % len(photos)]
        yield f"{row:07}_{file}", variant(encoded, row) if distinct else encoded


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=int)
    parser.add_argument("out", type=Path)
    parser.add_argument("--distinct", action="store_true")
    parser.add_argument("--row-group", type=int, default=256, metavar="N")
    parser.add_argument("--references", action="store_true")
    options = parser.parse_args()
    if options.rows < 1 or options.row_group < 1:
        parser.error("ROWS and --row-group must be at least 1")

    image = pa.string() if options.references else EMBEDDED
    feature = {"dtype": "string", "_type": "Value"}
    features = {"file": feature, "image": feature if options.references else {"_type": "Image"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    schema = pa.schema([("file", pa.string()), ("image", image)], metadata=metadata)

    folder = options.out.parent / "images"
    (folder if options.references else options.out.parent).mkdir(parents=True, exist_ok=True)
    total = 0
    with pq.ParquetWriter(options.out, schema, compression="none", use_dictionary=False, write_statistics=False) as out:
        files, images = [], []
        for row, (file, encoded) in enumerate(rows(options.rows, options.distinct), start=1):
            files.append(file)
            total += len(encoded)
            if options.references:
                (folder / file).write_bytes(encoded)
                images.append(f"images/{file}")
            else:
                images.append({"bytes": encoded, "path": file})
            if len(files) == options.row_group or row == options.rows:
                group = [pa.array(files, pa.string()), pa.array(images, image)]
                out.write_table(pa.Table.from_arrays(group, schema=schema), row_group_size=options.row_group)
                files, images = [], []
    print(f"{options.out}: {options.rows} rows, {total / options.rows / 1000:.1f} kB per picture")


if __name__ == "__main__":
    main()
