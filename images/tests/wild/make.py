"""Makes the pictures of this folder: one small file for each way in which a real writer differs from what a decoder expects.

Needs Pillow, NumPy, tifffile, imagecodecs, and on the PATH cjpeg, jpegtran (libjpeg-turbo), tiffcp, tiffset (libtiff), cjxl,
djxl (libjxl) and ImageMagick's convert. Run it here: python make.py
"""

import base64
import hashlib
import io
import pathlib
import struct
import subprocess
import tempfile
import zlib

import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageCms, ImageFilter

HERE = pathlib.Path(__file__).parent
PHOTO = HERE / "../../../datasets/photos/references/images/scarlet_macaw_017.jpg"
ROWS = []


def photo(width, height):
    image = Image.open(PHOTO).convert("RGB")
    return image.resize((width, height), Image.Resampling.BICUBIC, box=(60, 40, 60 + 300, 40 + 300 * height // width))


def reference(image):
    """Keeps a picture once, whatever number of files shows it, and gives its name."""
    pixels = np.asarray(image.convert("RGB"))
    name = "reference/" + hashlib.sha256(pixels.tobytes() + bytes(str(pixels.shape), "ascii")).hexdigest()[:10] + ".png"
    if not (HERE / name).exists():
        Image.fromarray(pixels).save(HERE / name, optimize=True)
    return name


def shows(name, data, image, what, tolerance=0.6):
    (HERE / name).write_bytes(data)
    ROWS.append((name, reference(image), f"{tolerance}", what))


def refused(name, data, kind, words, what):
    (HERE / name).write_bytes(data)
    ROWS.append((name, kind, words, what))


def saved(image, format, **options):
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def tool(*command, data=b""):
    return subprocess.run([str(part) for part in command], input=data, capture_output=True, check=True).stdout


def as_pillow(data):
    return Image.open(io.BytesIO(data)).convert("RGB")


def segment(marker, body):
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def segments(data):
    """Splits a JPEG into its segments before the first scan, and the rest."""
    at, out = 2, []
    while data[at + 1] != 0xDA:
        size = 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
        out.append(data[at : at + size])
        at += size
    return out, data[at:]


def joined(parts, rest):
    return b"\xff\xd8" + b"".join(parts) + rest


def exif(value, kind=3, big=False, tag=0x112, count=1):
    order = ">" if big else "<"
    size = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}[kind]
    field = struct.pack(order + size, value).ljust(4, b"\0")
    head = b"MM\0*" if big else b"II*\0"
    return head + struct.pack(order + "IHHHI", 8, 1, tag, kind, count) + field + bytes(4)


def jpegs():
    # Smooth, so that pictures of reduced scale differ by what is wrong with them and not by the filter.
    big = photo(97, 71).filter(ImageFilter.GaussianBlur(2.5))
    ppm = saved(big, "PPM")
    grey = saved(big.convert("L"), "PPM")

    def cjpeg(*options, data=ppm):
        return tool("cjpeg", "-quality", 88, *options, data=data)

    def same(name, data, what, image=None, tolerance=0.6):
        shows(name, data, image or as_pillow(data), what, tolerance)

    samplings = "1x1 2x1 1x2 2x2 4x1 1x4 4x2 2x4 4x4 3x1 1x3 3x3 1x1,2x2,2x2 1x1,2x1,2x1 1x1,1x2,1x1 2x2,2x1,1x2 2x2,1x1,2x2 2x1,2x1,1x1 2x2,2x2,2x2"
    for sampling in samplings.split():
        # Ordinary pictures are decoded with another filter for chroma, which libjpeg-turbo's pixels differ from a little.
        tolerance = 1.5 if sampling in ("2x1", "1x2", "2x2") else 0.6
        try:
            data = cjpeg("-sample", sampling)
            decoded = as_pillow(data)
        except Exception:
            continue
        same(f"jpeg-sampling-{sampling.replace(',', '-')}.jpg", data, f"sampling {sampling.replace(',', ' ')}", decoded, tolerance)
        if "," not in sampling:
            same(f"jpeg-progressive-{sampling}.jpg", cjpeg("-sample", sampling, "-progressive"), f"progressive of sampling {sampling}", None, tolerance)
    for sampling in ("1x1", "2x2", "2x1"):
        same(f"jpeg-grey-{sampling}.jpg", cjpeg("-grayscale", "-sample", sampling, data=grey), f"grey whose sampling is said to be {sampling}")
    plain = cjpeg("-sample", "2x2")
    same("jpeg-optimised.jpg", cjpeg("-sample", "2x2", "-optimize"), "Huffman tables of its own", None, 1.5)
    for rows in (1, 3):
        same(f"jpeg-restart-rows-{rows}.jpg", cjpeg("-sample", "2x2", "-restart", rows), f"restart markers every {rows} rows of blocks", None, 1.5)
    for blocks in (1, 2, 7):
        same(f"jpeg-restart-blocks-{blocks}.jpg", cjpeg("-sample", "2x2", "-restart", f"{blocks}B"), f"restart markers every {blocks} blocks", None, 1.5)
        same(f"jpeg-progressive-restart-{blocks}.jpg", cjpeg("-sample", "2x2", "-progressive", "-restart", f"{blocks}B"), f"progressive with restart markers every {blocks} blocks", None, 1.5)
    scripts = {
        "single": "0;\n1;\n2;\n",
        "luma-first": "0;\n1 2;\n",
        "chroma-first": "2;\n1;\n0;\n",
        "spectral": "0 1 2: 0-0, 0, 0;\n0: 1-63, 0, 0;\n1: 1-63, 0, 0;\n2: 1-63, 0, 0;\n",
        "dc-apart": "0: 0-0, 0, 0;\n1: 0-0, 0, 0;\n2: 0-0, 0, 0;\n0: 1-63, 0, 0;\n1: 1-63, 0, 0;\n2: 1-63, 0, 0;\n",
        "refined": "0 1 2: 0-0, 0, 1;\n0: 1-5, 0, 2;\n2: 1-63, 0, 1;\n1: 1-63, 0, 1;\n0: 6-63, 0, 2;\n0: 1-63, 2, 1;\n0 1 2: 0-0, 1, 0;\n2: 1-63, 1, 0;\n1: 1-63, 1, 0;\n0: 1-63, 1, 0;\n",
    }
    for name, script in scripts.items():
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write(script)
            file.flush()
            for sampling in ("2x2", "1x1"):
                tolerance = 0.6 if name in ("single", "luma-first", "chroma-first") or sampling == "1x1" else 1.5
                same(f"jpeg-scans-{name}-{sampling}.jpg", cjpeg("-sample", sampling, "-scans", file.name), f"scans: {name} of sampling {sampling}", None, tolerance)
    same("jpeg-arithmetic.jpg", cjpeg("-arithmetic"), "arithmetic coding", as_pillow(plain))
    same("jpeg-arithmetic-progressive.jpg", cjpeg("-arithmetic", "-progressive", "-restart", "2B"), "progressive arithmetic coding with restarts", as_pillow(plain))

    # Colour transforms: with and without the markers, and by the names of the components.
    rgb = cjpeg("-rgb", "-sample", "1x1")
    same("jpeg-rgb-adobe.jpg", rgb, "red green and blue by Adobe's transform 0")
    parts, rest = segments(rgb)
    bare = [part for part in parts if part[1] != 0xEE and part[1] != 0xE0]
    same("jpeg-rgb-names.jpg", joined(bare, rest), "red green and blue by the names of the components")
    parts, rest = segments(plain)
    adobe = lambda transform: segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform]))
    without = [part for part in parts if part[1] != 0xE0]
    for transform in (0, 1, 2):
        data = joined([parts[0], adobe(transform)] + parts[1:], rest)
        same(f"jpeg-jfif-adobe-{transform}.jpg", data, f"JFIF and Adobe's transform {transform}", None, 1.5)
        data = joined([adobe(transform)] + without, rest)
        same(f"jpeg-adobe-{transform}.jpg", data, f"Adobe's transform {transform} without JFIF", None, 1.5)
    same("jpeg-no-markers.jpg", joined(without, rest), "neither JFIF nor Adobe", None, 1.5)
    for names in (b"\0\1\2", b"ABC", b"\1\2\1" and b"\x01\x22\x11"):
        def renamed(part):
            if part[1] not in (0xC0, 0xC2):
                return part
            part = bytearray(part)
            part[10], part[13], part[16] = names
            return bytes(part)
        scan = bytearray(rest)
        scan[5], scan[7], scan[9] = names
        for jfif in (True, False):
            data = joined([renamed(part) for part in (parts if jfif else without)], bytes(scan))
            same(f"jpeg-names-{names.hex()}-{'jfif' if jfif else 'bare'}.jpg", data, f"components named {names.hex()}", None, 1.5)

    # Inks.
    cmyk = big.convert("CMYK")
    # Black where all inks are, so that the fourth one is not empty.
    inks = np.asarray(cmyk).astype(int)
    black = inks[..., :3].min(-1)
    inks = np.concatenate([(inks[..., :3] - black[..., None]), black[..., None]], -1).clip(0, 255).astype(np.uint8)
    cmyk = Image.fromarray(inks, "CMYK")
    adobe_cmyk = saved(cmyk, "JPEG", quality=90)
    parts, rest = segments(adobe_cmyk)
    same("jpeg-cmyk.jpg", adobe_cmyk, "CMYK with Adobe's marker")
    same("jpeg-cmyk-no-marker.jpg", joined([part for part in parts if part[1] != 0xEE], rest), "CMYK without Adobe's marker")
    same("jpeg-cmyk-progressive.jpg", saved(cmyk, "JPEG", quality=90, progressive=True), "progressive CMYK")
    ycck = imagecodecs.jpeg8_encode(255 - inks, level=90, colorspace="CMYK", outcolorspace="YCCK")
    same("jpeg-ycck.jpg", ycck, "YCCK")
    parts, rest = segments(ycck)
    same("jpeg-ycck-no-marker.jpg", joined([part for part in parts if part[1] != 0xEE], rest), "YCCK without Adobe's marker: CMYK")

    # Tables, leading and trailing bytes, pictures within and behind.
    parts, rest = segments(plain)
    no_tables = [part for part in parts if part[1] != 0xC4]
    same("jpeg-no-tables.jpg", joined(no_tables, rest), "no Huffman tables as webcams leave them out", as_pillow(plain))
    same("jpeg-trailing.jpg", plain + b"\0" * 300 + b"trailing words", "bytes behind the end", None, 1.5)
    same("jpeg-trailing-jpeg.jpg", plain + cjpeg("-grayscale", data=grey), "a second picture behind it", as_pillow(plain), 1.5)
    same("jpeg-no-end.jpg", plain[:-2], "no end marker", as_pillow(plain), 1.5)
    same("jpeg-stray-bytes.jpg", joined(parts[:1], b"\0\0\0\0") + b"".join(parts[1:]) + rest, "stray bytes between segments", as_pillow(plain), 1.5)
    same("jpeg-fill-bytes.jpg", b"\xff\xd8" + b"\xff\xff\xff".join(parts) + b"\xff\xff" + rest, "fill bytes before markers", as_pillow(plain), 1.5)
    thumbnail = saved(big.resize((16, 12)), "JPEG")
    block = b"Exif\0\0II*\0" + struct.pack("<IHI", 8, 0, 14) + struct.pack("<HHHIIHHIII", 2, 0x201, 4, 1, 44, 0x202, 4, 1, len(thumbnail), 0) + thumbnail
    same("jpeg-thumbnail.jpg", joined([segment(0xE1, block)] + parts, rest), "a thumbnail before it", as_pillow(plain), 1.5)
    mpo = saved(big, "MPO", save_all=True, append_images=[big.convert("L").convert("RGB")], quality=88)
    same("jpeg-mpo.jpg", mpo, "two pictures in one file (MPO)", None, 1.5)
    same("jpeg-extended.jpg", plain.replace(b"\xff\xc0\0\x11", b"\xff\xc1\0\x11"), "extended sequential process of 8 bits", as_pillow(plain), 1.5)
    same("jpeg-quality-100.jpg", cjpeg("-quality", 100, "-sample", "1x1"), "the finest quantisation")
    same("jpeg-16-bit-quantisation.jpg", cjpeg("-quality", 1, "-sample", "1x1"), "quantisation tables of 16 bits")

    # Restart markers that are not what is announced: all others are there, so that what follows them is not where it belongs.
    restarted = cjpeg("-sample", "2x2", "-restart", "2B")
    marks = [at for at in range(restarted.index(b"\xff\xda"), len(restarted) - 1) if restarted[at] == 0xFF and restarted[at + 1] & 0xF8 == 0xD0]
    one, next_one = marks[len(marks) // 2 :][:2]
    announced = restarted.index(b"\xff\xdd")
    other = bytes([0xD0 | restarted[one + 1] + 3 & 7])
    same("jpeg-restart-number.jpg", restarted[: one + 1] + other + restarted[one + 2 :], "a restart marker of another number", as_pillow(restarted), 1.5)
    same("jpeg-restart-never.jpg", plain[: plain.index(b"\xff\xc0")] + b"\xff\xdd\0\4\xff\xff" + plain[plain.index(b"\xff\xc0") :], "an interval that is never reached", as_pillow(plain), 1.5)
    refused("jpeg-restart-missing.jpg", restarted[:one] + restarted[one + 2 :], "corrupt", "its restart markers are out of order", "a restart marker that is missing")
    refused("jpeg-restart-lost.jpg", restarted[:one] + restarted[next_one:], "corrupt", "its restart markers are out of order", "a piece between restart markers that is missing")
    refused("jpeg-restart-unannounced.jpg", restarted[:announced] + restarted[announced + 6 :], "corrupt", "its compressed data is damaged", "restart markers that nothing announces")

    refused("jpeg-height-behind.jpg", plain.replace(struct.pack(">HH", 71, 97), struct.pack(">HH", 0, 97), 1), "unsupported_feature", "a height that only follows the first scan", "the height in a segment behind the scan")
    twelve = bytearray(plain)
    frame = plain.index(b"\xff\xc0\0\x11")
    twelve[frame + 4] = 12
    twelve[frame + 1] = 0xC1
    refused("jpeg-12-bit.jpg", bytes(twelve), "unsupported_feature", "a depth of 12 bits a sample", "12 bits a sample")
    refused("jpeg-lossless.jpg", imagecodecs.ljpeg_encode(np.asarray(big.convert("L")).astype(np.uint8), bitspersample=8), "unsupported_feature", "lossless coding", "lossless process")
    refused("jpeg-cut.jpg", plain[: len(plain) // 2], "truncated", "is truncated", "half of a picture")
    refused("jpeg-arithmetic-cut.jpg", cjpeg("-arithmetic")[:-600], "truncated", "is truncated", "an arithmetic-coded picture without its end")
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(scripts["single"])
        file.flush()
        scans = cjpeg("-sample", "2x2", "-scans", file.name)
    refused("jpeg-scan-missing.jpg", scans[: scans.rindex(b"\xff\xda")] + b"\xff\xd9", "truncated", "is truncated", "a colour whose scan is missing")


def orientations():
    small = photo(65, 47)
    turned = small.transpose(Image.Transpose.ROTATE_270)
    plain = saved(small, "JPEG", quality=95, subsampling=0)
    shown = as_pillow(plain).transpose(Image.Transpose.ROTATE_270)
    parts, rest = segments(plain)

    def jpeg(block):
        return joined([segment(0xE1, block)] + parts, rest)

    for kind, name in ((1, "byte"), (3, "short"), (4, "long"), (9, "signed")):
        for big in (False, True):
            data = jpeg(b"Exif\0\0" + exif(6, kind, big))
            shows(f"turned-{name}-{'big' if big else 'little'}.jpg", data, shown, f"EXIF orientation of type {kind}", 1.5)
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    element = xmp.replace(b' tiff:Orientation="6"/', b"><tiff:Orientation>6</tiff:Orientation></rdf:Description")
    name = b"http://ns.adobe.com/xap/1.0/\0"
    shows("turned-xmp.jpg", jpeg(name + xmp), shown, "orientation in XMP alone", 1.5)
    shows("turned-xmp-element.jpg", jpeg(name + element), shown, "orientation in XMP as an element", 1.5)
    both = joined([segment(0xE1, b"Exif\0\0" + exif(1)), segment(0xE1, name + xmp)] + parts, rest)
    shows("turned-exif-and-xmp.jpg", both, as_pillow(plain), "EXIF and XMP that disagree: EXIF counts", 1.5)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    png = saved(small, "PNG")
    at = png.index(b"IDAT") - 4
    tail = png.rindex(b"IEND") - 4
    before = lambda data: png[:at] + data + png[at:]
    behind = lambda data: png[:tail] + data + png[tail:]
    block = exif(6, big=True)
    digits = lambda data: b"\nexif\n%8d\n" % len(data) + b"\n".join(base64.b16encode(data).lower()[i : i + 72] for i in range(0, 2 * len(data), 72)) + b"\n"
    for name, data in {
        "before": before(chunk(b"eXIf", block)),
        "behind": behind(chunk(b"eXIf", block)),
        "prefix": before(chunk(b"eXIf", b"Exif\0\0" + block)),
        "raw-text": before(chunk(b"tEXt", b"Raw profile type exif\0" + digits(b"Exif\0\0" + block))),
        "raw-deflated": behind(chunk(b"zTXt", b"Raw profile type APP1\0\0" + zlib.compress(digits(b"Exif\0\0" + block).replace(b"exif", b"generic")))),
        "xmp": before(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)),
        "xmp-deflated": before(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(element))),
    }.items():
        shows(f"turned-png-{name}.png", data, turned, f"PNG orientation: {name}")
    magick = tool("/usr/bin/convert", "-", "-define", "png:exclude-chunks=date,tIME", "png:-", data=jpeg(b"Exif\0\0" + exif(6)))
    shows("turned-png-imagemagick.png", magick, shown, "PNG orientation as ImageMagick 6 writes it", 1.5)

    def riff(chunks):
        body = b"WEBP" + b"".join(kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for kind, data in chunks)
        return b"RIFF" + struct.pack("<I", len(body)) + body

    webp = saved(small, "WEBP", lossless=True)
    picture = (b"VP8L", webp[20 : 20 + struct.unpack("<I", webp[16:20])[0]])
    canvas = lambda flags: (b"VP8X", struct.pack("<I", flags) + struct.pack("<I", 64)[:3] + struct.pack("<I", 46)[:3])
    for name, chunks in {
        "exif": [canvas(8), picture, (b"EXIF", block)],
        "prefix": [canvas(8), picture, (b"EXIF", b"Exif\0\0" + block)],
        "xmp": [canvas(4), picture, (b"XMP ", xmp)],
        "before": [canvas(8), (b"EXIF", exif(6, 4)), picture],
    }.items():
        shows(f"turned-webp-{name}.webp", riff(chunks), turned, f"WebP orientation: {name}")
    for kind in (3, 4):
        with tempfile.NamedTemporaryFile(suffix=".tif") as file:
            tifffile.imwrite(file.name, np.asarray(small), photometric="rgb", compression="deflate", extratags=[(274, kind, 1, 6, True)])
            shows(f"turned-tiff-{kind}.tif", pathlib.Path(file.name).read_bytes(), turned, f"TIFF orientation of type {kind}")


CURVE_OF_SRGB = b"para\0\0\0\0\0\3\0\0" + b"".join(struct.pack(">i", round(n * 65536)) for n in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))


def profile_of(space, connection, tags):
    """A small ICC profile of version 4."""
    text = lambda words: b"mluc\0\0\0\0\0\0\0\1\0\0\0\x0cenUS" + struct.pack(">II", 2 * len(words), 28) + words.encode("utf-16-be")
    white = b"XYZ \0\0\0\0" + struct.pack(">iii", 63190, 65536, 54061)
    tags = [(b"desc", text("of these tests")), (b"cprt", text("public domain")), (b"wtpt", white)] + tags
    table, data, at = b"", b"", 128 + 4 + 12 * len(tags)
    for name, body in tags:
        table += name + struct.pack(">II", at + len(data), len(body))
        data += body + bytes(-len(body) % 4)
    body = struct.pack(">I", len(tags)) + table + data
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    head = struct.pack(">I4sI4s4s4s", 128 + len(body), b"\0\0\0\0", 0x04200000, kind, space, connection)
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + body


def matrix_profile(primaries, curve):
    columns = [(name, b"XYZ \0\0\0\0" + struct.pack(">iii", *(round(n * 65536) for n in xyz))) for name, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries)]
    return profile_of(b"RGB ", b"XYZ ", columns + [(name, curve) for name in (b"rTRC", b"gTRC", b"bTRC")])


def ink_profile():
    """Four inks to L*a*b* by the corners of their cube."""
    corners = b""
    for c, m, y, k in np.ndindex(2, 2, 2, 2):
        light = 100 - 35 * c - 45 * m - 25 * y
        light = light * (1 - 0.9 * k)
        a, b = (-35 * c + 70 * m - 5 * y) * (1 - k), (-45 * c - 5 * m + 70 * y) * (1 - k)
        corners += struct.pack("BBB", round(max(light, 2) * 2.55), round(a + 128), round(b + 128))
    straight = bytes(range(256))
    lut = b"mft1\0\0\0\0\4\3\2\0" + struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536) + straight * 4 + corners + straight * 3
    return profile_of(b"CMYK", b"Lab ", [(b"A2B0", lut)])


def colours():
    small = photo(65, 47)
    to_srgb = lambda image, profile: ImageCms.profileToProfile(image, io.BytesIO(profile), ImageCms.createProfile("sRGB"), outputMode="RGB")
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    p3 = matrix_profile([(0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407)], CURVE_OF_SRGB)
    adobe = matrix_profile([(0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)], b"curv\0\0\0\0\0\0\0\1" + struct.pack(">H", 563) + b"\0\0")
    for name, profile in (("p3", p3), ("adobe", adobe)):
        seen = to_srgb(small, profile)
        shows(f"profile-{name}.png", saved(small, "PNG", icc_profile=profile), seen, f"profile {name} in a PNG", 1.2)
        shows(f"profile-{name}.webp", saved(small, "WEBP", lossless=True, icc_profile=profile), seen, f"profile {name} in a WebP", 1.2)
        shows(f"profile-{name}.tif", saved(small, "TIFF", compression="tiff_deflate", icc_profile=profile), seen, f"profile {name} in a TIFF", 1.2)
        jpeg = saved(small, "JPEG", quality=95, subsampling=0, icc_profile=profile)
        shows(f"profile-{name}.jpg", jpeg, to_srgb(as_pillow(jpeg), profile), f"profile {name} in a JPEG", 1.2)
    jpeg = saved(small, "JPEG", quality=95, subsampling=0, icc_profile=p3)
    parts, rest = segments(jpeg)
    profile = [part for part in parts if part[1] == 0xE2][0][18:]
    others = [part for part in parts if part[1] != 0xE2]
    halves = [segment(0xE2, b"ICC_PROFILE\0" + bytes([n, 2]) + piece) for n, piece in ((2, profile[200:]), (1, profile[:200]))]
    shows("profile-parts.jpg", joined(halves + others, rest), to_srgb(as_pillow(jpeg), p3), "a profile in two segments in the wrong order", 1.2)
    shows("profile-part-missing.jpg", joined(halves[:1] + others, rest), as_pillow(jpeg), "a profile of which half is missing", 0.6)
    shows("profile-broken.png", saved(small, "PNG", icc_profile=p3[:300]), small, "a broken profile", 0)
    shows("profile-srgb.png", saved(small, "PNG", icc_profile=srgb), small, "sRGB", 0)
    # Grey of gamma 1, and a grey picture with a profile for colours.
    grey = small.convert("L")
    linear = profile_of(b"GRAY", b"XYZ ", [(b"kTRC", b"curv" + bytes(8))])
    levels = np.asarray(grey).astype(float) / 255
    curved = np.where(levels <= 0.0031308, 12.92 * levels, 1.055 * levels ** (1 / 2.4) - 0.055)
    seen = Image.fromarray((curved * 255).round().astype(np.uint8))
    shows("profile-grey.png", saved(grey, "PNG", icc_profile=linear), seen, "grey of gamma 1", 1.2)
    jpeg = saved(grey, "JPEG", quality=95, icc_profile=linear)
    levels = np.asarray(as_pillow(jpeg).convert("L")).astype(float) / 255
    curved = np.where(levels <= 0.0031308, 12.92 * levels, 1.055 * levels ** (1 / 2.4) - 0.055)
    shows("profile-grey.jpg", jpeg, Image.fromarray((curved * 255).round().astype(np.uint8)), "grey of gamma 1 in a JPEG", 1.2)
    shows("profile-srgb-grey.png", saved(grey, "PNG", icc_profile=srgb), grey, "grey with a profile for colours", 0)
    # Inks whose yellow is darker than what they are without a profile.
    inks = ink_profile()
    cmyk = small.convert("CMYK")
    seen = to_srgb(cmyk, inks)
    assert np.abs(np.asarray(seen).astype(int) - np.asarray(cmyk.convert("RGB"))).mean() > 5
    shows("profile-inks.tif", saved(cmyk, "TIFF", compression="tiff_deflate", icc_profile=inks), seen, "inks with their profile in a TIFF", 1.5)
    jpeg = saved(cmyk, "JPEG", quality=95, icc_profile=inks)
    seen = to_srgb(Image.open(io.BytesIO(jpeg)), inks)
    shows("profile-inks.jpg", jpeg, seen, "inks with their profile in a JPEG", 1.5)
    shows("profile-of-inks.png", saved(small, "PNG", icc_profile=inks), small, "a profile of inks in a picture of colours", 0)


def tiffs():
    small = photo(65, 47)
    pixels = np.asarray(small)
    grey = np.asarray(small.convert("L"))

    def tiff(array, **options):
        with tempfile.NamedTemporaryFile(suffix=".tif") as file:
            tifffile.imwrite(file.name, array, metadata=None, **options)
            return pathlib.Path(file.name).read_bytes()

    def copied(data, *options):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "a.tif").write_bytes(data)
            tool("tiffcp", *options, f"{folder}/a.tif", f"{folder}/b.tif")
            return (pathlib.Path(folder) / "b.tif").read_bytes()

    def changed(data, **tags):
        """Sets single values of tags, named by their number, in the first directory of a little-endian file."""
        data = bytearray(data)
        at = struct.unpack("<I", data[4:8])[0]
        for number, value in tags.items():
            for index in range(struct.unpack("<H", data[at : at + 2])[0]):
                entry = at + 2 + 12 * index
                if struct.unpack("<H", data[entry : entry + 2])[0] == int(number[1:]):
                    data[entry + 8 : entry + 12] = struct.pack("<I", value)
                    break
            else:
                raise KeyError(number)
        return bytes(data)

    rgb = dict(photometric="rgb")
    plain = tiff(pixels, **rgb)
    shows("tiff-rgb.tif", plain, small, "plain strips", 0)
    shows("tiff-strips.tif", tiff(pixels, rowsperstrip=5, compression="deflate", **rgb), small, "many deflated strips", 0)
    shows("tiff-big-endian.tif", tiff(pixels, byteorder=">", compression="deflate", **rgb), small, "big-endian", 0)
    shows("tiff-big.tif", tiff(pixels, bigtiff=True, compression="deflate", **rgb), small, "BigTIFF", 0)
    shows("tiff-planar.tif", tiff(np.moveaxis(pixels, -1, 0), planarconfig="separate", rowsperstrip=11, compression="deflate", **rgb), small, "planes in strips", 0)
    shows("tiff-planar-tiles.tif", tiff(np.moveaxis(pixels, -1, 0), planarconfig="separate", tile=(16, 32), compression="deflate", **rgb), small, "planes in tiles", 0)
    for codec in ("lzw", "packbits", "deflate", "zstd"):
        for name, options in {"strips": {}, "tiles": dict(tile=(16, 16))}.items():
            shows(f"tiff-{codec}-{name}.tif", tiff(pixels, compression=codec, **options, **rgb), small, f"{codec} in {name}", 0)
        if codec != "packbits":
            shows(f"tiff-{codec}-predictor.tif", tiff(pixels, compression=codec, predictor=2, tile=(32, 16), **rgb), small, f"{codec} with a predictor in tiles", 0)
    deep = (pixels.astype(np.uint16) * 257)
    for order in "<>":
        name = "little" if order == "<" else "big"
        shows(f"tiff-16-bit-{name}.tif", tiff(deep, byteorder=order, compression="deflate", predictor=2, **rgb), small, f"16 bits a sample {name}-endian with a predictor", 0)
    shows("tiff-16-bit-planar.tif", tiff(np.moveaxis(deep, -1, 0), planarconfig="separate", compression="lzw", predictor=2, **rgb), small, "16 bits a sample in planes", 0)
    shows("tiff-float.tif", tiff((pixels / 255).astype(np.float32), compression="deflate", predictor=3, **rgb), small, "floating point with its predictor", 0)
    shows("tiff-float-plain.tif", tiff((pixels / 255).astype(np.float32)[:16, :24], byteorder=">", **rgb), small.crop((0, 0, 24, 16)), "floating point", 0)

    # Grey, of every depth and both senses.
    for bits in (1, 2, 4, 8, 16):
        most = (1 << bits) - 1
        levels = (grey.astype(int) * most + 127) // 255
        seen = Image.fromarray((levels * 255 // most).astype(np.uint8))
        rows = np.unpackbits(levels.astype(">u2").view(np.uint8).reshape(47, 65, 2), axis=-1)[..., 16 - bits :].reshape(47, -1)
        packed = np.packbits(rows, axis=-1) if bits < 8 else levels.astype("<u2" if bits == 16 else np.uint8).view(np.uint8)
        for sense, photometric in (("black", 1), ("white", 0)):
            data = (packed if photometric else ~packed).tobytes()
            entries = [(256, 3, 1, 65), (257, 3, 1, 47), (258, 3, 1, bits), (259, 3, 1, 1), (262, 3, 1, photometric), (273, 4, 1, 0), (277, 3, 1, 1), (278, 3, 1, 47), (279, 4, 1, len(data))]
            offset = 8 + 2 + 12 * len(entries) + 4
            body = b"".join(struct.pack("<HHII", tag, kind, count, offset if tag == 273 else value) for tag, kind, count, value in entries)
            shows(f"tiff-grey-{bits}-{sense}.tif", b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + bytes(4) + data, seen, f"grey of {bits} bits where {sense} is zero", 0.5)
    bilevel = small.convert("1")
    bits = tiff(np.asarray(bilevel), photometric="minisblack")
    for name, options in {"g3": ["g3"], "g3-2d": ["g3:2d"], "g3-fill": ["g3:1d:fill"], "g3-2d-fill": ["g3:2d:fill"], "g4": ["g4"]}.items():
        shows(f"tiff-fax-{name}.tif", copied(bits, "-c", *options), bilevel, f"fax {name}", 0)
        shows(f"tiff-fax-{name}-strips.tif", copied(bits, "-c", *options, "-r", "8"), bilevel, f"fax {name} in strips", 0)
        shows(f"tiff-fax-{name}-reversed.tif", copied(bits, "-c", *options, "-f", "lsb2msb"), bilevel, f"fax {name} with the bits the other way", 0)
    rle = saved(bilevel, "TIFF", compression="tiff_ccitt")
    shows("tiff-fax-rle.tif", rle, bilevel, "fax run lengths without end-of-line codes", 0)
    shows("tiff-fill-order.tif", copied(bits, "-c", "none", "-f", "lsb2msb"), bilevel, "plain bits the other way", 0)
    shows("tiff-fill-order-lzw.tif", copied(bits, "-c", "lzw", "-f", "lsb2msb"), bilevel, "LZW with the bits the other way", 0)

    # Palettes.
    for bits in (1, 2, 4, 8):
        palette = small.quantize(1 << bits)
        levels = np.asarray(palette)
        table = np.array(palette.getpalette()[: 3 << bits]).reshape(-1, 3)
        table = np.vstack([table, np.zeros(((1 << bits) - len(table), 3), int)])
        rows = np.unpackbits(levels[..., None], axis=-1)[..., 8 - bits :].reshape(47, -1)
        data = np.packbits(rows, axis=-1).tobytes()
        for wide in ((True, False) if bits == 4 else (True,)):
            map16 = (table.T * (257 if wide else 1)).astype("<u2").tobytes()
            entries = [(256, 3, 1, 65), (257, 3, 1, 47), (258, 3, 1, bits), (259, 3, 1, 1), (262, 3, 1, 3), (273, 4, 1, 0), (277, 3, 1, 1), (278, 3, 1, 47), (279, 4, 1, len(data)), (320, 3, 3 << bits, 1)]
            offset = 8 + 2 + 12 * len(entries) + 4
            place = {273: offset, 320: offset + len(data)}
            body = b"".join(struct.pack("<HHII", tag, kind, count, place.get(tag, value)) for tag, kind, count, value in entries)
            name = f"tiff-palette-{bits}{'' if wide else '-narrow'}.tif"
            shows(name, b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + bytes(4) + data + map16, palette.convert("RGB"), f"palette of {bits} bits", 0)

    # Alpha of all kinds, on white.
    alpha = np.tile(np.linspace(0, 255, 65).astype(np.uint8), (47, 1))
    rgba = np.dstack([pixels, alpha])
    on_white = lambda image: Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA")).convert("RGB")
    seen = on_white(Image.fromarray(rgba))
    shows("tiff-alpha.tif", tiff(rgba, extrasamples=["unassalpha"], compression="deflate", **rgb), seen, "alpha", 0)
    premultiplied = ((rgba[..., :3].astype(int) * alpha[..., None] + 127) // 255).astype(np.uint8)
    shows("tiff-alpha-premultiplied.tif", tiff(np.dstack([premultiplied, alpha]), extrasamples=["assocalpha"], compression="deflate", **rgb), seen, "premultiplied alpha", 0.6)
    shows("tiff-alpha-planar.tif", tiff(np.moveaxis(rgba, -1, 0), planarconfig="separate", extrasamples=["unassalpha"], compression="deflate", **rgb), seen, "alpha in a plane of its own", 0)
    shows("tiff-extra-unspecified.tif", tiff(rgba, extrasamples=["unspecified"], compression="deflate", **rgb), small, "a fourth sample that is no alpha", 0)
    shows("tiff-extra-two.tif", tiff(np.dstack([pixels, pixels[..., 0], alpha]), extrasamples=["unspecified", "unassalpha"], compression="deflate", **rgb), seen, "a fourth sample that is none and a fifth that is alpha", 0)
    shows("tiff-grey-alpha.tif", tiff(np.dstack([grey, alpha]), photometric="minisblack", extrasamples=["unassalpha"], planarconfig="contig", compression="deflate"), on_white(Image.fromarray(np.dstack([grey, alpha]), "LA")), "grey with alpha", 0)
    shows("tiff-white-alpha.tif", tiff(np.dstack([255 - grey, alpha]), photometric="miniswhite", extrasamples=["unassalpha"], planarconfig="contig", compression="deflate"), on_white(Image.fromarray(np.dstack([grey, alpha]), "LA")), "grey with alpha where white is zero", 0)

    # Inks, luma and chroma.
    inks = np.asarray(small.convert("CMYK"))
    shows("tiff-cmyk.tif", tiff(inks, photometric="separated", compression="deflate"), Image.fromarray(inks, "CMYK").convert("RGB"), "CMYK", 0.6)
    shows("tiff-cmyk-16-bit.tif", tiff(inks.astype(np.uint16) * 257, photometric="separated", compression="deflate"), Image.fromarray(inks, "CMYK").convert("RGB"), "CMYK of 16 bits", 0.6)
    shows("tiff-cmyk-planar.tif", tiff(np.moveaxis(inks, -1, 0), planarconfig="separate", photometric="separated", compression="lzw"), Image.fromarray(inks, "CMYK").convert("RGB"), "CMYK in planes", 0.6)
    for name, options in {"rgb": ["jpeg:r:90"], "luma": ["jpeg:90"]}.items():
        data = copied(plain, "-c", *options, "-r", "16")
        shows(f"tiff-jpeg-{name}.tif", data, as_pillow(data), f"JPEG strips of {name}", 0.6)
        data = copied(plain, "-c", *options, "-t", "-w", "32", "-l", "16")
        shows(f"tiff-jpeg-{name}-tiles.tif", data, as_pillow(data), f"JPEG tiles of {name}", 0.6)
    data = copied(tiff(grey, photometric="minisblack"), "-c", "jpeg:90")
    shows("tiff-jpeg-grey.tif", data, as_pillow(data), "JPEG strips of grey", 0.6)
    luma = np.asarray(small.convert("YCbCr"))
    for across, down in ((1, 1), (2, 1), (2, 2), (4, 1)):
        wide, high = -(-65 // across), -(-47 // down)
        padded = np.pad(luma, ((0, high * down - 47), (0, wide * across - 65), (0, 0)), mode="edge")
        blocks = padded.reshape(high, down, wide, across, 3)
        units = np.concatenate([blocks[..., 0].transpose(0, 2, 1, 3).reshape(high, wide, -1), blocks[..., 1:].mean((1, 3)).round().astype(np.uint8)], -1)
        data = units.astype(np.uint8).tobytes()
        entries = [(256, 3, 1, 65), (257, 3, 1, 47), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 6), (273, 4, 1, 0), (277, 3, 1, 3), (278, 3, 1, 47), (279, 4, 1, len(data)), (530, 3, 2, across | down << 16)]
        offset = 8 + 2 + 12 * len(entries) + 4
        body = b"".join(struct.pack("<HHII", tag, kind, count, offset if tag == 273 else value) for tag, kind, count, value in entries)
        chroma = np.repeat(np.repeat(units[..., -2:], down, 0), across, 1)[:47, :65]
        seen = Image.fromarray(np.dstack([luma[..., :1], chroma]), "YCbCr").convert("RGB")
        shows(f"tiff-luma-{across}x{down}.tif", b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + bytes(4) + data, seen, f"luma and chroma of sampling {across}x{down} without a JPEG", 1.0)
    with tempfile.NamedTemporaryFile(suffix=".tif") as file:
        with tifffile.TiffWriter(file.name) as writer:
            writer.write(pixels, photometric="rgb", compression="deflate")
            writer.write(grey, photometric="minisblack", compression="deflate")
        shows("tiff-pages.tif", pathlib.Path(file.name).read_bytes(), small, "two pages of which the first is shown", 0)

    # What is refused, by name.
    for name, data, words in (
        ("float-grey", tiff(grey.astype(np.float32), photometric="minisblack"), "floating point in a picture that is not of red green and blue"),
        ("float-64", tiff(pixels.astype(np.float64)[:8, :8], **rgb), "floating point of 64 bits"),
        ("32-bit", tiff(grey.astype(np.uint32)[:8, :8], photometric="minisblack"), "a depth of 32 bits a sample"),
        ("signed", tiff(grey.astype(np.int16)[:8, :8], photometric="minisblack"), "signed samples"),
        ("lab", changed(plain, t262=8), "CIE L*a*b* colour"),
        ("sensor", changed(plain, t262=32803), "the raw data of a camera's sensor"),
        ("old-jpeg", changed(plain, t259=6), "old-style JPEG compression"),
        ("lzma", tiff(pixels, compression="lzma", **rgb), "LZMA compression"),
        ("webp", changed(plain, t259=50001), "WebP compression"),
        ("unknown", changed(plain, t259=4711), "compression number 4711"),
        ("predictor", changed(tiff(pixels, compression="lzw", predictor=2, **rgb), t317=9), "predictor number 9"),
    ):
        refused(f"tiff-{name}.tif", data, "unsupported_feature", words, f"TIFF with {words}")
    refused("tiff-cut.tif", plain[: len(plain) // 2], "truncated", "is truncated", "half of a TIFF")


def bitmaps():
    small = photo(65, 47)
    pixels = np.asarray(small)

    def rows(array, bits):
        row = -(-65 * bits // 32) * 4
        flat = array[::-1].reshape(47, -1)
        return b"".join(line.tobytes().ljust(row, b"\0") for line in flat)

    bgr = rows(pixels[..., ::-1], 24)

    def bmp(header, data, table=b"", offset=None, reserved=0):
        start = 14 + len(header) + len(table)
        return b"BM" + struct.pack("<III", start + len(data), reserved, start if offset is None else offset) + header + table + data

    info = lambda size, bits, coding=0, colours=0, height=47: struct.pack("<IiiHHIIiiII", size, 65, height, 1, bits, coding, 0, 2835, 2835, colours, 0)
    plain = info(40, 24)
    shows("bmp-plain.bmp", bmp(plain, bgr), small, "plain", 0)
    shows("bmp-reserved.bmp", bmp(plain, bgr, reserved=0x12345678), small, "reserved words that are set", 0)
    shows("bmp-offset-0.bmp", bmp(plain, bgr, offset=0), small, "pixels at offset 0", 0)
    flipped = b"".join(line.tobytes().ljust(196, b"\0") for line in pixels[..., ::-1].reshape(47, -1))
    shows("bmp-top-down.bmp", bmp(info(40, 24, height=-47), flipped), small, "rows from the top", 0)
    core = struct.pack("<IHHHH", 12, 65, 47, 1, 24)
    shows("bmp-os2-1.bmp", bmp(core, bgr), small, "OS/2's first header", 0)
    shows("bmp-os2-1-offset-0.bmp", bmp(core, bgr, offset=0), small, "OS/2's first header and pixels at offset 0", 0)
    shows("bmp-os2-2.bmp", bmp(info(64, 24) + bytes(24), bgr), small, "OS/2's second header", 0)
    shows("bmp-os2-2-short.bmp", bmp(struct.pack("<IiiHH", 16, 65, 47, 1, 24), bgr), small, "OS/2's second header cut to 16 bytes", 0)
    palette = small.quantize(16)
    levels = np.asarray(palette)
    table = b"".join(bytes([b, g, r, 0]) for r, g, b in np.array(palette.getpalette()[:48]).reshape(-1, 3))
    packed = np.pad(levels, ((0, 0), (0, 1)))
    nibbles = (packed[:, ::2] << 4 | packed[:, 1::2]).astype(np.uint8)
    data4 = b"".join(line.tobytes().ljust(36, b"\0") for line in nibbles[::-1])
    for name, header, offset in (("plain", info(40, 4, colours=16), None), ("os2-2", info(64, 4, colours=16) + bytes(24), None), ("offset-0", info(40, 4), 0), ("os2-2-offset-0", info(64, 4) + bytes(24), 0)):
        shows(f"bmp-palette-{name}.bmp", bmp(header, data4, table, offset), palette.convert("RGB"), f"palette of 4 bits: {name}", 0)
    run8 = b"".join(b"".join(bytes([1, int(level)]) for level in line) + b"\0\0" for line in levels[::-1]) + b"\0\1"
    shows("bmp-rle8.bmp", bmp(info(40, 8, 1, 16), run8, table), palette.convert("RGB"), "run lengths of 8 bits", 0)

    index = lambda line: b"".join(bytes([1, int(level)]) for level in line)
    packed4 = lambda line: bytes([0, len(line)]) + bytes(int(a) << 4 | int(b) for a, b in zip(line[::2], list(line[1::2]) + [0])) + b"\0" * ((len(line) + 1) // 2 % 2)
    colours = np.array(palette.getpalette()[:48]).reshape(-1, 3).astype(np.uint8)
    skipped = levels.copy()
    skipped[:, :20] = 0
    ended = levels.copy()
    ended[:20] = 0
    short = levels.copy()
    short[:, 50:] = 0
    above = levels.copy()
    above[-4:-1] = 0
    for bits, coding, runs in ((8, 1, index), (4, 2, packed4)):
        for name, data, seen in (
            ("plain", b"".join(runs(line) + b"\0\0" for line in levels[::-1]) + b"\0\1", levels),
            ("no-end", b"".join(runs(line) + b"\0\0" for line in levels[::-1]), levels),
            ("skipped", b"".join(b"\0\2\x14\0" + runs(line[20:]) + b"\0\0" for line in levels[::-1]) + b"\0\1", skipped),
            ("rows-skipped", runs(levels[-1]) + b"\0\0\0\2\0\3" + b"".join(runs(line) + b"\0\0" for line in levels[-5::-1]) + b"\0\1", above),
            ("ended", b"".join(runs(line) + b"\0\0" for line in levels[:19:-1]) + b"\0\1", ended),
            ("short-rows", b"".join(runs(line[:50]) + b"\0\0" for line in levels[::-1]) + b"\0\1", short),
            ("long-rows", b"".join(runs(line) + b"\7\0\0\0" for line in levels[::-1]) + b"\0\1", levels),
        ):
            shows(f"bmp-runs-{bits}-{name}.bmp", bmp(info(40, bits, coding, 16), data, table), Image.fromarray(colours[seen]), f"run lengths of {bits} bits: {name}", 0)
        data = b"".join(runs(line) + b"\0\0" for line in levels) + b"\0\1"
        shows(f"bmp-runs-{bits}-from-top.bmp", bmp(info(40, bits, coding, 16, height=-47), data, table), Image.fromarray(colours[levels]), f"run lengths of {bits} bits with rows from the top", 0)
        refused(f"bmp-runs-{bits}-cut.bmp", bmp(info(40, bits, coding, 16), data[: len(data) // 2], table), "truncated", "is truncated", f"half of a BMP of run lengths of {bits} bits")
    shows("bmp-no-padding.bmp", bmp(plain, bgr[:-1]), small, "a last row without its padding", 0)
    no_planes = bytearray(bmp(plain, bgr))
    no_planes[26] = 0
    shows("bmp-no-planes.bmp", bytes(no_planes), small, "a number of planes that is zero", 0)

    # 32 bits: alpha that is alpha, alpha that is nothing, and none.
    alpha = np.tile(np.linspace(0, 255, 65).astype(np.uint8), (47, 1))
    bgra = lambda alpha: rows(np.dstack([pixels[..., ::-1], alpha]), 32)
    on_white = Image.alpha_composite(Image.new("RGBA", small.size, "white"), Image.fromarray(np.dstack([pixels, alpha]))).convert("RGB")
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    for size, name in ((56, "v3"), (108, "v4"), (124, "v5")):
        header = (info(size, 32, 3) + masks).ljust(size, b"\0")
        shows(f"bmp-{name}-alpha.bmp", bmp(header, bgra(alpha)), on_white, f"alpha in a header {name}", 0)
        shows(f"bmp-{name}-alpha-empty.bmp", bmp(header, bgra(alpha * 0)), small, f"alpha that is zero everywhere in a header {name}", 0)
    shows("bmp-32.bmp", bmp(info(40, 32), bgra(alpha)), small, "32 bits of which eight mean nothing", 0)
    shows("bmp-v2-masks.bmp", bmp((info(52, 32, 3) + masks[:12]), bgra(alpha * 0)), small, "masks without alpha in a header v2", 0)
    five = ((pixels[..., 0].astype(int) >> 3) << 10 | (pixels[..., 1].astype(int) >> 3) << 5 | pixels[..., 2] >> 3).astype("<u2")
    seen = Image.fromarray(((pixels >> 3).astype(int) * 255 // 31).astype(np.uint8))
    shows("bmp-16.bmp", bmp(info(40, 16), rows(five, 16)), seen, "16 bits", 1.0)
    six = ((pixels[..., 0].astype(int) >> 3) << 11 | (pixels[..., 1].astype(int) >> 2) << 5 | pixels[..., 2] >> 3).astype("<u2")
    parts = [(pixels[..., 0] >> 3).astype(int) * 255 // 31, (pixels[..., 1] >> 2).astype(int) * 255 // 63, (pixels[..., 2] >> 3).astype(int) * 255 // 31]
    seen = Image.fromarray(np.dstack(parts).astype(np.uint8))
    shows("bmp-16-masks.bmp", bmp(info(40, 16, 3), rows(six, 16), struct.pack("<III", 0xF800, 0x7E0, 0x1F)), seen, "16 bits with masks", 1.0)
    refused("bmp-mask-missing.bmp", bmp(info(40, 16, 3), rows(six, 16), struct.pack("<III", 0xF800, 0x7E0, 0)), "unsupported_feature", "colour masks that leave a colour out", "16 bits whose blue has no mask")
    ten = pixels.astype(np.int64) * 1023 // 255
    word = (ten[..., 0] << 20 | ten[..., 1] << 10 | ten[..., 2]).astype("<u4")
    shows("bmp-32-masks.bmp", bmp(info(40, 32, 3), rows(word, 32), struct.pack("<III", 0x3FF00000, 0xFFC00, 0x3FF)), small, "32 bits of which each colour has ten", 1.0)
    refused("bmp-jpeg.bmp", bmp(info(40, 0, 4), saved(small, "JPEG")), "unsupported_feature", "a JPEG within", "a JPEG within")
    refused("bmp-png.bmp", bmp(info(40, 0, 5), saved(small, "PNG")), "unsupported_feature", "a PNG within", "a PNG within")
    refused("bmp-cut.bmp", bmp(plain, bgr)[:3000], "truncated", "is truncated", "a third of a BMP")


def gifs():
    small = photo(65, 47).quantize(64)
    seen = small.convert("RGB")
    data = bytearray(saved(small, "GIF"))
    shows("gif-plain.gif", bytes(data), seen, "plain", 0)
    for width, height in ((40, 30), (65, 30), (0, 0), (1, 1)):
        data[6:10] = struct.pack("<HH", width, height)
        shows(f"gif-canvas-{width}x{height}.gif", bytes(data), seen, f"a canvas of {width} x {height}", 0)
    data[6:10] = struct.pack("<HH", 80, 60)
    canvas = Image.new("RGB", (80, 60), "white")
    canvas.paste(seen)
    shows("gif-canvas-80x60.gif", bytes(data), canvas, "a canvas that is larger than the frame", 0)
    at = data.index(b"\x2c")
    data[6:10] = struct.pack("<HH", 65, 47)
    data[at + 1 : at + 5] = struct.pack("<HH", 10, 5)
    canvas = Image.new("RGB", (75, 52), "white")
    canvas.paste(seen, (10, 5))
    shows("gif-frame-over-the-edge.gif", bytes(data), canvas, "a frame that runs over the edges", 0)
    plain = saved(small, "GIF")
    at = plain.index(b"\x2c")
    before = lambda blocks: plain[:at] + blocks + plain[at:]
    shows("gif-unknown-block.gif", before(b"\x21\x77\3odd\0"), seen, "a block of an unknown kind", 0)
    shows("gif-stray-zeros.gif", before(b"\0\0"), seen, "stray zeros before the frame", 0)
    shows("gif-no-trailer.gif", plain[:-1], seen, "no trailer", 0)
    shows("gif-no-terminator.gif", plain[:-2], seen, "data without the block that ends it", 0)
    colours = 3 << ((plain[10] & 7) + 1)
    table, frame = plain[13 : 13 + colours], plain[13 + colours :]
    bare = plain[:10] + bytes([plain[10] & 0x7F]) + plain[11:13] + frame
    levels = np.asarray(Image.open(io.BytesIO(plain)))
    shows("gif-no-colours.gif", bare, Image.fromarray(levels), "no table of colours: levels of grey", 0)
    few = plain[:10] + bytes([plain[10] & 0xF8 | 3]) + plain[11:13] + table[:48] + frame
    shown = np.concatenate([np.frombuffer(table[:48], np.uint8).reshape(-1, 3), np.zeros((240, 3), np.uint8)])
    shows("gif-few-colours.gif", few, Image.fromarray(shown[levels]), "indices of which no table has a colour: black", 0)
    local = frame.index(b"\x2c")
    own = frame[: local + 9] + bytes([0x80 | frame[local + 9] | plain[10] & 7]) + table + frame[local + 10 :]
    shows("gif-own-colours.gif", plain[:13] + bytes(255 - value for value in table) + own, seen, "a frame with colours of its own", 0)


def others():
    small = photo(65, 47)
    box = lambda brand: b"\0\0\0\x1cftyp" + brand + b"\0\0\0\0" + brand + b"mif1miaf" + b"\0\0\0\x08free"
    for name, data, words in (
        ("heic.heic", box(b"heic"), "an HEIC image"),
        ("heic-sequence.heic", box(b"hevc"), "an HEIC image"),
        ("avif.avif", box(b"avif"), "an AVIF image"),
        ("mif1.heif", b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "an HEIC image"),
        ("mif1.avif", b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "an AVIF image"),
        ("video.mp4", b"\0\0\0\x1cftypisom\0\0\2\0isomiso2mp41", "an MP4 video"),
        ("video.mov", b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "a QuickTime video"),
        ("video.webm", b"\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x1fB\x86\x81\x01", "a Matroska or WebM video"),
        ("video.avi", b"RIFF\x24\0\0\0AVI LIST", "an AVI video"),
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        ("drawing-gzip.svgz", __import__("gzip").compress(b"<svg xmlns='http://www.w3.org/2000/svg'/>", mtime=0), "gzip-compressed data"),
        ("icon.ico", saved(small.resize((16, 16)), "ICO"), "an icon (ICO)"),
        ("cursor.cur", b"\0\0\x02\0\x01\0\x10\x10\0\0\0\0\0\0\0\0\0\0\x16\0\0\0", "a cursor (CUR)"),
        ("layers.psd", b"8BPS\0\x01\0\0\0\0\0\0\0\x03\0\0\0\x10\0\0\0\x10\0\x08\0\x03", "a Photoshop document"),
        ("scan.dcm", bytes(128) + b"DICM\x02\0\0\0UL\x04\0", "a DICOM image"),
        ("jpeg2000.jp2", b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
        ("jpeg2000.j2k", b"\xff\x4f\xff\x51\0\x29\0\0", "a JPEG 2000 image"),
        ("jpegxr.jxr", b"II\xbc\x01\x20\0\0\0", "a JPEG XR image"),
        ("document.pdf", b"%PDF-1.7\n", "a PDF document"),
        ("document.ps", b"%!PS-Adobe-3.0 EPSF-3.0\n", "a PostScript document"),
        ("pixmap.ppm", b"P6\n2 2\n255\n" + bytes(12), "a PNM image"),
        ("light.exr", b"\x76\x2f\x31\x01\x02\0\0\0", "an OpenEXR image"),
        ("light.hdr", b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n", "a Radiance HDR image"),
        ("texture.dds", b"DDS \x7c\0\0\0", "a DDS texture"),
        ("gimp.xcf", b"gimp xcf v011\0", "a GIMP document"),
        ("raw.cr3", b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", "a camera's raw image"),
        ("raw.raf", b"FUJIFILMCCD-RAW 0201", "a camera's raw image"),
        ("quite.qoi", b"qoif\0\0\0\x02\0\0\0\x02\x03\0", "a QOI image"),
        ("meta.wmf", b"\xd7\xcd\xc6\x9a\0\0", "a Windows metafile"),
    ):
        refused(f"other-{name}", data, "unsupported_format", words, f"no picture that is decoded: {words}")
    plain = saved(small, "JPEG")
    refused("other-blank-before.jpg", b"\n\n" + plain, "unknown_format", "2 bytes and then a JPEG image", "a JPEG behind line breaks")
    refused("other-mark-before.png", b"\xef\xbb\xbf" + saved(small, "PNG"), "unknown_format", "3 bytes and then a PNG image", "a PNG behind a byte-order mark")


def declared_colours():
    """What a PNG says of its colours beside a profile: Pillow, by which models are trained, shows the samples as they are."""
    small = photo(65, 47)
    plain = saved(small, "PNG")
    behind = 8 + 25
    for name, kind, data, what in (
        ("gamma-1", b"gAMA", struct.pack(">I", 100000), "a gamma of 1"),
        ("chromaticities", b"cHRM", struct.pack(">8I", 31270, 32900, 73470, 26530, 15960, 84040, 3660, 1050), "the chromaticities of ProPhoto RGB"),
        ("srgb", b"sRGB", b"\0", "said to be sRGB"),
        ("cicp-p3", b"cICP", bytes([12, 13, 0, 1]), "Display P3 by code points"),
        ("cicp-pq", b"cICP", bytes([9, 16, 0, 1]), "BT.2100 PQ by code points"),
    ):
        chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        data = plain[:behind] + chunk + plain[behind:]
        shows(f"png-{name}.png", data, as_pillow(data), what, 0)


def incomplete():
    """What a writer left out or claims beside a picture that is whole."""
    small = photo(65, 47)
    plain = saved(small, "PNG")
    shows("png-no-end.png", plain[:-12], small, "no chunk that ends the file", 0)
    refused("png-cut.png", plain[: len(plain) // 2], "truncated", "is truncated", "half of a PNG")
    cut = zlib.compress(b"".join(b"\0" + line.tobytes() for line in np.asarray(small)))[:900]
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    refused("png-cut-between-chunks.png", plain[:33] + chunk(b"IDAT", cut), "truncated", "is truncated", "half of a PNG up to the end of a chunk")
    picture = saved(small, "WEBP", quality=80)
    picture = picture[12:]
    canvas = lambda flags: b"VP8X" + struct.pack("<I", 10) + bytes([flags, 0, 0, 0]) + struct.pack("<I", 64)[:3] + struct.pack("<I", 46)[:3]
    webp = lambda body: b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
    for flag, name in ((0x20, "profile"), (0x10, "alpha"), (8, "exif"), (4, "xmp")):
        data = webp(canvas(flag) + picture)
        shows(f"webp-no-{name}.webp", data, as_pillow(data), f"a WebP said to have what it has not: {name}", 1.0)


def jpegxls():
    small = photo(65, 47)
    pixels = np.asarray(small)
    smooth = small.filter(ImageFilter.GaussianBlur(1.5))
    grey = np.asarray(small.convert("L"))
    alpha = np.tile(np.linspace(0, 255, 65).astype(np.uint8), (47, 1))
    on_white = lambda image: Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA")).convert("RGB")
    p3 = matrix_profile([(0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407)], CURVE_OF_SRGB)
    to_srgb = lambda image: ImageCms.profileToProfile(image, io.BytesIO(p3), ImageCms.createProfile("sRGB"), outputMode="RGB")

    def cjxl(data, *options):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "a").write_bytes(data)
            tool("cjxl", f"{folder}/a", f"{folder}/b.jxl", "--quiet", *options)
            return (pathlib.Path(folder) / "b.jxl").read_bytes()

    def djxl(data):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "a.jxl").write_bytes(data)
            tool("djxl", f"{folder}/a.jxl", f"{folder}/b.png", "--quiet")
            return Image.open(io.BytesIO((pathlib.Path(folder) / "b.png").read_bytes()))

    png = lambda image, **options: saved(image, "PNG", **options)
    exact = ("-d", "0")
    shows("jpegxl-lossless.jxl", cjxl(png(small), *exact), small, "without loss", 0)
    shows("jpegxl-container.jxl", cjxl(png(small), *exact, "--container=1"), small, "in boxes", 0)
    shows("jpegxl-16-bit.jxl", cjxl(imagecodecs.png_encode(pixels.astype(np.uint16) * 257), *exact), small, "16 bits a sample", 0)
    light = np.where(pixels <= 10, pixels / 255 / 12.92, ((pixels / 255 + 0.055) / 1.055) ** 2.4)
    shows("jpegxl-float.jxl", imagecodecs.jpegxl_encode(light.astype(np.float32), lossless=True), small, "floating point of linear light", 1.0)
    shows("jpegxl-grey.jxl", cjxl(png(Image.fromarray(grey)), *exact), Image.fromarray(grey), "grey", 0)
    shows("jpegxl-grey-alpha.jxl", cjxl(png(Image.fromarray(np.dstack([grey, alpha]), "LA")), *exact), on_white(Image.fromarray(np.dstack([grey, alpha]), "LA")), "grey with alpha", 0)
    clear = Image.fromarray(np.dstack([pixels, alpha]))
    shows("jpegxl-alpha.jxl", cjxl(png(clear), *exact), on_white(clear), "alpha", 0)
    for name, options in {"lossy": (), "progressive": ("-p",), "modular": ("--modular=1",), "fast": ("-e", "3"), "careful": ("-e", "9"), "squeezed": ("--modular=1", "-R", "1"), "noise": ("--photon_noise=ISO400",)}.items():
        data = cjxl(png(smooth), "-d", "1", *options)
        shows(f"jpegxl-{name}.jxl", data, djxl(data).convert("RGB"), f"JPEG XL: {name}", 1.0 if name != "noise" else 2.0)
    jpeg = saved(smooth, "JPEG", quality=90)
    for name, options in {"kept": ("-j", "1"), "again": ("-j", "0", "-d", "1")}.items():
        data = cjxl(jpeg, *options)
        shows(f"jpegxl-of-jpeg-{name}.jxl", data, djxl(data).convert("RGB"), f"made of a JPEG: {name}", 1.5)
    turned = cjxl(joined([segment(0xE1, b"Exif\0\0" + exif(6))] + segments(jpeg)[0], segments(jpeg)[1]), "-j", "1")
    assert djxl(turned).size == (47, 65)
    shows("jpegxl-turned.jxl", turned, djxl(turned).convert("RGB"), "turned", 1.5)
    wide = cjxl(png(small, icc_profile=p3), *exact)
    shows("jpegxl-profile-p3.jxl", wide, to_srgb(small), "profile p3 without loss", 1.2)
    lossy = cjxl(png(smooth, icc_profile=p3), "-d", "0.5")
    shows("jpegxl-profile-p3-lossy.jxl", lossy, to_srgb(smooth), "profile p3 with loss", 2.0)
    ends = io.BytesIO()
    small.save(ends, "PNG", save_all=True, append_images=[small.transpose(Image.Transpose.ROTATE_180)] * 2, duration=100)
    shows("jpegxl-animation.jxl", cjxl(ends.getvalue(), *exact), small, "an animation of which the first frame is shown", 0)
    plain = cjxl(png(small), *exact)
    refused("jpegxl-cut.jxl", plain[: len(plain) // 2], "truncated", "is truncated", "half of a JPEG XL")
    refused("jpegxl-header-alone.jxl", plain[:8], "truncated", "is truncated", "eight bytes of a JPEG XL")
    broken = bytearray(plain)
    broken[20:40] = bytes(20)
    refused("jpegxl-broken.jxl", bytes(broken), "corrupt", "is corrupt", "a JPEG XL with zeros in its data")


if __name__ == "__main__":
    (HERE / "reference").mkdir(exist_ok=True)
    for old in [*HERE.glob("reference/*.png")]:
        old.unlink()
    for part in (jpegs, orientations, colours, tiffs, bitmaps, gifs, others, declared_colours, incomplete, jpegxls):
        part()
    names = [row[0] for row in ROWS]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)
    assert not any("," in field for row in ROWS for field in row), [row for row in ROWS if any("," in field for field in row)]
    text = "file,reference or error,tolerance or words,what\n" + "".join(",".join(row) + "\n" for row in ROWS)
    (HERE / "cases.csv").write_text(text)
