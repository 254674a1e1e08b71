"""Pictures that a person brings: good ones keep their pixels, bad ones are refused in one sentence."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

import lab
from lab.images import MAX_BYTES, Fit, decode
from lab.types import ImageError
from tests.support.refusals import refused

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
SIX = Image.fromarray(PIXELS)


def saved(picture, kind="PNG", **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def pixels(data):
    """Decoded, checked to be plain, as an array [H,W,3]."""
    picture = decode(data)
    assert picture.mode == "RGB"
    assert picture.info == {}
    assert not picture.getexif()
    return np.asarray(picture)


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def bomb(width, height, depth=1):
    """A small PNG that says it is enormous; its data are all zero and compress well."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0))
    packer = zlib.compressobj(9)
    line = bytes(1 + width // 8)
    data = b"".join(packer.compress(line) for _ in range(height)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("WEBP", {"lossless": True}), ("PNG", {"optimize": 1})],
)
def test_lossless_formats_keep_every_pixel(kind, options):
    assert np.array_equal(pixels(saved(SIX, kind, **options)), PIXELS)


def test_a_jpeg_is_read_as_pillow_reads_it():
    data = saved(SIX, "JPEG", quality=90)
    assert np.array_equal(pixels(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize(
    "text", [b"this is a text, whatever its name says\n" * 20, b"\x00" * 500, b"%PDF-1.4 ...", b"P"]
)
def test_what_is_no_picture(text):
    with refused(ImageError, "the file is not a picture that can be read: use PNG, JPEG, WEBP, GIF, BMP, TIFF"):
        decode(text)


def test_formats_that_nobody_sends_are_not_even_tried():
    """Pillow's EPS reader, for one, would start Ghostscript."""
    for kind in ("EPS", "PPM", "ICO", "TGA", "PCX"):
        with refused(ImageError, "is not a picture that can be read"):
            decode(saved(SIX, kind))


def test_no_bytes_at_all():
    with refused(ImageError, "the file is empty: choose a picture"):
        decode(b"")


def test_too_many_bytes():
    with refused(ImageError, "the file has 21 MB: at most 20 MB are read"):
        decode(bytes(MAX_BYTES + 2**20))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_jpeg(share):
    data = saved(Image.fromarray(np.tile(PIXELS, (20, 20, 1))), "JPEG")
    with refused(ImageError, "the picture is damaged or cut short: save it again and retry"):
        decode(data[: int(len(data) * share)])


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF", "BMP", "WEBP"])
def test_other_truncated_files(kind):
    data = saved(Image.fromarray(np.tile(PIXELS, (20, 20, 1))), kind)
    with refused(ImageError, "the picture is damaged or cut short"):
        decode(data[: int(len(data) * 0.6)])


def test_a_flipped_bit_in_a_png():
    data = bytearray(saved(SIX))
    data[len(data) // 2] ^= 1
    with refused(ImageError, "the picture is damaged or cut short"):
        decode(bytes(data))


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1)])
def test_a_single_pixel_is_too_little(size):
    with refused(ImageError, f"the picture is {size[0]} x {size[1]} pixels: at least 2 x 2 are needed"):
        decode(saved(Image.new("RGB", size, "red")))


def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch):
    data = bomb(20_000, 20_000)
    assert len(data) < 100_000
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("the pixels were unpacked"))
    with refused(ImageError, "the picture has", "at most 25,000,000"):
        decode(data)


def test_a_smaller_bomb_too(monkeypatch):
    data = bomb(6_000, 5_000)
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", lambda self: pytest.fail("the pixels were unpacked"))
    with refused(ImageError, "the picture has 6,000 x 5,000 pixels: at most 25,000,000 in all are read"):
        decode(data)


def test_cmyk():
    inks = np.zeros((2, 3, 4), np.uint8)
    inks[0, 0, 0], inks[0, 1, 1], inks[0, 2, 2], inks[1, 0, 3], inks[1, 1] = 255, 255, 255, 255, (0, 0, 0, 100)
    expected = [[[0, 255, 255], [255, 0, 255], [255, 255, 0]], [[0, 0, 0], [155, 155, 155], [255, 255, 255]]]
    assert np.array_equal(pixels(saved(Image.frombytes("CMYK", (3, 2), inks.tobytes()), "TIFF")), expected)


def test_a_cmyk_jpeg():
    picture = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    assert np.abs(pixels(saved(picture, "JPEG", quality=95)).astype(int) - [0, 255, 255]).max() <= 4


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_gray_is_scaled(kind):
    values = np.array([[0, 65535, 32768], [257, 128, 300]], np.uint16)
    expected = np.array([[0, 255, 128], [1, 0, 1]])
    assert np.array_equal(pixels(saved(Image.fromarray(values), kind)), np.repeat(expected[..., None], 3, 2))


def test_a_dark_16_bit_picture_stays_dark():
    values = np.array([[0, 255], [128, 200]], np.uint16)
    assert pixels(saved(Image.fromarray(values))).max() == 1


def test_32_bit_numbers_must_be_finite():
    values = np.array([[0, 255], [128, np.nan]], np.float32)
    with refused(ImageError, "the picture holds NaN or infinity"):
        decode(saved(Image.fromarray(values), "TIFF"))
    values[1, 1] = 64
    assert pixels(saved(Image.fromarray(values), "TIFF"))[..., 0].tolist() == [[0, 255], [128, 64]]


def test_black_and_white():
    picture = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert("1")
    assert pixels(saved(picture)).tolist() == [[[0] * 3, [255] * 3], [[255] * 3, [0] * 3]]


def test_a_palette_with_transparency_is_laid_on_white():
    picture = Image.frombytes("P", (2, 2), bytes([0, 1, 2, 1]))
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    expected = [[[255, 0, 0], [255, 255, 255]], [[0, 0, 255], [255, 255, 255]]]
    assert pixels(saved(picture, transparency=1)).tolist() == expected
    assert pixels(saved(picture)).tolist() == [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [0, 255, 0]]]


def test_half_transparent_colours_are_mixed_with_white():
    values = np.array([[[255, 0, 0, 255], [255, 0, 0, 0]], [[0, 0, 0, 51], [0, 0, 255, 204]]], np.uint8)
    expected = [[[255, 0, 0], [255, 255, 255]], [[204, 204, 204], [51, 51, 255]]]
    assert pixels(saved(Image.fromarray(values))).tolist() == expected


def test_gray_with_alpha_is_laid_on_white():
    values = np.array([[[100, 255], [100, 0]], [[0, 51], [255, 7]]], np.uint8)
    picture = Image.frombytes("LA", (2, 2), values.tobytes())
    assert pixels(saved(picture))[..., 0].tolist() == [[100, 255], [204, 255]]


def test_one_transparent_colour():
    assert pixels(saved(Image.new("RGB", (2, 2), (10, 20, 30)), transparency=(10, 20, 30))).min() == 255


def test_of_an_animation_the_first_frame_counts():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    for kind in ("GIF", "PNG"):
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
        assert Image.open(io.BytesIO(data)).n_frames == 3
        assert (pixels(data) == [255, 0, 0]).all()


TURNED = {
    1: PIXELS,
    2: PIXELS[:, ::-1],
    3: PIXELS[::-1, ::-1],
    4: PIXELS[::-1],
    5: PIXELS.transpose(1, 0, 2),
    6: np.rot90(PIXELS, -1),
    7: np.rot90(PIXELS, 2).transpose(1, 0, 2),
    8: np.rot90(PIXELS, 1),
}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_turned_camera_is_turned_back(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(pixels(saved(SIX, kind, exif=exif)), TURNED[orientation])


def test_a_turned_jpeg():
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = pixels(saved(SIX, "JPEG"))
    assert np.array_equal(pixels(saved(SIX, "JPEG", exif=exif)), np.rot90(upright, -1))


def test_damaged_metadata_do_not_matter():
    """Each byte of the EXIF block in turn; the picture itself is whole."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    data = saved(SIX, "JPEG", exif=exif)
    start, stop = data.index(b"Exif\0\0") + 6, data.index(b"a description")
    whole = np.asarray(Image.open(io.BytesIO(data)))
    for at in range(start, stop):
        for value in (0, 255, data[at] ^ 1):
            damaged = data[:at] + bytes([value]) + data[at + 1 :]
            assert sorted(pixels(damaged).shape) == sorted(whole.shape)


def test_a_tall_thin_picture_is_read_and_fitted():
    """Without a detour over a picture of 200 x 400,000 pixels."""
    stripe = np.zeros((4000, 2, 3), np.uint8)
    stripe[1990:2010] = (255, 128, 0)
    picture = decode(saved(Image.fromarray(stripe)))
    assert picture.size == (2, 4000)
    x = Fit(256, 224, "bicubic")(picture)
    assert x.shape == (1, 3, 224, 224)
    assert (x * 255 == torch.tensor([255, 128, 0]).view(1, 3, 1, 1)).all()
    assert Fit(28, 28, gray=True)(picture).shape == (1, 1, 28, 28)


class TestFit:
    def test_a_picture_of_the_right_size_keeps_every_pixel(self):
        x = Fit(6, 6)(SIX.crop((0, 0, 6, 6)))
        assert x.dtype == torch.float32
        assert torch.equal(x[0], torch.from_numpy(PIXELS[:, :6].copy()).permute(2, 0, 1) / 255)

    def test_the_middle_is_kept(self):
        assert torch.equal(Fit(6, 4)(SIX)[0], torch.from_numpy(PIXELS[1:5, 2:6].copy()).permute(2, 0, 1) / 255)

    def test_gray_is_luminance(self):
        x = Fit(6, 6, gray=True)(Image.new("RGB", (6, 6), (255, 0, 0)))
        assert x.shape == (1, 1, 6, 6)
        assert (x * 255 == 76).all()

    def test_dark_writing_on_paper_is_inverted_and_chalk_is_not(self):
        fit = Fit(8, 8, gray=True, bright_on_dark=True)
        paper = Image.new("L", (8, 8), 250)
        paper.putpixel((4, 4), 0)
        board = Image.new("L", (8, 8), 5)
        board.putpixel((4, 4), 255)
        assert fit(paper)[0, 0, 4, 4] == 1
        assert fit(board)[0, 0, 4, 4] == 1
        assert fit(paper).sum() < 3
        assert fit(board).sum() < 3

    def test_it_is_the_usual_preprocessing(self):
        from lab.models.torchvision import torchvision

        torchvision()
        from torchvision.transforms import InterpolationMode as Mode
        from torchvision.transforms import functional as F

        picture = lab.data.photographs.photographs()["coffee"].open()
        for name, mode in (("bilinear", Mode.BILINEAR), ("bicubic", Mode.BICUBIC)):
            usual = F.center_crop(F.resize(picture, 256, mode, antialias=True), 224)
            ours = Fit(256, 224, name)(picture)
            usual = torch.from_numpy(np.array(usual)).permute(2, 0, 1).unsqueeze(0) / 255
            assert (ours - usual).abs().mean() < 0.01

    def test_a_sliver_is_refused(self):
        with refused(ImageError, "the picture is 1 x 9 pixels: at least 2 x 2 are needed"):
            Fit(8, 8)(Image.new("RGB", (1, 9)))


@pytest.mark.parametrize(
    ("top", "kind", "brightest"),
    [
        (1.0, np.float32, 255),
        (255.0, np.float32, 255),
        (256.0, np.float32, 255),
        (300, np.int32, 255),
        (90, np.int32, 90),
    ],
)
def test_numbers_of_32_bits_are_as_bright_as_they_can_be_meant(top, kind, brightest):
    ramp = (np.linspace(0, 1, 64 * 64).reshape(64, 64) * top).astype(kind)
    assert pixels(saved(Image.fromarray(ramp), "TIFF")).max() == brightest


def test_negative_values_are_no_picture():
    with refused(ImageError, "the picture holds negative values, down to -5"):
        decode(saved(Image.fromarray(np.array([[-5.0, 1.0], [0.0, 1.0]], np.float32)), "TIFF"))
