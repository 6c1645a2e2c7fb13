"""Tables and their known answers.

Owns the pictures, the tables that hold them or refer to them, and what the program says of each picture when it is asked in the
simplest way there is. Everything is the same on each run.
"""

import hashlib
import io
import json
import random
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from calls import CALLS, CATEGORIES, LISTS, struct_type

PHOTOS = Path(__file__).resolve().parents[2] / "datasets/photos/references/images"

# Two kinds of files of some photographs, so that formats differ and no two pictures are the same.
PICTURES = [
    ("fish14_155.jpg", "JPEG"), ("fish1_140.webp", "WEBP"), ("fish6_157.png", "PNG"), ("kingfisher_001.jpg", "JPEG"),
    ("owl_006.jpg", "PNG"), ("cat_010.webp", "WEBP"), ("dog_008.jpg", "JPEG"), ("cathedral_057.png", "JPEG"),
    ("uscapitol_069.jpg", "PNG"), ("hammer3_116.jpg", "JPEG"), ("hammer5_123.jpg", "WEBP"), ("screwdriver2_107.png", "JPEG"),
    ("scissors1_109.jpg", "PNG"), ("sea1_209.jpg", "JPEG"),
]
BROKEN = b"this is no picture"

# Name, rows, how images are held.
TABLES = [("shots", 40, "bytes"), ("finds", 30, "references"), ("prints", 24, "references"), ("cards", 14, "structs")]
TEXTS = ["ash", "birch", "fish", "", "elm", None]

# Scores nearer to a threshold of a query than this could fall on either side of it.
GAP = 0.02


def pictures():
    """Name and bytes of each picture, small ones."""
    made = []
    for number, (name, form) in enumerate(PICTURES):
        side = 128 + 8 * (number % 4)
        image = Image.open(PHOTOS / name).convert("L" if number == 12 else "RGB").resize((side, side - 8 * (number % 3)))
        held = io.BytesIO()
        image.save(held, form, **({} if form == "PNG" else {"quality": 85}))
        made.append((f"{number:02}.{form.lower()}", held.getvalue()))
    return made + [("broken.jpeg", BROKEN)]


def answers(binary, folder, made):
    """For each picture what the program answers to every call, asked one row and call at a time."""
    table = pa.table({"name": [name for name, _ in made], "image": pa.array([data for _, data in made], pa.binary())})
    pq.write_table(table, folder / "pictures.parquet")
    select = ", ".join(f"{call.text.format('image')} AS {call.name}" for call in CALLS.values())
    command = [binary, "sql", "--format", "json", "--cache-dir", str(folder / "cache")]
    command += ["-c", f"SELECT name, {select} FROM '{folder}/pictures.parquet'"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if run.returncode:
        raise SystemExit(f"the known answers could not be made:\n{run.stderr}")
    rows = {row.pop("name"): row for row in map(json.loads, run.stdout.splitlines())}
    _check(rows, dict(made))
    for name, data in made:
        rows[name]["length"] = 2 * len(data)
    return rows


def _check(rows, made):
    """Known answers must be sane before anything is compared with them."""
    assert set(rows) == set(made), "a picture has no answers"
    for category in CATEGORIES:
        said = {row[f"is_{category}"] for row in rows.values()}
        assert said == {True, False, None}, f"{category} tells nothing apart: {said}"
    for name, row in rows.items():
        if made[name] == BROKEN:
            assert row["try_error"] == "decode" and row["no_info"] and row["is_fish"] is None, row
            continue
        image = Image.open(io.BytesIO(made[name]))
        assert (row["info_width"], row["info_height"]) == image.size, row
        assert row["info_format"] == image.format.lower() and row["info_bytes"] == len(made[name]), row
        assert row["info_sha256"] == hashlib.sha256(made[name]).hexdigest(), row
        assert row["try_bird"] == row["is_bird"] and row["try_fish_score"] == row["score_fish"], row
        assert row["source_few"] == "model" and row["try_error"] is None and row["no_info"] is False, row
        for key, words in LISTS.items():
            held = [word for word in words if row[f"is_{word}"]]
            assert row[f"labels_{key}"] == held, row
            assert row[f"label_{key}"] in (held or [None]), row
        assert json.loads(row["json_few"]) == {word: row[f"is_{word}"] for word in LISTS["few"]}, row


def thresholds(rows):
    """For each call with a score, numbers that no score is near."""
    found = {}
    for call in CALLS.values():
        if call.type == "score":
            scores = [0.0] + sorted(row[call.name] for row in rows.values() if row[call.name] is not None) + [1.0]
            found[call.name] = [round((a + b) / 2, 3) for a, b in zip(scores, scores[1:]) if b - a > 2 * GAP]
            assert found[call.name], f"{call.name} leaves no room for a threshold"
    return found


def _cells(names, rng, table):
    """Names of the pictures of a column: NULLs and duplicates among them. References of the last table begin elsewhere, so that the same
    reference is another picture there."""
    cells = [rng.choice(names) if rng.random() > 0.15 else None for _ in range(table[1])]
    return [cell if cell != "broken.jpeg" or rng.random() < 0.6 else names[0] for cell in cells]


def _reference(number):
    return f"pictures/{number:02}.img"


def _write(path, table, rng):
    """Three files of row groups of three to seven rows. Images get no statistics: DataFusion takes those of some row groups for the
    file's, and Parquet has none of large images."""
    path.mkdir(parents=True)
    cuts = sorted(rng.sample(range(4, table.num_rows - 3), 2))
    for part, (start, end) in enumerate(zip([0, *cuts], [*cuts, table.num_rows])):
        pq.write_table(table.slice(start, end - start), path / f"part-{part}.parquet", row_group_size=rng.randint(3, 7),
                       write_statistics=["id", "k", "g", "n"])


def make(binary, folder):
    """Writes all tables below `folder`: `images/NAME` for picsift, `plain/NAME` with answers in place of images. Gives the
    thresholds."""
    made = pictures()
    known = answers(binary, folder, made)
    held = dict(made)
    for place, table in enumerate(TABLES):
        name, rows, kind = table
        rng = random.Random(f"table {name}")
        columns = {
            "id": pa.array(range(1, rows + 1), pa.int32()),
            "k": pa.array([rng.randint(1, 9) if rng.random() > 0.1 else None for _ in range(rows)], pa.int32()),
            "g": pa.array([rng.choice(TEXTS) for _ in range(rows)], pa.string()),
            "n": pa.array([rng.randint(-50, 50) if rng.random() > 0.1 else None for _ in range(rows)], pa.int64()),
        }
        images, plain = dict(columns), dict(columns)
        names = [n for n, _ in made]
        turned = names[place * 3:] + names[:place * 3]
        for column in ("image", "image_b"):
            cells = _cells(names, rng, table)
            if kind == "references":
                texts = [None if c is None else _reference(turned.index(c)) for c in cells]
                images[column], raw = pa.array(texts, pa.string()), texts
            else:
                raw = [None if c is None else held[c].hex() for c in cells]
                data = [None if c is None else held[c] for c in cells]
                if kind == "structs":
                    structs = [None if d is None else {"bytes": d, "path": c} for c, d in zip(cells, data)]
                    images[column] = pa.array(structs, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
                else:
                    images[column] = pa.array(data, pa.binary())
            answered = [None if c is None else {"raw": r, **known[c]} for c, r in zip(cells, raw)]
            plain[column] = pa.array(answered, struct_type())
        _write(folder / "images" / name, pa.table(images), random.Random(f"files {name}"))
        _write(folder / "plain" / name, pa.table(plain), random.Random(f"files {name}"))
        if kind == "references":
            (folder / "images" / name / "pictures").mkdir()
            for number, picture in enumerate(turned):
                (folder / "images" / name / _reference(number)).write_bytes(held[picture])
    return thresholds(known)
