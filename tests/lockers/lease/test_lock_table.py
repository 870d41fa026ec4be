"""The DynamoDB table of `TUS_LOCKER=dynamodb`, created by the command or from the template."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from click.testing import CliRunner

from tests.harness.servers.dynamodb import DynamoDB
from tus_wsgi.cli import main

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy" / "aws"


def test_the_command_creates_a_table_whose_items_expire(dynamodb: DynamoDB) -> None:
    table = f"locks-{secrets.token_hex(4)}"
    environ = {**dynamodb.environ(), "TUS_LOCK_TABLE": table}
    result = CliRunner().invoke(main, ["create-lock-table"], env=environ)
    assert (result.exit_code, result.output) == (0, f"The table {table} is ready.\n")
    client = dynamodb.client()
    description = client.describe_table(TableName=table)["Table"]
    assert description["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    ttl = client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    assert ttl["AttributeName"] == "expires"
    second_result = CliRunner().invoke(main, ["create-lock-table"], env=environ)
    assert second_result.output == f"The table {table} already exists.\n"


def test_the_command_reports_a_missing_region(dynamodb: DynamoDB) -> None:
    environ: dict[str, str | None] = {**dynamodb.environ(), "AWS_DEFAULT_REGION": None}
    result = CliRunner().invoke(main, ["create-lock-table", "--table", "locks"], env=environ)
    assert result.exit_code == 1
    assert "You must specify a region" in result.output


def test_the_template_describes_the_table_that_the_command_creates(dynamodb: DynamoDB) -> None:
    template = yaml.safe_load((DEPLOY / "template.yaml").read_text(encoding="utf-8"))
    resource = template["Resources"]["LockTable"]
    assert resource["Type"] == "AWS::DynamoDB::Table"
    table, client = dynamodb.new_table(), dynamodb.client()
    description: dict[str, Any] = dict(client.describe_table(TableName=table)["Table"])
    ttl = client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    assert resource["Properties"] == {
        "BillingMode": description["BillingModeSummary"]["BillingMode"],
        "AttributeDefinitions": description["AttributeDefinitions"],
        "KeySchema": description["KeySchema"],
        "TimeToLiveSpecification": {
            "AttributeName": ttl["AttributeName"],
            "Enabled": ttl["TimeToLiveStatus"] == "ENABLED",
        },
    }


def test_the_command_needs_exactly_the_actions_of_its_policy(
    dynamodb: DynamoDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = json.loads((DEPLOY / "iam-policy-lock-table.json").read_text(encoding="utf-8"))
    allowed = {action for statement in policy["Statement"] for action in statement["Action"]}
    called: set[str] = set()
    new_client = boto3.session.Session.client

    def client(*args: Any, **options: Any) -> Any:
        created = new_client(*args, **options)
        created.meta.events.register(
            "before-call.*.*", lambda model, **_: called.add(f"dynamodb:{model.name}")
        )
        return created

    monkeypatch.setattr(boto3.session.Session, "client", client)
    dynamodb.new_table()
    assert called == allowed
