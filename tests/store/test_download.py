"""Downloads, with a stand-in for pooch that copies from a folder instead of the network."""

import gzip
import io
import shutil
import sys
import tarfile
import types

import numpy as np
import pytest

import store.download as downloads
from store._datasets_binary import FASHION_MNIST, MNIST
from store.download import DownloadFailed, download
from store.files import checksum

RECORD = bytes([3]) + bytes(3072)


def idx_bytes(*shape):
    return bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes() + bytes(np.prod(shape))


def packed(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def batches(record=RECORD):
    names = [*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]
    return {f"cifar-10-batches-bin/{name}": record for name in names}


PUBLISHED = {
    "cifar10": {"cifar-10-binary.tar.gz": packed(batches())},
    "mnist": {
        f"{name}.gz": gzip.compress(idx_bytes(2, 3, 3) if "images" in name else idx_bytes(2))
        for name in MNIST
    },
}


@pytest.fixture
def network(tmp_path, monkeypatch):
    """Publish small files under the names and addresses of the real ones."""
    server = tmp_path / "server"
    server.mkdir()
    tables = {}
    for dataset, files in PUBLISHED.items():
        base = f"https://example.org/{dataset}/"
        tables[dataset] = tuple(
            downloads._File(base, name, checksum(data, "md5")) for name, data in files.items()
        )
        for name, data in files.items():
            (server / name).write_bytes(data)
    monkeypatch.setattr(downloads, "_FILES", tables)
    for name in MNIST:
        content = gzip.decompress(PUBLISHED["mnist"][f"{name}.gz"])
        monkeypatch.setitem(MNIST, name, checksum(content, "md5"))
    fetched = []

    def retrieve(url, known_hash, fname, path, progressbar):
        assert progressbar is False  # standard error is not a terminal here
        fetched.append(url)
        data = (server / fname).read_bytes()
        if known_hash != f"md5:{checksum(data, 'md5')}":
            raise ValueError(f"MD5 hash of downloaded file ({url}) does not match the known hash")
        shutil.copy(server / fname, path / fname)

    monkeypatch.setitem(sys.modules, "pooch", types.SimpleNamespace(retrieve=retrieve))
    return types.SimpleNamespace(server=server, fetched=fetched)


def test_an_archive_is_fetched_and_unpacked_once(tmp_path, network):
    folder = tmp_path / "new" / "data"
    identity = download("cifar10", folder)
    assert identity.startswith("cifar10-")
    assert (folder / "cifar-10-batches-bin" / "test_batch.bin").read_bytes() == RECORD
    assert network.fetched == ["https://example.org/cifar10/cifar-10-binary.tar.gz"]
    assert download("cifar10", str(folder)) == identity
    assert len(network.fetched) == 1
    assert sorted(p.name for p in folder.iterdir()) == [
        "cifar-10-batches-bin",
        "cifar-10-binary.tar.gz",
    ]


def test_what_is_there_is_not_fetched_again(tmp_path, network):
    for name in list(PUBLISHED["mnist"])[:3]:
        shutil.copy(network.server / name, tmp_path / name)
    assert download("mnist", tmp_path) == "mnist"
    assert [url.rsplit("/")[-1] for url in network.fetched] == [list(PUBLISHED["mnist"])[3]]


def test_uncompressed_files_serve(tmp_path, network):
    for name, data in PUBLISHED["mnist"].items():
        (tmp_path / name.removesuffix(".gz")).write_bytes(gzip.decompress(data))
    assert download("mnist", tmp_path) == "mnist"
    assert network.fetched == []


def test_files_put_in_place_by_hand_need_neither_pooch_nor_network(tmp_path, network, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    place = tmp_path / "cifar-10-binary.tar.gz"
    with pytest.raises(DownloadFailed, match="pooch is not installed") as caught:
        download("cifar10", tmp_path)
    md5 = checksum(PUBLISHED["cifar10"][place.name], "md5")
    line = f"https://example.org/cifar10/{place.name} (MD5 {md5}) as {place}"
    assert line in str(caught.value)
    assert "wide-minima[download]" in str(caught.value)
    place.write_bytes(PUBLISHED["cifar10"][place.name])
    assert download("cifar10", tmp_path).startswith("cifar10-")


@pytest.mark.parametrize("error", [OSError("Name or service not known"), ValueError("MD5 hash")])
def test_a_failed_download_names_every_missing_file(tmp_path, network, monkeypatch, error):
    def retrieve(url, **options):
        raise error

    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(
        PUBLISHED["mnist"]["t10k-labels-idx1-ubyte.gz"]
    )
    monkeypatch.setitem(sys.modules, "pooch", types.SimpleNamespace(retrieve=retrieve))
    with pytest.raises(DownloadFailed, match=f"cannot download 'mnist': {error}") as caught:
        download("mnist", tmp_path)
    message = str(caught.value)
    assert [f"as {tmp_path / name}" in message for name in PUBLISHED["mnist"]] == [True] * 3 + [
        False
    ]
    assert "ask again" in message


def test_an_altered_file_is_refused_not_removed(tmp_path, network):
    place = tmp_path / "cifar-10-binary.tar.gz"
    place.write_bytes(b"altered")
    with pytest.raises(ValueError, match=r"has the MD5 checksum .* remove it to fetch") as caught:
        download("cifar10", tmp_path)
    assert str(place) in str(caught.value)
    assert place.read_bytes() == b"altered"
    assert network.fetched == []


def test_an_altered_server_file_is_refused(tmp_path, network):
    (network.server / "cifar-10-binary.tar.gz").write_bytes(packed(batches(bytes(3073))))
    with pytest.raises(DownloadFailed, match="does not match the known hash"):
        download("cifar10", tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == []


def test_a_folder_of_another_data_set_is_left_alone(tmp_path, network):
    folder = tmp_path / "data"
    download("mnist", folder)
    before = sorted(p.name for p in folder.iterdir())
    with pytest.raises(ValueError, match="holds 'mnist' already: give 'cifar10' a folder"):
        download("cifar10", folder)
    assert sorted(p.name for p in folder.iterdir()) == before


def test_an_interrupted_unpacking_is_taken_up(tmp_path, network, monkeypatch):
    real = downloads.os.replace

    def fail(*paths):
        raise KeyboardInterrupt

    monkeypatch.setattr(downloads.os, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        download("cifar10", tmp_path / "data")
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["cifar-10-binary.tar.gz"]
    monkeypatch.setattr(downloads.os, "replace", real)
    assert download("cifar10", tmp_path / "data").startswith("cifar10-")
    assert len(network.fetched) == 1


def test_an_archive_cannot_write_outside_its_folder(tmp_path, network, monkeypatch):
    data = packed({"../escaped": b"x"})
    (network.server / "cifar-10-binary.tar.gz").write_bytes(data)
    file = downloads._File("https://example.org/", "cifar-10-binary.tar.gz", checksum(data, "md5"))
    monkeypatch.setitem(downloads._FILES, "cifar10", (file,))
    with pytest.raises(tarfile.OutsideDestinationError):
        download("cifar10", tmp_path / "data")
    assert not list(tmp_path.rglob("escaped"))


def test_unknown_data_sets(tmp_path):
    with pytest.raises(ValueError, match=r"one of mnist, fashion-mnist, .* not 'svhn'$"):
        download("svhn", tmp_path)
    with pytest.raises(ValueError, match="not 'imagenet'; ImageNet is given on request"):
        download("imagenet", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_published_files_are_those_that_are_read():
    for dataset, table in (("mnist", MNIST), ("fashion-mnist", FASHION_MNIST)):
        assert [file.name for file in downloads._FILES[dataset]] == [f"{n}.gz" for n in table]
    digests = [file.md5 for files in downloads._FILES.values() for file in files]
    assert len(set(digests)) == len(digests) == 11
    assert all(len(digest) == 32 and int(digest, 16) for digest in digests)
