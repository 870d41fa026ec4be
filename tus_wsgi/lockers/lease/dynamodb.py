"""Lease records in a DynamoDB table: an item for each lock, and one operation, `UpdateItem`.

| attribute | type | |
|---|---|---|
| `id`      | S | the partition key: the record's name |
| `holder`  | S | token of the request that has the lock; missing while it is free |
| `fence`   | N | rises with each holder |
| `beat`    | S | another one after each write of a holder |
| `wanted`  | S | the seat that is next; missing for nobody |
| `stood`   | N | seconds for which `beat` has stood |
| `expires` | N | Unix time after which DynamoDB may remove the item: for cleaning up only |

Permissions: `dynamodb:UpdateItem` on the table. A condition that fails is answered with the item,
so nothing is ever read on its own. Costs: one write request unit a call, failed conditions too.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoRegionError

from tus_wsgi.domain.aws_errors import AwsErrorKind, classify_error
from tus_wsgi.domain.errors import LockerUnavailable
from tus_wsgi.lockers.lease.records import Claim, LeaseRecord, LockerUnsupported, OutcomeUnknown

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEY = "id"
EXPIRES = "expires"

CALL_TIMEOUT = 1.5
"""Seconds until a call is given up and tried again. DynamoDB answers in less than 10 ms; there have
to be two tries in the 3.5 s that a missed heartbeat leaves of a lease."""

CONNECTIONS = 64
"""Each request makes one call at a time."""

KEPT = 7 * 24 * 3600
"""Seconds for which an item is kept that nobody writes to. Clocks may be wrong by days: an item
that is removed under its holder's feet is a lock that is lost."""

_OUTCOME_UNKNOWN = frozenset(
    {AwsErrorKind.CONFLICT, AwsErrorKind.THROTTLED, AwsErrorKind.SERVER_ERROR}
)


_Values = dict[str, str | float]


class DynamoDBRecords:
    """`LeaseRecords` in the table of this name. Credentials, region and endpoint are boto3's.

    Raises:
        LockerRefused: there is no region.
    """

    def __init__(self, table: str) -> None:
        self._table = table
        config = Config(
            connect_timeout=CALL_TIMEOUT,
            read_timeout=CALL_TIMEOUT,
            # Trying again is the lease's business, which knows how long it is worth while.
            retries={"total_max_attempts": 1},
            max_pool_connections=CONNECTIONS,
            parameter_validation=False,
        )
        try:
            self.client: DynamoDBClient = boto3.session.Session().client("dynamodb", config=config)
        except NoRegionError:
            raise LockerUnsupported("TUS_LOCKER: dynamodb needs AWS_DEFAULT_REGION") from None

    @property
    def keeps_fences(self) -> bool:
        """They rise until the item expires, which is long after anybody remembers one."""
        return True

    def check(self) -> None:
        """Find out whether the table is there, and may be written to. Nothing is written."""
        try:
            self._update("check", "REMOVE holder", "attribute_exists(no_such_thing)", {})
        except LockerUnavailable as error:
            cause = error.__cause__
            kind = classify_error(cause).kind if isinstance(cause, ClientError) else None
            said = f"TUS_LOCKER: the table {self._table!r} cannot be used"
            if kind is AwsErrorKind.CONTAINER_NOT_FOUND:
                said = f"TUS_LOCK_TABLE: there is no table {self._table!r}"
                said += "; `tus-wsgi create-lock-table` makes it"
            raise LockerUnsupported(f"{said} ({cause})") from error

    def take(self, name: str, claim: Claim) -> LeaseRecord:
        """Make `claim` the holder, if it may. See `LeaseRecords`."""
        condition = "attribute_not_exists(holder)"
        condition += " AND (attribute_not_exists(wanted) OR wanted = :seat)"
        values: _Values = {":holder": claim.token, ":beat": claim.beat, ":seat": claim.seat}
        if claim.has_expired and claim.seen is not None:
            condition = f"({condition}) OR beat = :seen"
            values[":seen"] = claim.seen.beat
        change = "SET holder = :holder, beat = :beat, expires = :expires"
        change += ", fence = if_not_exists(fence, :zero) + :one REMOVE wanted, stood"
        values |= {":expires": _expiry(), ":zero": 0, ":one": 1}
        return self._update(name, change, condition, values)

    def renew(self, name: str, held: LeaseRecord, *, beat: str) -> LeaseRecord:
        """Write another beat. See `LeaseRecords`."""
        return self._update(
            name,
            "SET beat = :beat, expires = :expires REMOVE stood",
            "holder = :holder",
            {":beat": beat, ":expires": _expiry(), ":holder": held.holder},
        )

    def ask(self, name: str, seen: LeaseRecord, *, seat: str, stood: float) -> LeaseRecord:
        """Write who is next. See `LeaseRecords`."""
        return self._update(
            name,
            "SET wanted = :seat, stood = :stood",
            "beat = :beat",
            {":seat": seat, ":stood": round(stood, 3), ":beat": seen.beat},
        )

    def release(self, name: str, held: LeaseRecord, *, beat: str) -> None:
        """Make the lock free. See `LeaseRecords`."""
        self._update(
            name,
            "SET beat = :beat, expires = :expires REMOVE holder, stood",
            "holder = :holder",
            {":beat": beat, ":expires": _expiry(), ":holder": held.holder},
        )

    def _update(self, name: str, change: str, condition: str, values: _Values) -> LeaseRecord:
        """Change the item if the condition holds; the item as it is then."""
        more: dict[str, Any] = {}
        if values:
            more["ExpressionAttributeValues"] = {key: _typed(one) for key, one in values.items()}
        try:
            answer = self.client.update_item(
                TableName=self._table,
                Key={KEY: {"S": name}},
                UpdateExpression=change,
                ConditionExpression=condition,
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **more,
            )
        except ClientError as error:
            return _record(_item_of(error))
        except (BotoCoreError, OSError) as error:
            raise OutcomeUnknown("UpdateItem") from error
        return _record(answer.get("Attributes", {}))


def create_table(name: str) -> bool:
    """Make the table that `TUS_LOCK_TABLE` names, and wait until it is there.

    Needs `dynamodb:CreateTable`, `DescribeTable` and `UpdateTimeToLive`, which no server does.

    Returns:
        whether it was made; False when it was there already.

    Raises:
        BotoCoreError, ClientError: boto3's own, for somebody who is there to read them.
    """
    client = boto3.session.Session().client("dynamodb")
    try:
        client.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": KEY, "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": KEY, "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
    except client.exceptions.ResourceInUseException:
        return False
    client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1})
    client.update_time_to_live(
        TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": EXPIRES}
    )
    return True


def _item_of(error: ClientError) -> dict[str, Any]:
    """The item that a failed condition comes with.

    Raises:
        Unanswered: it was no failed condition, and may pass.
        LockerUnavailable: it was none, and will not pass.
    """
    response = classify_error(error)
    if response.kind is AwsErrorKind.CONDITION_FAILED:
        item: dict[str, Any] = error.response.get("Item", {})  # type: ignore[assignment]
        return item
    if response.kind in _OUTCOME_UNKNOWN or response.is_server_error:
        raise OutcomeUnknown("UpdateItem") from error
    raise LockerUnavailable("UpdateItem") from error


def _expiry() -> int:
    return int(time.time()) + KEPT


def _typed(value: str | float) -> dict[str, str]:
    return {"S": value} if isinstance(value, str) else {"N": str(value)}


def _record(item: dict[str, Any]) -> LeaseRecord:
    def text(name: str) -> str:
        return str(item.get(name, {}).get("S", ""))

    def number(name: str) -> float:
        return float(item.get(name, {}).get("N", 0))

    return LeaseRecord(
        holder=text("holder"),
        fence=int(number("fence")),
        beat=text("beat"),
        wanted=text("wanted"),
        stood=number("stood"),
    )
