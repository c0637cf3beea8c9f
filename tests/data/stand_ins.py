"""Official archives with all their lists, but without a picture in them."""

import numpy as np

from ms_keras.data import cars196
from ms_keras.data.published import PUBLISHED


def classes_of(size, first=1):
    """Returns a class number for each image of a side, dealt out in turn."""
    return (np.arange(size.images) % size.classes + first).tolist()


def cub200(root):
    published = PUBLISHED["cub200"]
    numbers = classes_of(published.train)
    numbers += classes_of(published.test, 1 + published.train.classes)
    lines = [f"{i} {n:03d}.Bird_{n}/{i}.jpg" for i, n in enumerate(numbers, 1)]
    (root / "CUB_200_2011" / "images").mkdir(parents=True)
    (root / "CUB_200_2011" / "images.txt").write_text("\n".join(lines))


def sop(root):
    published = PUBLISHED["sop"]
    (root / "Stanford_Online_Products").mkdir()
    for name, numbers in {
        "Ebay_train.txt": classes_of(published.train),
        "Ebay_test.txt": classes_of(published.test, 1 + published.train.classes),
    }.items():
        lines = [f"{i} {n} 1 mug_final/{n}_{i}.JPG" for i, n in enumerate(numbers, 1)]
        text = "\n".join(["image_id class_id super_class_id path", *lines, ""])
        (root / "Stanford_Online_Products" / name).write_text(text)


def inshop(root):
    published = PUBLISHED["inshop"]
    first = 1 + published.train.classes
    sides = {
        "train": classes_of(published.train),
        "query": classes_of(published.test, first),
        "gallery": classes_of(published.gallery, first),
    }
    rows = [(n, i, side) for side, ns in sides.items() for i, n in enumerate(ns)]
    (root / "img").mkdir()
    (root / "list_eval_partition.txt").write_text(inshop_list(rows))


def inshop_list(rows, end="\n"):
    """Returns the text of a list of item number, picture number and side."""
    lines = [
        f"img/WOMEN/Tees/id_{n:08d}/{i}.jpg   id_{n:08d} {side}" for n, i, side in rows
    ]
    return end.join(
        [str(len(rows)), "image_name item_id evaluation_status", *lines, ""]
    )


def cars196_mats(monkeypatch, files):
    """Has MATLAB files of these contents read, whatever is on the disk."""
    monkeypatch.setattr(cars196, "_loadmat", lambda file: files[file.name])


def cars(paths, numbers, path_field):
    """Returns annotations as SciPy reads them."""
    table = np.empty(len(paths), [(path_field, object), ("class", object)])
    table[path_field], table["class"] = paths, numbers
    return table


def all_cars():
    published = PUBLISHED["cars196"]
    numbers = classes_of(published.train)
    numbers += classes_of(published.test, 1 + published.train.classes)
    names = np.array([f"Car {n}" for n in range(1, 197)], object)
    return numbers, names


def cars196_one_archive(root, monkeypatch):
    numbers, names = all_cars()
    (root / "car_ims").mkdir()
    (root / "cars_annos.mat").touch()
    paths = [f"car_ims/{i:06d}.jpg" for i in range(1, len(numbers) + 1)]
    annotations = cars(paths, numbers, "relative_im_path")
    files = {"cars_annos.mat": {"annotations": annotations, "class_names": names}}
    cars196_mats(monkeypatch, files)


def cars196_two_archives(root, monkeypatch):
    """Training and test pictures with the same names, every class in both."""
    numbers, names = all_cars()
    for name in ("cars_train", "cars_test", "devkit"):
        (root / name).mkdir()
    test_file = "cars_test_annos_withlabels.mat"
    for name in ("cars_meta.mat", "cars_train_annos.mat", test_file):
        (root / "devkit" / name).touch()
    sides = numbers[::2], numbers[1::2]
    train, test = (
        cars([f"{i:05d}.jpg" for i in range(1, len(side) + 1)], side, "fname")
        for side in sides
    )
    files = {
        "cars_meta.mat": {"class_names": names},
        "cars_train_annos.mat": {"annotations": train},
        test_file: {"annotations": test},
    }
    cars196_mats(monkeypatch, files)
