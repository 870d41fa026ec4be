"""Build tusd from its Go module, and start it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from demo.process import SetupError

ROOT = Path(__file__).parents[1]

TUSD = "tusd"
TUSD_DEFAULTS = "tusd, defaults"

_MODULE = "github.com/tus/tusd/v2/cmd/tusd"
VERSION = "v2.9.1"


def has_go() -> bool:
    """Return whether Go is installed."""
    return shutil.which("go") is not None


def find_tusd() -> Path:
    """Return the path of tusd. The first time, Go builds it into `.cache`, which takes minutes.

    Raises:
        SetupError: Go failed.
    """
    target = ROOT / ".cache" / "go" / f"tusd-{VERSION}"
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            built = Path(scratch, "bin")
            command = ["go", "install", "-trimpath", "-ldflags=-s -w", f"{_MODULE}@{VERSION}"]
            environ = {**os.environ, "GOBIN": str(built)}
            completed = subprocess.run(
                command, check=False, capture_output=True, text=True, env=environ
            )
            if completed.returncode:
                raise SetupError(f"Go could not build tusd: {completed.stderr[-1000:]}")
            built.rename(target)
    return target / "tusd"


def tusd_command(
    endpoint: str, bucket: str, *, alike: tuple[int, int] | None
) -> tuple[list[str], str]:
    """Return the command that starts tusd, and the URL that creates uploads.

    Args:
        endpoint: the URL of S3.
        bucket: the bucket.
        alike: the part size and the number of concurrent parts of the other servers. With them,
            tusd also signs no checksum of the bytes. None keeps tusd's defaults.
    """
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    command = [
        *(str(find_tusd()), "-host=127.0.0.1", f"-port={port}", "-base-path=/files/"),
        *(f"-s3-bucket={bucket}", f"-s3-endpoint={endpoint}", "-show-greeting=false"),
    ]
    if alike is not None:
        part_size, parallel = alike
        command += [
            f"-s3-part-size={part_size}",
            f"-s3-concurrent-part-uploads={parallel}",
            "-s3-disable-content-hashes",
        ]
    return command, f"http://127.0.0.1:{port}/files"
