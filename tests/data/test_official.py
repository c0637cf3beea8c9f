"""Layouts of official archives: what is recognised, and what is told when broken."""

import numpy as np
import pytest
import scipy.io
import stand_ins

from ms_keras.data import cars196, cub200, inshop_list, sop
from ms_keras.data.published import PUBLISHED


@pytest.mark.parametrize("module", [cub200, cars196, sop, inshop_list])
def test_a_folder_of_something_else_is_no_archive(tmp_path, module):
    (tmp_path / "caltech_birds2011").mkdir()
    assert module.lists(tmp_path) is None


@pytest.mark.parametrize(
    ("module", "there", "missing"),
    [
        (cub200, ["CUB_200_2011/"], "CUB_200_2011/images"),
        (cub200, ["images.txt"], "images"),
        (cars196, ["car_ims/"], "cars_annos.mat"),
        (cars196, ["cars_annos.mat"], "car_ims"),
        (cars196, ["cars_train/"], "cars_test"),
        (cars196, ["cars_train/", "cars_test/"], "devkit/cars_train_annos.mat"),
        (
            cars196,
            ["cars_train/", "cars_test/", "devkit/", "devkit/cars_train_annos.mat"],
            "devkit/cars_test_annos_withlabels.mat",
        ),
        (sop, ["Stanford_Online_Products/"], "Ebay_train.txt"),
        (inshop_list, ["list_eval_partition.txt"], "img"),
        (inshop_list, ["Img/", "Img/img/"], "list_eval_partition.txt"),
    ],
)
def test_what_is_missing_of_an_archive_is_named(tmp_path, module, there, missing):
    for name in there:
        path = tmp_path / name
        path.mkdir() if name.endswith("/") else path.touch()
    with pytest.raises(ValueError, match=f"{missing} is missing. Expected layout: "):
        module.lists(tmp_path)


def test_birds_without_a_number_are_told(tmp_path):
    (tmp_path / "images" / "Albatross").mkdir(parents=True)
    (tmp_path / "images" / "Albatross" / "1.jpg").touch()
    with pytest.raises(ValueError, match=r"Albatross/1\.jpg: expected a class folder"):
        cub200.lists(tmp_path)


def test_birds_that_a_mac_left_behind_are_passed_over(tmp_path):
    for name in ("001.A/1.jpg", "001.A/._1.jpg", ".trash/2.jpg", "101.B/Thumbs.db"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).touch()
    lists = cub200.lists(tmp_path)
    assert lists.train == [(str(tmp_path / "images/001.A/1.jpg"), "001.A")]
    assert lists.test == []


def test_lists_may_end_lines_as_on_windows(tmp_path):
    head = "image_id class_id super_class_id path"
    for name, row in {"train": "1 7 1 a/1.JPG", "test": "2 8 1 b/2.JPG"}.items():
        text = f"\ufeff{head}\r\n{row}\r\n\r\n"
        (tmp_path / f"Ebay_{name}.txt").write_bytes(text.encode())
    lists = sop.lists(tmp_path)
    assert lists.train == [(str(tmp_path / "a/1.JPG"), "7")]
    assert lists.test == [(str(tmp_path / "b/2.JPG"), "8")]
    (tmp_path / "img").mkdir()
    rows = [(1, 1, "train"), (2, 1, "query"), (2, 2, "gallery")]
    text = stand_ins.inshop_list(rows, end="\r\n").encode()
    (tmp_path / "list_eval_partition.txt").write_bytes(text)
    lists = inshop_list.lists(tmp_path)
    assert [item for _, item in lists.train] == ["id_00000001"]
    assert [item for _, item in lists.gallery] == ["id_00000002"]


def test_broken_lists_are_told_with_their_line(tmp_path):
    head = "image_id class_id super_class_id path\n"
    (tmp_path / "Ebay_test.txt").write_text(head)
    for text, message in {
        "": "line 1: expected the names of the columns",
        "id path\n1 a.JPG\n": "line 1: expected the names .* got 'id path'",
        f"{head}1 7 1 a/1.JPG\n2 8\n": "line 3: expected .* got '2 8'",
    }.items():
        (tmp_path / "Ebay_train.txt").write_text(text)
        with pytest.raises(ValueError, match=message):
            sop.lists(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            stand_ins.inshop_list([(1, 1, "validation")]),
            r"id_00000001/1\.jpg is 'validation'; expected one of train, query, gal",
        ),
        (
            stand_ins.inshop_list([(1, 1, "train")]).replace("1\n", "3\n", 1),
            "number of its images, '3', but lists 1",
        ),
        ("", "line 2: expected the names of the columns"),
    ],
)
def test_broken_partitions_are_told(tmp_path, text, message):
    (tmp_path / "img").mkdir()
    (tmp_path / "list_eval_partition.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        inshop_list.lists(tmp_path)


def test_matlab_files_are_read(tmp_path):
    (tmp_path / "car_ims").mkdir()
    paths = ["car_ims/2.jpg", "car_ims/1.jpg", "car_ims/3.jpg"]
    names = np.array([f"Car {n}" for n in range(1, 197)], object)
    for count in (3, 1):
        annotations = stand_ins.cars(paths, [99, 1, 2], "relative_im_path")[:count]
        contents = {"annotations": annotations, "class_names": names}
        scipy.io.savemat(tmp_path / "cars_annos.mat", contents)
        lists = cars196.lists(tmp_path)
        assert lists.test == [(str(tmp_path / "car_ims/2.jpg"), "Car 99")]
        assert [name for _, name in lists.train] == ["Car 1", "Car 2"][: count - 1]
    (tmp_path / "cars_annos.mat").write_bytes(b"cut short" * 20)
    with pytest.raises(ValueError, match="not a MATLAB file"):
        cars196.lists(tmp_path)


def test_matlab_files_of_something_else_are_told(tmp_path, monkeypatch):
    (tmp_path / "car_ims").mkdir()
    (tmp_path / "cars_annos.mat").touch()
    names = np.array(["Car 1"], object)
    unlabelled = np.empty(1, [("relative_im_path", object)])
    outside = stand_ins.cars(["1.jpg"], [2], "relative_im_path")
    for contents, message in [
        ({"class_names": names}, "no variable 'annotations'"),
        ({"class_names": names, "annotations": unlabelled}, "no field class"),
        ({"class_names": names, "annotations": outside}, "from 1 to 1.*got 2 to 2"),
    ]:
        stand_ins.cars196_mats(monkeypatch, {"cars_annos.mat": contents})
        with pytest.raises(ValueError, match=message):
            cars196.lists(tmp_path)


def test_the_published_split_is_spelt_as_test_classes():
    assert PUBLISHED["cub200"].test_classes == "101-200"
    assert PUBLISHED["cars196"].test_classes == "99-196"
    assert PUBLISHED["sop"].test_classes == ""
