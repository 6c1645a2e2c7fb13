"""Reads an export back as people would and prints each picture's split, class and SHA-256 as JSON.

Usage: exported.py FORMAT FOLDER   where FORMAT is webdataset, imagefolder or hf.
"""

import hashlib
import json
import os
import pathlib
import sys

form, folder = sys.argv[1], pathlib.Path(sys.argv[2])
rows = []


def add(split, label, data, rest):
    rows.append({"split": split, "label": label, "sha256": hashlib.sha256(data).hexdigest(), "rest": rest})


card = folder.joinpath("README.md").read_text()
marker = json.loads(folder.joinpath("_picsift_export.json").read_text())
classes = marker["classes"]
if form == "webdataset":
    import webdataset

    for split in ("train", "validation", "test"):
        shards = sorted(map(str, folder.glob(f"{split}-*.tar")))
        if not shards:
            continue
        for sample in webdataset.WebDataset(shards, shardshuffle=False, empty_check=False):
            (end,) = [end for end in ("jpg", "png", "webp", "gif") if end in sample]
            rest = json.loads(sample["json"])
            add(split, classes[int(sample["cls"])], sample[end], rest)
        # A column for each end of a name: a picture under another one would be missing here.
        from datasets import load_dataset

        for row in load_dataset("webdataset", data_files=shards, split="train"):
            assert row["jpg"].width > 0, row
elif form == "imagefolder":
    from datasets import load_dataset

    # The convention itself: split, class, picture.
    for split in sorted(path for path in folder.iterdir() if path.is_dir()):
        lines = [json.loads(line) for line in split.joinpath("metadata.jsonl").read_text().splitlines()]
        by_name = {line["file_name"]: line for line in lines}
        seen = 0
        for place, _, files in os.walk(split):
            for name in files:
                if name == "metadata.jsonl":
                    continue
                path = pathlib.Path(place) / name
                line = by_name[path.relative_to(split).as_posix()]
                assert path.parent.parent == split, path
                add(split.name, line["label"], path.read_bytes(), line)
                seen += 1
        assert seen == len(lines), (split, seen, len(lines))
    loaded = load_dataset("imagefolder", data_dir=str(folder))
    assert sum(map(len, loaded.values())) == len(rows), loaded
    first = loaded["train"][0]
    assert first["image"].width > 0 and first["label"] in classes, first
else:
    from datasets import Image, load_dataset

    loaded = load_dataset(str(folder))
    for split, table in loaded.items():
        feature = table.features["label"]
        assert feature.names == classes, feature
        table = table.cast_column("image", Image(decode=False))
        for row in table:
            image = row.pop("image")
            add(split, feature.int2str(row["label"]), image["bytes"], row)
    assert load_dataset(str(folder), split="train")[0]["image"].width > 0
print(json.dumps({"rows": rows, "card": card}, default=str))
