"""Makes the images of this folder (Pillow 13, NumPy, imagecodecs): python make.py"""

import numpy as np
from imagecodecs import jpeg8_encode, jpegxl_encode
from PIL import Image

# Four flat quadrants survive every lossy codec: red, green / blue, yellow-grey.
COLOURS = [[(200, 30, 40), (20, 180, 60)], [(30, 50, 190), (190, 180, 120)]]


def quadrants(width=48, height=32):
    pixels = np.zeros((height, width, 3), np.uint8)
    for row in range(2):
        for col in range(2):
            top, left = row * height // 2, col * width // 2
            pixels[top : top + height // 2, left : left + width // 2] = COLOURS[row][col]
    return pixels


def texture(width, height):
    y, x = np.mgrid[0:height, 0:width].astype(float)
    channels = [127 + 120 * np.sin(x / a + y / b) * np.cos(y / c) for a, b, c in ((3, 7, 5), (9, 2.5, 11), (17, 4, 2))]
    return np.clip(np.stack(channels, -1), 0, 255).astype(np.uint8)


flat = Image.fromarray(quadrants())
flat.save("progressive.jpg", quality=92, progressive=True)
flat.save("subsampled.jpg", quality=92, subsampling="4:2:0")

# CMYK: Pillow writes the Adobe segment and inverted samples; readers take them for inverted without that segment too.
cmyk = np.concatenate([255 - quadrants(), np.zeros((32, 48, 1), np.uint8)], -1)
Image.fromarray(cmyk, "CMYK").save("cmyk_adobe.jpg", quality=95)
with open("cmyk_plain.jpg", "wb") as out:
    data = jpeg8_encode(255 - cmyk, level=95, colorspace="CMYK", outcolorspace="CMYK")
    at = data.find(b"\xff\xee")
    if at >= 0:
        data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    out.write(data)
with open("ycck.jpg", "wb") as out:
    out.write(jpeg8_encode(255 - cmyk, level=95, colorspace="CMYK", outcolorspace="YCCK"))

# Left half transparent, right half as it is.
alpha = np.full((32, 48, 1), 255, np.uint8)
alpha[:, :24] = 0
rgba = Image.fromarray(np.concatenate([quadrants(), alpha], -1))
rgba.save("alpha.webp", quality=95)
flat.save("lossy.webp", quality=95)
red, blue = Image.new("RGB", (20, 10), (255, 0, 0)), Image.new("RGB", (20, 10), (0, 0, 255))
red.save("animated.webp", save_all=True, append_images=[blue], duration=100, lossless=True)
red.save("animated.gif", save_all=True, append_images=[blue], duration=100)

palette = Image.new("P", (4, 2))
palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
palette.putdata([0, 1, 2, 0, 0, 1, 2, 0])
palette.save("palette_transparent.png", transparency=1)
palette.save("transparent.gif", transparency=1)
Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert("1").save("one_bit.png")
grey = Image.fromarray(np.array([[0, 100], [200, 255]], np.uint8))
grey.save("grey_transparent.png", transparency=100)
exif = Image.Exif()
exif[0x0112] = 6
Image.fromarray(quadrants()).save("oriented.png", exif=exif)
Image.fromarray(quadrants()).save("oriented.webp", exif=exif, lossless=True)
Image.fromarray(quadrants()).save("oriented.tiff", exif=exif, compression="tiff_deflate")

# Resampling: the crop as Pillow makes it (short side 64, crop 56).
for name, (width, height) in {"wide": (151, 100), "tall": (90, 133), "small": (40, 31)}.items():
    image = Image.fromarray(texture(width, height))
    image.save(f"{name}.png")
    short = min(width, height)
    target = (round(64 * width / short), round(64 * height / short))
    left, top = (target[0] - 56) // 2, (target[1] - 56) // 2
    crop = image.resize(target, Image.Resampling.BICUBIC).crop((left, top, left + 56, top + 56))
    crop.save(f"{name}_crop.png")

# Large pictures of one colour: small files that take a decoder time and memory.
for name, array, options in (
    ("flat", np.full((2000, 3000, 3), 77, np.uint8), dict(distance=3, effort=3)),
    ("deep", np.full((2000, 2000, 4), 20000, np.uint16), dict(lossless=True, effort=2)),
):
    with open(f"{name}.jxl", "wb") as file:
        file.write(jpegxl_encode(array, **options))
