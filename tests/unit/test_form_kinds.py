"""Forms of a kind that no page of the dashboard sends: 400 and no traceback, whatever is in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.generators.wsgi_client import OWNER, Client

PART = b'--x\r\nContent-Disposition: form-data; name="action"\r\n%s\r\nlogin\r\n--x--\r\n'


@pytest.mark.parametrize("cookie", ["", f"scalable_session={OWNER}"], ids=["a stranger", "the owner"])
@pytest.mark.parametrize(
    "kind", ["multipart/form-data; boundary=x", "Multipart/Mixed;boundary=x", "multipart/form-data"]
)
@pytest.mark.parametrize("charset", ["nope", "hex", "zlib", "punycode", "undefined", "utf-16", "idna", "utf8", '"'])
def test_a_multipart_form_is_refused_unread(tmp_path: Path, cookie: str, kind: str, charset: str) -> None:
    part = PART % f"Content-Type: text/plain; charset={charset}\r\n".encode()
    for whole_kind in (kind, f"{kind}; charset={charset}"):
        status, _, body = Client(tmp_path).ask("/", "", "POST", part, CONTENT_TYPE=whole_kind, HTTP_COOKIE=cookie)

        assert (status, b"multipart" in body) == (400, True)


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded; charset=nope", "text/plain; charset=hex", "", ";", "=", ",", "\x00"]
)
def test_every_other_kind_is_read_as_a_plain_form(tmp_path: Path, kind: str) -> None:
    answer = Client(tmp_path).ask("/", "", "POST", b"action=login&token=owner", CONTENT_TYPE=kind)

    assert answer[0] == 303
