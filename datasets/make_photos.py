#!/usr/bin/env python3
"""Makes the two Parquet tables of datasets/photos.

    python datasets/make_photos.py [SOURCE]

SOURCE is a folder with `photos.csv` and the pictures it names in `images/`; both are copied into
datasets/photos first. Without SOURCE the tables are made again from the copy that the repository
keeps (datasets/photos/photos.csv and datasets/photos/references/images/).

    datasets/photos/embedded/photos.parquet                the pictures inside the table
    datasets/photos/references/collection=*/part-0.parquet paths to the pictures in references/images/

The same pyarrow writes the same bytes every time: rows keep the order of photos.csv and nothing
depends on the clock. The picture files are copied as they are, never encoded again.

Needs: Python 3.10, pyarrow 15 or later (the tables in the repository were written by pyarrow 26.0.1).
"""

import csv
import json
import shutil
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

PHOTOS = Path(__file__).resolve().parent / "photos"
IMAGES = PHOTOS / "references" / "images"

# A photograph belongs to the first collection one of whose labels it carries.
COLLECTIONS = {
    "animals": {"animal"},
    "buildings": {"building", "monument"},
    "tools": {"tool"},
    "objects": {"object"},
    "energy": {"windmill", "solar", "dam"},
    "music": {"music"},
    "scenes": {"scene"},
}

# Small row groups, so that several scan partitions and early stops can be seen on a small table.
ROW_GROUP = 32

# "Sequence" rather than the newer "List": releases of `datasets` before 4.0 do not know "List", and
# all later ones read "Sequence".
HF_FEATURES = {
    "file": {"dtype": "string", "_type": "Value"},
    "image": {"_type": "Image"},
    "truth": {"feature": {"dtype": "string", "_type": "Value"}, "_type": "Sequence"},
    "width": {"dtype": "int32", "_type": "Value"},
    "height": {"dtype": "int32", "_type": "Value"},
    "author": {"dtype": "string", "_type": "Value"},
    "license": {"dtype": "string", "_type": "Value"},
    "source": {"dtype": "string", "_type": "Value"},
    "collection": {"dtype": "string", "_type": "Value"},
}

# Columns whose values repeat enough for a dictionary to pay.
REPEATING = {"author", "license", "collection", "truth.list.element"}

EMBEDDED = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def schema(image, collection, metadata=None):
    fields = [
        ("file", pa.string()),
        ("image", image),
        ("truth", pa.list_(pa.field("element", pa.string()))),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("author", pa.string()),
        ("license", pa.string()),
        ("source", pa.string()),
    ]
    if collection:
        fields.append(("collection", pa.string()))
    return pa.schema(fields, metadata=metadata)


def collection_of(truth):
    for name, labels in COLLECTIONS.items():
        if labels.intersection(truth):
            return name
    raise SystemExit(f"no collection holds a photograph with the labels {truth}")


def read_rows():
    rows = []
    with open(PHOTOS / "photos.csv", newline="", encoding="utf-8") as lines:
        for line in csv.DictReader(lines):
            if not (IMAGES / line["file"]).is_file():
                raise SystemExit(f"photos.csv names {line['file']}, which is not in {IMAGES}")
            truth = line["labels"].split("|")
            rows.append({
                "file": line["file"],
                "truth": truth,
                "width": int(line["width"]),
                "height": int(line["height"]),
                "author": line["author"],
                "license": line["license"],
                "source": line["source"],
                "collection": collection_of(truth),
            })
    return rows


def write(rows, columns, path):
    # Pictures are compressed already: zstd, dictionaries and statistics would only cost time on them.
    embeds = columns.field("image").type == EMBEDDED
    plain = [name for name in columns.names if name not in ("image", "truth")]
    plain += ["truth.list.element", "image.path" if embeds else "image"]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.Table.from_pylist(rows, schema=columns),
        path,
        row_group_size=ROW_GROUP,
        compression=dict.fromkeys(plain, "zstd") | ({"image.bytes": "none"} if embeds else {}),
        use_dictionary=[name for name in plain if name in REPEATING],
        write_statistics=plain,
    )


def copy_source(source):
    IMAGES.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / "photos.csv", PHOTOS / "photos.csv")
    for picture in sorted((source / "images").iterdir()):
        shutil.copyfile(picture, IMAGES / picture.name)


def main():
    if len(sys.argv) > 2 or sys.argv[1:] in (["-h"], ["--help"]):
        raise SystemExit(__doc__)
    if len(sys.argv) == 2:
        copy_source(Path(sys.argv[1]))
    rows = read_rows()

    hf = {"huggingface": json.dumps({"info": {"features": HF_FEATURES}})}
    embedded = [
        row | {"image": {"bytes": (IMAGES / row["file"]).read_bytes(), "path": row["file"]}} for row in rows
    ]
    write(embedded, schema(EMBEDDED, True, hf), PHOTOS / "embedded" / "photos.parquet")

    for name in COLLECTIONS:
        part = [row | {"image": f"images/{row['file']}"} for row in rows if row["collection"] == name]
        for row in part:
            del row["collection"]
        folder = PHOTOS / "references" / f"collection={name}"
        write(part, schema(pa.string(), False), folder / "part-0.parquet")
        print(f"{name}: {len(part)} photographs")


if __name__ == "__main__":
    main()
