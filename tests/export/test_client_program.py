"""`python -m export.client`, as a process, against a server in another."""

import functools
import http.server
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pyarrow.parquet as parquet
import pytest

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "serving" / "client"))

from serving_fixtures import base, embed, encoded, own_server  # noqa: E402

__all__ = ["base", "embed"]


@pytest.fixture(scope="module")
def address(base):
    with own_server(base) as address:
        yield address


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    (folder / "b").mkdir()
    for number in range(7):
        name = f"{'b/' if number % 2 else ''}{number}.png"
        (folder / name).write_bytes(encoded(number))
    (folder / "notes.txt").write_text("no image")
    return folder


def client(address, *arguments):
    command = [sys.executable, "-m", "export.client", f"--server={address}"]
    return subprocess.run(
        [*command, "--model=birds", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("suffix", ["npz", "parquet"])
def test_a_folder_becomes_rows_in_order(address, folder, embed, tmp_path, suffix):
    out = tmp_path / f"rows.{suffix}"
    finished = client(address, f"--images={folder}", f"--out={out}", "--batch_size=2")
    assert finished.returncode == 0, finished.stderr
    rows = np.load(out) if suffix == "npz" else parquet.read_table(out).to_pydict()
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.png"))
    assert list(rows["names"]) == names
    expected = embed([(folder / name).read_bytes() for name in names])
    np.testing.assert_allclose(np.array(rows["embeddings"]), expected, atol=1e-5)
    assert all(rows["readable"])
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_a_refusal_is_told_with_names_and_nothing_is_written(address, tmp_path):
    bad = tmp_path / "cut.png"
    bad.write_bytes(encoded(0)[:99])
    out = tmp_path / "out" / "rows.npz"
    finished = client(address, f"--images={bad}", f"--out={out}")
    assert finished.returncode == 1
    assert "INVALID_ARGUMENT" in finished.stderr
    assert "cut.png" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert list(out.parent.iterdir()) == []


def test_urls_become_rows_and_a_missing_one_is_not_readable(
    address, folder, embed, tmp_path
):
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=str(folder)
    )
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    urls = [f"http://127.0.0.1:{web.server_port}/{name}" for name in ("0.png", "x.png")]
    (tmp_path / "urls.txt").write_text("\n".join(urls))
    out = tmp_path / "rows.npz"
    arguments = [f"--urls={tmp_path / 'urls.txt'}", f"--out={out}"]
    finished = client(address, *arguments, "--signature=embed_bytes_safe")
    web.shutdown()
    assert finished.returncode == 0, finished.stderr
    rows = np.load(out)
    assert list(rows["names"]) == urls
    assert list(rows["readable"]) == [True, False]
    expected = embed([(folder / "0.png").read_bytes()])[0]
    np.testing.assert_allclose(rows["embeddings"][0], expected, atol=1e-5)
    assert not rows["embeddings"][1].any()
    assert "x.png" in finished.stderr


def test_ctrl_c_ends_it_though_it_would_ask_again_for_long(folder, tmp_path):
    command = [sys.executable, "-m", "export.client", "--server=http://127.0.0.1:9"]
    command += ["--model=birds", f"--images={folder}", "--retries=9999"]
    process = subprocess.Popen(
        [*command, f"--out={tmp_path / 'rows.npz'}"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        told = ""
        while "image" not in told:  # the progress bar: it has begun
            told += process.stderr.read(1)
            assert process.poll() is None, told
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in told
    assert list(tmp_path.iterdir()) == []


def test_a_file_name_that_is_no_utf8_is_a_mistake(address, tmp_path):
    (tmp_path / "images").mkdir()
    name = os.fsencode(tmp_path / "images") + b"/caf\xe9.png"
    try:
        with open(name, "wb") as file:
            file.write(encoded(0))
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    out = f"--out={tmp_path / 'rows.npz'}"
    finished = client(address, f"--images={tmp_path / 'images'}", out)
    assert finished.returncode == 2
    assert "no UTF-8. Rename" in finished.stderr


def test_missing_images_and_flags_are_mistakes(address, tmp_path):
    out = f"--out={tmp_path / 'rows.npz'}"
    for arguments in ([out], [out, "--images=/nowhere"], ["--images=/nowhere"]):
        finished = client(address, *arguments)
        assert finished.returncode == 2
        assert "Error: " in finished.stderr
        assert "Traceback" not in finished.stderr
