"""The table of `TUS_LOCKER=dynamodb`, made by the command or from the template."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner

from tests.harness.servers.dynamodb import DynamoDB
from tus_wsgi.cli import main

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"


def test_the_command_makes_a_table_that_is_cleaned_by_its_time(dynamodb: DynamoDB) -> None:
    table = f"locks-{secrets.token_hex(4)}"
    environ = {**dynamodb.environ(), "TUS_LOCK_TABLE": table}
    made = CliRunner().invoke(main, ["create-lock-table"], env=environ)
    assert (made.exit_code, made.output) == (0, f"The table {table} is ready.\n")
    client = dynamodb.client()
    described = client.describe_table(TableName=table)["Table"]
    assert described["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    lives = client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    assert lives["AttributeName"] == "expires"
    again = CliRunner().invoke(main, ["create-lock-table"], env=environ)
    assert again.output == f"The table {table} already exists.\n"


def test_the_command_says_what_is_missing(dynamodb: DynamoDB) -> None:
    environ: dict[str, str | None] = {**dynamodb.environ(), "AWS_DEFAULT_REGION": None}
    ran = CliRunner().invoke(main, ["create-lock-table", "--table", "locks"], env=environ)
    assert ran.exit_code == 1
    assert "You must specify a region" in ran.output


def test_the_template_describes_the_table_that_the_command_makes(dynamodb: DynamoDB) -> None:
    template = json.loads((DEPLOY / "dynamodb-table.json").read_text(encoding="utf-8"))
    (resource,) = template["Resources"].values()
    assert resource["Type"] == "AWS::DynamoDB::Table"
    table, client = dynamodb.new_table(), dynamodb.client()
    made: dict[str, Any] = dict(client.describe_table(TableName=table)["Table"])
    lives = client.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
    assert resource["Properties"] == {
        "TableName": {"Ref": "TableName"},
        "BillingMode": made["BillingModeSummary"]["BillingMode"],
        "AttributeDefinitions": made["AttributeDefinitions"],
        "KeySchema": made["KeySchema"],
        "TimeToLiveSpecification": {
            "AttributeName": lives["AttributeName"],
            "Enabled": lives["TimeToLiveStatus"] == "ENABLED",
        },
    }


def test_the_command_needs_the_rights_that_its_policy_gives(
    dynamodb: DynamoDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = json.loads((DEPLOY / "iam-policy-lock-table.json").read_text(encoding="utf-8"))
    allowed = {action for one in policy["Statement"] for action in one["Action"]}
    called: set[str] = set()
    make_client = boto3.session.Session.client

    def client(*args: Any, **more: Any) -> Any:
        made = make_client(*args, **more)
        made.meta.events.register(
            "before-call.*.*", lambda model, **_: called.add(f"dynamodb:{model.name}")
        )
        return made

    monkeypatch.setattr(boto3.session.Session, "client", client)
    dynamodb.new_table()
    assert called == allowed
