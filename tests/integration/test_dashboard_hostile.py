"""Whatever people send, whatever a bot prints and whatever anyone asks of it, the dashboard stays a dashboard."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as some

from scalable.lib.dashboard.access import Keys, Role, Visitor
from scalable.lib.telegram.update import Update
from tests.support.generators.fuzz_counts import fuzzed
from tests.support.generators.wsgi_client import OWNER, READER, SECRET, Client

HOSTILE = (
    "<script>document.title='owned'</script>",
    "</pre></details></td></table><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)" x="',
    "' onfocus='alert(1)' autofocus='",
    "{{7*7}} % import os",
    "javascript:alert(1)",
    "\u202egnihtemos\u202c \u2066x\u2069 \u200b\u200f",
    "😀👩\u200d👩\u200d👧\u200d👦🏳️\u200d🌈",
    "\x1b[31mred\x1b[0m \x07\x08",
    "\ufffe\uffff\ufeff",
    "x" * 1_000_000,
    "word " * 200_000,
    "\n" * 50_000,
    "&lt;b&gt; &amp;amp; &#60;script&#62; \\u003cscript\\u003e",
    "<!-- ]]>",
    "עברית العربية ไทย हिन्दी 漢字",
)
TAGS = {
    "html",
    "head",
    "meta",
    "title",
    "link",
    "script",
    "noscript",
    "body",
    "a",
    "header",
    "nav",
    "img",
    "div",
    "span",
    "form",
    "input",
    "button",
    "main",
    "p",
    "footer",
    "section",
    "h1",
    "h2",
    "dl",
    "dt",
    "dd",
    "ol",
    "li",
    "ul",
    "strong",
    "small",
    "details",
    "summary",
    "pre",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "time",
    "label",
    "select",
    "option",
    "datalist",
    "figure",
    "figcaption",
    "progress",
}


class Page(HTMLParser):
    """What a page is made of: its tags with their attributes, and all its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def page(client: Client, path: str, query: str = "", cookie: str = OWNER) -> Page:
    """A page as somebody who is in sees it."""
    status, _, body = client.ask(path, query, HTTP_COOKIE=f"scalable_session={cookie}")
    assert status == 200, (status, body[:500])
    return Page(body.decode())


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """With jobs whose updates, lanes and errors are hostile."""
    client = Client(tmp_path_factory.mktemp("hostile"))
    for number, text in enumerate(HOSTILE):
        payload = json.dumps({"update_id": number, "message": {"text": text, text[:1000]: text}}, ensure_ascii=False)
        client.queue.enqueue(Update(payload, number, "message", f"poll:{number}"))
    client.queue.enqueue(Update("<script>not json</script>\x1b", 900, None, None))
    client.queue.enqueue(Update('{"a": "\\ud800 \\u0000 \\udfff"}', 901, None, None))
    for job in client.queue.claim("<b>worker</b>", 600, limit=len(HOSTILE) + 2):
        client.queue.retry(job.lease, HOSTILE[job.id % len(HOSTILE)], 0)
    for job in client.queue.claim("<i>worker</i>", 600, limit=len(HOSTILE) + 2):
        client.queue.fail(job.lease, "exit code 1\n" + HOSTILE[(job.id + 1) % len(HOSTILE)])
    yield client
    client.queue.close()


def harmless(page: Page) -> None:
    """Nothing in it runs, leads away or hides."""
    for tag, attributes in page.tags:
        assert tag in TAGS, tag
        assert not any(name.startswith("on") or name == "style" for name in attributes), attributes
        for name in ("href", "src", "action"):
            assert re.match("/dashboard.py(/|$)|#main$", attributes.get(name) or "#main"), attributes
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\u200b]", page.text)


@pytest.mark.parametrize("cookie", [OWNER, READER], ids=["owner", "reader"])
def test_hostile_updates_and_errors_are_only_text(client: Client, cookie: str) -> None:
    for job in client.queue.newest(100):
        harmless(page(client, f"/job/{job.id}", cookie=cookie))
    for path, query in (("/", ""), ("/jobs", ""), ("/jobs", "status=failed"), ("/jobs", "part=live")):
        harmless(page(client, path, query, cookie))


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_what_somebody_searches_for_is_only_text(client: Client, number: int) -> None:
    text = HOSTILE[number][:2000]
    for name in ("q", "lane", "type", "status", "before", "did", "n", "span", "part", "format-x"):
        query = urlencode({name: text}, errors="surrogatepass")
        harmless(page(client, "/jobs", query))
        harmless(page(client, "/", query))


def test_a_text_of_a_megabyte_makes_no_page_of_a_megabyte(client: Client) -> None:
    for job in client.queue.newest(100):
        _, _, body = client.ask(f"/job/{job.id}", HTTP_COOKIE=f"scalable_session={OWNER}")
        assert len(body) < 700_000  # escaping may make six of one character
    _, _, body = client.ask("/jobs", HTTP_COOKIE=f"scalable_session={OWNER}")
    assert len(body) < 60_000


def test_the_download_is_what_came_byte_for_byte(client: Client) -> None:
    for job in client.queue.newest(100):
        _, headers, body = client.ask(f"/job/{job.id}/payload", HTTP_COOKIE=f"scalable_session={OWNER}")
        assert body.decode() == client.queue.payload(job.id)
        assert dict(headers)["Content-Disposition"].startswith("attachment")
        assert dict(headers)["X-Content-Type-Options"] == "nosniff"


# A fuzzer: everything an address, a form and the headers may hold, in the shapes the dashboard looks at

TEXT = some.one_of(
    some.text(max_size=40),
    some.sampled_from(HOSTILE).map(lambda text: text[:300]),
    some.sampled_from(
        [
            "",
            "0",
            "1",
            "-1",
            "17",
            "9" * 18,
            "9" * 30,
            "yes",
            "json",
            "failed",
            "done",
            "live",
            "charts",
            "week",
            "retry:1",
            "delete:1",
            "retry-matching:failed",
            "/jobs",
            "//x",
            "2026-01-01 00:00:00.000/1",
        ]
    ),
)
NAMES = some.sampled_from(
    [
        "format",
        "part",
        "span",
        "status",
        "type",
        "lane",
        "q",
        "before",
        "did",
        "n",
        "lang",
        "token",
        "waiting",
        "silent",
        "action",
        "id",
        "csrf",
        "sure",
        "back",
        "after",
        "until",
        "late",
        "requeued",
        "overtaken",
        "looked_at",
        "v",
        "x",
    ]
)
PAIRS = some.lists(some.tuples(NAMES, TEXT), max_size=5)
PATHS = some.one_of(
    some.sampled_from(
        [
            "",
            "/",
            "/jobs",
            "/job/1",
            "/job/3/payload",
            "/static/dashboard.css",
            "/static/../x",
            "/job/",
            "/job/99999999999999999999",
            "//",
            "/jobs/",
        ]
    ),
    some.text(max_size=20).map(lambda text: "/" + text),
)
HEADERS = some.fixed_dictionaries(
    {},
    optional={
        name: some.text(some.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60)
        for name in (
            "HTTP_COOKIE",
            "HTTP_ACCEPT_LANGUAGE",
            "HTTP_IF_NONE_MATCH",
            "HTTP_ACCEPT_ENCODING",
            "HTTP_X_FORWARDED_FOR",
            "HTTP_SEC_FETCH_SITE",
            "HTTP_X_FORWARDED_PROTO",
        )
    },
)
EXPECTED = {200, 303, 304, 400, 403, 404, 405, 409, 413, 429, 503}


def encoded(pairs: list[tuple[str, str]]) -> str:
    return urlencode(pairs, errors="surrogatepass", quote_via=quote)


@fuzzed(300)
@given(
    path=PATHS,
    query=PAIRS,
    form=PAIRS,
    method=some.sampled_from(["GET", "HEAD", "POST", "PUT", "OPTIONS"]),
    headers=HEADERS,
    cookie=some.sampled_from(["", OWNER, READER]),
)
def test_no_request_breaks_it_or_changes_anything(
    client: Client,
    path: str,
    query: list[tuple[str, str]],
    form: list[tuple[str, str]],
    method: str,
    headers: dict[str, str],
    cookie: str,
) -> None:
    before = client.queue.counts()
    if cookie:
        headers = {**headers, "HTTP_COOKIE": f"scalable_session={cookie}"}
    body = encoded(form).encode() if method in ("POST", "PUT") else b""

    expected(method, query, *client.ask(path, encoded(query), method, body, **headers))

    assert client.queue.counts() == before


ACTIONS = some.one_of(
    TEXT,
    some.sampled_from(
        [
            "retry:3",
            "retry",
            "run-now:4",
            "skip:5",
            "delete:999999",
            "pause",
            "resume",
            "retry-matching:failed",
            "retry-matching:expired",
            "logout",
            "login",
        ]
    ),
)


@fuzzed(300)
@given(form=PAIRS, query=PAIRS, action=ACTIONS, sure=some.sampled_from(["", "yes"]))
def test_no_form_breaks_it_even_with_its_token(
    client: Client, form: list[tuple[str, str]], query: list[tuple[str, str]], action: str, sure: str
) -> None:
    token = Keys(SECRET, "owner", "reader").form_token(Visitor(Role.OWNER, OWNER))
    body = encoded([("csrf", token), ("action", action), ("sure", sure), *form]).encode()

    answer = client.ask("/", encoded(query), "POST", body, HTTP_COOKIE=f"scalable_session={OWNER}")

    expected("POST", query, *answer)


def expected(
    method: str, query: list[tuple[str, str]], status: int, answered: list[tuple[str, str]], content: bytes
) -> None:
    """It is an answer of the dashboard, and nothing of the request is in its headers."""
    assert status in EXPECTED
    # Only a lack of health is a 503 here: the database is there.
    assert status != 503 or ("format", "health") in query
    for name, value in answered:
        assert not re.search("[\x00-\x1f]", name + value)
        if name == "Location":
            assert value.startswith("/dashboard.py/")
    if method != "HEAD" and status == 200 and dict(answered)["Content-Type"].startswith("text/html"):
        packed = dict(answered).get("Content-Encoding") == "gzip"
        assert packed or "<script>" not in content.decode()
