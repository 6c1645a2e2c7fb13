#!/usr/bin/env python3
"""What the 2B model's computation on a GPU should take, from counted FLOP and bytes. Nothing here is measured.

    benches/gpu/estimate.py [--batch 64] [--categories 1,10,50] [--tflops 790] [--tbytes 4.8]

Each launch takes the longer of two times: its FLOP at the rate of the products, or the bytes that it must read and write at the
memory's; a launch's own price is added once (it is hidden where the host is ahead, which at a batch of 64 it is). The library's
products and attention's run at shares of the rate, both assumed. A word of an answer takes the longer of that and of what the host
needs for its launches. Standard library only.
"""

import argparse

VISION = {"tokens": 729, "dim": 1152, "ff": 4304, "layers": 27}
TEXT = {"tokens": 730, "dim": 2048, "ff": 8192, "layers": 24}
PROJECTION = (2304, 8192, 2048)
PATCH = 588
VOCABULARY = 51200
# Tokens that a packed question adds to what all share: vendor's wording, shared wording.
OWN = {"vendor": 13, "shared": 4.5}
COMMON = {"vendor": 7, "shared": 15.5}


class Time:
    def __init__(self, options):
        self.options = options
        self.seconds = 0.0
        self.flop = 0.0
        self.launches = 0

    def launch(self, flop=0.0, elements=0.0, rate=1.0):
        """`elements` of bf16 read or written."""
        compute = flop / (self.options.tflops * 1e12 * rate)
        memory = 2 * elements / (self.options.tbytes * 1e12 * self.options.reached)
        self.seconds += max(compute, memory) + self.options.launch * 1e-6
        self.flop += flop
        self.launches += 1

    def product(self, rows, inputs, outputs, through=False):
        elements = rows * inputs + inputs * outputs + rows * outputs * (2 if through else 1)
        self.launch(2.0 * rows * inputs * outputs, elements, self.options.products)

    def attention(self, images, rows, keys, dim):
        self.launch(4.0 * images * rows * keys * dim, images * (2 * rows + 2 * keys) * dim, self.options.attention)

    def norm(self, rows, dim):
        self.launch(0, 2 * rows * dim)


def vision(time, images):
    tokens, dim, ff = VISION["tokens"], VISION["dim"], VISION["ff"]
    rows = images * tokens
    time.launch(0, rows * PATCH * 1.5)
    time.product(rows, PATCH, dim)
    time.launch(0, 2 * rows * dim)  # positions
    for _ in range(VISION["layers"]):
        time.norm(rows, dim)
        time.product(rows, dim, 3 * dim)
        time.attention(images, tokens, tokens, dim)
        time.product(rows, dim, dim, True)
        time.norm(rows, dim)
        time.product(rows, dim, ff)
        time.product(rows, ff, dim, True)
    time.norm(rows, dim)
    time.launch(0, 4 * rows * dim)  # overview and local side by side
    time.product(rows, PROJECTION[0], PROJECTION[1])
    time.product(rows, PROJECTION[1], PROJECTION[2])


def text(time, images, tokens, keys, kept):
    """`kept`: whether only keys and values of the last layer are wanted."""
    dim, ff = TEXT["dim"], TEXT["ff"]
    rows = images * tokens
    time.launch(0, 2 * rows * dim)  # embeddings
    for layer in range(TEXT["layers"]):
        time.norm(rows, dim)
        time.product(rows, dim, 3 * dim)
        time.launch(0, 5.5 * rows * dim)  # rotary: half of q twice, k and v twice
        if kept and layer + 1 == TEXT["layers"]:
            return
        time.attention(images, tokens, keys, dim)
        time.product(rows, dim, dim, True)
        time.product(rows, dim, ff)
        time.product(rows, ff, dim, True)


def word(time, images):
    """The next word of one answer about each image, about ten tokens behind the question's first."""
    text(time, images, 1, TEXT["tokens"] + 20, False)
    time.norm(images, TEXT["dim"])
    time.product(images, TEXT["dim"], VOCABULARY)
    time.launch(0, images * VOCABULARY)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--categories", default="1,10,50")
    parser.add_argument("--tflops", type=float, default=790, help="of bf16 products")
    parser.add_argument("--tbytes", type=float, default=4.8, help="of memory a second")
    parser.add_argument("--reached", type=float, default=0.8, help="share of that which kernels reach")
    parser.add_argument("--products", type=float, default=0.8, help="share of the rate that the library reaches at these shapes")
    parser.add_argument("--attention", type=float, default=0.35, help="share of the rate that attention reaches")
    parser.add_argument("--launch", type=float, default=2.0, help="microseconds that a launch takes by itself")
    parser.add_argument("--host", type=float, default=5.0, help="microseconds that a launch takes the host")
    options = parser.parse_args()
    images = options.batch
    print("| wording | categories | ms an image: vision | prefix | questions | images/s | of what the products alone allow | against one |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for style in OWN:
        first = None
        for categories in map(int, options.categories.split(",")):
            parts = [Time(options) for _ in range(3)]
            vision(parts[0], images)
            text(parts[1], images, TEXT["tokens"], TEXT["tokens"], True)
            own = COMMON[style] + OWN[style] * categories
            text(parts[2], images, own, TEXT["tokens"] + own / max(categories, 1), False)
            seconds = sum(part.seconds for part in parts) / images
            wall = sum(part.flop for part in parts) / images / (options.tflops * 1e12)
            first = first or seconds
            each = [f"{part.seconds / images * 1e3:.2f}" for part in parts]
            print(f"| {style} | {categories} | {' | '.join(each)} | {1 / seconds:.0f} | {wall / seconds:.0%} | {seconds / first:.2f} |")
    print()
    print("| answers in words, images at once | ms a word: device | host | tokens/s |")
    print("| --- | --- | --- | --- |")
    for images in (1, options.batch):
        time = Time(options)
        word(time, images)
        device, host = time.seconds, time.launches * options.host * 1e-6
        print(f"| {images} | {device * 1e3:.2f} | {host * 1e3:.2f} | {images / max(device, host):.0f} |")


if __name__ == "__main__":
    main()
