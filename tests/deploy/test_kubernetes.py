"""`deploy/kubernetes`: the manifests fit the image, the settings and gunicorn."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.test_docker import image_environ
from tests.harness import read_only
from tests.harness.packages import python_package
from tus_wsgi import gunicorn as configuration
from tus_wsgi.domain.model import MIB
from tus_wsgi.settings.settings import LockerKind, Settings
from tus_wsgi.settings.table import table
from tus_wsgi.settings.values import parse_size

DEPLOY = Path(__file__).parents[2] / "deploy"
MANIFESTS = DEPLOY / "kubernetes"

CODE = 85 * MIB
"""Memory of a worker without bytes in transfer: docs/performance.md."""

FILES = ["config.yaml", "server.yaml", "ingress.yaml", "sweep.yaml"]


def documents() -> dict[tuple[str, str], dict[str, Any]]:
    """Return the manifests by kind and name."""
    return {
        (document["kind"], document["metadata"]["name"]): document
        for name in FILES
        for document in yaml.safe_load_all((MANIFESTS / name).read_text())
    }


DOCUMENTS = documents()
SERVER = DOCUMENTS["Deployment", "tus"]["spec"]
SWEEP = DOCUMENTS["CronJob", "tus-sweep"]["spec"]
PODS: dict[str, dict[str, Any]] = {
    "server": SERVER["template"]["spec"],
    "sweep": SWEEP["jobTemplate"]["spec"]["template"]["spec"],
}


def container(pod: str) -> dict[str, Any]:
    (found,) = PODS[pod]["containers"]
    return dict(found)


def environ(pod: str) -> dict[str, str]:
    """Return the variables of a pod: of the image, of the ConfigMap, and of its own."""
    own = {entry["name"]: entry["value"] for entry in container(pod).get("env", [])}
    return {**image_environ(), **DOCUMENTS["ConfigMap", "tus"]["data"], **own}


def test_every_manifest_is_applied() -> None:
    applied = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())["resources"]
    assert sorted(applied) == sorted(FILES)
    assert sorted(path.name for path in MANIFESTS.iterdir()) == sorted(
        [*FILES, "kustomization.yaml"]
    )


@pytest.mark.parametrize("pod", PODS)
def test_the_settings_are_valid(pod: str) -> None:
    variables = environ(pod)
    assert {name for name in variables if name.startswith("TUS_")} <= {
        row.variable for row in table()
    }
    settings = Settings.from_environ(variables)
    assert settings.locker is LockerKind.S3
    assert settings.public_url == f"https://{host()}{settings.base_path}"


def host() -> str:
    (rule,) = DOCUMENTS["Ingress", "tus"]["spec"]["rules"]
    return str(rule["host"])


@pytest.mark.parametrize("pod", PODS)
def test_containers_have_no_privileges(pod: str) -> None:
    security = {**PODS[pod]["securityContext"], **container(pod)["securityContext"]}
    assert security["runAsNonRoot"] is True
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["runAsUser"] == security["fsGroup"] == read_only.USER
    assert PODS[pod]["automountServiceAccountToken"] is False
    mounts = {mount["mountPath"] for mount in container(pod)["volumeMounts"]}
    assert mounts == {environ(pod)["TUS_SPOOL_DIR"]}


def test_running_requests_end_within_the_grace_period() -> None:
    sleep = container("server")["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace = PODS["server"]["terminationGracePeriodSeconds"]
    assert grace > sleep + configuration.graceful_timeout + 5


def test_the_probes_ask_the_health_of_the_server() -> None:
    path = environ("server")["TUS_HEALTH_PATH"]
    (port,) = container("server")["ports"]
    assert str(port["containerPort"]) == environ("server")["PORT"]
    probes = {
        name: container("server")[name]["httpGet"]
        for name in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    live, ready = ({"path": f"{path}/{kind}", "port": port["name"]} for kind in ("live", "ready"))
    assert probes == {"startupProbe": live, "livenessProbe": live, "readinessProbe": ready}


def test_the_memory_suffices_for_all_workers() -> None:
    settings = Settings.from_environ(environ("server"))
    workers = int(environ("server")["WEB_CONCURRENCY"])
    limit = parse_size(container("server")["resources"]["limits"]["memory"] + "B")
    assert limit >= 1.2 * workers * (CODE + settings.memory_budget)


def test_the_volume_suffices_for_the_parts_of_all_workers() -> None:
    settings = Settings.from_environ(environ("server"))
    workers = int(environ("server")["WEB_CONCURRENCY"])
    (volume,) = PODS["server"]["volumes"]
    limit = parse_size(volume["emptyDir"]["sizeLimit"] + "B")
    assert 0 < workers * settings.disk_budget < limit


def test_a_rollout_always_has_three_servers() -> None:
    assert SERVER["replicas"] == 3
    assert SERVER["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert SWEEP["concurrencyPolicy"] == "Forbid"


def test_labels_select_the_pods() -> None:
    labels = SERVER["template"]["metadata"]["labels"]
    selectors = [
        SERVER["selector"]["matchLabels"],
        DOCUMENTS["Service", "tus"]["spec"]["selector"],
        DOCUMENTS["PodDisruptionBudget", "tus"]["spec"]["selector"]["matchLabels"],
    ]
    assert selectors == [labels] * 3


def test_the_ingress_has_the_limits_of_the_other_nginx() -> None:
    annotations = DOCUMENTS["Ingress", "tus"]["metadata"]["annotations"]
    names = {"proxy-body-size": "client_max_body_size"}
    text = (DEPLOY / "proxies" / "nginx.conf").read_text()
    for name, value in annotations.items():
        short = name.rpartition("/")[2]
        directive = names.get(short, short.replace("-", "_"))
        (expected,) = re.findall(rf"^ +{directive} (\S+?)s?;", text, re.MULTILINE)
        assert value == expected, name


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_manifests_follow_the_schemas_of_kubernetes() -> None:
    packages = python_package("kubernetes-validate==1.37.0")
    command = [str(packages / "bin" / "kubernetes-validate"), "--strict", "-k", "1.37"]
    for name in FILES:
        ran = subprocess.run(
            [*command, str(MANIFESTS / name)],
            env={**os.environ, "PYTHONPATH": str(packages)},
            check=False,
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
