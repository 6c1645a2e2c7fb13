#!/usr/bin/env python3
"""What a person writes around Moondream2: for each picture encode it once, then ask category after category.

    python benches/peer/moondream_loop.py --categories 1,10,50 --dtype bfloat16 --threads 2
    python benches/peer/moondream_loop.py --check GOLDENS

The first form measures, on a random picture and random weights of the 2B model's sizes unless told otherwise, and prints
one JSON object per number of categories. The second proves that the model is the published one. See README.md.
"""

import argparse
import json
import random
import resource
import sys
import time

import numpy as np
import torch
from PIL import Image

from check import check
from config import Config
from crops import make_crops
from model import load_model, random_model

# A prompt of 17 with the three ids before it and the two after it, the length of a question about one noun.
QUESTION_TOKENS = 12


def main():
    options = arguments()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    with torch.inference_mode():
        if options.check:
            return 0 if check(options.check, device) else 1
        config = Config.load(options.config) if options.config else Config()
        dtype = getattr(torch, options.dtype)
        if options.weights:
            model = load_model(config, options.weights, dtype, device)
        else:
            model = random_model(config, dtype, device)
        width, height = options.image_size
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        picture = Image.fromarray(pixels)
        session = model.session()
        one_image(model, session, picture, 1, options.choices)  # the first pass of anything is slow
        for categories in options.categories:
            print(json.dumps(measure(model, session, picture, categories, options)), flush=True)
    return 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", metavar="FOLDER", help="compare with the goldens in this folder, and measure nothing")
    parser.add_argument("--config", metavar="FILE", help="config.json of other sizes than the 2B model's")
    parser.add_argument("--weights", metavar="FILE", help="model.safetensors; random weights without it")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    parser.add_argument("--image-size", metavar="WxH", type=size, default=(378, 378))
    parser.add_argument("--categories", metavar="N,N", type=numbers, default=[1, 10, 50])
    parser.add_argument("--images", type=int, default=1, help="measure at least so many images per number of categories")
    parser.add_argument("--seconds", type=float, default=0.0, help="and at least so long")
    parser.add_argument(
        "--choices",
        type=int,
        default=2,
        help="most tokens chosen for an answer: 2 for a word and the end token that shows it was all (default), 1 for a loop "
        "that looks at the first token only",
    )
    parser.add_argument("--threads", type=int, help="PyTorch's choice without it")
    return parser.parse_args()


def size(text):
    width, _, height = text.partition("x")
    return int(width), int(height)


def numbers(text):
    return [int(part) for part in text.split(",")]


def one_image(model, session, picture, categories, choices):
    """Seconds of the four steps: crops, vision encoder and projection, prefix, questions."""
    clock = Clock(model.device)
    crops, tiles = make_crops(picture, model.config.vision)
    clock.lap()
    image = model.vision(torch.from_numpy(crops).to(model.device), tiles)
    clock.lap()
    model.prefill(image, session)
    clock.lap()
    for question in questions(model.config, categories):
        model.generate(model.config.template.prompt(question), session, choices)
    clock.lap()
    return clock.laps


def questions(config, count):
    """Random ids of fixed number, the same in each call, above those that have a meaning of their own."""
    draw = random.Random(0)
    return [[draw.randrange(100, config.text.vocab_size) for _ in range(QUESTION_TOKENS)] for _ in range(count)]


class Clock:
    """Wall time between laps, work that was queued on a GPU included."""

    def __init__(self, device):
        self.device = device
        self.laps = []
        self.last = self.now()

    def now(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def lap(self):
        now = self.now()
        self.laps.append(now - self.last)
        self.last = now


def measure(model, session, picture, categories, options):
    laps = []
    started = time.perf_counter()
    while len(laps) < options.images or time.perf_counter() - started < options.seconds:
        laps.append(one_image(model, session, picture, categories, options.choices))
    views_s, vision_s, prefix_s, questions_s = (sum(step) / len(laps) for step in zip(*laps))
    seconds = views_s + vision_s + prefix_s + questions_s
    crops, _ = make_crops(picture, model.config.vision)
    parameters = list(model.parameters())
    line = {
        "engine": "pytorch",
        "device": options.device,
        "dtype": {"bfloat16": "bf16", "float32": "f32"}[options.dtype],
        "size": f"{picture.width}x{picture.height}",
        "views": len(crops),
        "categories": categories,
        "batch": 1,
        "images": len(laps),
        "choices": options.choices,
        "seconds_per_image": seconds,
        "images_per_second": 1 / seconds,
        "views_s": views_s,
        "vision_s": vision_s,
        "prefix_s": prefix_s,
        "questions_s": questions_s,
        "question_s": questions_s / categories,
        "rss_mb": peak_memory() / 1e6,
        "weights_mb": sum(p.numel() * p.element_size() for p in parameters) / 1e6,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    if options.device == "cuda":
        line["gpu"] = torch.cuda.get_device_name()
        line["gpu_mb"] = torch.cuda.max_memory_allocated() / 1e6
    return line


def peak_memory():
    """The most bytes that this process held at once."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    sys.exit(main())
