"""What the value of an image column stands for: bytes, a file's bytes, or why there are none."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from commonspace.encoders.protocol import Failure, Reason
from commonspace.pipeline.config.sections import LimitsSection
from commonspace.pipeline.source.file_access import FileAccess
from commonspace.pipeline.source.images.value import read_image_value


def image_file(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (9, 9), "teal").save(file, kind)
    return file.getvalue()


PNG = image_file("PNG")
BASE64 = base64.b64encode(PNG).decode()
OUTSIDE = "lies outside the folder"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in ("in/a.png", "in/sub/é b.png", "in/50%25.png", "secret.png", "in_beside.png"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "in" / "inner").symlink_to("sub")
    (tmp_path / "in" / "outer").symlink_to(tmp_path)
    (tmp_path / "in" / "escape.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "in" / "loop").symlink_to("loop")
    (tmp_path / "in" / "fetched later.png").symlink_to("sub/annex-object")
    return tmp_path / "in"


def image(pictures: Path, value: Any, **access: Any) -> Any:
    return read_image_value(value, str(pictures), FileAccess(**access))


def failure(found: Any) -> Failure:
    assert isinstance(found, Failure), found
    return found


def test_an_image_is_bytes_or_a_path_below_the_folder(pictures: Path) -> None:
    assert image(pictures, b"\x89PNG") == b"\x89PNG"
    assert image(pictures, b"") == b""
    assert image(pictures, "a.png") == b"in/a.png"
    assert image(pictures, "./sub/../a.png") == b"in/a.png"
    assert image(pictures, "inner/é b.png") == "in/sub/é b.png".encode()
    assert image(pictures, str(pictures / "a.png")) == b"in/a.png"
    assert image(Path("/nowhere"), "a.png", image_root=str(pictures)) == b"in/a.png"
    assert image(pictures, pictures / "a.png") == b"in/a.png"


@pytest.mark.parametrize(
    "value", [None, "", {"bytes": None, "path": None}, {"path": ""}, {"bytes": None}]
)
def test_no_image_is_no_content(value: Any, pictures: Path) -> None:
    assert image(pictures, value) is None


@pytest.mark.parametrize(
    "value",
    ["../secret.png", "sub/../../secret.png", "escape.png", "outer/secret.png", "/etc/passwd",
     "../in_beside.png", "..", "a.png\0", "loop/a.png", "/proc/self/environ", "..%2Fsecret.png",
     "file:///etc/passwd", "file:///etc/pass%77d", "file:../secret.png",
     "FILE://localhost/etc/passwd",
     "..\\secret.png", "C:\\photos\\a.png", "d:/a.png\\..", "\\\\nas\\photos\\a.png", "   ", "\n",
     "x" * 5000, "\ud800.png", "a.png/b", "sub", ".", "~/a.png\0", {"path": "../secret.png"}],
)  # fmt: skip
def test_no_path_leads_out_of_the_folder_and_no_retry_helps(value: Any, pictures: Path) -> None:
    found = failure(image(pictures, value))
    assert found.reason in {Reason.MISSING_CONTENT, Reason.SOURCE_UNREADABLE}
    assert not found.retryable
    assert len(found.message) < 1_000


@pytest.mark.parametrize(
    "value", ["nothing.png", "~/a.png", "sub\\nothing.png", "no%20thing.png", "fetched later.png",
              "file:sub/nothing.png", {"bytes": None, "path": "nothing.png"}]
)  # fmt: skip
def test_a_file_that_is_not_there_yet_may_come(value: Any, pictures: Path) -> None:
    found = failure(image(pictures, value))
    assert found.reason is Reason.MISSING_CONTENT
    assert found.retryable


@pytest.mark.parametrize(
    "value", [1, 2.5, True, ["a.png"], {}, {"url": "a.png"}, {"bytes": 7}, {"path": 7},
              {"bytes": None, "path": ["a.png"]}, {"bytes": {"bytes": {}}}]
)  # fmt: skip
def test_what_is_no_image_is_a_wrong_type(value: Any, pictures: Path) -> None:
    found = failure(image(pictures, value))
    assert found.reason is Reason.WRONG_TYPE
    assert not found.retryable


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
def test_base64_of_an_image_is_its_bytes(kind: str, pictures: Path) -> None:
    content = image_file(kind)
    text = base64.b64encode(content).decode()
    url_safe = base64.urlsafe_b64encode(content).decode().rstrip("=")
    assert image(pictures, text) == content
    assert image(pictures, url_safe) == content
    assert image(pictures, base64.encodebytes(content).decode()) == content
    assert image(pictures, f"data:image/jpeg;base64,{text}") == content
    assert image(pictures, f"DATA:;BASE64,{quote(text, safe='')}") == content
    assert image(pictures, f"data:,{quote(content)}") == content
    assert image(pictures, {"bytes": text, "path": None}) == content


def test_base64_of_other_bytes_is_a_path(pictures: Path) -> None:
    """Only what begins as an image does is taken for one: a path may look like base64, too."""
    found = failure(image(pictures, base64.b64encode(b"of no image").decode()))
    assert found.message == "there is no file 'b2Ygbm8gaW1hZ2U='"


def test_a_file_goes_before_base64_of_its_name(pictures: Path) -> None:
    name = base64.urlsafe_b64encode(b"\xff\xd8\xff\xe0 a photo").decode()
    assert image(pictures, name) == b"\xff\xd8\xff\xe0 a photo"
    (pictures / name).write_bytes(b"the file")
    assert image(pictures, name) == b"the file"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("data:image/png;base64", "the data: address has no comma before its data"),
        ("data:image/png;base64,iVBO*w0K", "the data: address is not valid base64"),
        ("data:image/png;base64,=====", "the data: address is not valid base64"),
        ("data:image/png;base64,é", "the data: address is not valid base64"),
        ("data:,\ud800", "the data: address has a lone surrogate"),
        (BASE64[:-1] + "!", "the image is not valid base64"),
        (BASE64[:-2] + "\ud800", "the image is not valid base64"),
        ({"bytes": "a.png"}, "the image's `bytes` is not valid base64"),
    ],
)
def test_broken_base64_is_a_lasting_reject(value: Any, message: str, pictures: Path) -> None:
    expected = Failure(Reason.UNREADABLE_IMAGE, message)
    assert image(pictures, value) == expected


@pytest.mark.parametrize(
    "value",
    [PNG, BASE64, f"data:;base64,{BASE64}", f"data:,{quote(PNG)}", {"bytes": PNG}, "a.png",
     f"data:;base64,{BASE64 * 5}"],
)  # fmt: skip
def test_a_content_of_too_many_bytes_is_refused(value: Any, pictures: Path) -> None:
    found = failure(image(pictures, value, limits=LimitsSection(max_file_bytes=7)))
    assert found.reason is Reason.TOO_LARGE
    assert found.message.endswith(" has too many bytes; `max_file_bytes` in [limits] is 7")


@pytest.mark.parametrize(
    "address",
    ["https://example.org/p/1.jpg", "HTTP://example.org/a.png", "s3://bucket/key.png",
     "gs://bucket/a.png", "abfss://c@account.dfs.example.net/a.png", "hf://datasets/a/b/c.png",
     "dbfs:/mnt/a.png", "ftp://a/b", {"bytes": None, "path": "https://example.org/a.png"}],
)  # fmt: skip
def test_addresses_are_refused_for_good_with_their_scheme(address: Any, pictures: Path) -> None:
    found = failure(image(pictures, address))
    scheme = str(address["path"] if isinstance(address, dict) else address).split(":")[0].lower()
    assert found.reason is Reason.UNSUPPORTED_ADDRESS
    assert f"is an address of scheme '{scheme}', and nothing is fetched" in found.message
    assert not found.retryable


@pytest.mark.parametrize(
    ("address", "what"),
    [("mailto:x", "of scheme 'mailto'"), ("javascript:alert(1)", "of scheme 'javascript'"),
     ("http:x", "of scheme 'http'"), ("blob:https://example.org/x", "of scheme 'blob'"),
     ("HTTP:../a.png", "of scheme 'http'"), (" tel:1", "of scheme 'tel'"),
     ("about:" + "x" * 5000, "of scheme 'about'"), ({"path": "cid:1"}, "of scheme 'cid'"),
     ("//cdn.example.org/x.jpg", "without a scheme"), ("//localhost", "without a scheme")],
)  # fmt: skip
def test_an_address_without_a_slash_or_a_scheme_is_none_of_a_missing_file(
    address: Any, what: str, pictures: Path
) -> None:
    found = failure(image(pictures, address))
    assert (found.reason, found.retryable) == (Reason.UNSUPPORTED_ADDRESS, False)
    assert f"is an address {what}, and nothing is fetched" in found.message


@pytest.mark.parametrize("name", ["mailto:x", "a:b.png", "scan:7.png", "sub/http:x"])
def test_a_file_goes_before_an_address_of_its_name(name: str, pictures: Path) -> None:
    (pictures / name).write_bytes(b"the file")
    assert image(pictures, name) == b"the file"
    assert image(pictures, f"/{pictures / name}") == b"the file"


@pytest.mark.parametrize("name", ["photo-12:30.png", "a:b.png", "2026-01-31T12:30:00.png"])
def test_a_colon_alone_makes_no_address(name: str, pictures: Path) -> None:
    found = failure(image(pictures, name))
    assert found == Failure(Reason.MISSING_CONTENT, f"there is no file '{name}'", True)


def test_a_missing_file_is_named_as_its_value_is_written(pictures: Path) -> None:
    values = ["x/no.png", "./no.png", {"path": "sub/../x/no.png"}, "a\0b.png", "sub"]
    assert [failure(image(pictures, value)).message for value in values] == [
        "there is no file 'x/no.png'",
        "there is no file './no.png'",
        "there is no file 'sub/../x/no.png'",
        "'a\\x00b.png' holds a NUL, which no path can",
        "'sub' is not a file",
    ]


def test_a_file_of_another_machine_is_refused(pictures: Path) -> None:
    found = failure(image(pictures, "file://nas/photos/a.png"))
    assert (found.reason, found.retryable) == (Reason.UNSUPPORTED_ADDRESS, False)


@pytest.mark.parametrize(
    "value",
    ["sub\\é b.png", "sub/é%20b.png", " sub/é b.png ", "sub\\%C3%A9%20b.png",
     "file:sub/%C3%A9%20b.png",     {"path": "sub/é b.png"}],
)  # fmt: skip
def test_a_path_as_others_write_it(value: Any, pictures: Path) -> None:
    assert image(pictures, value) == "in/sub/é b.png".encode()


def test_a_path_is_first_taken_as_written(pictures: Path) -> None:
    assert image(pictures, "50%25.png") == b"in/50%25.png"
    (pictures / "sub\\é b.png").write_bytes(b"a backslash in its name")
    assert image(pictures, "sub\\é b.png") == b"a backslash in its name"
    assert image(pictures, f"file://{quote(str(pictures))}/50%2525.png") == b"in/50%25.png"
    assert OUTSIDE in failure(image(pictures, "file:///50%25.png")).message


def test_bytes_go_before_a_path(pictures: Path) -> None:
    assert image(pictures, {"bytes": b"these", "path": "a.png"}) == b"these"
    assert image(pictures, {"bytes": None, "path": "a.png"}) == b"in/a.png"
    assert image(pictures, {"bytes": b"", "path": "a.png"}) == b""


def test_stored_messages_keep_their_wording(pictures: Path) -> None:
    """Rejects are compared by their message: another wording publishes an unchanged source."""
    found = [failure(image(pictures, value)).message for value in (7, "..", "no.png")]
    assert found == [
        "the image is of type int, not bytes or a path",
        f"'..' lies outside the folder {pictures.resolve()}",
        "there is no file 'no.png'",
    ]


@given(
    value=st.text(st.characters())
    | st.binary()
    | st.builds("{}{}".format, st.sampled_from(["data:", "data:;base64,", BASE64, "file:", "s3:"]),
                st.text(st.characters()))
    | st.fixed_dictionaries({}, optional={"bytes": st.binary() | st.text(), "path": st.text()})
)  # fmt: skip
def test_any_value_is_bytes_a_reject_or_nothing(value: Any) -> None:
    found = read_image_value(value, "/nowhere", FileAccess())
    assert found is None or isinstance(found, bytes | Failure)
