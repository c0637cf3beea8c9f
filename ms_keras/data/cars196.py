"""Cars-196 as its official archives unpack: pictures, and MATLAB files of classes."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np

from ms_keras.data.official import Lists, divided_by_class, require
from ms_keras.data.published import PUBLISHED

LAYOUT = (
    "car_ims/ and cars_annos.mat; or cars_train/, cars_test/, devkit/cars_meta.mat, "
    "devkit/cars_train_annos.mat and cars_test_annos_withlabels.mat (also in devkit/)"
)
_TEST_ANNOTATIONS = "cars_test_annos_withlabels.mat"

Cars = list[tuple[str, int, str]]  # the path, class number and class name of each


def lists(data_dir: pathlib.Path) -> Lists | None:
    """Returns the images of unpacked archives, or `None` if there are none.

    Args:
        data_dir: The folder with either the one archive of all pictures, or the two of
            training and test pictures, which are pooled.

    Raises:
        ValueError: If a part of the layout is missing, or a file is not as expected.
    """
    if any((data_dir / name).exists() for name in ("car_ims", "cars_annos.mat")):
        cars = _one_archive(data_dir)
    elif any((data_dir / name).is_dir() for name in ("cars_train", "cars_test")):
        cars = _two_archives(data_dir)
    else:
        return None
    return divided_by_class(cars, PUBLISHED["cars196"].train_classes or 0)


def _one_archive(data_dir: pathlib.Path) -> Cars:
    require(data_dir / "car_ims", LAYOUT)
    file = require(data_dir / "cars_annos.mat", LAYOUT)
    return _cars(data_dir, file, "relative_im_path", _class_names(file))


def _two_archives(data_dir: pathlib.Path) -> Cars:
    train, test = (
        require(data_dir / name, LAYOUT) for name in ("cars_train", "cars_test")
    )
    devkit = data_dir / "devkit"
    annotations = require(devkit / "cars_train_annos.mat", LAYOUT)
    beside = data_dir / _TEST_ANNOTATIONS
    test_annotations = (
        beside if beside.is_file() else require(devkit / _TEST_ANNOTATIONS, LAYOUT)
    )
    names = _class_names(require(devkit / "cars_meta.mat", LAYOUT))
    return [
        *_cars(train, annotations, "fname", names),
        *_cars(test, test_annotations, "fname", names),
    ]


def _cars(
    folder: pathlib.Path, file: pathlib.Path, path_field: str, names: list[str]
) -> Cars:
    annotations = _variable(file, "annotations")
    missing = {path_field, "class"} - set(annotations.dtype.names or ())
    if missing:
        raise ValueError(
            f"{file} has no field {' nor '.join(sorted(missing))} in its annotations. "
            f"Expected layout: {LAYOUT}."
        )
    numbers = [int(number) for number in annotations["class"]]
    if not all(1 <= number <= len(names) for number in numbers):
        raise ValueError(
            f"{file}: classes must be numbers from 1 to {len(names)}, as many as have "
            f"names; got {min(numbers)} to {max(numbers)}."
        )
    return [
        (str(folder / str(path)), number, names[number - 1])
        for path, number in zip(annotations[path_field], numbers, strict=True)
    ]


def _class_names(file: pathlib.Path) -> list[str]:
    return [str(name) for name in _variable(file, "class_names")]


def _variable(file: pathlib.Path, name: str) -> np.ndarray:
    contents = _loadmat(file)
    if name not in contents:
        raise ValueError(
            f"{file} has no variable {name!r}. Take the official file as it is."
        )
    return np.atleast_1d(contents[name])


def _loadmat(file: pathlib.Path) -> dict[str, Any]:
    import scipy.io  # here, to spare every other program the time

    try:
        return scipy.io.loadmat(str(file), squeeze_me=True)
    except (ValueError, scipy.io.matlab.MatReadError) as error:
        raise ValueError(
            f"{file} is not a MATLAB file that SciPy reads: {error}. Unpack the "
            "official archive anew."
        ) from error
