"""Rebuild ``assets/images/`` from the packages that the pictures come from.

Run ``python scripts/build_images.py``. It needs the network, pip, apt-get and dpkg, and Pillow. The downloads go to a
temporary folder. It writes one PNG a picture, ``index.json`` (their order, titles, ImageNet classes and provenance)
and ``LICENSES.md`` (the same, to read).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from PIL import Image, ImageChops, ImageFilter, ImageOps

ASSETS = Path(__file__).resolve().parent.parent / "assets" / "images"
SKIMAGE_VERSION = "0.26.0"
STAMPS_VERSION = "2022.06.04-1"
SKIMAGE = f"Python package scikit-image {SKIMAGE_VERSION}"
STAMPS = f"Debian package tuxpaint-stamps-default {STAMPS_VERSION}"

SIDE = 320
"""The shorter side of a picture is at most this many pixels; small pictures are never enlarged."""

MARGIN = 1 / 16
"""White border on each side of a stamp, as a share of the square: the usual 7/8 centre crop keeps the whole object."""

FAINT = 16
"""Stamp pixels of at most this opacity (of 255) do not count as visible."""

SECOND_LARGEST = 7
"""Rank, from 0, of the second largest of the nine pixels of a 3 x 3 neighbourhood."""

GPL = "GPL-2.0-or-later"


@dataclass(frozen=True)
class Picture:
    """One picture: what it shows and where it comes from.

    Attributes:
        id: Short name; the picture becomes ``<id>.png``.
        title: What a person sees in it.
        label: The ImageNet class (0 to 999) that names it best, whatever models say; None where no class does: there is
            none for an astronaut, a launch vehicle or a snowy owl.
        source: The package that carries it.
        origin: Path of the original inside the package.
        author: Who made it, as the package says, or None where it does not.
        licence: Its own terms where the package records them, else those of the package.
        note: Remark for ``LICENSES.md``.
    """

    id: str
    title: str
    label: int | None
    source: str
    origin: str
    author: str | None
    licence: str
    note: str = ""

    @property
    def file(self) -> str:
        """Name of the PNG file."""
        return f"{self.id}.png"


def _photo(id: str, title: str, label: int | None, file: str, author: str, licence: str, note: str) -> Picture:
    """A photograph of scikit-image's sample data."""
    return Picture(id, title, label, SKIMAGE, f"skimage/data/{file}", author, licence, note)


def _stamp(
    id: str, title: str, label: int | None, path: str, author: str | None, licence: str = GPL, note: str = ""
) -> Picture:
    """A stamp of Tux Paint: a cut-out with transparency."""
    return Picture(id, title, label, STAMPS, f"usr/share/tuxpaint/stamps/{path}.png", author, licence, note)


ZYTKIEWICZ = "Stas Zytkiewicz (Childsplay), adapted by Pere Pujal i Carabantes"
PUJAL = "Pere Pujal i Carabantes"
KENDRICK = "Bill Kendrick"
ZOO = "Taken at the San Francisco Zoo."

PICTURES: tuple[Picture, ...] = (
    _photo("cat", "Tabby cat", 285, "chelsea.png", "Stéfan van der Walt", "CC0-1.0", "Chelsea."),
    _photo(
        "coffee", "Cup of coffee", 967, "coffee.png", "Rachel Michetti", "CC0-1.0", "Courtesy of Pikolo Espresso Bar."
    ),
    _photo(
        "astronaut",
        "Astronaut",
        None,
        "astronaut.png",
        "NASA",
        "Public domain",
        "Eileen Collins; NASA Great Images database, <https://flic.kr/p/r9qvLn>.",
    ),
    _photo(
        "rocket",
        "Rocket on its pad",
        None,
        "rocket.jpg",
        "SpaceX",
        "Public domain",
        "Falcon 9 carrying DSCOVR; <https://www.flickr.com/photos/spacexphotos/16511594820/>.",
    ),
    _stamp("squirrel", "Squirrel", 335, "animals/mammals/rodents/squirrel", ZYTKIEWICZ),
    _stamp("tiger", "Sumatran tiger", 292, "animals/mammals/cats/tiger_sumatran", KENDRICK, note=ZOO),
    _stamp("zebra", "Zebra", 340, "animals/mammals/equines/zebra", ZYTKIEWICZ),
    _stamp("camel", "Camel", 354, "animals/mammals/camel/camel", ZYTKIEWICZ),
    _stamp("bear", "Brown bear", 294, "animals/mammals/bears/european-bear", PUJAL),
    _stamp("gorilla", "Gorilla", 366, "animals/mammals/apes/gorilla", ZYTKIEWICZ),
    _stamp(
        "sheep",
        "Sheep",
        348,
        "animals/mammals/bovines/sheep",
        "Caroline Ford",
        "GFDL, CC-BY-SA or GPL",
        "Taken at Mudchute Park and Farm, London; under any of the three licences.",
    ),
    _stamp(
        "otter",
        "Otter",
        360,
        "animals/mammals/aquatic/otter",
        "Factumquintus, prepared by Pere Pujal i Carabantes",
        "GFDL-1.2-or-later",
        "Wikimedia Commons, Fischotter_Lutra_lutra1.jpg; no invariant sections, no cover texts.",
    ),
    _stamp("sea_lion", "Sea lion", 150, "animals/mammals/aquatic/sea_lion", ZYTKIEWICZ),
    _stamp("flamingo", "Flamingo", 130, "animals/birds/pink_flamingo", KENDRICK, note=ZOO),
    _stamp("peacock", "Peacock", 84, "animals/birds/peacock", KENDRICK, note=ZOO),
    _stamp("duck", "Mallard drake", 97, "animals/birds/duck", ZYTKIEWICZ),
    _stamp("owl", "Snowy owl", None, "animals/birds/owl", ZYTKIEWICZ),
    _stamp("mantis", "Praying mantis", 315, "animals/insects/mantis", PUJAL),
    _stamp(
        "fire_engine",
        "Fire engine",
        555,
        "vehicles/emergency/firetruck",
        "Aaron M. Lang, prepared by Bill Kendrick",
        "CC-BY-2.5",
        "Wikipedia, E28_b.JPG: engine 28 of Palm Beach County Fire-Rescue.",
    ),
    _stamp("balloon", "Hot-air balloon", 417, "vehicles/flight/balloon360", "Albert Cahalan"),
    _stamp(
        "strawberry",
        "Strawberry",
        949,
        "food/fruit/Strawberry2",
        "Benjamint444, prepared by Caroline Ford",
        "GFDL",
        "Wikimedia Commons, Strawberry444.jpg.",
    ),
    _stamp(
        "stethoscope",
        "Stethoscope",
        823,
        "medical/stethoscope",
        None,
        "Public domain",
        "Wikipedia, Stethoscope.jpg.",
    ),
    _stamp(
        "jack_o_lantern",
        "Jack-o'-lantern",
        607,
        "seasonal/halloween/jackolantern_mean",
        None,
        note="A drawing. The change log takes its jack-o'-lantern from the Open Clip Art Library (public domain).",
    ),
    _stamp(
        "drum",
        "Floor tom drum",
        541,
        "hobbies/music/percussion/drum_tomtom_floor",
        "Stephan Czuratis, prepared by Caroline Ford",
        note="Wikimedia Commons, 2006-07-06_tom.jpg; the credits state no terms of its own.",
    ),
)

LICENCE_NOTES = """\
## The licences

- **scikit-image**: the docstring of each picture in `skimage/data/_fetchers.py` states its author and that it has no
  copyright restrictions: CC0 1.0 (<https://creativecommons.org/publicdomain/zero/1.0/>) or public domain.
- **Tux Paint stamps**: copyright 2002-2022 Bill Kendrick and the contributors. Debian's copyright file puts the whole
  package under the GNU General Public License, version 2 or (at your option) any later version; the text is in
  `GPL-2.txt` beside this file.
  Where the package's change log or the upstream file `docs/CONTRIBUTORS.txt` names other terms for a picture, the table
  shows those.
- **GFDL**: GNU Free Documentation License, `/usr/share/common-licenses/GFDL-1.2` on Debian systems and
  <https://www.gnu.org/licenses/old-licenses/fdl-1.2.html>.
- **CC-BY-2.5**: <https://creativecommons.org/licenses/by/2.5/>.
  **CC-BY-SA**: <https://creativecommons.org/licenses/by-sa/2.5/>.
"""


def main() -> None:
    """Write every file of the image folder."""
    parser = argparse.ArgumentParser(description="Rebuild assets/images/ from its sources.")
    parser.add_argument("--out", type=Path, default=ASSETS, help="folder to write to (default: %(default)s)")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        roots = fetch_sources(Path(scratch))
        for picture in PICTURES:
            build(picture, roots[picture.source]).save(out / picture.file, optimize=True)
    (out / "index.json").write_text(index_text(), encoding="utf-8")
    (out / "LICENSES.md").write_text(licences_text(), encoding="utf-8")
    sys.stdout.write(f"{len(PICTURES)} pictures in {out}\n")


def fetch_sources(scratch: Path) -> Mapping[str, Path]:
    """Download and unpack the packages; returns the folder of each."""
    skimage, stamps = scratch / "skimage", scratch / "stamps"
    skimage.mkdir()
    stamps.mkdir()
    fetch_wheel(f"scikit-image=={SKIMAGE_VERSION}", skimage)
    fetch_deb(f"tuxpaint-stamps-default={STAMPS_VERSION}", stamps)
    return MappingProxyType({SKIMAGE: skimage, STAMPS: stamps})


def fetch_wheel(requirement: str, folder: Path) -> None:
    """Download one wheel with pip and unpack it into a folder."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", requirement]
    subprocess.run(pip, cwd=folder, check=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder)


def fetch_deb(package: str, folder: Path) -> None:
    """Download one Debian package with apt-get and unpack it into a folder."""
    subprocess.run(["apt-get", "download", "--quiet=2", package], cwd=folder, check=True)
    subprocess.run(["dpkg", "-x", str(next(folder.glob("*.deb"))), str(folder)], check=True)


def build(picture: Picture, root: Path) -> Image.Image:
    """Make the picture of the lab from its original: RGB, shorter side at most ``SIDE``."""
    with Image.open(root / picture.origin) as original:
        image = square(original) if "A" in original.getbands() else original.convert("RGB")
    return shrink(image)


def square(stamp: Image.Image) -> Image.Image:
    """Trim a stamp to what is visible and centre it on a white square with a margin."""
    rgba = stamp.convert("RGBA")
    rgba.putalpha(without_specks(rgba.getchannel("A")))
    rgba = rgba.crop(visible(rgba.getchannel("A")).getbbox())
    side = round(max(rgba.size) / (1 - 2 * MARGIN))
    canvas = Image.new("RGBA", (side, side), "white")
    canvas.alpha_composite(rgba, ((side - rgba.width) // 2, (side - rgba.height) // 2))
    return canvas.convert("RGB")


def without_specks(opacity: Image.Image) -> Image.Image:
    """Make lone visible pixels, left over from cutting out, transparent."""
    padded = ImageOps.expand(opacity, border=1, fill=0)
    in_company = ImageOps.crop(padded.filter(ImageFilter.RankFilter(3, SECOND_LARGEST)), border=1)
    keep = ImageChops.lighter(visible(in_company), ImageChops.invert(visible(opacity)))
    return ImageChops.darker(opacity, keep)


def visible(opacity: Image.Image) -> Image.Image:
    """A mask: 255 where the opacity is above ``FAINT``, else 0."""
    return opacity.point(lambda value: 255 * (value > FAINT))


def shrink(image: Image.Image) -> Image.Image:
    """Scale a picture down until its shorter side is at most ``SIDE``."""
    scale = SIDE / min(image.size)
    if scale >= 1:
        return image
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)


def index_text() -> str:
    """The text of ``index.json``: the pictures in the order in which the lab shows them."""
    keys = ("id", "file", "title", "label", "source", "author", "licence", "origin")
    entries = [{key: getattr(picture, key) for key in keys} for picture in PICTURES]
    return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"


def licences_text() -> str:
    """The text of ``LICENSES.md``: a table of the pictures, then the licences."""
    head = "# Where the pictures come from\n\nWritten by `scripts/build_images.py`; change it there. "
    changes = (
        f"Stamps were put on a white square, and every picture scaled down to at most {SIDE} px (shorter side).\n\n"
    )
    rows = [("file", "title", "author", "licence", "origin", "notes"), ("---",) * 6]
    rows += [(p.file, p.title, p.author or "not recorded", p.licence, f"`{p.origin}`", p.note) for p in PICTURES]
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    sources = f"\nPaths under `skimage/` are in the {SKIMAGE}, those under `usr/` in the {STAMPS}.\n\n"
    return head + changes + table + sources + LICENCE_NOTES


if __name__ == "__main__":
    main()
