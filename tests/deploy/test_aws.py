"""The files of `deploy/aws` describe the same bucket, table and permissions as the code needs."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from botocore.stub import Stubber

from tests.harness.packages import python_package
from tus_wsgi.domain.model import UploadId
from tus_wsgi.settings.settings import Settings
from tus_wsgi.settings.table import table
from tus_wsgi.settings.values import parse_duration
from tus_wsgi.stores.s3.keys import Keys

DEPLOY = Path(__file__).parents[2] / "deploy"
AWS = DEPLOY / "aws"

KEYS = Keys("files/", "tus/")
ID = UploadId("a")

RECORDS = [KEYS.info(ID), KEYS.tail(ID)]
LOCK = "tus/locks/a"
FILES = [KEYS.data(ID), "files/2026/a/report.pdf"]

DAY = 24 * 60 * 60

SWEEP_ACTIONS = {"s3:ListBucket", "s3:ListBucketMultipartUploads"}


def lifecycle_rules() -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = json.loads((AWS / "lifecycle.json").read_text())["Rules"]
    return rules


def template() -> dict[str, Any]:
    """Return the CloudFormation template as if each of its conditions were true."""
    loaded: dict[str, Any] = without_conditions(yaml.safe_load((AWS / "template.yaml").read_text()))
    return loaded


def without_conditions(value: Any) -> Any:
    """Return a part of the template in which each `Fn::If` is replaced by its first choice."""
    if isinstance(value, list):
        return [without_conditions(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    if "Fn::If" in value:
        _condition, if_true, _if_false = value["Fn::If"]
        return without_conditions(if_true)
    return {key: without_conditions(inner) for key, inner in value.items()}


def properties(resource: str) -> dict[str, Any]:
    found: dict[str, Any] = template()["Resources"][resource]["Properties"]
    return found


def terraform(kind: str, type: str, name: str) -> dict[str, Any]:
    """Return a block of the Terraform file; strings are without their quotes."""
    found = [block[type][name] for block in main_tf()[kind] if name in block.get(type, {})]
    assert len(found) == 1
    return dict(found[0])


@functools.cache
def main_tf() -> dict[str, Any]:
    hcl2 = pytest.importorskip("hcl2")
    with (AWS / "main.tf").open(encoding="utf-8") as file:
        parsed: dict[str, Any] = unquoted(hcl2.load(file))
    return parsed


def unquoted(value: Any) -> Any:
    """Return what the parser of Terraform files has read, without quotes and its own keys."""
    if isinstance(value, dict):
        pairs = {str(key).strip('"'): unquoted(inner) for key, inner in value.items()}
        pairs.pop("__is_block__", None)
        return pairs
    if isinstance(value, list):
        return [unquoted(inner) for inner in value]
    if isinstance(value, str):
        return value.strip('"')
    return value


def rules_for(key: str) -> list[dict[str, Any]]:
    return [rule for rule in lifecycle_rules() if key.startswith(rule["Filter"]["Prefix"])]


def test_s3_accepts_the_form_of_the_lifecycle_rules() -> None:
    client = boto3.client(
        "s3", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    with Stubber(client) as stubber:
        stubber.add_response("put_bucket_lifecycle_configuration", {})
        client.put_bucket_lifecycle_configuration(
            Bucket="bucket", LifecycleConfiguration=json.loads((AWS / "lifecycle.json").read_text())
        )


@pytest.mark.parametrize("key", [*RECORDS, LOCK])
def test_old_versions_of_records_tails_and_locks_disappear_after_a_day(key: str) -> None:
    """Each tail that a newer one replaces, and what a DELETE leaves."""
    days = [rule["NoncurrentVersionExpiration"]["NoncurrentDays"] for rule in old_versions(key)]
    assert days == [1]


@pytest.mark.parametrize("key", FILES)
def test_deleted_files_stay_readable_for_a_month(key: str) -> None:
    days = [rule["NoncurrentVersionExpiration"]["NoncurrentDays"] for rule in old_versions(key)]
    assert days == [30]


@pytest.mark.parametrize("key", [*RECORDS, LOCK, *FILES])
def test_delete_markers_without_older_versions_disappear(key: str) -> None:
    assert any(
        rule.get("Expiration", {}).get("ExpiredObjectDeleteMarker") for rule in rules_for(key)
    )


@pytest.mark.parametrize("key", [*RECORDS, *FILES])
def test_no_rule_removes_a_current_record_tail_or_file(key: str) -> None:
    """D-08: a rule looks at the age only. Even the record of a finished upload is needed."""
    assert [rule for rule in rules_for(key) if "Days" in rule.get("Expiration", {})] == []


def test_abandoned_locks_expire_later_than_any_lock_lives() -> None:
    """A holder writes the object every 1.5 s, so its age is that of the last heartbeat."""
    (rule,) = [rule for rule in rules_for(LOCK) if "Days" in rule.get("Expiration", {})]
    assert rule["Expiration"]["Days"] >= 2


def test_multipart_uploads_outlive_every_lifetime_that_the_files_set() -> None:
    """The rule aborts paused uploads too, so it must come after `TUS_EXPIRES`."""
    (rule,) = [rule for rule in lifecycle_rules() if "AbortIncompleteMultipartUpload" in rule]
    limit = rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] * DAY
    text = "".join(
        path.read_text() for path in DEPLOY.rglob("*") if path.is_file() and path.parent != AWS
    )
    lifetimes = re.findall(r"TUS_EXPIRES\W+(?:value: )?\"?(\w+)", text)
    assert all(0 < 2 * parse_duration(lifetime) <= limit for lifetime in lifetimes)


def old_versions(key: str) -> list[dict[str, Any]]:
    return [rule for rule in rules_for(key) if "NoncurrentVersionExpiration" in rule]


def test_the_template_has_the_same_lifecycle_rules() -> None:
    rules = properties("Bucket")["LifecycleConfiguration"]["Rules"]
    assert [as_api_rule(rule) for rule in rules] == lifecycle_rules()


def as_api_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rule of CloudFormation in the form of the API."""
    same = ("Status", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload")
    expiration = {
        name: rule[key]
        for key, name in {
            "ExpiredObjectDeleteMarker": "ExpiredObjectDeleteMarker",
            "ExpirationInDays": "Days",
        }.items()
        if key in rule
    }
    return {
        "ID": rule["Id"],
        "Filter": {"Prefix": rule["Prefix"]},
        **{key: rule[key] for key in same if key in rule},
        **({"Expiration": expiration} if expiration else {}),
    }


def test_terraform_has_the_same_lifecycle_rules() -> None:
    rules = terraform("resource", "aws_s3_bucket_lifecycle_configuration", "uploads")["rule"]
    assert [camel(rule) for rule in rules] == [
        {key.lower(): inner for key, inner in normalized(rule).items()}
        for rule in lifecycle_rules()
    ]


def camel(block: Mapping[str, Any]) -> dict[str, Any]:
    """Return a block of Terraform with the names of the API, in lower case; a block is a list."""
    return {
        key.replace("_", ""): camel(inner[0]) if isinstance(inner, list) else inner
        for key, inner in block.items()
    }


def normalized(value: Any) -> Any:
    if isinstance(value, dict):
        return {key.lower(): normalized(inner) for key, inner in value.items()}
    return value


def test_all_policies_grant_the_server_the_same_actions() -> None:
    policy = json.loads((AWS / "iam-policy.json").read_text())
    expected = {statement["Sid"]: statement["Action"] for statement in policy["Statement"]}
    document = properties("ServerPolicy")["PolicyDocument"]
    assert {found["Sid"]: found["Action"] for found in document["Statement"]} == expected
    server = terraform("data", "aws_iam_policy_document", "server")
    (dynamic,) = server["dynamic"]
    statements = [*server["statement"], dynamic["statement"]["content"][0]]
    assert {found["sid"]: found["actions"] for found in statements} == expected


def test_only_the_sweep_may_list_the_bucket() -> None:
    (statement,) = properties("SweepPolicy")["PolicyDocument"]["Statement"]
    assert set(statement["Action"]) == SWEEP_ACTIONS
    assert statement["Resource"] == {"Fn::GetAtt": ["Bucket", "Arn"]}
    assert properties("ServerRole")["ManagedPolicyArns"] == [{"Ref": "ServerPolicy"}]
    assert properties("SweepRole")["ManagedPolicyArns"] == [
        {"Ref": "ServerPolicy"},
        {"Ref": "SweepPolicy"},
    ]
    sweep = terraform("data", "aws_iam_policy_document", "sweep")
    assert sweep["source_policy_documents"] == ["${data.aws_iam_policy_document.server.json}"]
    assert set(sweep["statement"][0]["actions"]) == SWEEP_ACTIONS


def test_terraform_describes_the_table_of_the_template() -> None:
    table = terraform("resource", "aws_dynamodb_table", "locks")
    expected = properties("LockTable")
    assert table["billing_mode"] == expected["BillingMode"]
    assert [camel(block) for block in table["attribute"]] == [
        {"name": found["AttributeName"], "type": found["AttributeType"]}
        for found in expected["AttributeDefinitions"]
    ]
    assert [{"AttributeName": table["hash_key"], "KeyType": "HASH"}] == expected["KeySchema"]
    (ttl,) = table["ttl"]
    assert camel(ttl) == normalized(expected["TimeToLiveSpecification"])


def test_the_bucket_is_private_everywhere() -> None:
    public = properties("Bucket")["PublicAccessBlockConfiguration"]
    assert public
    assert all(public.values())
    block = terraform("resource", "aws_s3_bucket_public_access_block", "uploads")
    assert {key: value for key, value in camel(block).items() if key != "bucket"} == normalized(
        public
    )


def test_the_outputs_are_valid_settings() -> None:
    names = set(re.findall(r"TUS_\w+", (AWS / "main.tf").read_text()))
    names |= set(re.findall(r"TUS_\w+", (AWS / "template.yaml").read_text()))
    assert names <= {row.variable for row in table()}
    outputs = template()["Outputs"]
    settings = Settings.from_environ(
        {
            "TUS_S3_BUCKET": "uploads",
            "TUS_S3_OBJECT_PREFIX": outputs["ObjectPrefix"]["Value"],
            "TUS_S3_METADATA_OBJECT_PREFIX": outputs["MetadataObjectPrefix"]["Value"],
        }
    )
    assert (settings.s3_object_prefix, settings.s3_metadata_object_prefix) == ("files/", "tus/")


@pytest.mark.long
@pytest.mark.timeout(900)
def test_cfn_lint_accepts_the_template() -> None:
    packages = python_package("cfn-lint==1.58.0")
    files = [str(AWS / "template.yaml")]
    ran = subprocess.run(
        [str(packages / "bin" / "cfn-lint"), "--non-zero-exit-code", "informational", *files],
        env={**os.environ, "PYTHONPATH": str(packages)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
