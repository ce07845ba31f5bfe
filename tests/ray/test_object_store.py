"""A job whose source and sink are in an object store that speaks S3's protocol."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow.fs as arrow_fs
import pytest
from moto.server import ThreadedMotoServer
from pyarrow import parquet

from jina_clip_integrations.errors import BackendError
from jina_clip_integrations.images.sources import SourcePolicy
from jina_clip_integrations.ray import embed_dataset
from jina_clip_integrations.ray.manifest import receipt_name
from jina_clip_integrations.ray.rows import open_storage
from tests.ray.fake import make_fake
from tests.ray.test_jobs import photo, png


@pytest.fixture(scope="module")
def store() -> Iterator[tuple[arrow_fs.S3FileSystem, str]]:
    """A filesystem with a bucket of nine images, and how addresses of it end."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    _, port = server.get_host_and_port()
    filesystem = arrow_fs.S3FileSystem(
        access_key="key",
        secret_key="jina_secret",
        region="eu-central-1",
        endpoint_override=f"127.0.0.1:{port}",
        scheme="http",
        allow_bucket_creation=True,
    )
    filesystem.create_dir("shop")
    for number in range(9):
        with filesystem.open_output_stream(f"shop/photos/{number % 2}/{number}.png") as file:
            file.write(png(photo(number)) if number != 4 else b"no image")
    yield filesystem, f"?endpoint_override=127.0.0.1:{port}&scheme=http&region=eu-central-1"
    server.stop()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker has in its environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "jina_secret")


@pytest.mark.usefixtures("here")
def test_a_bucket_is_embedded_into_a_bucket(
    store: tuple[arrow_fs.S3FileSystem, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    filesystem, ending = store
    from jina_clip_integrations.ray import lock

    monkeypatch.setattr(lock, "_hold", lambda name: None)
    monkeypatch.setattr(lock, "WAIT_S", 0)
    source, sink = f"s3://shop/photos{ending}", f"s3://shop/vectors{ending}"
    # The lock of a bucket is an actor's name: whoever comes second is refused.
    with pytest.raises(BackendError, match="another program is writing s3://shop/vectors;"):
        embed_dataset(source, sink, backend=make_fake())
    monkeypatch.setattr(lock, "_hold", lambda name: name)
    monkeypatch.setattr(lock.ray, "kill", lambda holder: None)
    first = embed_dataset(source, sink, backend=make_fake(), partition_size=2)
    assert (first.rows, first.failed, first.partitions) == (8, 1, 5)
    filesystem.delete_file(f"shop/vectors/{receipt_name(1)}")
    again = embed_dataset(source, sink, backend=make_fake())
    assert (again.rows, again.failed, again.new_rows, again.resumed_partitions) == (8, 1, 0, 4)
    table = parquet.read_table("shop/vectors", filesystem=filesystem)
    assert table["input"].to_pylist() == [f"s3://shop/photos/{n % 2}/{n}.png" for n in (0, 2, 6, 8, 1, 3, 5, 7)]
    written = filesystem.get_file_info(arrow_fs.FileSelector("shop/vectors", recursive=True))
    files = [info.path for info in written if info.type == arrow_fs.FileType.File]
    assert not [path for path in files if path.endswith(".tmp")]
    for path in files:
        with filesystem.open_input_stream(path) as file:
            assert b"jina_secret" not in file.read()


def test_addresses_in_a_column_are_opened_unless_paths_are_confined(store: tuple[arrow_fs.S3FileSystem, str]) -> None:
    address = f"s3://shop/photos/1/1.png{store[1]}"
    opened = open_storage(address, SourcePolicy())
    assert b"".join(opened.chunks()) == png(photo(1))
    assert open_storage(address, SourcePolicy.agent()) == address
    assert open_storage("a.png", SourcePolicy()) == "a.png"
