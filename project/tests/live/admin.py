"""A person in the admin, without a browser: cookies, CSRF tokens and forms over HTTP."""

import http.cookiejar
import re
from collections.abc import Iterable, Mapping
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, Request, build_opener

from project.tests.live.server import Server

SECONDS = 15.0


class Admin:
    """Signed in as `admin`, on one server."""

    def __init__(self, server: Server) -> None:
        self._base = server.url
        # Secure cookies go over plain HTTP here, as a proxy would make of them.
        policy = http.cookiejar.DefaultCookiePolicy(secure_protocols=("http", "https"))
        self._jar = http.cookiejar.CookieJar(policy)
        self._opener = build_opener(HTTPCookieProcessor(self._jar))
        page = self.get("/admin/login/")
        form = {"username": "admin", "password": "admin", "next": "/admin/"}
        self.post("/admin/login/", {**form, "csrfmiddlewaretoken": _token_in(page)})
        assert "sessionid" in {cookie.name for cookie in self._jar}, "it was not let in"

    def get(self, path: str) -> str:
        with self._opener.open(self._base + path, timeout=SECONDS) as response:
            return str(response.read().decode())

    def post(self, path: str, fields: Mapping[str, Any]) -> str:
        """Send a form and return the page that it leads to."""
        data = urlencode(dict(fields), doseq=True).encode()
        request = Request(self._base + path, data, {"Referer": self._base + path})
        with self._opener.open(request, timeout=SECONDS) as response:
            return str(response.read().decode())

    def change(self, path: str, **fields: Any) -> None:
        """Open a form, change these fields, and save."""
        form = {**_fields_in(self.get(path)), **fields}
        page = self.post(path, form)
        assert "errornote" not in page, re.findall(r'class="errorlist[^>]*>(.*?)</ul>', page)

    def switch_off(self, path: str, name: str) -> None:
        """Open a form, clear a check box, and save."""
        form = _fields_in(self.get(path))
        del form[name]
        self.post(path, form)

    def act(self, path: str, action: str, ids: Iterable[int], **fields: Any) -> str:
        """Do something to the chosen rows of a list."""
        form = {
            "csrfmiddlewaretoken": _token_in(self.get(path)),
            "action": action,
            "_selected_action": list(ids),
            **fields,
        }
        return self.post(path, form)


def _token_in(page: str) -> str:
    return str(_fields_in(page)["csrfmiddlewaretoken"])


def _fields_in(page: str) -> dict[str, Any]:
    reader = _FormReader()
    reader.feed(page)
    return reader.fields


class _FormReader(HTMLParser):
    """Reads what a page's forms would send if nobody touched them."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, Any] = {}
        self._select: str | None = None
        self._textarea: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name = given.get("name")
        if tag == "input" and name:
            kind = given.get("type", "text")
            if kind in ("submit", "button", "file") or name.startswith("_"):
                return
            if kind not in ("checkbox", "radio") or "checked" in given:
                self.fields[name] = given.get("value") or ("on" if kind == "checkbox" else "")
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select and "selected" in given:
            self.fields[self._select] = given.get("value") or ""
        elif tag == "textarea" and name:
            self._textarea = name
            self.fields[name] = ""

    def handle_data(self, data: str) -> None:
        if self._textarea:
            self.fields[self._textarea] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self._select = None
        elif tag == "textarea":
            self._textarea = None
