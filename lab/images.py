"""Images: labelled batches, pictures and files, and the way between them and tensors."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from lab.types import ImageError

MAX_BYTES = 20 * 2**20
MAX_PIXELS = 25_000_000
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")


@dataclass(frozen=True)
class Images:
    """Labelled images.

    Attributes:
        x: float32 [N,C,H,W] in [0,1].
        y: int64 [N].
        ids: one name per image, stable across versions.

    Example:
        >>> import lab
        >>> digits = lab.load_data("mnist").rows([3, 5])
        >>> digits.x.shape, digits.y.tolist(), digits.ids
        (torch.Size([2, 1, 28, 28]), [0, 9], ['mnist-8003', 'mnist-8005'])
    """

    x: Tensor
    y: Tensor
    ids: Sequence[str]

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, index: Sequence[int] | slice) -> Images:
        """Some of the images."""
        chosen = range(len(self))[index] if isinstance(index, slice) else index
        return Images(self.x[list(chosen)], self.y[list(chosen)], [self.ids[i] for i in chosen])


def from_bytes(x: Tensor) -> Tensor:
    """Bytes [N,H,W] or [N,C,H,W] -> images float32 [N,C,H,W] in [0,1]."""
    x = x.unsqueeze(1) if x.dim() == 3 else x
    return x.to(torch.float32) / 255


@dataclass(frozen=True)
class Fit:
    """How a picture becomes the model's input, as in the model's training.

    Attributes:
        resize: the shorter side is scaled to this many pixels.
        crop: then the central square of this side is kept.
        interpolation: how it is scaled (antialiased).
        gray: colours are reduced to luminance.
        bright_on_dark: the classes are drawn bright on black; pictures with a bright border are inverted.
    """

    resize: int
    crop: int
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    gray: bool = False
    bright_on_dark: bool = False

    def __call__(self, picture: Image.Image) -> Tensor:
        """The model's input float32 [1,C,H,W] in [0,1] from a picture of any size.

        Raises:
            ImageError: for a picture so narrow that nothing is left of it.
        """
        picture = picture.convert("L" if self.gray else "RGB")
        width, height = picture.size
        if min(width, height) < 2:
            raise ImageError(f"the picture is {width} x {height} pixels: at least 2 x 2 are needed")
        scale = self.resize / min(width, height)
        size = max(self.crop, round(width * scale)), max(self.crop, round(height * scale))
        left, top = (size[0] - self.crop) // 2, (size[1] - self.crop) // 2
        # only the part of the original that is kept is scaled, however long the picture is
        box = (left / scale, top / scale, (left + self.crop) / scale, (top + self.crop) / scale)
        box = (box[0], box[1], min(box[2], width), min(box[3], height))
        method = Image.Resampling.BICUBIC if self.interpolation == "bicubic" else Image.Resampling.BILINEAR
        fitted = picture.resize((self.crop, self.crop), method, box=box)
        channels = len(fitted.getbands())
        x = torch.frombuffer(bytearray(fitted.tobytes()), dtype=torch.uint8).view(self.crop, self.crop, channels)
        x = x.permute(2, 0, 1).unsqueeze(0).contiguous().float() / 255
        if self.bright_on_dark and _border(x) > 0.5:
            x = 1 - x
        return x

    def describe(self) -> str:
        """The steps, for a person."""
        parts = [f"shorter side scaled to {self.resize}", f"central {self.crop} x {self.crop} kept"]
        if self.gray:
            parts.append("reduced to gray")
        if self.bright_on_dark:
            parts.append("inverted where its border is bright")
        return ", ".join(parts)


def _border(x: Tensor) -> float:
    edge = torch.cat([x[..., 0, :], x[..., -1, :], x[..., :, 0], x[..., :, -1]], dim=-1)
    return edge.mean().item()


def bytes_of(x: Tensor) -> Tensor:
    """An image [C,H,W] in [0,1] as the bytes [H,W,C] that its PNG holds."""
    return (x.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0)


def to_picture(x: Tensor) -> Image.Image:
    """An image [C,H,W] in [0,1] as an 8-bit picture, each value rounded to the nearest of 256."""
    values = bytes_of(x).numpy()
    return Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)


def from_picture(picture: Image.Image) -> Tensor:
    """An 8-bit picture as an image [1,C,H,W] in [0,1], as it is: not scaled, not cropped."""
    data = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return data.view(picture.height, picture.width, -1).permute(2, 0, 1).unsqueeze(0).float() / 255


def encode(x: Tensor, kind: str = "PNG", **options: int) -> bytes:
    """An image [C,H,W] as the bytes of a file."""
    file = io.BytesIO()
    to_picture(x).save(file, kind, **options)
    return file.getvalue()


def decode(data: bytes) -> Image.Image:
    """The picture in these bytes, upright, RGB, 8 bits a channel, without metadata.

    The header is read first, so that a small file of enormous dimensions is refused before anything is decompressed.
    EXIF orientation is applied and dropped; transparency is put on white; of an animation the first frame is taken;
    16-bit gray is scaled to 8 bits. Numbers of 32 bits do not say what is white: it is 1 where they are floating point
    and none is above 1, 255 where none is above 255, else the largest of them.

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


def _white(mode: str, kind: str | None, values: np.ndarray) -> float:
    """The value that is white in a picture of more than 8 bits, by its mode and the kind of its file.

    Raises:
        ImageError: for values that are no brightness.
    """
    if not np.isfinite(values).all():
        raise ImageError("the picture holds NaN or infinity: save it with 8 bits a channel")
    most = float(values.max())
    if float(values.min()) < -1e-3 * max(1.0, most):
        raise ImageError(f"the picture holds negative values, down to {values.min():g}: save it with 8 bits a channel")
    if mode.startswith("I;16") or kind == "PNG":
        return 65535.0
    if mode == "F" and most <= 1:
        return 1.0
    return max(255.0, most)


def _plain(picture: Image.Image) -> Image.Image:
    kind, picture = picture.format, _upright(picture)
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.asarray(picture, dtype=np.float64)
        top = _white(picture.mode, kind, values)
        picture = Image.fromarray((values / top * 255).round().clip(0, 255).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        ground = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(ground, picture)
    plain = Image.new("RGB", picture.size)
    plain.paste(picture.convert("RGB"))
    return plain
