"""Upload a file with metrics, traces and a log, and print what they look like.

python -m tests.app.observed_upload            print the three texts
python -m tests.app.observed_upload --write    write them into docs/observability.md
"""

from __future__ import annotations

import io
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tus_wsgi.observers import workers

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

DOCUMENT = Path(__file__).parents[2] / "docs" / "observability.md"

BLOCK = re.compile(
    r"(?P<begin><!-- (?P<name>\w+):begin -->\n```\n)"
    r"(?P<content>.*?)"
    r"(?P<end>```\n<!-- (?P=name):end -->)",
    re.DOTALL,
)

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

SIZE = 12 * 1024 * 1024


def main() -> None:
    """Print the texts, or write them into the document."""
    if "TUS_S3_BUCKET" in os.environ:
        texts = observe()
    else:
        from demo.seaweedfs import start_seaweedfs

        with tempfile.TemporaryDirectory() as directory, start_seaweedfs(Path(directory)) as s3:
            os.environ |= s3.environ()
            texts = observe()
    if "--write" in sys.argv[1:]:
        document = DOCUMENT.read_text(encoding="utf-8")
        document = BLOCK.sub(
            lambda block: block["begin"] + texts[block["name"]] + block["end"], document
        )
        DOCUMENT.write_text(document, encoding="utf-8")
    else:
        for name, text in texts.items():
            sys.stdout.write(f"<!-- {name}:begin -->\n```\n{text}```\n<!-- {name}:end -->\n")


def observe() -> dict[str, str]:
    """Upload a file in two requests, and return the texts by name."""
    os.environ |= {
        "TUS_METRICS_PATH": "/metrics",
        "TUS_TRACING": "true",
        "TUS_S3_PART_SIZE": "5MiB",
        "TUS_LOCK_DIR": tempfile.mkdtemp(),
    }
    # As gunicorn does, before prometheus_client is imported.
    workers.create_directory(os.environ)
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from werkzeug.exceptions import NotFound
    from werkzeug.test import Client

    from tus_wsgi import TusMiddleware
    from tus_wsgi.observers.log import LogFormat, configure_logging

    log = io.StringIO()
    configure_logging(LogFormat.TEXT)
    for handler in logging.getLogger("tus_wsgi").handlers:
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(log)
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)

    client = Client(TusMiddleware.from_env(NotFound(), on_finish=lambda _: None))
    fields = {"Tus-Resumable": "1.0.0", "traceparent": TRACE}
    created = client.post("/files", headers={**fields, "Upload-Length": str(SIZE)})
    fields |= {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    client.patch(created.headers["Location"], headers=fields, data=bytes(SIZE))
    page = client.get("/metrics").get_data(as_text=True)
    workers.remove_directory()
    spans = exporter.get_finished_spans()
    return {"scrape": _shortened(page), "trace": _tree(spans), "log": log.getvalue()}


def _shortened(page: str) -> str:
    lines = page.splitlines(keepends=True)
    return "".join(sorted(line for line in lines if not re.search(r"^#|_bucket| 0\.0$", line)))


def _tree(spans: tuple[ReadableSpan, ...]) -> str:
    known = {span.context.span_id for span in spans if span.context is not None}
    roots = [span for span in spans if span.parent is None or span.parent.span_id not in known]
    return "".join(_lines(roots, spans, ""))


def _lines(
    siblings: list[ReadableSpan], spans: tuple[ReadableSpan, ...], indent: str
) -> Iterator[str]:
    """Yield a line for each of the siblings, followed by indented lines for its children."""
    for span in sorted(siblings, key=lambda span: span.start_time or 0):
        milliseconds = ((span.end_time or 0) - (span.start_time or 0)) / 1e6
        yield f"{indent + span.name:32} {milliseconds:6.1f} ms{_facts(span)}\n"
        assert span.context is not None
        parent = span.context.span_id
        children = [other for other in spans if other.parent and other.parent.span_id == parent]
        yield from _lines(children, spans, indent + "  ")


def _facts(span: ReadableSpan) -> str:
    names = ("http.response.status_code", "tus.upload", "tus.bytes", "tus.outcome")
    attributes = span.attributes or {}
    return "".join(f"  {name}={attributes[name]!s}" for name in names if name in attributes)


if __name__ == "__main__":
    main()
