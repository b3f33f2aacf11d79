"""The picture that the demo draws of photos and their neighbours."""

from __future__ import annotations

from pathlib import Path

import pytest

Image = pytest.importorskip("PIL.Image")

from commonspace.pipeline.cli.demo.picture import TILE, Found, draw_neighbours


def photo(path: Path, colour: str, size: tuple[int, int] = (300, 200)) -> Path:
    Image.new("RGB", size, colour).save(path)
    return path


def test_each_photo_stands_left_of_its_neighbours(tmp_path: Path) -> None:
    red = photo(tmp_path / "red.png", "red")
    blue = photo(tmp_path / "blue.png", "blue", (20, 400))
    draw_neighbours([Found(red, [(blue, 0.5)]), Found(blue, [])], tmp_path / "drawn.png")
    with Image.open(tmp_path / "drawn.png") as drawn:
        assert drawn.format == "PNG"
        colours = drawn.convert("RGB")
    middle = TILE // 2 + 12
    first_row = [colours.getpixel((x, middle)) for x in range(colours.width)]
    left, right = first_row.index((255, 0, 0)), first_row.index((0, 0, 255))
    assert (first_row.count((255, 0, 0)), first_row.count((0, 0, 255))) == (TILE, TILE)
    assert left + TILE < right
    below = colours.getpixel((left + TILE // 2, colours.height - middle))
    assert below == (0, 0, 255)


def test_nothing_found_is_an_empty_picture(tmp_path: Path) -> None:
    draw_neighbours([], tmp_path / "drawn.png")
    assert (tmp_path / "drawn.png").exists()


def test_a_file_that_is_no_photo_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "text.heic").write_text("no photo")
    with pytest.raises(OSError, match="cannot identify"):
        draw_neighbours([Found(tmp_path / "text.heic", [])], tmp_path / "drawn.png")
