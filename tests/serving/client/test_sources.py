"""Where a client's images come from: folders, files, and a web server of ours."""

import contextlib
import http.server
import os
import threading
import time
from concurrent.futures import CancelledError

import pytest
from serving_fixtures import encoded

from ms_keras.serving.client import Retries, sources
from ms_keras.serving.client.sources import Source, images_of, read, urls_of

AT_ONCE = Retries(2, 0.0)


class Handler(http.server.BaseHTTPRequestHandler):
    busy = 0  # times that /busy is still refused
    status = 503  # with which
    broken = 0  # times that /broken still breaks off

    def do_GET(self):
        if self.path == "/busy" and Handler.busy:
            Handler.busy -= 1
            self.send_error(Handler.status)
        elif self.path == "/trickle":
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                for _ in range(200):
                    self.wfile.write(bytes(8192))
                    time.sleep(0.05)
        elif self.path == "/broken" and Handler.broken:
            Handler.broken -= 1
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"5\r\nhalf")  # and no more
        elif self.path in ("/busy", "/image", "/broken"):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(encoded(0))
        else:
            self.send_error(404)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def web():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_url_is_read(web):
    assert read(Source("a", f"{web}/image"), AT_ONCE) == encoded(0)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_web_server_is_asked_again(web, status, monkeypatch):
    monkeypatch.setattr(Handler, "status", status)
    Handler.busy = 2
    assert read(Source("a", f"{web}/busy"), AT_ONCE) == encoded(0)
    Handler.busy = 3
    with pytest.raises(ValueError, match=rf"cannot read .*busy: HTTP {status}"):
        read(Source("a", f"{web}/busy"), AT_ONCE)


def test_an_answer_that_breaks_off_is_asked_for_again(web):
    Handler.broken = 2
    assert read(Source("a", f"{web}/broken"), AT_ONCE) == encoded(0)


def test_a_download_takes_no_longer_than_it_may(web, monkeypatch):
    monkeypatch.setattr(sources, "LONGEST_DOWNLOAD", 0.3)
    began = time.monotonic()
    with pytest.raises(ValueError, match="did not send all of its answer in time"):
        read(Source("a", f"{web}/trickle"), AT_ONCE)
    assert time.monotonic() - began < 5  # it would send for ten seconds


def test_a_download_ends_when_nobody_wants_it(web):
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(CancelledError):
        read(Source("a", f"{web}/trickle"), AT_ONCE, stop)
    Handler.busy = 99
    began = time.monotonic()
    with pytest.raises(ValueError, match="HTTP 503"):
        read(Source("a", f"{web}/busy"), Retries(5, 60.0, 60.0), stop)
    Handler.busy = 0
    assert time.monotonic() - began < 5


def test_a_missing_page_and_a_missing_server_are_told(web):
    with pytest.raises(ValueError, match="HTTP 404"):
        read(Source("a", f"{web}/gone"), AT_ONCE)
    with pytest.raises(ValueError, match="UNAVAILABLE"):
        read(Source("a", "http://127.0.0.1:9/image"), AT_ONCE)


def test_what_is_too_large_is_refused_from_disk_and_web(web, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "MOST_BYTES", len(encoded(0)) - 1)
    path = tmp_path / "a.png"
    path.write_bytes(encoded(0))
    for location in (str(path), f"{web}/image"):
        with pytest.raises(ValueError, match="more than"):
            read(Source("a", location), AT_ONCE)


def test_folders_at_any_depth_and_files_in_the_order_given(tmp_path):
    for name in ("b/2.JPG", "b/c/1.png", "a.jpeg", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    file = str(tmp_path / "a.jpeg")
    found = images_of([file, str(tmp_path)])
    assert [source.name for source in found] == [
        file,
        "a.jpeg",
        "b/2.JPG",
        "b/c/1.png",
    ]
    assert found[2].location == str(tmp_path / "b" / "2.JPG")


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    for name in ("a.jpg", "._a.jpg", ".thumbnails/a.jpg", "b/._b.png", "b/b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [source.name for source in images_of([str(tmp_path)])] == [
        "a.jpg",
        "b/b.png",
    ]


def test_a_name_that_is_no_utf8_is_refused_at_the_door(tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    try:
        with open(path, "wb"):
            pass
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    for named in (str(tmp_path), os.fsdecode(path)):
        with pytest.raises(ValueError, match=r"caf.*\.jpg.* no UTF-8. Rename"):
            images_of([named])


def test_a_folder_without_images_and_a_missing_one_are_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no images"):
        images_of([str(tmp_path)])
    with pytest.raises(ValueError, match="neither a folder nor a file"):
        images_of([str(tmp_path / "x")])


def test_urls_are_the_lines_of_a_file(tmp_path):
    path = tmp_path / "urls.txt"
    path.write_text("http://a/1.jpg\n\n  https://b/2.jpg \n")
    assert [source.name for source in urls_of(str(path))] == [
        "http://a/1.jpg",
        "https://b/2.jpg",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [("\n", "holds no URLs"), ("http://a\nb.jpg\n", "line 2: expected a URL")],
)
def test_other_lines_are_refused(tmp_path, text, message):
    path = tmp_path / "urls.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        urls_of(str(path))
    with pytest.raises(ValueError, match="cannot be read"):
        urls_of(str(tmp_path / "none.txt"))
