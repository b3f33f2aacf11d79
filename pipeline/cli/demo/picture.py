"""Draws what a search by photo finds: each photo with its nearest neighbours beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TILE = 104
"""Pixels; the side of a photo's square."""
_GAP, _LABEL, _MARGIN = 8, 16, 12
_INK, _PAPER = "#333333", "white"


@dataclass(frozen=True)
class Found:
    """A photo, and what a search by it has found.

    Attributes:
        photo: the file.
        neighbours: the file and the similarity of each neighbour, nearest first.
    """

    photo: Path
    neighbours: Sequence[tuple[Path, float]]


def draw_neighbours(found: Sequence[Found], target: Path) -> None:
    """Write a PNG with a row for each photo: itself, a line, its neighbours and similarities.

    Raises:
        OSError: a photo cannot be read, or the picture not be written.
    """
    from PIL import Image, ImageDraw, ImageFont, ImageOps

    columns = 1 + max((len(row.neighbours) for row in found), default=0)
    height = _MARGIN + len(found) * (TILE + _LABEL + _GAP)
    picture = Image.new("RGB", (2 * _MARGIN + columns * (TILE + _GAP) + _GAP, height), _PAPER)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=12)
    for number, row in enumerate(found):
        top = _MARGIN + number * (TILE + _LABEL + _GAP)
        tiles = [(row.photo, "search by"), *((path, f"{s:.2f}") for path, s in row.neighbours)]
        for column, (path, label) in enumerate(tiles):
            left = _MARGIN + column * (TILE + _GAP) + (2 * _GAP if column else 0)
            with Image.open(path) as opened:
                upright = ImageOps.exif_transpose(opened).convert("RGB")
            picture.paste(ImageOps.fit(upright, (TILE, TILE)), (left, top))
            draw.text((left, top + TILE + 1), label, fill=_INK, font=font)
        line = _MARGIN + TILE + 3 * _GAP // 2
        draw.line((line, top, line, top + TILE), fill=_INK, width=2)
    picture.quantize(256).save(target, optimize=True)
