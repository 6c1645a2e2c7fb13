"""Whether this program is the published model: its logits and answers beside those stored in a folder of goldens."""

import hashlib
import json
import subprocess
import tempfile
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file

from config import Config
from crops import make_crops
from model import load_model


def unpacked(path, scratch):
    """The file, or what the `zstd` command makes of the one with `.zst` behind its name."""
    if path.exists():
        return path
    target = Path(scratch) / path.name
    subprocess.run(["zstd", "-dqf", f"{path}.zst", "-o", target], check=True)
    return target


def picture(folder, file):
    """The picture's path: the repository's folders share their pictures one level up."""
    return next(path for path in (folder / file, folder.parent / file) if path.exists())


def check(folder, device):
    """Prints a line per picture and one for all; true if everything is within the goldens' own tolerances.

    Pictures whose crops have other bytes than the stored ones, because another Pillow or libjpeg decodes them
    differently, get the tolerance that the goldens state for that. At least one must have the same bytes.
    """
    folder = Path(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    config = Config.load(folder / "config.json")
    with tempfile.TemporaryDirectory() as scratch:
        stored = load_file(unpacked(folder / "goldens.safetensors", scratch))
        model = load_model(config, unpacked(folder / "model.safetensors", scratch), torch.float32, device)
    # A pruned folder has the logits of some ids only.
    kept = stored["kept_ids"].long() if "kept_ids" in stored else slice(None)
    logits = "logits_kept" if "kept_ids" in stored else "logits"
    session = model.session()
    tolerances = manifest["tolerances"]
    exact = tolerances["f32_same_crops"]["logits"]
    other = tolerances["end_to_end_other_resizer_or_jpeg_decoder"]["logits"]
    rules = manifest["greedy_rules"]
    prompts = [config.template.prompt(q["question_ids"]) for q in manifest["questions"]]
    if prompts != [q["prompt_ids"] for q in manifest["questions"]]:
        print(json.dumps({"ok": False, "reason": "prompts differ from the manifest's"}))
        return False

    passed, same, questions, worst = True, 0, 0, 0.0
    for name, image in manifest["images"].items():
        with Image.open(picture(folder, image["file"])) as file:
            crops, tiles = make_crops(file.convert("RGB"), config.vision)
        bytes_same = [hashlib.sha256(crop.tobytes()).hexdigest() for crop in crops] == image["crop_sha256"]
        tolerance = exact if bytes_same else other
        model.prefill(model.vision(torch.from_numpy(crops).to(device), tiles), session)
        difference = max(
            (model.ask(prompts[q], session).cpu()[kept] - stored[f"{name}.{logits}"][row]).abs().max().item()
            for row, q in enumerate(image["questions"])
        )
        ok = difference <= tolerance and tiles == (image["tiling"]["rows"], image["tiling"]["cols"])
        answers = 0
        for greedy in image["greedy"] if bytes_same else []:
            # The stop at the end token is part of the answer, and so one more choice.
            ids = model.generate(prompts[greedy["question"]], session, rules["max_new_tokens"])
            sure = greedy["compare_prefix_len"]
            ok = ok and ids[:sure] == greedy["ids"][:sure]
            answers += 1
        line = {"image": name, "tiles": tiles, "same_crops": bytes_same, "questions": len(image["questions"])}
        line |= {"max_difference": difference, "tolerance": tolerance, "answers": answers, "ok": ok}
        print(json.dumps(line))
        passed, same, questions = passed and ok, same + bytes_same, questions + len(image["questions"])
        worst = max(worst, difference if bytes_same else 0.0)
    passed = passed and same > 0
    line = {"images": len(manifest["images"]), "same_crops": same, "questions": questions}
    print(json.dumps(line | {"max_difference_same_crops": worst, "ok": passed}))
    return passed
