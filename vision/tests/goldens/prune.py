"""Makes a golden folder small enough for the repository without losing what the tests check.

    python3 prune.py FULL OUT

FULL has config.json, manifest.json, model.safetensors, goldens.safetensors and images/; OUT, a folder beside `images`,
gets the same but for what README.md says. Needs numpy and the `zstd` command.
"""

import hashlib
import json
import pathlib
import shutil
import struct
import subprocess
import sys

import numpy as np

# Every so many-th id stays in the head whether or not a golden answer needs it.
SAMPLED = 16
# The rows that the published row tensors have of 729 tokens.
ROWS = slice(0, 729, 28)
# A bias so low that a row without weights never wins.
NEVER = -1e4

LAYOUTS = [
    {
        "wte": "model.text.wte",
        "head": "model.text.lm_head.",
        "region": "model.region.",
    },
    {
        "wte": "text_model.transformer.embd.wte.weight",
        "head": "text_model.lm_head.linear.",
        "region": "region_model.",
    },
]

DTYPES = {"F32": np.float32, "U8": np.uint8, "U32": np.uint32}


def read(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    body = memoryview(data)[8 + length :]
    return {
        name: np.frombuffer(body[slice(*entry["data_offsets"])], DTYPES[entry["dtype"]]).reshape(entry["shape"])
        for name, entry in header.items()
    }


def write(tensors):
    names = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
    header, parts, offset = {}, [], 0
    # Wide elements first, as the format's own writer does, so that every tensor is aligned.
    for name, array in sorted(tensors.items(), key=lambda item: (-item[1].itemsize, item[0])):
        part = np.ascontiguousarray(array).tobytes()
        header[name] = {
            "dtype": names[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + len(part)],
        }
        parts.append(part)
        offset += len(part)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(parts)


def ids_in(manifest, tensors):
    """The ids that sequences of the goldens consist of, and those whose logits matter."""
    special = manifest["special"]
    spoken = {special[key] for key in ("bos_id", "eos_id")}
    chosen = {special["eos_id"], special.get("answer_id", special["eos_id"]), *manifest["pair_ids"].values()}
    for question in manifest["questions"]:
        for key in ("prompt_ids", "after_image_ids"):
            spoken.update(question.get(key, []))
    text_only = manifest.get("text_only", {})
    spoken.update(text_only.get("prompt_ids", []), text_only.get("greedy_ids", []))
    chosen.update(text_only.get("greedy_ids", []))
    for image in manifest["images"].values():
        chosen.update(image["argmax"], *image["top5"])
        for greedy in image["greedy"]:
            spoken.update(greedy["ids"])
            chosen.update(greedy["ids"])
    for name, tensor in tensors.items():
        if name.endswith(".logits"):
            chosen.update(np.argsort(-tensor, axis=-1)[..., :5].flatten().tolist())
    return spoken, chosen


def prune_model(model, spoken, kept):
    layout = next(layout for layout in LAYOUTS if layout["wte"] in model)
    model = {name: tensor for name, tensor in model.items() if not name.startswith(layout["region"])}

    def only(name, ids, fill):
        pruned = np.full_like(model[name], fill)
        pruned[ids] = model[name][ids]
        model[name] = pruned

    only(layout["wte"], spoken, 0)
    only(layout["head"] + "weight", kept, 0)
    only(layout["head"] + "bias", kept, NEVER)
    return model


def prune_goldens(tensors, kept):
    pruned = {"kept_ids": np.array(kept, np.uint32)}
    for name, tensor in tensors.items():
        image, kind = name.split(".", 1)
        if kind in ("crops", "resized"):
            continue
        if kind in ("vision_out", "pooled", "proj"):
            pruned[f"{image}.{kind}_rows"] = tensor[ROWS]
        elif kind == "logits":
            pruned[f"{image}.logits_kept"] = tensor[..., kept]
        elif kind == "pair_logprob":
            pruned[f"{image}.pair_difference"] = tensor[:, 0] - tensor[:, 1]
        else:
            pruned[name] = tensor
    return pruned


def pack(path, data):
    subprocess.run(["zstd", "-19", "--quiet", "--force", "-o", path], input=data, check=True)


def main(full, out):
    manifest = json.loads((full / "manifest.json").read_text())
    tensors = read(full / "goldens.safetensors")
    model = read(full / "model.safetensors")
    spoken, chosen = ids_in(manifest, tensors)
    vocabulary = next(tensor for name, tensor in tensors.items() if name.endswith(".logits")).shape[-1]
    kept = sorted(chosen | set(range(0, vocabulary, SAMPLED)))

    out.mkdir(parents=True, exist_ok=True)
    pruned_model = write(prune_model(model, sorted(spoken), kept))
    pruned = prune_goldens(tensors, kept)
    pack(out / "goldens.safetensors.zst", write(pruned))
    pack(out / "model.safetensors.zst", pruned_model)

    for image in manifest["images"].values():
        del image["pair_logprob"]
        path = out.parent / image["file"]
        path.parent.mkdir(exist_ok=True)
        shutil.copyfile(full / image["file"], path)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == image["file_sha256"], path
    dtypes = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
    manifest["tensors"] = {name: [list(tensor.shape), dtypes[tensor.dtype]] for name, tensor in pruned.items()}
    manifest["pruned"] = {
        "kept_ids": len(kept),
        "embedded_ids": len(spoken),
        "vocabulary": vocabulary,
        "model_bytes": len(pruned_model),
        "model_sha256": hashlib.sha256(pruned_model).hexdigest(),
    }
    (out / "manifest.json").write_text(json.dumps(manifest, separators=(",", ":")) + "\n")
    shutil.copyfile(full / "config.json", out / "config.json")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*map(pathlib.Path, sys.argv[1:]))
