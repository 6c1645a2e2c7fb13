#!/usr/bin/env python3
"""picsift's built-in EfficientNet-Lite0 as an ONNX file, from the same weights.

    python benches/peer/lite0_onnx.py OUT.onnx

Batch norms are folded, everything is f32; `pixels` [n, 3, 224, 224] gives `logits` [n, 1000]. The file is written only
if its logits are those of the repository's goldens.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import TensorProto, checker, helper, numpy_helper
from safetensors.numpy import load_file

DATA = Path(__file__).resolve().parents[2] / "vision" / "data" / "efficientnet-lite0"
# Blocks, stride of the first one, expansion.
STAGES = [(1, 1, 1), (2, 2, 6), (2, 2, 6), (3, 2, 6), (3, 1, 6), (4, 2, 6), (1, 1, 6)]
EPSILON = 1e-3
TOLERANCE = 1e-3


class Graph:
    def __init__(self, weights):
        self.weights = {name: tensor.astype(np.float32) for name, tensor in weights.items()}
        self.nodes, self.constants = [], []

    def constant(self, name, array):
        self.constants.append(numpy_helper.from_array(np.asarray(array, np.float32), name))
        return name

    def node(self, kind, inputs, **attributes):
        output = f"{kind}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def conv(self, x, conv, norm, stride=1, relu6=True):
        """A convolution with `SAME` padding and the batch norm behind it."""
        filters = self.weights[f"{conv}.weight"]
        gain, bias, mean, variance = (
            self.weights[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        gain = gain / np.sqrt(variance + EPSILON)
        inputs = [x, self.constant(f"{conv}.w", filters * gain[:, None, None, None])]
        inputs.append(self.constant(f"{conv}.b", bias - mean * gain))
        groups = len(filters) if "depthwise" in conv else 1
        x = self.node("Conv", inputs, group=groups, strides=[stride, stride], auto_pad="SAME_UPPER")
        return self.node("Clip", [x, "zero", "six"]) if relu6 else x

    def block(self, x, name, stride, expand):
        y = self.conv(x, f"{name}._expand_conv", f"{name}._bn0") if expand > 1 else x
        y = self.conv(y, f"{name}._depthwise_conv", f"{name}._bn1", stride)
        return self.conv(y, f"{name}._project_conv", f"{name}._bn2", relu6=False)


def model():
    graph = Graph(load_file(DATA / "model.f16.safetensors"))
    graph.constant("zero", 0.0)
    graph.constant("six", 6.0)
    x = graph.conv("pixels", "_conv_stem", "_bn0", stride=2)
    blocks = [(stride if i == 0 else 1, expand, i > 0) for n, stride, expand in STAGES for i in range(n)]
    for number, (stride, expand, residual) in enumerate(blocks):
        y = graph.block(x, f"_blocks.{number}", stride, expand)
        x = graph.node("Add", [x, y]) if residual else y
    x = graph.conv(x, "_conv_head", "_bn1")
    x = graph.node("Flatten", [graph.node("GlobalAveragePool", [x])])
    head = [graph.constant(f"fc.{part}", graph.weights[f"_fc.{part}"]) for part in ("weight", "bias")]
    graph.nodes.append(helper.make_node("Gemm", [x, *head], ["logits"], transB=1))

    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, 224, 224])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 1000])
    whole = helper.make_graph(graph.nodes, "efficientnet-lite0", [pixels], [logits], graph.constants)
    built = helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(built, full_check=True)
    return built


def largest_difference(encoded):
    """From the goldens' logits, of all classes and pictures."""
    goldens = load_file(DATA / "goldens.safetensors")
    names = [name.removeprefix("input.") for name in goldens if name.startswith("input.")]
    session = onnxruntime.InferenceSession(encoded, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"pixels": np.stack([goldens[f"input.{name}"] for name in names])})
    return np.abs(logits - np.stack([goldens[f"logits.{name}"] for name in names])).max()


def main():
    encoded = model().SerializeToString()
    difference = largest_difference(encoded)
    if not difference <= TOLERANCE:
        sys.exit(f"the ONNX model's logits differ from the goldens by {difference:.2g}, more than {TOLERANCE}")
    Path(sys.argv[1]).write_bytes(encoded)
    print(f"{sys.argv[1]}: logits within {difference:.1g} of the goldens")


if __name__ == "__main__":
    main()
