#!/usr/bin/env python3
"""Makes goldens.safetensors with OpenCV, and says what the small numbers of model.safetensors lose.

    python goldens.py frozen_inference_graph.pb ssd_mobilenet_v2_coco_2018_03_29.pbtxt

Both files are in the package that convert.py names. Needs: numpy, pillow and opencv-python-headless (the goldens of the repository are
OpenCV 5.0.0's). OpenCV runs TensorFlow's own graph, in which the converted weights are put in the place of the published ones: so
the goldens hold the arithmetic to account, and the published weights what the conversion loses, over all photographs of datasets/photos.
"""

import csv
import sys
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

import convert

PHOTOS = convert.HERE.parents[2] / "datasets" / "photos"
SIDE = 300
# Places of each map from which classes are predicted.
PLACES = [361, 100, 25, 9, 4, 1]
# Two lossless pictures, so that the tests read the same pixels, and three JPEGs with people, an animal and several things.
GOLDEN = ["chicken_007.png", "pillow_082.png", "italy_216.jpg", "horse_009.jpg", "knife_085.jpg"]


def picture(file):
    """RGB, transparency on white."""
    image = Image.open(PHOTOS / "references" / "images" / file)
    if image.mode in ("P", "LA", "RGBA"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def square(pixels):
    """TensorFlow's ResizeBilinear of the graph's preprocessor (corners not aligned, no half-pixel centres), rounded to bytes."""

    def axis(length):
        at = np.arange(SIDE, dtype=np.float32) * np.float32(length / SIDE)
        low = np.floor(at).astype(int)
        return low, np.minimum(low + 1, length - 1), at - low

    pixels = pixels.astype(np.float32)
    (top, bottom, dy), (left, right, dx) = axis(pixels.shape[0]), axis(pixels.shape[1])
    dx, dy = dx[None, :, None], dy[:, None, None]
    row = lambda rows: pixels[rows][:, left] + (pixels[rows][:, right] - pixels[rows][:, left]) * dx
    upper, lower = row(top), row(bottom)
    return np.rint(upper + (lower - upper) * dy).astype(np.uint8)


class Network:
    def __init__(self, graph, text):
        self.net = cv2.dnn.readNetFromTensorflow(np.frombuffer(graph, np.uint8), np.frombuffer(text, np.uint8))

    def scores(self, pixels):
        """The class scores of all anchors, [1917, 80]."""
        self.net.setInput(pixels.transpose(2, 0, 1)[None].astype(np.float32))
        scores = self.net.forward("ClassPredictor/concat/sigmoid").reshape(-1, 91)
        return scores[:, convert.things()].copy()


def with_converted_weights(graph):
    """The GraphDef with the weights of model.safetensors, and biases and norms as they are."""
    data = bytearray(graph.data)

    def put(name, values):
        (start, end), shape = graph.places[name]
        data[start:end] = values.reshape(shape).astype(np.float32).tobytes()

    for _, layer, weights in convert.layers():
        kernel, _, gain = convert.folded(graph, layer, weights)
        kernel = kernel.astype(np.float16).astype(np.float64) / gain[:, None, None, None]
        back = (2, 3, 0, 1) if weights == "depthwise_weights" else (2, 3, 1, 0)
        put(f"{layer}/{weights}", kernel.transpose(back))
    tensors = convert.converted(graph)
    for index, anchors in enumerate(convert.ANCHORS):
        name = f"BoxPredictor_{index}/ClassPredictor/weights"
        all_weights = graph[name].copy()
        weights = all_weights.reshape(9, -1, anchors, 91)
        small = tensors[f"classes.{index}.weight"] * tensors[f"classes.{index}.scale"][:, :, None, None]
        weights[..., convert.things()] = small.transpose(2, 3, 1, 0)
        put(name, all_weights)
    return bytes(data)


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    graph = convert.Graph(sys.argv[1])
    text = Path(sys.argv[2]).read_bytes()
    published, small = Network(graph.data, text), Network(with_converted_weights(graph), text)

    starts = np.cumsum([0] + [places * anchors for places, anchors in zip(PLACES, convert.ANCHORS)])
    goldens = {}
    for file in GOLDEN:
        pixels = square(picture(file))
        scores = small.scores(pixels)
        # The greatest score of each class and anchor over the places of a map.
        maps = [
            scores[start:end].reshape(places, anchors, 80).max(0)
            for start, end, places, anchors in zip(starts, starts[1:], PLACES, convert.ANCHORS)
        ]
        goldens[f"scores.{file}"] = np.concatenate(maps).astype(np.float32)
        goldens[f"published.{file}"] = published.scores(pixels).max(0).astype(np.float32)
        # What the preprocessor must make, one row of pixels in ten.
        goldens[f"rows.{file}"] = pixels[::10]
    convert.KINDS["uint8"] = "U8"
    convert.write(goldens, convert.HERE / "goldens.safetensors")

    anchors, presence = [], []
    with open(PHOTOS / "photos.csv", newline="", encoding="utf-8") as lines:
        for line in csv.DictReader(lines):
            pixels = square(picture(line["file"]))
            before, after = published.scores(pixels), small.scores(pixels)
            anchors.append(np.abs(before - after))
            presence.append(np.abs(before.max(0) - after.max(0)))
    for what, values in ("all anchors", np.array(anchors)), ("presence", np.array(presence)):
        print(f"scores of {what} over {len(values)} photographs: differ by {values.max():.4f} at most, {values.mean():.1e} in the mean")


if __name__ == "__main__":
    main()
