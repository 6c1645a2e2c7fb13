"""Image towers of SigLIP 2 with random weights: picsift beside PyTorch bf16 and onnxruntime f32, images/s on the same cores.

Owns the clock and the two other programs. All begin with squashed pixels in memory and end with a score for each category, whose texts are
embedded before. Programs take turns; ratios are of medians, against the better of the two others.

    cargo bench -p picsift-vision --bench siglip --no-run    # the program that --picsift names
    python benches/peer/siglip.py --picsift target/release/deps/siglip-HASH --threads 2

needs the packages of requirements-siglip.txt.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time

import numpy
import onnxruntime
import torch
from transformers import SiglipVisionConfig, SiglipVisionModel

SHAPES = {
    "b16-224": dict(image_size=224, patch_size=16),
    "b32-256": dict(image_size=256, patch_size=32),
}


class Tower(torch.nn.Module):
    """Bytes of square pictures to scores of categories."""

    def __init__(self, shape, categories):
        super().__init__()
        config = SiglipVisionConfig(**SHAPES[shape], hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
        config._attn_implementation = "sdpa"
        self.vision = SiglipVisionModel(config)
        texts = torch.randn(categories, 768)
        self.texts = torch.nn.Parameter(texts / texts.norm(dim=1, keepdim=True))

    def forward(self, pixels):
        pooled = self.vision(pixel_values=pixels).pooler_output
        pooled = pooled / pooled.norm(dim=1, keepdim=True)
        return torch.sigmoid(pooled @ self.texts.T * 112.0 - 16.0)


def pictures(shape, batch):
    side = SHAPES[shape]["image_size"]
    random = numpy.random.default_rng(1)
    return random.integers(0, 256, (batch, 3, side, side), dtype=numpy.uint8)


def rate(run, batch, seconds):
    run()
    rounds, started = 0, time.perf_counter()
    while rounds == 0 or time.perf_counter() - started < seconds:
        run()
        rounds += 1
    return rounds * batch / (time.perf_counter() - started)


def pytorch(shape, categories, options):
    tower = Tower(shape, categories).eval().to(torch.bfloat16)
    pixels = torch.from_numpy(pictures(shape, options.batch))

    def run():
        with torch.inference_mode():
            tower((pixels.to(torch.bfloat16) / 255 - 0.5) / 0.5).float().numpy()

    return rate(run, options.batch, options.seconds)


def onnx(shape, categories, options):
    tower = Tower(shape, categories).eval()
    pixels = pictures(shape, options.batch)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "tower.onnx")
        example = torch.zeros(options.batch, *pixels.shape[1:])
        with torch.inference_mode():
            torch.onnx.export(tower, (example,), path, input_names=["pixels"], output_names=["scores"], dynamo=False)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.threads
        session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])

    def run():
        session.run(None, {"pixels": (pixels.astype(numpy.float32) / 255 - 0.5) / 0.5})

    return rate(run, options.batch, options.seconds)


def picsift(dtype):
    def run(shape, categories, options):
        command = [options.picsift, "--shape", shape, "--dtype", dtype, "--categories", str(categories)]
        command += ["--batch", str(options.batch), "--seconds", str(options.seconds)]
        environment = dict(os.environ, RAYON_NUM_THREADS=str(options.threads))
        line = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        return json.loads(line)["images_per_second"]

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picsift", required=True)
    parser.add_argument("--shapes", default="b32-256,b16-224")
    parser.add_argument("--categories", default="1,10,100")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    programs = {"picsift q8_0": picsift("q8_0"), "picsift f32": picsift("f32"), "PyTorch bf16": pytorch, "onnxruntime f32": onnx}
    print(f"images/s, batches of {options.batch}, {options.threads} threads, torch {torch.__version__}, onnxruntime {onnxruntime.__version__}")
    for shape in options.shapes.split(","):
        first = None
        for categories in map(int, options.categories.split(",")):
            rates = {name: [] for name in programs}
            for turn in range(options.rounds):
                order = list(programs.items())
                for name, run in order if turn % 2 == 0 else reversed(order):
                    rates[name].append(run(shape, categories, options))
            medians = {name: statistics.median(values) for name, values in rates.items()}
            ours, better = medians["picsift q8_0"], max(medians["PyTorch bf16"], medians["onnxruntime f32"])
            first = first or ours
            parts = ", ".join(f"{name} {value:.2f}" for name, value in medians.items())
            print(f"{shape}, {categories} categories: {parts}; q8_0 {ours / better:.2f} x the better, {first / ours:.2f} x the time of 1 category", flush=True)


if __name__ == "__main__":
    main()
