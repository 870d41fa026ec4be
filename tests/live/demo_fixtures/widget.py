"""The upload widget on the demo's page, and the uploads that the page has stored."""

from __future__ import annotations

from typing import TypedDict

from tests.live.demo_fixtures.chromium import Page


def button_selector(title: str) -> str:
    """Return the selector of a round button of Uppy."""
    return f".uppy-StatusBar-actionCircleBtn[title={title}]"


def click_button(page: Page, title: str) -> None:
    page.evaluate(f"document.querySelector({button_selector(title)!r}).click()")


class StoredUpload(TypedDict):
    """An upload in the page's local storage. Sizes are in bytes."""

    url: str
    name: str
    size: int
    offset: int
    finished: bool


STORED_UPLOADS = "JSON.parse(localStorage.getItem('tus-wsgi-demo.uploads') ?? '[]')"


def stored_uploads(page: Page) -> list[StoredUpload]:
    """Return the uploads in the page's local storage, newest first."""
    stored: list[StoredUpload] = page.evaluate(STORED_UPLOADS)
    return stored


def wait_until_sent(page: Page, share: float) -> None:
    """Wait until the browser has sent more than this share of an upload."""
    page.wait_for(f"{STORED_UPLOADS}.some((upload) => upload.offset > {share} * upload.size)")
