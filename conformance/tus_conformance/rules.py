"""Every rule by its id, and `rule`, the decorator that says which of them a test proves.

The letters say what a rule is about; in the sections named here the protocol's text is found
(https://tus.io/protocols/resumable-upload, version 1.0.0).

    C    core protocol         CR   creation              CM   Upload-Metadata
    DL   deferred length       CW   creation with upload  EX   expiration
    CK   checksum              CT   checksum trailer      TE   termination
    CO   concatenation         CU   unfinished concatenation

    R    resumable uploads of the IETF (draft-ietf-httpbis-resumable-upload), in the interop
         versions that `--tus-interop` names

The ids below, of one word, are about what no text of tus says and every server has to do:

    CORS     what browsers need        GET      giving the finished file out
    EARLY    answers before the end of the body
    FRAMING  requests that are broken on purpose

A test has one of three levels:

    must      the text says MUST, or promises it without a choice
    should    the text says SHOULD
    practice  the text is silent or leaves a choice; this is what clients get along with best, and
              where several answers do, the test takes all of them
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

MUST, SHOULD, PRACTICE = LEVELS = ("must", "should", "practice")

RULES = {
    "C-01": "every response says Tus-Resumable",
    "C-02": "another version: 412, the spoken ones in Tus-Version, and nothing is done",
    "C-03": "no version: 412",
    "C-04": "412 comes before any other objection",
    "C-05": "OPTIONS: 200 or 204 with Tus-Version",
    "C-06": "OPTIONS is answered whatever its version",
    "C-07": "the lists are lists, and there is none of nothing",
    "C-08": "no extension without the one that it builds on",
    "C-09": "Tus-Max-Size is a whole number",
    "C-10": "X-HTTP-Method-Override is the method, whatever the request's own",
    "C-11": "an override with an odd value does no harm",
    "C-12": "OPTIONS of an upload, and of *",
    "C-20": "HEAD: Upload-Offset at every stage",
    "C-21": "HEAD: Upload-Length when it is known",
    "C-22": "HEAD: Cache-Control: no-store",
    "C-23": "HEAD: 200 or 204, better 200; never a body",
    "C-24": "HEAD of what is not there: 404, 410 or 403 without an offset",
    "C-25": "HEAD changes nothing, and the offset never falls",
    "C-26": "HEAD during a PATCH: an offset that holds",
    "C-30": "PATCH: 204 and the new offset",
    "C-31": "another type of body: 415, nothing changed",
    "C-32": "the type in other letters, or with a parameter",
    "C-33": "another offset: 409, nothing changed",
    "C-34": "an offset that is none: 400, nothing changed",
    "C-35": "leading zeros do no harm",
    "C-36": "PATCH of what is not there: 404",
    "C-37": "many small PATCHes, and empty ones",
    "C-38": "a body beyond the length: 413 or 400, nothing changed",
    "C-39": "the same without Content-Length: the offset never passes the length",
    "C-40": "PATCH of a complete upload",
    "C-41": "a cut: what came is kept, and the upload goes on",
    "C-42": "silence: the server gives up, and keeps what came",
    "C-43": "two writers: one wins, and nothing is mixed",
    "C-44": "an offset once said holds everywhere, and after a crash",
    "C-45": "Content-Encoding is not undone",
    "C-46": "a method that does not exist: 405",
    "CR-01": "POST: 201 and a Location",
    "CR-02": "the new upload is at 0, with its length",
    "CR-03": "no length: 400",
    "CR-04": "both kinds of length: 400",
    "CR-05": "a length that is none: 400, nothing made",
    "CR-06": "Tus-Max-Size is accepted, and one more is 413",
    "CR-07": "length 0: complete at once",
    "CR-08": "HEAD says the metadata again",
    "CR-09": "POST elsewhere: 404 or 405",
    "CR-10": "POST with another type of body",
    "CR-11": "the same POST twice: two uploads",
    "CM-01": "pairs of a key and base64",
    "CM-02": "a key without a value",
    "CM-03": "an empty field is none",
    "CM-04": "white space around the comma",
    "CM-05": "a key twice: 400",
    "CM-06": "an empty key: 400",
    "CM-07": "base64 that is none: 400",
    "CM-08": "any bytes as a value, and no harm from them",
    "CM-09": "odd keys",
    "CM-10": "long fields",
    "CM-11": "metadata at PATCH changes nothing",
    "DL-01": "Upload-Defer-Length: 1 is accepted, and HEAD says it",
    "DL-02": "any other value: 400",
    "DL-03": "the length may stay unknown while data comes",
    "DL-04": "a PATCH tells the length",
    "DL-05": "once told, it stays",
    "DL-06": "a length that cannot be",
    "DL-07": "an empty PATCH may tell it",
    "DL-08": "a PATCH that fails tells nothing",
    "DL-09": "deferring is no way around Tus-Max-Size",
    "DL-10": "not offered: 400 or 501",
    "DL-11": "Upload-Length at a PATCH of a known length",
    "CW-01": "offered only with creation",
    "CW-02": "POST with the first bytes: 201 and their number",
    "CW-03": "POST with all bytes: complete",
    "CW-04": "POST with the type and no bytes",
    "CW-05": "POST with too many bytes: 413 or 400",
    "CW-06": "Expect: 100-continue at a request that fails",
    "CW-07": "a POST that is cut does no harm",
    "CW-08": "a checksum at POST is verified",
    "CW-09": "with a deferred length",
    "CW-10": "with a part of a concatenation",
    "EX-01": "offered if uploads are removed",
    "EX-02": "PATCH: Upload-Expires, each time",
    "EX-03": "POST: Upload-Expires",
    "EX-04": "Upload-Expires is a date of HTTP",
    "EX-05": "afterwards: 404 or 410, without an offset",
    "EX-06": "a complete upload stays",
    "EX-07": "HEAD: Upload-Expires",
    "EX-08": "a PATCH at that moment wins or loses whole",
    "CK-01": "sha1 is among Tus-Checksum-Algorithm",
    "CK-02": "the right checksum: 204",
    "CK-03": "a wrong one: 460, nothing changed",
    "CK-04": "an unknown algorithm: 400, nothing changed",
    "CK-05": "a field that is none: 400, nothing changed",
    "CK-06": "the checksum of nothing",
    "CK-07": "each request on its own",
    "CK-08": "a cut: what cannot be verified is not kept",
    "CK-09": "a request that fails anyhow says why",
    "CK-10": "unverified bytes are never seen",
    "CT-01": "the checksum in the trailer",
    "CT-02": "in both places: both must match",
    "CT-03": "announced and missing: 400",
    "CT-04": "not announced, but there",
    "CT-05": "other fields in the trailer mean nothing",
    "TE-01": "DELETE: 204",
    "TE-02": "afterwards: 404 or 410",
    "TE-03": "DELETE of what is not there: 404",
    "TE-04": "the storage is freed",
    "TE-05": "DELETE during a PATCH: it never comes back",
    "TE-06": "DELETE twice, at once, or with a body",
    "TE-07": "DELETE of a part leaves the whole alone",
    "CO-01": "a partial upload, and HEAD says that it is one",
    "CO-02": "the final upload is the parts in their order",
    "CO-03": "HEAD of a final upload",
    "CO-04": "PATCH of a final upload: 403",
    "CO-05": "the metadata are the final upload's own",
    "CO-06": "a part more than once",
    "CO-07": "how parts may be named",
    "CO-08": "unfinished parts: 4xx unless that is offered",
    "CO-09": "lists that cannot be",
    "CO-10": "values that are none: 400",
    "CO-11": "a final upload with a length or a body",
    "CO-12": "the sum is over Tus-Max-Size: 413",
    "CO-13": "very many parts",
    "CO-14": "an empty part",
    "CO-15": "parts are no finished uploads to anybody",
    "CU-01": "a final upload over parts that still run",
    "CU-02": "it is complete with its last part",
    "CU-03": "a part that goes away is no silent wait",
    "R-01": "an Upload-Offset that is none is as if absent",
    "R-02": "an Upload-Complete that is none makes no upload",
    "R-03": "an Upload-Length that is none is as if absent",
    "R-04": "the offset never falls",
    "R-05": "an upload's URL is hard to guess",
    "R-06": "a length that contradicts: rejected",
    "R-07": "the same for a chunked append",
    "R-10": "creation: 104 with the Location, and then the answer",
    "R-11": "no 104 to who names no version, or another one",
    "R-12": "creation with a part: 201 and the Location",
    "R-13": "creation without content",
    "R-14": "an empty upload that is complete",
    "R-15": "the same Location in all answers",
    "R-16": "over the limit: 413 or 400, and the limit",
    "R-17": "a length under the minimum",
    "R-18": "a cut creation is found at the Location of its 104",
    "R-19": "an early final answer",
    "R-20": "no redirects of an unfinished creation",
    "R-21": "any method creates; names and types are kept, codings are not undone",
    "R-22": "100 (Continue) is sent beside 104",
    "R-30": "HEAD, since version 9 GET too: 2xx, the offset and the limits, not to be cached",
    "R-31": "HEAD: whether it is complete, and its length",
    "R-32": "no redirects at HEAD",
    "R-33": "what is not there: 404, later also 410",
    "R-33b": "HEAD and DELETE with an append's fields: 400 in the early drafts",
    "R-34": "an append without an offset: 400 or 409",
    "R-35": "an append of another type: 415 or 400",
    "R-36": "another offset: 409, and the right one",
    "R-37": "an append of a part: 2xx, not complete",
    "R-38": "an append of the rest: complete",
    "R-39": "an empty append may complete",
    "R-40": "an append beyond the length: rejected",
    "R-41": "a length that comes later",
    "R-42": "104 while a long body comes; its offset is safe",
    "R-43": "an append to what is complete changes nothing",
    "R-44": "limits of one append",
    "R-45": "no redirects of an unfinished append",
    "R-46": "a cut append keeps what came, and is not complete",
    "R-50": "DELETE: 2xx, and it is gone",
    "R-51": "DELETE of what is not there: 404",
    "R-60": "OPTIONS: the limits",
    "R-61": "OPTIONS *: the limits",
    "R-70": "requests at the same time do no harm",
    "R-71": "a new request takes over from an old one",
    "R-72": "authorisation and limits over time",
    "CORS": "browsers may read what they need",
    "GET": "the finished file is given out",
    "EARLY": "an answer before the end of the body is readable, and safe",
    "FRAMING": "broken requests do no harm",
}

NOT_TESTED = {
    "CW-06": "whether 100 (Continue) is withheld is up to the HTTP server; gunicorn never does",
    "CO-13": "how long a field may be is the HTTP server's choice (gunicorn: 8,190 bytes)",
    "CO-15": "what a server tells its own programs cannot be seen from outside",
    "R-19": "who looks into a request or its content, and ends it early, is the application",
    "R-72": "who may upload, and for how long, is decided by the application",
    "TE-04": "what a server keeps behind its interface cannot be seen from outside",
}
"""Rules without a test here, and why."""


def rule(*ids: str, level: str = MUST, needs: str | Iterable[str] = ()) -> pytest.MarkDecorator:
    """Say which rules a test proves.

    Args:
        ids: of `RULES`.
        level: one of `LEVELS`.
        needs: what the server has to offer, or the run to be told; see `selection.py`.
    """
    assert ids, "a test without a rule"
    assert set(ids) <= set(RULES), f"expected ids of RULES, got {ids!r}"
    assert level in LEVELS, f"expected one of {LEVELS}, got {level!r}"
    wanted = (needs,) if isinstance(needs, str) else tuple(needs)
    return pytest.mark.rule(*ids, level=level, needs=wanted)


def needs(*names: str) -> pytest.MarkDecorator:
    """Say what every test of a module needs, as its `pytestmark`."""
    return pytest.mark.rule(needs=names)
