"""Whether this program is the published model: its logits and answers beside those stored in a folder of goldens."""

import hashlib
import json
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file

from config import Config
from crops import make_crops
from model import load_model


def check(folder, device):
    """Prints a line per picture and one for all; true if everything is within the goldens' own tolerances.

    Pictures whose crops have other bytes than the stored ones, because another Pillow or libjpeg decodes them
    differently, get the tolerance that the goldens state for that. At least one must have the same bytes.
    """
    folder = Path(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    stored = load_file(folder / "goldens.safetensors")
    config = Config.load(folder / "config.json")
    model = load_model(config, folder / "model.safetensors", torch.float32, device)
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
        with Image.open(folder / image["file"]) as file:
            crops, tiles = make_crops(file.convert("RGB"), config.vision)
        bytes_same = [hashlib.sha256(crop.tobytes()).hexdigest() for crop in crops] == image["crop_sha256"]
        tolerance = exact if bytes_same else other
        model.prefill(model.vision(torch.from_numpy(crops).to(device), tiles), session)
        difference = max(
            (model.ask(prompts[q], session).cpu() - stored[f"{name}.logits"][row]).abs().max().item()
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
