"""The page as a file: complete, replaced, escaped, with all that the report has."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from ms_keras.retrieval.page import write
from ms_keras.retrieval.page.thumbnails import PIXELS
from ms_keras.retrieval.page.write import write_page

NAMES = ["ant", "bee", '</script><b>&amp; "quoted" \u00e9\u4e2d']


@pytest.fixture
def made(make):
    rows = np.random.default_rng(0).normal(size=(40, 8))
    return make(rows, np.arange(40) % 3, NAMES, broken=[5])


def embedded_json(text, mark):
    """Returns the JSON of all script elements with an attribute."""
    pattern = rf'<script type="application/json" {mark}>(.*?)</script>'
    return [json.loads(found) for found in re.findall(pattern, text, re.DOTALL)]


def test_thumbnails_inside_are_jpegs_in_order_and_empty_where_unreadable(
    tmp_path, made
):
    text = write_page(tmp_path, *made).read_text(encoding="utf-8")
    chunks = embedded_json(text, 'class="thumbnails"')
    assert [len(chunk) for chunk in chunks] == [32, 8]
    thumbnails = [one for chunk in chunks for one in chunk]
    assert [i for i, one in enumerate(thumbnails) if not one] == [5]
    protocol = made[0]
    for i in (0, 4, 6, 39):
        with Image.open(io.BytesIO(base64.b64decode(thumbnails[i]))) as image:
            assert (image.format, image.size) == ("JPEG", (PIXELS, PIXELS))
            got = np.asarray(image.resize((4, 4), Image.Resampling.BOX), float)
        with Image.open(io.BytesIO(protocol.test.read(i).numpy())) as image:
            expected = np.asarray(image.resize((4, 4), Image.Resampling.BOX), float)
        assert np.abs(got - expected).mean() < 8
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]


def test_many_thumbnails_are_files_beside_the_page(tmp_path, made, monkeypatch):
    monkeypatch.setattr(write, "_INSIDE", 39)
    monkeypatch.setattr(write, "IN_FOLDER", 30)
    text = write_page(tmp_path, *made).read_text(encoding="utf-8")
    (data,) = embedded_json(text, 'id="data"')
    folder = tmp_path / data["folder"]
    files = {str(path.relative_to(folder)) for path in folder.rglob("*.jpg")}
    assert files == {f"{i // 30}/{i}.jpg" for i in range(40) if i != 5}
    with Image.open(folder / "1" / "30.jpg") as image:
        assert image.size == (PIXELS, PIXELS)
    assert not embedded_json(text, 'class="thumbnails"')


def test_a_new_page_replaces_an_older_one_with_its_thumbnails(
    tmp_path, made, monkeypatch
):
    monkeypatch.setattr(write, "_INSIDE", 39)
    first = write_page(tmp_path, *made).read_text(encoding="utf-8")
    second = write_page(tmp_path, *made).read_text(encoding="utf-8")
    old, new = (
        embedded_json(text, 'id="data"')[0]["folder"] for text in (first, second)
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", new]
    assert old != new


@pytest.mark.parametrize("inside", [0, 1000])
def test_a_page_that_cannot_be_finished_leaves_the_older_one(
    tmp_path, made, monkeypatch, inside
):
    monkeypatch.setattr(write, "_INSIDE", inside)
    page = write_page(tmp_path, *made)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    def fail(*_):
        yield b"jpeg"
        raise OSError("No space left on device")

    monkeypatch.setattr(write, "_jpegs", fail)
    text = page.read_bytes()
    with pytest.raises(OSError, match="No space"):
        write_page(tmp_path, *made)
    assert page.read_bytes() == text
    assert set(tmp_path.rglob("*")) == set(before)


def test_other_files_of_the_folder_stay(tmp_path, made):
    (tmp_path / "recall.json").write_text("{}")
    write_page(tmp_path, *made)
    assert (tmp_path / "recall.json").read_text() == "{}"


def test_names_are_text_wherever_they_stand(tmp_path, made):
    protocol, scored, report = made
    report["protocol"] = "<i>x</i>&"
    text = write_page(tmp_path, protocol, scored, report).read_text(encoding="utf-8")
    assert "<i>x" not in text
    assert "<b>&amp;" not in text.replace("&lt;b&gt;", "")
    (data,) = embedded_json(text, 'id="data"')
    assert sorted(data["classes"]) == sorted(NAMES)
    assert "&lt;/script&gt;&lt;b&gt;&amp;amp; &quot;quoted&quot; \u00e9\u4e2d" in text


def rows_of(text):
    """Returns the cells of all table rows, without markup."""
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", text, re.DOTALL)
    cells = (re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows)
    return [[re.sub("<[^>]*>", "|", cell).strip("|") for cell in row] for row in cells]


def estimate(value):
    return {"value": value, "low": value - 0.01, "high": value + 0.01}


def test_every_part_of_the_report_is_told(tmp_path, made):
    protocol, scored, _ = made
    report = {
        "protocol": "birds",
        "recall": {"1": 0.5, "2": 0.75},
        "frozen_recall": {"1": 0.25},
        "frozen_features_recall": {"1": 0.3, "2": 0.4},
        "pixels_recall": {"1": 0.1, "2": 0.2},
        "num_queries": 1234,
        "num_gallery": 56789,
        "num_without_positive": 7,
        "num_skipped": 8,
        "intervals": {
            "recall": {"1": [0.45, 0.55]},
            "frozen_recall": {"1": [0.2, 0.3]},
            "pixels_recall": {"1": [0.05, 0.15], "2": None},
            "nmi": [0.6, 0.62],
        },
        "metrics": {"precision_at_1": 0.5, "map_at_r": 0.125, "nmi": 0.61},
        "scann": {
            "recall": {"1": 0.49, "2": 0.74},
            "intervals": {"1": [0.44, 0.54], "2": [0.7, 0.78]},
            "exact": {"1": estimate(0.51), "2": estimate(0.76)},
            "difference": {"1": estimate(-0.01), "2": estimate(0)},
            "overlap": 0.9875,
            "num_sample": 1000,
            "num_queries": 1234,
            "build_seconds": 0.5,
            "query_seconds": 1.25,
            "settings": {"leaves": 0, "reorder": 500},
        },
    }
    text = write_page(tmp_path, protocol, scored, report).read_text(encoding="utf-8")
    dash = "\N{EN DASH}"
    assert rows_of(text) == [
        ["Embeddings", "R@1", "R@2"],
        ["trained", f"50.00|45.0 {dash} 55.0", "75.00"],
        ["ScaNN", f"49.00|44.0 {dash} 54.0", f"74.00|70.0 {dash} 78.0"],
        ["exact, on a sample", f"51.00|50.0 {dash} 52.0", f"76.00|75.0 {dash} 77.0"],
        ["ScaNN less exact, on it", f"-1.00|-2.0 {dash} 0.0", f"0.00|-1.0 {dash} 1.0"],
        ["frozen: its pooled features", "30.00", "40.00"],
        ["frozen: tower before training", f"25.00|20.0 {dash} 30.0", dash],
        ["raw pixels", f"10.00|5.0 {dash} 15.0", "20.00"],
        ["Embeddings", "precision at 1", "MAP@R", "NMI"],
        ["trained", "50.00", "12.50", f"61.00|60.0 {dash} 62.0"],
    ]
    assert "with 95 % intervals" in text
    for told in ("1,234 queries", "56,789 images", "7 queries with", "8 unreadable"):
        assert told in text
    for fact in (
        "<dt>of the 2 nearest found</dt><dd>98.75 %</dd>",
        "<dt>queries compared with exact search</dt><dd>1,000</dd>",
        "<dt>1,234 queries</dt><dd>1.2 s</dd>",
        "<dt>settings</dt><dd>leaves 0, reorder 500</dd>",
    ):
        assert fact in text


def test_parts_that_the_report_lacks_are_not_shown(tmp_path, made):
    protocol, scored, report = made
    text = write_page(tmp_path, protocol, scored, report).read_text(encoding="utf-8")
    assert len(rows_of(text)) == 2
    assert "ScaNN" not in text
    assert "intervals" not in text
    assert "cannot be read" not in text


def test_one_class_and_two_images_make_a_page(tmp_path, make):
    made = make(np.eye(2), [0, 0], ["ant"])
    text = write_page(tmp_path, *made).read_text(encoding="utf-8")
    assert "different classes" not in text
    assert "Most confused" not in text


def test_a_missing_folder_is_made(tmp_path, made):
    assert write_page(tmp_path / "a" / "b", *made).is_file()


def test_nothing_is_written_for_a_model_that_was_not_scored(tmp_path, made):
    with pytest.raises(ValueError, match="one of those scored"):
        write_page(tmp_path / "new", *made, model="frozen")
    assert not (tmp_path / "new").exists()
