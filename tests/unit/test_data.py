import functools
import http.server
import socket
import threading
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from modelyard import data
from modelyard.errors import RequestError, Unavailable
from modelyard.store import StoreAddress

CSV = "rooms,price\n3,100\n4,150\n"


@pytest.fixture
def address(tmp_path):
    return StoreAddress.from_environment(
        {"MODELYARD_MONGO_URI": "mongodb://127.0.0.1:1", "MODELYARD_HOME": str(tmp_path)}
    )


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "houses.csv").write_text(CSV)
    return folder


@pytest.fixture
def to(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture
def web(project):
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(project))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_path_of_the_project(project, to, address):
    assert data.fetch("houses.csv", project, to, "houses", address, hidden=()).read_text() == CSV


def test_a_file_uri(project, to, address):
    path = data.fetch((project / "houses.csv").as_uri(), project, to, "houses", address, hidden=())
    assert path == to / "houses.csv"
    assert path.read_text() == CSV


@pytest.mark.parametrize("way", ["itself", "link", "dots"])
def test_a_credential_is_no_data(project, to, address, tmp_path, way):
    secret = tmp_path / "mongo" / "server.json"
    secret.parent.mkdir()
    secret.write_text("hunter2")
    (project / "link").symlink_to(secret)
    named = {
        "itself": secret.as_uri(),
        "link": (project / "link").as_uri(),
        "dots": f"file://{project}/../mongo/server.json",
    }
    with pytest.raises(RequestError, match="is no data"):
        data.fetch(named[way], project, to, "houses", address, hidden=[secret.parent])
    assert not list(to.iterdir())


def test_the_environment_of_a_process_is_no_data(project, to, address):
    with pytest.raises(RequestError, match="is no data"):
        data.fetch("file:///proc/self/environ", project, to, "houses", address, hidden=())


def test_http(project, to, address, web):
    assert data.fetch(f"{web}/houses.csv?token=s3cret", project, to, "houses", address, hidden=()).read_text() == CSV


def test_a_page_that_is_not_there_is_told_without_its_query(project, to, address, web):
    with pytest.raises(RequestError, match=r"data\.houses: .*/no\.csv answered 404") as refused:
        data.fetch(f"{web}/no.csv?token=s3cret", project, to, "houses", address, hidden=())
    assert "s3cret" not in str(refused.value)


def test_a_server_that_is_away_may_be_tried_again(project, to, address):
    with pytest.raises(Unavailable, match=r"cannot be had: .*refused"):
        data.fetch("http://127.0.0.1:9/houses.csv", project, to, "houses", address, hidden=())


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("Content-Length: 1000\r\n\r\nrooms,price\n3,100\n", "has sent 18 of 1000 bytes"),
        ("Transfer-Encoding: chunked\r\n\r\n12\r\nrooms,price\n3,100\n\r\n", "cannot be had: IncompleteRead"),
        ("Transfer-Encoding: chunked\r\n\r\n400\r\nrooms,price\n", "cannot be had: IncompleteRead"),
    ],
)
def test_what_ends_too_soon_is_no_data_and_may_be_tried_again(project, to, address, answer, told):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(f"HTTP/1.1 200 OK\r\n{answer}".encode())

        threading.Thread(target=serve, daemon=True).start()
        uri = f"http://127.0.0.1:{server.getsockname()[1]}/houses.csv?token=s3cret"
        with pytest.raises(Unavailable, match=told) as refused:
            data.fetch(uri, project, to, "houses", address, hidden=())
    assert "s3cret" not in str(refused.value)
    assert not (to / "houses.csv").exists()


@pytest.mark.parametrize(
    "uri",
    [
        "http://h:abc/x.csv?s3cret",
        "http:///x.csv?s3cret",
        "http://:80/x?s3cret",
        "http://h/a b?s3cret",
        "http://h/ä?s3cret",
    ],
)
def test_what_can_be_no_address_is_not_tried_again(project, to, address, uri):
    with pytest.raises(RequestError, match=r"data\.houses: 'http:.*' is no address of a web server") as refused:
        data.fetch(uri, project, to, "houses", address, hidden=())
    assert "s3cret" not in str(refused.value)


def test_a_path_may_not_leave_the_project(project, to, address):
    with pytest.raises(RequestError, match="outside the project"):
        data.fetch("../secret.csv", project, to, "houses", address, hidden=())


def test_an_unknown_scheme_names_those_that_are_understood(project, to, address):
    with pytest.raises(RequestError, match="s3://"):
        data.fetch("ftp://host/houses.csv", project, to, "houses", address, hidden=())


def test_a_table_has_rows_columns_and_a_digest(project):
    found = data.fingerprint(project / "houses.csv", name="houses", role="train", uri="houses.csv", target="price")
    assert (found.rows, found.columns, found.format) == (2, ("rooms", "price"), "csv")
    assert found.digest.startswith("sha256:")
    assert found.size == len(CSV)


def test_a_fingerprint_has_no_credential(project):
    uri = "https://me:hunter2@example.com/houses.csv?signature=s3cret"
    found = data.fingerprint(project / "houses.csv", name="houses", role="train", uri=uri, target="price")
    assert found.uri == "https://example.com/houses.csv"
    assert replace(found, uri=uri) == found
    with pytest.raises(RequestError, match=r"data\.houses: https://example\.com/houses\.csv has no column") as refused:
        data.fingerprint(project / "houses.csv", name="houses", role="train", uri=uri, target="cost")
    assert "s3cret" not in str(refused.value)


def test_json_lines(tmp_path: Path):
    file = tmp_path / "x.jsonl"
    file.write_text('{"a": 1}\n{"a": 2, "b": 3}\n')
    found = data.fingerprint(file, name="x", role="evaluation", uri="x", target=None)
    assert (found.rows, found.columns) == (2, ("a", "b"))


@pytest.mark.parametrize("index", [None, [7, 8], pd.Index([7, 8], name="id")])
def test_parquet(tmp_path: Path, index):
    file = tmp_path / "x.parquet"
    pd.DataFrame({"rooms": [3, 4], "price": [100, 150]}, index=index).to_parquet(file)
    found = data.fingerprint(file, name="x", role="evaluation", uri="x", target="price")
    assert (found.rows, found.columns, found.format) == (2, ("rooms", "price"), "parquet")
    with pytest.raises(RequestError, match=r"no column 'cost' .*rooms, price"):
        data.fingerprint(file, name="x", role="evaluation", uri="x", target="cost")


def test_a_truncated_parquet_file_is_refused(tmp_path: Path):
    whole, file = tmp_path / "whole.parquet", tmp_path / "x.parquet"
    pd.DataFrame({"a": range(1000)}).to_parquet(whole)
    for content in (whole.read_bytes()[:2000], b"PAR1" + b"\xff" * 40 + (32).to_bytes(4, "little") + b"PAR1"):
        file.write_bytes(content)
        with pytest.raises(RequestError, match=r"data\.x: .* is not readable as parquet"):
            data.fingerprint(file, name="x", role="train", uri="x.parquet", target=None)


@pytest.mark.parametrize(
    ("name", "content"),
    [("x.csv", b""), ("x.csv", b"\xff\xfe\xfa"), ("x.jsonl", b"[1]\n"), ("x.parquet", b""), ("x.parquet", b"a,b\n")],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RequestError, match=r"data\.x: .* is not readable"):
        data.fingerprint(tmp_path / name, name="x", role="train", uri=name, target=None)


def test_a_missing_target_is_told_with_the_columns_there_are(project):
    with pytest.raises(RequestError, match=r"no column 'cost' .*rooms, price"):
        data.fingerprint(project / "houses.csv", name="houses", role="train", uri="houses.csv", target="cost")
