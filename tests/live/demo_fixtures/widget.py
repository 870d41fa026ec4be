"""The widget on the demo's page: its buttons, and what the page remembers of its uploads."""

from __future__ import annotations

from typing import TypedDict

from tests.live.demo_fixtures.chromium import Page


def button(title: str) -> str:
    """The selector of one of Uppy's round buttons."""
    return f".uppy-StatusBar-actionCircleBtn[title={title}]"


def press(page: Page, title: str) -> None:
    page.evaluate(f"document.querySelector({button(title)!r}).click()")


class Remembered(TypedDict):
    """An upload as the page remembers it; sizes in bytes."""

    url: str
    name: str
    size: int
    offset: int
    finished: bool


REMEMBERED = "JSON.parse(localStorage.getItem('tus-wsgi-demo.uploads') ?? '[]')"


def uploads(page: Page) -> list[Remembered]:
    """What the page remembers, newest first."""
    found: list[Remembered] = page.evaluate(REMEMBERED)
    return found


def wait_until_sent(page: Page, share: float) -> None:
    """Wait until more than this share of an upload is on its way or there."""
    page.wait_for(f"{REMEMBERED}.some((upload) => upload.offset > {share} * upload.size)")
