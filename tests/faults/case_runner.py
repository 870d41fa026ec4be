"""Run one case of the fault tests: a scenario, the faults in it, and the checks of its result.

A case has an object prefix of its own, so everything below the prefix belongs to it. The app is the
real one, in this process; S3 is a real server behind the fault proxy.
"""

from __future__ import annotations

import re
import secrets
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from tests.faults.application import MODEL, Application, AppOptions, ProcessMode
from tests.faults.faulty_s3 import CALL_TIMEOUT, SECOND_CALL_TIMEOUT, FaultyS3
from tests.faults.leftovers import Leftovers
from tests.faults.scenarios import SCENARIOS, Scenario, Uploader
from tests.faults.traffic import NOTHING_MEANWHILE, Meanwhile, Traffic
from tests.harness.clients.http import Response
from tests.harness.clients.transport import in_process
from tests.harness.clients.uploader import ProtocolError, TusUploader
from tests.harness.proxies.faults import Call, FaultScript, FaultStep
from tests.harness.tombstones import sweep_tombstones
from tus_wsgi.stores.s3 import S3Store

_HAS_GIVEN_UP = re.compile(r"failed [0-9]+ times in a row")
_NUMBERED_TAIL_IS_LEFT = re.compile(r".+\.part\.[0-9]+\.[0-9]+ is left")


@dataclass(frozen=True, slots=True)
class Case:
    """A scenario, and a script of what fails in it.

    Attributes:
        scenario: its name.
        faults: the calls that fail and how, in their order.
        retries: whether boto3 repeats failed calls by itself.
        mode: what the processes remember of earlier requests.
        masks_absence: whether S3 answers 403 instead of 404 to reads of missing objects.
        locks: the kind of locks of two servers; see `LOCKER_KINDS` and `MODEL`.
        meanwhile: what other processes do while a call waits.
    """

    scenario: str
    faults: tuple[FaultStep, ...] = ()
    retries: bool = False
    mode: ProcessMode = ProcessMode.UNCACHED
    masks_absence: bool = False
    locks: str = MODEL
    meanwhile: Meanwhile = NOTHING_MEANWHILE

    @property
    def has_lease(self) -> bool:
        """Whether a lock is a lease, which expires within a second."""
        return self.locks not in {MODEL, "file"}

    @property
    def has_silence(self) -> bool:
        """Whether the app notices one of the faults by a timeout alone."""
        return any(step.fault.is_silent for step in self.faults)

    def __str__(self) -> str:
        faults = ", then ".join(map(str, self.faults)) or "no fault"
        options: list[str] = []
        if self.retries:
            options.append("retries")
        if self.mode is not ProcessMode.UNCACHED:
            options.append(self.mode.value)
        if self.mode is ProcessMode.TWO_SERVERS:
            options.append(f"{self.locks} locks")
        if str(self.meanwhile):
            options.append(str(self.meanwhile))
        return f"{self.scenario}: {faults} [{', '.join(options)}]"


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What happened in a case.

    Attributes:
        case: the case.
        calls: its S3 calls, in their order.
        hit: the calls that the faults hit, with these faults.
        problems: what is wrong; empty if the case passed.
        transcript: the client's requests with their responses, and the calls.
    """

    case: Case
    calls: tuple[Call, ...]
    hit: tuple[str, ...]
    problems: tuple[str, ...]
    transcript: tuple[str, ...]

    def __str__(self) -> str:
        title = f"{self.case} ({', '.join(self.hit)})"
        return "\n    ".join([title, *self.problems, *self.transcript])


def run_case(faulty_s3: FaultyS3, case: Case) -> CaseResult:
    """Run a case and check its result. If a busy machine may be the reason of a failure, run again.

    On a busy machine, an ordinary call may take longer than the short timeout. A lease may expire,
    too: then the client gives up, but loses nothing.
    """
    timeout = faulty_s3.short_timeout if case.has_silence else CALL_TIMEOUT
    result = _run(faulty_s3, case, timeout)
    if not result.problems:
        return result
    has_given_up = all(map(_HAS_GIVEN_UP.search, result.problems))
    if case.has_silence or (case.has_lease and has_given_up):
        return _run(faulty_s3, case, SECOND_CALL_TIMEOUT)
    return result


def _run(faulty_s3: FaultyS3, case: Case, timeout: float) -> CaseResult:
    """Run a case once; `timeout` is the seconds of silence after which a call to S3 fails."""
    scenario = SCENARIOS[case.scenario]
    proxy = faulty_s3.proxy
    proxy.masks_absence = case.masks_absence
    can_expire = case.meanwhile.rights is not None
    options = AppOptions(
        scenario,
        case.mode,
        case.retries,
        timeout,
        case.locks,
        can_expire,
        clock_rate=1 / max(1, len(case.faults)),
    )
    with Application(faulty_s3, f"{secrets.token_hex(6)}/", options) as app:
        traffic = Traffic(
            proxy,
            case.meanwhile,
            send_to=lambda server: in_process(lambda: app(server)),
            freeze=app.servers.freeze,
            sweep=app.sweep_meanwhile,
        )
        proxy.start(FaultScript(case.faults), meanwhile=traffic.on_held_call)
        uploader = scenario.uploader(traffic.send, faulty_s3.part_size)
        try:
            problems = _carry_out(app, uploader, scenario, traffic)
        except Exception:  # noqa: BLE001 - any exception is a problem of this case
            problems = [traceback.format_exc()]
        problems += traffic.problems
    proxy.deliver_delayed_calls()
    calls = proxy.calls
    return CaseResult(
        case=case,
        calls=tuple(calls),
        hit=tuple(f"{call} {call.fault.value}" for call in calls if call.fault),
        problems=tuple(problems),
        transcript=(
            *uploader.transcript,
            " ".join(f"{call}{'!' * bool(call.fault)};" for call in calls),
        ),
    )


def _carry_out(
    app: Application, uploader: Uploader, scenario: Scenario, traffic: Traffic
) -> list[str]:
    """Run the scenario, and return what is wrong afterwards. If nothing is, clear the prefix."""
    faulty_s3 = app.faulty_s3
    try:
        _run_client(app, uploader, scenario, traffic)
    except ProtocolError as error:
        return [str(error)]
    failures = app.sweep() if scenario.expires else []
    calls = faulty_s3.proxy.calls
    faulty_s3.proxy.deliver_delayed_calls()
    faulty_s3.proxy.masks_absence = False
    problems = [*failures, *app.problems] or _query_new_process(app, uploader, scenario)
    if scenario.expires:
        # The next sweep removes what arrived after the first one.
        problems += app.sweep()
    if scenario.terminate_at is not None:
        # A later sweep removes the tombstones, and what arrived after the termination.
        admin, bucket = faulty_s3.admin, faulty_s3.service.bucket
        store = S3Store(admin, bucket, keys=app.keys)
        sweep_tombstones(store, admin, bucket, app.keys)
    if scenario.expires or not problems:
        problems += _check_leftovers(app, uploader, scenario, calls)
    if not problems:
        problems += _check_hook(app, scenario, uploader)
    return problems


def _check_leftovers(
    app: Application, uploader: Uploader, scenario: Scenario, calls: Sequence[Call]
) -> list[str]:
    """Compare the bucket with what the scenario leaves. If nothing is wrong, clear the prefix.

    After a 501 to a conditional write, tails have numbers. A request does not know the tails behind
    earlier parts, so a sweep removes them when the upload has ended.
    """
    leftovers = _find_leftovers(app, uploader, scenario, calls)
    problems = leftovers.of(scenario)
    if problems and all(map(_NUMBERED_TAIL_IS_LEFT.fullmatch, problems)):
        app.expire_uploads()  # a sweep removes only objects that are older than the app's clock
        failures = app.sweep()
        leftovers = _find_leftovers(app, uploader, scenario, calls)
        problems = failures + leftovers.of(scenario)
    if not problems:
        leftovers.clear()
    return problems


def _find_leftovers(
    app: Application, uploader: Uploader, scenario: Scenario, calls: Sequence[Call]
) -> Leftovers:
    return Leftovers(
        app.faulty_s3.admin,
        app.faulty_s3.service.bucket,
        app.prefix,
        uploader=uploader,
        calls=calls,
        data_name=scenario.data_name,
    )


def _run_client(app: Application, uploader: Uploader, scenario: Scenario, traffic: Traffic) -> None:
    """Send what the client of the scenario sends, and sweep if the case has a sweep.

    Before each step, tell `traffic` what the client does if the first server freezes in that step.

    Raises:
        ProtocolError: the server contradicted itself, or the client cannot resume.
    """
    goal = scenario.goal(app.faulty_s3.part_size)
    traffic.continue_upload = partial(uploader.resume, goal)
    if isinstance(uploader, TusUploader):
        traffic.note_late_response = partial(note_late_response, uploader)
    if scenario.is_rejected:
        assert isinstance(uploader, TusUploader)
        traffic.continue_upload = uploader.resume_until_rejected
        uploader.upload_until_rejected()
        traffic.continue_upload = uploader.assert_gone
        uploader.assert_gone()
        return
    uploader.upload(goal)
    if scenario.expires:
        app.expire_uploads()
    elif scenario.terminate_at is not None:
        traffic.continue_upload = uploader.terminate
        uploader.terminate()
    if scenario.terminate_at is not None:
        traffic.continue_upload = uploader.assert_gone
        uploader.assert_gone()
    elif traffic.has_sweeps:
        # A complete upload never expires.
        app.expire_uploads()
        traffic.sweep()


def note_late_response(uploader: TusUploader, response: Response) -> None:
    """D-03: The bytes that a woken holder confirms must be stored, although its client has gone."""
    if response.status < 300 and response.offset is not None:
        uploader.acknowledged = max(uploader.acknowledged, response.offset)


def _query_new_process(app: Application, uploader: Uploader, scenario: Scenario) -> list[str]:
    """Check what a new process, without caches and faults, states of the upload.

    An upload that was terminated or rejected must be gone. Any other one has an offset that is not
    below the acknowledged one.
    """
    app.restart()
    try:
        if scenario.terminate_at is None and not scenario.is_rejected:
            uploader.query_offset()
        else:
            uploader.assert_gone()
    except ProtocolError as error:
        return [f"in the end: {error}"]
    return []


def _check_hook(app: Application, scenario: Scenario, uploader: Uploader) -> list[str]:
    """Return which hooks of the upload did not run (D-06, D-13), and whether an answer is missing.

    A hook must run at least once for an upload that was finished or terminated.
    """
    is_finished = scenario.terminate_at in {None, scenario.length}
    finished = {upload.id for upload in app.finished}
    if scenario.has_hook and is_finished and uploader.id not in finished:
        return ["on_finish never ran"]
    if scenario.terminate_failures is not None and uploader.id not in app.terminated:
        return ["on_terminate never ran"]
    if scenario.has_answer and isinstance(uploader, TusUploader) and uploader.answer is None:
        return ["the client never got the answer"]
    return []
