"""What the arguments of a batch stand for, and what its outputs are called."""

from pathlib import Path

import pytest

from sparsegen.batches import Source, find_sources, unique_names
from sparsegen.box import Box
from sparsegen.errors import InputError


def test_folders_patterns_and_files_in_order(tmp_path):
    for name in ("z/b.PNG", "z/a.jpg", "z/notes.txt", "z/deeper/c.png", "x1.webp", "x2.webp"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    found = find_sources([tmp_path / "none.png", tmp_path / "z", tmp_path / "x*.webp", tmp_path / "x1.webp"])
    names = [source.picture.relative_to(tmp_path).as_posix() for source in found]
    assert names == ["none.png", "z/a.jpg", "z/b.PNG", "x1.webp", "x2.webp"]
    everywhere = find_sources([tmp_path / "**" / "*.png"])
    assert [source.picture.name for source in everywhere] == ["c.png"]


def test_a_file_whose_name_is_a_pattern_is_that_file(tmp_path):
    path = tmp_path / "car[1].png"
    path.write_bytes(b"x")
    assert find_sources([path]) == [Source(path)]


def test_a_sheet_beside_its_picture_is_no_picture(tmp_path):
    for name in ("car.png", "car_views.png", "van_views.png"):
        (tmp_path / name).touch()
    assert find_sources([tmp_path]) == [Source(tmp_path / "car.png"), Source(tmp_path / "van_views.png")]


def test_folders_and_patterns_without_pictures_are_named(tmp_path):
    with pytest.raises(InputError, match="no pictures in this folder"):
        find_sources([tmp_path])
    with pytest.raises(InputError, match=r"\*\.png.*no file matches"):
        find_sources([tmp_path / "*.png"])
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"fold\*.*no file matches"):
        find_sources([tmp_path / "fold*"])


def test_a_table_brings_masks_boxes_and_angles(tmp_path):
    table = tmp_path / "list.csv"
    table.write_text(
        '\ufeffPicture, azimuth,elevation,mask,box\n"a, b.png",-30,12.5,,\nsub/c.png,,,m.png,\n'
        'd.png,,,,"4,5, 60.5,70"\ne.png,,,,4 5 60.5 70\n'
    )
    box = Box(4, 5, 60.5, 70)
    assert find_sources([table]) == [
        Source(tmp_path / "a, b.png", azimuth=-30.0, elevation=12.5),
        Source(tmp_path / "sub/c.png", tmp_path / "m.png"),
        Source(tmp_path / "d.png", box=box),
        Source(tmp_path / "e.png", box=box),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a.png\nb.png\n", "column names"),
        ("picture,angle\na.png,3\n", "angle"),
        ("picture\n", "no rows"),
        ("picture,azimuth\na.png,left\n", r"line 2: azimuth.*'left'"),
        ("picture,box\na.png,1 2 3\n", r"line 2: box: expected LEFT,TOP,RIGHT,BOTTOM.*'1 2 3'"),
        ("picture,box\na.png,9 2 3 8\n", "line 2: box.*'9 2 3 8'"),
        ("picture,box\na.png,1 2 nan 8\n", "line 2: box.*nan"),
        ("picture,mask,box\na.png,m.png,1 2 3 4\n", "line 2: a mask needs no box"),
        ("picture,azimuth\na.png,1\nb.png,inf\n", "line 3"),
        ("picture,elevation\na.png,100\n", "line 2: elevation"),
        ("picture,mask\n,m.png\n", "line 2: no picture"),
        ("picture\na.png,b.png\n", "more cells"),
        ('picture\n"a.png\n', "comma-separated"),
        ("", "empty"),
    ],
)
def test_mistakes_in_a_table_are_one_line(tmp_path, text, words):
    table = tmp_path / "list.csv"
    table.write_text(text)
    with pytest.raises(InputError, match=words) as raised:
        find_sources([table])
    assert "list.csv" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["car.png", "van.png"], ["car", "van"]),
        (["a/car.png", "b/car.png", "van.png"], ["a_car", "b_car", "van"]),
        (["x/a/car.png", "y/a/car.png"], ["x_a_car", "y_a_car"]),
        (["car.png", "car.jpg"], ["car_png", "car_jpg"]),
        (["a/car.png", "a/Car.png"], ["car", "Car"]),
        (["a/car.png", "b/car.png", "a_car.png"], None),
        (["car.png", "car.png"], ["car", "car_2"]),
        (["a.png", "a.jpg", "a.png"], ["a_png", "a_jpg", "a_png_2"]),
        (["/car.png", "/a/car.png", "/car.jpg"], None),
        (["/b/a/car.png", "/b/a/../y/car.png"], ["a_car", "y_car"]),
    ],
)
def test_names_are_unique_even_where_case_does_not_count(paths, names):
    found = unique_names([Path(path) for path in paths])
    assert len({name.casefold() for name in found}) == len(paths)
    if names and len({name.casefold() for name in names}) == len(names):
        assert found == names
