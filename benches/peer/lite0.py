"""EfficientNet-Lite0 as a Python program uses it: Pillow's pictures, onnxruntime's logits, ten categories' scores."""

import io

import numpy as np
import onnxruntime
from PIL import Image

# The ImageNet classes under each noun, as picsift takes them from WordNet.
CATEGORIES = {
    "dog": [*range(151, 269)],
    "cat": [*range(281, 286)],
    "bird": [*range(7, 25), *range(80, 101), *range(127, 147)],
    "fish": [*range(0, 7), *range(389, 398)],
    "snake": [*range(52, 69)],
    "frog": [*range(30, 33)],
    "dam": [525],
    "hammer": [587],
    "screwdriver": [784],
    "bridge": [821, 839, 888],
}
THRESHOLD = 0.2
# onnxruntime takes about as long for an image in batches of 1 to 32; small ones keep all threads busy to the end.
BATCH = 8
SHORT_SIDE, SIDE = 256, 224


def pixels(encoded):
    """The centre of the picture, resized and cropped in one step: what lies outside is never computed."""
    picture = Image.open(io.BytesIO(encoded)).convert("RGB")
    scale = SHORT_SIDE / min(picture.size)
    resized = [max(SHORT_SIDE, round(side * scale)) for side in picture.size]
    corner = [(side - SIDE) // 2 for side in resized]
    edges = [*corner, *(edge + SIDE for edge in corner)]
    box = [edge * picture.size[i % 2] / resized[i % 2] for i, edge in enumerate(edges)]
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box))


class Classifier:
    def __init__(self, model, threads):
        """`threads` compute one batch; 0 is onnxruntime's choice, all cores."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def columns(self, pictures):
        """The answers about some encoded pictures, `is_...` and `score_...` of each category."""
        batch = np.empty((len(pictures), 3, SIDE, SIDE), np.float32)
        for row, picture in zip(batch, pictures):
            row[:] = pixels(picture).transpose(2, 0, 1)
        batch -= 127
        batch /= 128
        (logits,) = self.session.run(None, {"pixels": batch})
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        columns = {}
        for name, classes in CATEGORIES.items():
            score = shares[:, classes].sum(axis=1)
            columns |= {f"is_{name}": score >= THRESHOLD, f"score_{name}": score}
        return columns
