"""Lease records in a DynamoDB table: an item for each lock.

| attribute | type | content                                                     | `LeaseRecord`   |
|-----------|------|-------------------------------------------------------------|-----------------|
| `id`      | S    | the partition key: the record's name                        |                 |
| `holder`  | S    | token of the request that holds the lock; absent while free | `holder`        |
| `fence`   | N    | increases with each holder                                  | `fence`         |
| `beat`    | S    | changes with each write of a holder                         | `heartbeat_id`  |
| `wanted`  | S    | the next waiter; absent for none                            | `next_waiter`   |
| `stood`   | N    | seconds for which `beat` has not changed                    | `unchanged_for` |
| `expires` | N    | Unix time after which DynamoDB may remove the item          |                 |

Permissions: `dynamodb:UpdateItem` on the table, and `dynamodb:DeleteItem` for the locks of uploads
that turn out not to exist. The response to a failed condition contains the item, so no separate
reads are needed. Costs: one write request unit per call, including failed conditions.
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
"""Seconds until a call is abandoned and retried. DynamoDB answers in less than 10 ms. The 3.5 s
that a missed heartbeat leaves of a lease are enough for two attempts."""

CONNECTIONS = 64
"""Size of the connection pool. Each request makes one call at a time."""

RETENTION = 7 * 24 * 3600
"""Seconds for which an item is kept after its last write. Clocks may be wrong by days, and a lock
is lost if its item is removed while it is held."""

_OUTCOME_UNKNOWN = frozenset(
    {AwsErrorKind.CONFLICT, AwsErrorKind.THROTTLED, AwsErrorKind.SERVER_ERROR}
)


_Values = dict[str, str | float]


class DynamoDBRecords:
    """`LeaseRecords` in a table. boto3 supplies credentials, region and endpoint.

    Args:
        table: the name of the table.

    Raises:
        LockerUnsupported: no region is configured.
    """

    def __init__(self, table: str) -> None:
        self._table = table
        config = Config(
            connect_timeout=CALL_TIMEOUT,
            read_timeout=CALL_TIMEOUT,
            # The lease retries, because it knows how much time is left.
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
        """True: a fence is kept until its item expires, long after cached uploads are evicted."""
        return True

    def check(self) -> None:
        """Check that the table exists and may be written to. Nothing is written.

        The condition of the write never holds.
        """
        try:
            self._update("check", "REMOVE holder", "attribute_exists(no_such_thing)", {})
        except LockerUnavailable as error:
            cause = error.__cause__
            kind = classify_error(cause).kind if isinstance(cause, ClientError) else None
            message = f"TUS_LOCKER: the table {self._table!r} cannot be used"
            if kind is AwsErrorKind.CONTAINER_NOT_FOUND:
                message = f"TUS_LOCK_TABLE: there is no table {self._table!r}"
                message += "; `tus-wsgi create-lock-table` creates it"
            raise LockerUnsupported(f"{message} ({cause})") from error

    def try_acquire(self, name: str, claim: Claim) -> LeaseRecord:
        """Make `claim` the holder, if it may acquire the record. See `LeaseRecords`."""
        condition = "attribute_not_exists(holder)"
        condition += " AND (attribute_not_exists(wanted) OR wanted = :waiter)"
        values: _Values = {
            ":holder": claim.token,
            ":beat": claim.heartbeat_id,
            ":waiter": claim.waiter_id,
        }
        if claim.has_expired and claim.seen is not None:
            condition = f"({condition}) OR beat = :seen"
            values[":seen"] = claim.seen.heartbeat_id
        change = "SET holder = :holder, beat = :beat, expires = :expires"
        change += ", fence = if_not_exists(fence, :zero) + :one REMOVE wanted, stood"
        values |= {":expires": _expiry(), ":zero": 0, ":one": 1}
        return self._update(name, change, condition, values)

    def renew(self, name: str, held: LeaseRecord, *, heartbeat_id: str) -> LeaseRecord:
        """Write a heartbeat. See `LeaseRecords`."""
        return self._update(
            name,
            "SET beat = :beat, expires = :expires REMOVE stood",
            "holder = :holder",
            {":beat": heartbeat_id, ":expires": _expiry(), ":holder": held.holder},
        )

    def request_release(
        self, name: str, seen: LeaseRecord, *, waiter_id: str, unchanged_for: float
    ) -> LeaseRecord:
        """Write the next waiter. See `LeaseRecords`."""
        return self._update(
            name,
            "SET wanted = :waiter, stood = :stood",
            "beat = :beat",
            {
                ":waiter": waiter_id,
                ":stood": round(unchanged_for, 3),
                ":beat": seen.heartbeat_id,
            },
        )

    def release(
        self, name: str, held: LeaseRecord, *, heartbeat_id: str, is_needed: bool = True
    ) -> None:
        """Make the lock free. See `LeaseRecords`.

        If `dynamodb:DeleteItem` is not allowed, DynamoDB soon removes the record as expired.
        """
        if not is_needed:
            try:
                self._delete(name, held.holder)
            except LockerUnavailable:
                pass
            else:
                return
        self._update(
            name,
            "SET beat = :beat, expires = :expires REMOVE holder, stood",
            "holder = :holder",
            {
                ":beat": heartbeat_id,
                ":expires": _expiry() if is_needed else int(time.time()),
                ":holder": held.holder,
            },
        )

    def _delete(self, name: str, holder: str) -> None:
        try:
            self.client.delete_item(
                TableName=self._table,
                Key={KEY: {"S": name}},
                ConditionExpression="holder = :holder",
                ExpressionAttributeValues={":holder": _typed(holder)},
            )
        except ClientError as error:
            _item_of(error, "DeleteItem")
        except (BotoCoreError, OSError) as error:
            raise OutcomeUnknown("DeleteItem") from error

    def _update(self, name: str, change: str, condition: str, values: _Values) -> LeaseRecord:
        """Change the item if the condition holds, and return the item as it is afterwards."""
        options: dict[str, Any] = {}
        if values:
            options["ExpressionAttributeValues"] = {
                key: _typed(value) for key, value in values.items()
            }
        try:
            response = self.client.update_item(
                TableName=self._table,
                Key={KEY: {"S": name}},
                UpdateExpression=change,
                ConditionExpression=condition,
                ReturnValues="ALL_NEW",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                **options,
            )
        except ClientError as error:
            return _record(_item_of(error, "UpdateItem"))
        except (BotoCoreError, OSError) as error:
            raise OutcomeUnknown("UpdateItem") from error
        return _record(response.get("Attributes", {}))


def create_table(name: str) -> bool:
    """Create the table that `TUS_LOCK_TABLE` names, and wait until it is active.

    Needs `dynamodb:CreateTable`, `DescribeTable` and `UpdateTimeToLive`, which no server needs.

    Returns:
        whether it was created; False if it existed already.

    Raises:
        BotoCoreError, ClientError: the errors of boto3, for the operator who runs the command.
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


def _item_of(error: ClientError, operation: str) -> dict[str, Any]:
    """Return the item that the response to a failed condition contains.

    Raises:
        OutcomeUnknown: another error, which a retry may fix.
        LockerUnavailable: another error, which a retry does not fix.
    """
    response = classify_error(error)
    if response.kind is AwsErrorKind.CONDITION_FAILED:
        item: dict[str, Any] = error.response.get("Item", {})  # type: ignore[assignment]
        return item
    is_known = response.has_document and not response.is_server_error
    if response.kind in _OUTCOME_UNKNOWN or not is_known:
        raise OutcomeUnknown(operation) from error
    raise LockerUnavailable(operation) from error


def _expiry() -> int:
    return int(time.time()) + RETENTION


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
        heartbeat_id=text("beat"),
        next_waiter=text("wanted"),
        unchanged_for=number("stood"),
    )
