"""From a picture to the crops that the vision encoder sees: the whole picture, then its tiles row by row."""

import math

import numpy as np
from PIL import Image


def tiling(width, height, vision):
    """(rows, columns) of the local crops: at most `max_crops`, about as many as the picture's shape and size ask for.

    Two margins of a side belong to no tile of their own; the rest of it is cut into windows.
    """
    window, most = vision.window, vision.max_crops
    inner_w, inner_h = width - 2 * vision.margin, height - 2 * vision.margin
    if min(inner_w, inner_h) <= window:
        return 1, 1
    # Enough to show the picture at its own resolution.
    rows, cols = math.ceil(inner_h / window), math.ceil(inner_w / window)
    if rows * cols > most:
        shrink = math.sqrt(most / (rows * cols))
        return max(1, math.floor(rows * shrink)), max(1, math.floor(cols * shrink))
    # Room for more: enlarge, in the picture's proportions.
    rows = max(rows, math.floor(math.sqrt(most * inner_h / inner_w)))
    cols = max(cols, math.floor(math.sqrt(most * inner_w / inner_h)))
    if rows * cols > most:
        if inner_w > inner_h:
            cols = most // rows
        else:
            rows = most // cols
    return rows, cols


def make_crops(picture, vision):
    """`[1 + rows * cols, side, side, 3]` bytes and `(rows, cols)`."""
    side, window = vision.crop_size, vision.window
    rows, cols = tiling(picture.width, picture.height, vision)
    canvas = (cols * window + 2 * vision.margin, rows * window + 2 * vision.margin)
    local = np.asarray(picture.resize(canvas, Image.Resampling.LANCZOS))
    crops = [np.asarray(picture.resize((side, side), Image.Resampling.LANCZOS))]
    for top in range(0, rows * window, window):
        for left in range(0, cols * window, window):
            crops.append(local[top : top + side, left : left + side])
    return np.stack(crops), (rows, cols)
