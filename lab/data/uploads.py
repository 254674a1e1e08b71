"""Pictures that a person brings: checked before they are decoded, then made plain RGB."""

from __future__ import annotations

import io
import struct
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from lab.types import ImageError

MAX_BYTES = 20 * 2**20
MAX_PIXELS = 25_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")


def decode(data: bytes) -> Image.Image:
    """The picture in these bytes, upright, RGB, 8 bits a channel, without metadata.

    The header is read first, so that a small file of enormous dimensions is refused before anything is decompressed.
    EXIF orientation is applied and dropped; transparency is put on white; of an animation the first frame is taken;
    16-bit gray is scaled to 8 bits.

    Args:
        data: the content of the file. Its name is never used.

    Raises:
        ImageError: for what is no picture, damaged, too large, or too small.
    """
    if not data:
        raise ImageError("the file is empty: choose a picture")
    if len(data) > MAX_BYTES:
        raise ImageError(f"the file has {len(data) / 2**20:.0f} MB: at most {MAX_BYTES // 2**20} MB are read")
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures and odd metadata; the size is checked here, and metadata is not used
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as header:
                _check_size(header.size)
                header.verify()
            with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
                picture.load()
                return _plain(picture)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(f"the file is not a picture that can be read: use {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError:
        raise ImageError(f"the picture has far too many pixels: at most {MAX_PIXELS:,} are read") from None
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as e:
        raise ImageError("the picture is damaged or cut short: save it again and retry") from e


def _check_size(size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise ImageError(f"the picture has {width:,} x {height:,} pixels: at most {MAX_PIXELS:,} in all are read")
    if min(size) < 2:
        raise ImageError(f"the picture is {width} x {height} pixels: at least 2 x 2 are needed")


def _upright(picture: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except (struct.error, SyntaxError, KeyError, TypeError):
        return picture  # the orientation is unreadable; damaged metadata are no reason to refuse a good picture


def _plain(picture: Image.Image) -> Image.Image:
    picture = _upright(picture)
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.asarray(picture, dtype=np.float64)
        if not np.isfinite(values).all():
            raise ImageError("the picture holds NaN or infinity: save it with 8 bits a channel")
        top = 65535.0 if picture.mode.startswith("I;16") or values.max() > 255 else 255.0
        picture = Image.fromarray((values / top * 255).round().clip(0, 255).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        ground = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(ground, picture)
    plain = Image.new("RGB", picture.size)
    plain.paste(picture.convert("RGB"))
    return plain
