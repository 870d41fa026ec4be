"""Run the conformance suite against this project and its peers, and write the matrix to the docs.

python -m tests.harness.conformance_matrix                  all servers
python -m tests.harness.conformance_matrix tus-node-server  some; the others keep their reports
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from demo.seaweedfs import start_seaweedfs
from tests.harness.conformance import ROOT, judge_server, own_target
from tests.harness.servers.deployment import Deployment
from tests.harness.servers.peers import SuiteTarget, resumable_upload, tus_node_server
from tus_conformance.report import as_markdown, read_report

REPORTS = ROOT / ".cache" / "conformance"
DOCS = ROOT / "docs" / "conformance.md"
BEGIN, END = "<!-- matrix:begin -->\n", "<!-- matrix:end -->\n"


@contextlib.contextmanager
def _own_target(worker: str, directory: Path) -> Iterator[SuiteTarget]:
    with start_seaweedfs(directory / "s3") as s3:
        deployment = Deployment(s3, directory / "deployment")
        try:
            with own_target(deployment, worker) as server:
                yield server
        finally:
            deployment.close()


SERVERS: dict[str, Callable[[Path], contextlib.AbstractContextManager[SuiteTarget]]] = {
    "tus-wsgi-s3-gevent": lambda directory: _own_target("gevent", directory),
    "tus-wsgi-s3-gthread": lambda directory: _own_target("gthread", directory),
    "tus-node-server": tus_node_server,
    "resumable-upload": resumable_upload,
}


def main(chosen: list[str]) -> int:
    """Run the suite against the chosen servers, and write the matrix of all servers to the docs.

    Args:
        chosen: keys of `SERVERS`; empty for all servers.

    Returns:
        The exit code: 1 if a server deviates in a way that its deviations file does not declare.
    """
    REPORTS.mkdir(parents=True, exist_ok=True)
    exit_code = 0
    for slug in chosen or SERVERS:
        with (
            tempfile.TemporaryDirectory(prefix="tus-matrix-") as scratch,
            SERVERS[slug](Path(scratch, "server")) as server,
        ):
            ran = judge_server(server, REPORTS)
        sys.stdout.write(ran.stdout[-6000:] + ran.stderr)
        if ran.returncode != 0:
            exit_code = 1
    files = [REPORTS / f"{slug}.json" for slug in SERVERS]
    matrix = as_markdown([read_report(path) for path in files if path.is_file()])
    text = DOCS.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCS.write_text(f"{before}{BEGIN}\n{matrix}\n{END}{after}", encoding="utf-8")
    return exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
