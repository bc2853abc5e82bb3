"""Downloads over the loopback: resumed, verified, unpacked atomically."""

import hashlib
import http.server
import io
import socket
import tarfile
import threading
import zipfile

import pytest

from speechbrain_lmac.data_prep import download
from speechbrain_lmac.data_prep.download import (
    download_file,
    fetch_dataset,
    unpack_archive,
)
from speechbrain_lmac.utils.errors import InputError

N_BYTES = 1_000_000
CONTENT = bytes(range(251)) * (N_BYTES // 251 + 1)
CONTENT = CONTENT[:N_BYTES]
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.content`; knows ranges, and may hang up too early."""

    def do_GET(self):
        server, content = self.server, self.server.content
        self.server.ranges.append(self.headers.get("Range"))
        start = 0
        if server.knows_ranges and self.headers.get("Range"):
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
        if self.path == "/nothing" or start >= len(content):
            self.send_error(404 if self.path == "/nothing" else 416)
            return
        self.send_response(206 if start else 200)
        if server.tells_length:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        until = len(content) if server.cut_at is None else start + server.cut_at
        self.wfile.write(content[start:until])
        server.cut_at = None  # the next request is served to the end

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.content, server.ranges = CONTENT, []
    server.knows_ranges, server.tells_length, server.cut_at = True, True, None
    server.url = f"http://127.0.0.1:{server.server_port}/data.zip"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def zip_of(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        for name, content in files.items():
            bundle.writestr(name, content)
    return buffer.getvalue()


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


GOOD_FILES = {"ESC-50-master/meta/esc50.csv": "a", "ESC-50-master/audio/1.wav": "b"}


@pytest.mark.parametrize("tells_length", [True, False])
def test_a_file_comes_as_it_is(server, tmp_path, tells_length):
    server.tells_length = tells_length
    path = download_file(server.url, tmp_path / "new" / "data.zip", N_BYTES, MD5)
    assert path.read_bytes() == CONTENT
    assert names_in(path.parent) == ["data.zip"]
    assert server.ranges == [None]


def test_a_cut_download_is_kept_and_resumed(server, tmp_path):
    server.cut_at = 300_000
    with pytest.raises(InputError, match=r"data.zip was interrupted"):
        download_file(server.url, tmp_path / "data.zip")
    assert names_in(tmp_path) == ["data.zip.part"]
    part = (tmp_path / "data.zip.part").read_bytes()
    assert part == CONTENT[: len(part)] and 0 < len(part) <= 300_000
    path = download_file(server.url, tmp_path / "data.zip", N_BYTES, MD5)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={len(part)}-"]
    assert names_in(tmp_path) == ["data.zip"]


def test_a_resumed_download_that_is_cut_again_is_not_whole(server, tmp_path):
    (tmp_path / "data.zip.part").write_bytes(CONTENT[:600_000])
    server.cut_at = 200_000  # more than half of the rest
    with pytest.raises(InputError, match="interrupted"):
        download_file(server.url, tmp_path / "data.zip")
    assert names_in(tmp_path) == ["data.zip.part"]


def test_a_server_without_ranges_starts_again(server, tmp_path):
    server.knows_ranges = False
    (tmp_path / "data.zip.part").write_bytes(CONTENT[:1000])
    path = download_file(server.url, tmp_path / "data.zip")
    assert path.read_bytes() == CONTENT


def test_a_part_with_nothing_to_follow_is_fetched_again(server, tmp_path):
    """Killed between the last byte and the renaming, or another file by now."""
    (tmp_path / "data.zip.part").write_bytes(CONTENT + b"more")
    assert download_file(server.url, tmp_path / "data.zip").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"md5": "0" * 32}, f"has the md5 {MD5}, expected 0000"),
        ({"n_bytes": N_BYTES + 1}, f"has {N_BYTES} bytes, expected {N_BYTES + 1}"),
    ],
)
def test_a_wrong_file_is_refused_and_deleted(server, tmp_path, expected, message):
    with pytest.raises(InputError, match=message):
        download_file(server.url, tmp_path / "data.zip", **expected)
    assert names_in(tmp_path) == []


def test_no_server_no_file_no_url(server, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/data.zip"
        with pytest.raises(InputError, match=f"cannot download {url}: .*refused"):
            download_file(url, tmp_path / "new" / "data.zip")
    with pytest.raises(InputError, match="nothing: HTTP Error 404"):
        download_file(server.url.replace("data.zip", "nothing"), tmp_path / "data.zip")
    with pytest.raises(InputError, match="data.zip: unknown url"):
        download_file("data.zip", tmp_path / "data.zip")
    assert names_in(tmp_path) == []


def test_a_full_disk_is_no_network_error(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot write .*file/data.zip.part"):
        download_file(server.url, tmp_path / "file" / "data.zip")


def test_a_dataset_is_fetched_without_the_top_folder(server, tmp_path):
    server.content = zip_of(GOOD_FILES)
    seen = []
    fetch_dataset(
        tmp_path / "data" / "ESC-50",
        server.url,
        "meta/esc50.csv",
        check=lambda folder: seen.append((folder / "meta" / "esc50.csv").read_text()),
        md5=hashlib.md5(server.content).hexdigest(),
    )
    assert seen == ["a"]
    assert names_in(tmp_path / "data") == ["ESC-50"]
    assert names_in(tmp_path / "data" / "ESC-50") == ["audio", "meta"]
    assert (tmp_path / "data" / "ESC-50" / "audio" / "1.wav").read_text() == "b"


def test_an_archive_that_came_whole_is_not_fetched_again(server, tmp_path):
    (tmp_path / "ESC-50.download").write_bytes(zip_of(GOOD_FILES))
    fetch_dataset(tmp_path / "ESC-50", server.url, "meta/esc50.csv")
    assert server.ranges == []
    assert names_in(tmp_path) == ["ESC-50"]


def test_without_network_the_message_says_what_to_do(tmp_path, monkeypatch):
    def unreachable(request, timeout):
        raise download.urllib.error.URLError("unreachable")

    monkeypatch.setattr(download.urllib.request, "urlopen", unreachable)
    with pytest.raises(InputError) as caught:
        fetch_dataset(
            tmp_path / "data" / "ESC-50", "https://example.org/e.zip", "meta/esc50.csv"
        )
    message = str(caught.value)
    assert "https://example.org/e.zip" in message
    assert "unreachable" in message
    assert str(tmp_path / "data" / "ESC-50" / "meta" / "esc50.csv") in message
    assert "--data_folder" in message
    assert names_in(tmp_path) == []


def test_an_archive_with_missing_files_leaves_nothing(server, tmp_path):
    server.content = zip_of(GOOD_FILES)

    def check(folder):
        raise InputError("missing clips (2)")

    with pytest.raises(InputError, match="missing clips"):
        fetch_dataset(tmp_path / "ESC-50", server.url, "meta/esc50.csv", check)
    assert names_in(tmp_path) == []


def flipped(archive, inside, at=0):
    """A byte of a stored file changed: only its checksum can tell."""
    where = archive.index(inside) + at
    return archive[:where] + bytes([archive[where] ^ 1]) + archive[where + 1 :]


def tar_of(names, kind="w:gz", link=None, to="/etc", link_type=tarfile.SYMTYPE):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=kind) as bundle:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 1
            bundle.addfile(info, io.BytesIO(b"x"))
        if link:
            info = tarfile.TarInfo(link)
            info.type, info.linkname = link_type, to
            bundle.addfile(info)
    return buffer.getvalue()


def zip_with_link():
    info = zipfile.ZipInfo("top/link")
    info.external_attr = 0o120777 << 16
    return zip_of({"top/a": "a", info: "/etc"})


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (flipped(zip_of({"top/a": b"xyz" * 999}), b"xyz"), "damaged.*CRC"),
        (tar_of(["top/a", "top/b"])[:-12], "damaged"),
        (tar_of(["top/a", "top/b"])[:-8] + bytes(8), "damaged.*CRC"),
        (b"<html>rate limit</html>", "neither a zip nor a tar"),
        (flipped(tar_of(["top/a", "top/b"], "w:bz2"), b"1AY&SY", 8), "damaged"),
        (tar_of(["top/a", "top/b"], "w:bz2")[:-6], "damaged"),
        (tar_of(["top/a", "top/b"], "w:xz")[:-40] + bytes(40), "damaged"),
        (tar_of(["top/a", "../evil"]), "'../evil'"),
        (tar_of(["top/a"], link="top/link"), "'top/link'"),
        (tar_of(["top/a"], link="top/link", to="a"), "'top/link'"),
        (tar_of(["top/a"], "w", "top/b", "top/a", tarfile.LNKTYPE), "'top/b'"),
        (tar_of(["top/a"], link="top/pipe", link_type=tarfile.FIFOTYPE), "'top/pipe'"),
    ],
    ids=range(12),  # archives have the time in them
)
def test_a_bad_archive_leaves_nothing(tmp_path, archive, message):
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "data.download").write_bytes(archive)
    with pytest.raises(InputError, match=message):
        unpack_archive(inner / "data.download", inner / "data")
    assert names_in(tmp_path) == ["inner"]
    assert names_in(inner) == []


@pytest.mark.parametrize(
    ("archive", "names"),
    [
        (zip_of({"top/a": "x", "top/../../evil": "x"}), ["a", "evil"]),
        (zip_of({"top/a": "x", "/top/evil": "x"}), ["a", "evil"]),
        (zip_of({"top/a": "x", "top/..\\evil": "x"}), ["..\\evil", "a"]),
        (zip_of({"top/a..wav": "x", "top/b": "x"}), ["a..wav", "b"]),
        (zip_with_link(), ["a", "link"]),
        (tar_of(["top/a", "/top/evil"]), ["a", "evil"]),
    ],
    ids=range(6),
)
def test_no_path_of_an_archive_leaves_its_folder(tmp_path, archive, names):
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "a").write_bytes(archive)
    unpack_archive(inner / "a", inner / "data")
    files = [path for path in (inner / "data").rglob("*") if not path.is_dir()]
    assert sorted(path.name for path in files) == names
    assert all(path.is_file() and not path.is_symlink() for path in files)
    assert names_in(tmp_path) == ["inner"] and names_in(inner) == ["a", "data"]


@pytest.mark.parametrize("kind", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_archives(tmp_path, kind):
    (tmp_path / "a.tar").write_bytes(tar_of(["top/audio/a", "top/meta/b"], kind))
    unpack_archive(tmp_path / "a.tar", tmp_path / "data")
    assert names_in(tmp_path / "data") == ["audio", "meta"]
    assert (tmp_path / "data" / "audio" / "a").read_bytes() == b"x"


def test_a_python_without_filters_unpacks_zip_only(tmp_path, monkeypatch):
    monkeypatch.delattr(tarfile, "data_filter")
    (tmp_path / "a.tar").write_bytes(tar_of(["top/a"]))
    with pytest.raises(InputError, match="a.tar.*3.11.4"):
        unpack_archive(tmp_path / "a.tar", tmp_path / "data")
    assert names_in(tmp_path) == ["a.tar"]  # it is not damaged
    (tmp_path / "a.zip").write_bytes(zip_of({"top/a": "x"}))
    unpack_archive(tmp_path / "a.zip", tmp_path / "data")
    assert names_in(tmp_path / "data") == ["a"]


def test_an_archive_without_a_top_folder(tmp_path):
    (tmp_path / "a.zip").write_bytes(zip_of({"meta/esc50.csv": "a", "audio/1": "b"}))
    (tmp_path / "data").mkdir()  # empty: may be filled
    unpack_archive(tmp_path / "a.zip", tmp_path / "data")
    assert names_in(tmp_path / "data") == ["audio", "meta"]


def test_nothing_is_unpacked_over_a_folder_in_use(tmp_path):
    (tmp_path / "a.zip").write_bytes(zip_of(GOOD_FILES))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "precious").write_text("mine")
    with pytest.raises(InputError, match="/data is not"):
        unpack_archive(tmp_path / "a.zip", tmp_path / "data")
    assert names_in(tmp_path) == ["a.zip", "data"]
    assert names_in(tmp_path / "data") == ["precious"]
