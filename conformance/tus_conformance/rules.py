"""The rules by id, and the `rule` decorator that links a test to them.

The letters of an id name the section of the specification
(https://tus.io/protocols/resumable-upload, version 1.0.0):

    C    core protocol         CR   creation              CM   Upload-Metadata
    DL   deferred length       CW   creation with upload  EX   expiration
    CK   checksum              CT   checksum trailer      TE   termination
    CO   concatenation         CU   unfinished concatenation

    R    IETF resumable uploads (draft-ietf-httpbis-resumable-upload), in the interop versions
         that `--interop` names

Four ids are about requirements that no text of tus states:

    CORS     access from browsers      GET      downloads of finished files
    EARLY    responses before the end of the request body
    FRAMING  requests that are malformed on purpose

A test has one of three levels:

    must      the text says MUST, or promises it unconditionally
    should    the text says SHOULD
    practice  the text is silent or leaves a choice; the test demands what clients handle best, and
              accepts every behaviour that they handle equally well
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

MUST, SHOULD, PRACTICE = LEVELS = ("must", "should", "practice")

RULES = {
    "C-01": "every response contains Tus-Resumable",
    "C-02": "another version: 412 with Tus-Version, nothing changed",
    "C-03": "no version: 412",
    "C-04": "412 takes precedence over other errors",
    "C-05": "OPTIONS: 200 or 204 with Tus-Version",
    "C-06": "OPTIONS is answered with any Tus-Resumable",
    "C-07": "lists are well-formed, and absent rather than empty",
    "C-08": "no extension without the extension that it requires",
    "C-09": "Tus-Max-Size is a whole number",
    "C-10": "X-HTTP-Method-Override replaces the method of any request",
    "C-11": "an unusual override does no harm",
    "C-12": "OPTIONS of an upload, and of *",
    "C-20": "HEAD: Upload-Offset at every stage",
    "C-21": "HEAD: Upload-Length once it is known",
    "C-22": "HEAD: Cache-Control: no-store",
    "C-23": "HEAD: 200 or 204, preferably 200; no body",
    "C-24": "HEAD of an unknown upload: 404, 410 or 403, without an offset",
    "C-25": "HEAD changes nothing, and the offset never decreases",
    "C-26": "HEAD during a PATCH: an offset that stays valid",
    "C-30": "PATCH: 204 and the new offset",
    "C-31": "another content type: 415, nothing changed",
    "C-32": "the content type in another case, or with a parameter",
    "C-33": "another offset: 409, nothing changed",
    "C-34": "an invalid offset: 400, nothing changed",
    "C-35": "leading zeros do no harm",
    "C-36": "PATCH of an unknown upload: 404",
    "C-37": "many small PATCH requests, and empty ones",
    "C-38": "a body beyond the length: 413 or 400, nothing changed",
    "C-39": "the same without Content-Length: the offset never exceeds the length",
    "C-40": "PATCH of a complete upload",
    "C-41": "an interruption: received bytes are stored, and the upload can be resumed",
    "C-42": "an idle client: the server times out and stores the received bytes",
    "C-43": "two writers: one succeeds, and bytes are never mixed",
    "C-44": "a returned offset is valid for every worker and after a crash",
    "C-45": "Content-Encoding is not decoded",
    "C-46": "an unknown method: 405",
    "CR-01": "POST: 201 and a Location",
    "CR-02": "a new upload has offset 0 and its length",
    "CR-03": "no length: 400",
    "CR-04": "a known and a deferred length: 400",
    "CR-05": "an invalid length: 400, no upload",
    "CR-06": "Tus-Max-Size is accepted; one byte more is 413",
    "CR-07": "length 0: complete at creation",
    "CR-08": "HEAD returns the metadata",
    "CR-09": "POST at another path: 404 or 405",
    "CR-10": "POST with another content type",
    "CR-11": "the same POST twice: two uploads",
    "CM-01": "pairs of a key and base64",
    "CM-02": "a key without a value",
    "CM-03": "an empty field is ignored",
    "CM-04": "white space around the comma",
    "CM-05": "a duplicate key: 400",
    "CM-06": "an empty key: 400",
    "CM-07": "invalid base64: 400",
    "CM-08": "any bytes as a value, without harm",
    "CM-09": "unusual keys",
    "CM-10": "long fields",
    "CM-11": "metadata at PATCH changes nothing",
    "DL-01": "Upload-Defer-Length: 1 is accepted and returned by HEAD",
    "DL-02": "any other value: 400",
    "DL-03": "data may arrive while the length is deferred",
    "DL-04": "a PATCH declares the length",
    "DL-05": "a declared length does not change",
    "DL-06": "an impossible length",
    "DL-07": "an empty PATCH may declare the length",
    "DL-08": "a failed PATCH declares nothing",
    "DL-09": "a deferred length does not bypass Tus-Max-Size",
    "DL-10": "not offered: 400 or 501",
    "DL-11": "Upload-Length at a PATCH of a known length",
    "CW-01": "offered only with creation",
    "CW-02": "POST with the first bytes: 201 and their number",
    "CW-03": "POST with all bytes: complete",
    "CW-04": "POST with the content type and no bytes",
    "CW-05": "POST with too many bytes: 413 or 400",
    "CW-06": "Expect: 100-continue with a request that fails",
    "CW-07": "an interrupted POST does no harm",
    "CW-08": "a checksum at POST is verified",
    "CW-09": "with a deferred length",
    "CW-10": "with a partial upload",
    "EX-01": "offered if uploads are removed",
    "EX-02": "PATCH: Upload-Expires in every response",
    "EX-03": "POST: Upload-Expires",
    "EX-04": "Upload-Expires is an HTTP date",
    "EX-05": "after expiry: 404 or 410, without an offset",
    "EX-06": "a complete upload does not expire",
    "EX-07": "HEAD: Upload-Expires",
    "EX-08": "a PATCH at the moment of expiry succeeds or fails completely",
    "CK-01": "sha1 is among Tus-Checksum-Algorithm",
    "CK-02": "a correct checksum: 204",
    "CK-03": "a wrong checksum: 460, nothing changed",
    "CK-04": "an unknown algorithm: 400, nothing changed",
    "CK-05": "a malformed field: 400, nothing changed",
    "CK-06": "the checksum of an empty body",
    "CK-07": "each checksum covers one request",
    "CK-08": "an interruption: unverified bytes are not stored",
    "CK-09": "other errors take precedence",
    "CK-10": "unverified bytes cannot be read",
    "CT-01": "the checksum in the trailer",
    "CT-02": "a checksum in head and trailer: both must match",
    "CT-03": "announced and missing: 400",
    "CT-04": "present and not announced",
    "CT-05": "other trailer fields are ignored",
    "TE-01": "DELETE: 204",
    "TE-02": "after termination: 404 or 410",
    "TE-03": "DELETE of an unknown upload: 404",
    "TE-04": "the storage is freed",
    "TE-05": "DELETE during a PATCH: the upload does not come back",
    "TE-06": "DELETE twice, concurrently, or with a body",
    "TE-07": "DELETE of a partial upload keeps the final one",
    "CO-01": "a partial upload, and its Upload-Concat at HEAD",
    "CO-02": "a final upload is its partial uploads in order",
    "CO-03": "HEAD of a final upload",
    "CO-04": "PATCH of a final upload: 403",
    "CO-05": "a final upload has its own metadata",
    "CO-06": "a partial upload more than once",
    "CO-07": "URLs and paths of partial uploads",
    "CO-08": "unfinished partial uploads: 4xx unless offered",
    "CO-09": "lists with other than partial uploads",
    "CO-10": "an invalid value: 400",
    "CO-11": "a final upload with a length or a body",
    "CO-12": "the sum exceeds Tus-Max-Size: 413",
    "CO-13": "very many partial uploads",
    "CO-14": "an empty partial upload",
    "CO-15": "partial uploads are not reported as finished",
    "CU-01": "a final upload of unfinished partial uploads",
    "CU-02": "complete with its last partial upload",
    "CU-03": "the termination of a partial upload is reported",
    "R-01": "an invalid Upload-Offset is treated as absent",
    "R-02": "an invalid Upload-Complete creates no upload",
    "R-03": "an invalid Upload-Length is treated as absent",
    "R-04": "the offset never decreases",
    "R-05": "an upload's URL is hard to guess",
    "R-06": "a contradicting length is refused",
    "R-07": "the same for a chunked append",
    "R-10": "creation: 104 with the Location before the final response",
    "R-11": "no 104 for a missing or unknown version",
    "R-12": "creation with some bytes: 201 and the Location",
    "R-13": "creation without content",
    "R-14": "an empty upload that is complete",
    "R-15": "the same Location in all responses",
    "R-16": "over the limit: 413 or 400, with the limit",
    "R-17": "a length below the minimum",
    "R-18": "an interrupted creation can be resumed at the Location of its 104",
    "R-19": "an early final response",
    "R-20": "no redirects of an unfinished creation",
    "R-21": "any method creates; names and types are kept, codings are not decoded",
    "R-22": "100 (Continue) is sent beside 104",
    "R-30": "HEAD, and GET since version 9: 2xx, the offset and the limits, not cacheable",
    "R-31": "HEAD: completeness and length",
    "R-32": "no redirects at HEAD",
    "R-33": "an unknown upload: 404, in later versions also 410",
    "R-33b": "HEAD and DELETE with the fields of an append: 400 in the early drafts",
    "R-34": "an append without an offset: 400 or 409",
    "R-35": "an append of another content type: 415 or 400",
    "R-36": "another offset: 409 with the current offset",
    "R-37": "an append of some bytes: 2xx, incomplete",
    "R-38": "an append of the remaining bytes: complete",
    "R-39": "an empty append may complete the upload",
    "R-40": "an append beyond the length is refused",
    "R-41": "a length that is declared later",
    "R-42": "104 during a long body; its offset is stored",
    "R-43": "an append to a complete upload changes nothing",
    "R-44": "limits of one append",
    "R-45": "no redirects of an unfinished append",
    "R-46": "an interrupted append keeps the received bytes and is incomplete",
    "R-50": "DELETE: 2xx, and the upload is gone",
    "R-51": "DELETE of an unknown upload: 404",
    "R-60": "OPTIONS: the limits",
    "R-61": "OPTIONS *: the limits",
    "R-70": "concurrent requests do no harm",
    "R-71": "a new request takes over from an old one",
    "R-72": "authorization and limits over time",
    "CORS": "browsers can read what they need",
    "GET": "the finished file can be downloaded",
    "EARLY": "a response before the end of the body is readable and safe",
    "FRAMING": "malformed requests do no harm",
}
"""Every rule, by its id."""

NOT_TESTED = {
    "CW-06": "the HTTP server decides whether to withhold 100 (Continue); gunicorn never does",
    "CO-13": "the HTTP server limits the length of a field (gunicorn: 8,190 bytes)",
    "CO-15": "a server's hooks cannot be observed from outside",
    "R-19": "the application may inspect a request and end it early",
    "R-72": "the application decides which clients may upload, and for how long",
    "TE-04": "a server's storage cannot be observed from outside",
}
"""The rules without a test, with the reason."""


def rule(*ids: str, level: str = MUST, needs: str | Iterable[str] = ()) -> pytest.MarkDecorator:
    """Declare the rules that a test proves.

    Args:
        ids: the rules that the test proves: keys of `RULES`.
        level: one of `LEVELS`.
        needs: capabilities and options that the test requires; see `selection.py`.
    """
    assert ids, "a test needs at least one rule"
    assert set(ids) <= set(RULES), f"expected ids of RULES, got {ids!r}"
    assert level in LEVELS, f"expected one of {LEVELS}, got {level!r}"
    names = (needs,) if isinstance(needs, str) else tuple(needs)
    return pytest.mark.rule(*ids, level=level, needs=names)


def needs(*names: str) -> pytest.MarkDecorator:
    """Declare what every test of a module requires, as its `pytestmark`."""
    return pytest.mark.rule(needs=names)
