"""Between the wire and the domain."""

from collections.abc import Callable
from typing import Any

import pytest
from cofactor.v1 import authenticators_pb2, challenges_pb2, tokens_pb2
from cofactor_server.domain.authenticators.authenticator import State
from cofactor_server.domain.authenticators.proofs import Code, Signed
from cofactor_server.domain.challenges.challenge import Standing
from cofactor_server.domain.logins import grants
from cofactor_server.domain.parties.clients import GrantType
from cofactor_server.domain.requests import (
    AnswerRequest,
    ChallengeRequest,
    ChallengeType,
    CreatedChallenge,
    Enrolled,
    EnrollmentRequest,
    Introspection,
)
from cofactor_server.errors import InvalidRequest, MissingParameter, UnsupportedGrantType
from cofactor_server.rpc.convert import authenticators, challenges, fields, kinds, tokens
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.rpc.worlds import authenticator

T = tokens_pb2
A = authenticators_pb2
C = challenges_pb2
TARGET = T.TokenTarget(scope="openid email", audience="https://api.example.com/")
TIME = Timestamp(seconds=1_700_000_000, nanos=123_456_789)


def issue(**grant: Any) -> Callable[[], Any]:
    return lambda: tokens.issue(T.IssueTokenRequest(**grant))


def password(**changes: Any) -> Callable[[], Any]:
    return issue(password=T.PasswordGrant(**{"username": "jane", "password": "pw", **changes}))


def realm(**changes: Any) -> Callable[[], Any]:
    given: dict[str, Any] = {"username": "jane", "password": "pw", "realm": "r", **changes}
    return issue(password_realm=T.PasswordRealmGrant(**given))


def otp(**changes: Any) -> Callable[[], Any]:
    return issue(mfa_otp=T.MfaOtpGrant(**{"mfa_token": "t", "otp": "492039", **changes}))


def oob(**changes: Any) -> Callable[[], Any]:
    return issue(mfa_oob=T.MfaOobGrant(**{"mfa_token": "t", "oob_code": "o", **changes}))


def recovery(**changes: Any) -> Callable[[], Any]:
    return issue(mfa_recovery_code=T.MfaRecoveryCodeGrant(**{"mfa_token": "t", "recovery_code": "r", **changes}))


CREDENTIAL = '{"id": "Az-_09"}'


def webauthn(**changes: Any) -> Callable[[], Any]:
    given: dict[str, Any] = {"mfa_token": "t", "oob_code": "o", "credential_json": CREDENTIAL, **changes}
    return issue(mfa_webauthn=T.MfaWebAuthnGrant(**given))


def vouched(**changes: Any) -> Callable[[], Any]:
    given: dict[str, Any] = {
        "realm": "employees",
        "subject": "4711",
        "methods": ["pwd"],
        "authenticate_time": TIME,
        **changes,
    }
    return issue(vouched=T.VouchedGrant(**{name: value for name, value in given.items() if value is not None}))


def challenge(**changes: Any) -> Callable[[], Any]:
    return lambda: challenges.challenge_request(C.CreateChallengeRequest(**changes))


def enroll(**changes: Any) -> Callable[[], Any]:
    return lambda: authenticators.enrollment_request(A.EnrollAuthenticatorRequest(**changes))


def update(paths: tuple[str, ...] = ("name",), **changes: Any) -> Callable[[], Any]:
    given = A.Authenticator(**{"id": "totp|dev_1", "name": "Phone", **changes})
    request = A.UpdateAuthenticatorRequest(authenticator=given, update_mask=FieldMask(paths=paths))
    return lambda: authenticators.renaming(request)


def refresh(**changes: Any) -> Callable[[], Any]:
    return issue(refresh_token=T.RefreshTokenGrant(**{"refresh_token": "rt", **changes}))


def test_each_grant_arrives_whole() -> None:
    target = grants.Target("openid email", "https://api.example.com/")
    arrived = [
        password(target=TARGET)()[0],
        realm(target=TARGET)()[0],
        refresh(target=TARGET)()[0],
        otp(authenticator_id="totp|dev_1")()[0],
        oob(binding_code="123456")()[0],
        recovery()()[0],
        webauthn()()[0],
        vouched(methods=["pwd", "pin"], label="jane@example.com", target=TARGET)()[0],
    ]
    assert arrived == [
        grants.PasswordGrant("jane", "pw", target=target),
        grants.PasswordGrant("jane", "pw", "r", target, by_realm=True),
        grants.RefreshTokenGrant("rt", target),
        grants.MfaOtpGrant("t", "492039", "totp|dev_1"),
        grants.MfaOobGrant("t", "o", "123456"),
        grants.MfaRecoveryCodeGrant("t", "r"),
        grants.MfaWebAuthnGrant("t", "o", "Az-_09", CREDENTIAL),
        grants.VouchedGrant("employees", "4711", ("pwd", "pin"), 1_700_000_000_123_456, "jane@example.com", target),
    ]


def test_every_grant_of_the_wire_is_known() -> None:
    oneof = T.IssueTokenRequest.DESCRIPTOR.oneofs_by_name["grant"]
    assert {field.name for field in oneof.fields} == set(tokens._GRANTS)
    assert len(oneof.fields) == len(GrantType)


def test_no_grant_is_an_unsupported_one() -> None:
    with pytest.raises(UnsupportedGrantType):
        issue()()


@pytest.mark.parametrize("request_id", ["", "0" * 16, "~" * 64, "5f0c1c5e-7a0e-4c39-9d7a-0b7f3f1c2a11"])
def test_a_request_id_arrives(request_id: str) -> None:
    assert issue(refresh_token=T.RefreshTokenGrant(refresh_token="rt"), request_id=request_id)()[1] == request_id


MISSING: dict[str, list[Callable[[], Any]]] = {
    "username": [password(username=""), realm(username="")],
    "password": [password(password=""), realm(password="")],
    "realm": [realm(realm=""), vouched(realm="")],
    "refresh_token": [refresh(refresh_token="")],
    "mfa_token": [otp(mfa_token=""), oob(mfa_token=""), recovery(mfa_token=""), webauthn(mfa_token="")],
    "otp": [otp(otp="")],
    "oob_code": [oob(oob_code=""), webauthn(oob_code="")],
    "recovery_code": [recovery(recovery_code="")],
    "credential_json": [webauthn(credential_json="")],
    "subject": [vouched(subject="")],
    "methods": [vouched(methods=[]), vouched(methods=["pwd", ""])],
    "authenticate_time": [vouched(authenticate_time=None)],
    "token": [lambda: tokens.token(T.RevokeTokenRequest()), lambda: tokens.token(T.IntrospectTokenRequest())],
    "authenticator": [enroll()],
    "phone_number": [enroll(sms=A.SmsEnrollment()), enroll(voice=A.VoiceEnrollment())],
    "kind": [enroll(plugin=A.PluginEnrollment())],
    "id": [
        update(id=""),
        lambda: authenticators.named(A.GetAuthenticatorRequest()),
        lambda: authenticators.named(A.DeleteAuthenticatorRequest()),
    ],
    "update_mask": [update(paths=())],
}


@pytest.mark.parametrize(
    ("parameter", "convert"), [(name, convert) for name, converts in MISSING.items() for convert in converts]
)
def test_an_empty_required_field_is_named(parameter: str, convert: Callable[[], Any]) -> None:
    with pytest.raises(MissingParameter) as refused:
        convert()
    assert refused.value.metadata == {"parameter": parameter}


def with_target(**changes: Any) -> list[Callable[[], Any]]:
    target = T.TokenTarget(**changes)
    return [grant(target=target) for grant in (password, realm, refresh, vouched)]


NUL, NEWLINE, BIDI, WIDE = "a\x00b", "a\nb", "a\u202eb", "ünï"
LONG_TOKEN = "x" * 4097

BAD: dict[str, list[Callable[[], Any]]] = {
    "username": [g(username=bad) for g in (password, realm) for bad in ("x" * 257, NUL, NEWLINE, BIDI)],
    "password": [g(password=bad) for g in (password, realm) for bad in ("x" * 1025, "ü" * 513, NUL)],
    "realm": [g(realm=bad) for g in (realm, vouched) for bad in ("x" * 65, NUL, NEWLINE)],
    "scope": [f for bad in ("x" * 1025, 'a"b', "a\\b", "a\tb", NUL, WIDE) for f in with_target(scope=bad)],
    "audience": [f for bad in ("x" * 513, "a b", NUL, WIDE) for f in with_target(audience=bad)],
    "refresh_token": [refresh(refresh_token=bad) for bad in (LONG_TOKEN, NUL, WIDE)],
    "mfa_token": [g(mfa_token=bad) for g in (otp, oob, recovery, webauthn) for bad in (LONG_TOKEN, NUL, WIDE)],
    "otp": [otp(otp=bad) for bad in ("1" * 33, NUL, NEWLINE)],
    "authenticator_id": [
        g(authenticator_id=bad) for g in (otp, challenge) for bad in ("x" * 129, NUL, "totp dev", WIDE)
    ],
    "oob_code": [g(oob_code=bad) for g in (oob, webauthn) for bad in (LONG_TOKEN, NUL, WIDE)],
    "binding_code": [oob(binding_code=bad) for bad in ("1" * 33, NUL, NEWLINE)],
    "recovery_code": [recovery(recovery_code=bad) for bad in ("x" * 65, NUL, NEWLINE)],
    "credential_json": [
        webauthn(credential_json=bad)
        for bad in (
            "x" * 32_769,
            NUL,
            "[" * 32_768,
            "9" * 32_768,
            "{}",
            "[]",
            '"id"',
            '{"id": ""}',
            '{"id": 7}',
            '{"id": "a b"}',
            '{"id": "' + "x" * 1_365 + '"}',
        )
    ],
    "subject": [vouched(subject=bad) for bad in ("x" * 257, NUL, NEWLINE)],
    "methods": [vouched(methods=bad) for bad in (["pwd"] * 9, ["x" * 17], ["Pwd"], ["p wd"], [NUL])],
    "authenticate_time": [
        vouched(authenticate_time=Timestamp(seconds=seconds, nanos=nanos))
        for seconds, nanos in ((0, -1), (0, 1_000_000_000), (-(2**62), 0), (2**62, 0))
    ],
    "label": [vouched(label=bad) for bad in ("x" * 257, NUL, NEWLINE, BIDI)],
    "request_id": [
        issue(refresh_token=T.RefreshTokenGrant(refresh_token="rt"), request_id=bad)
        for bad in ("x" * 15, "x" * 65, "x" * 16 + " ", "x" * 16 + "\x00", "ü" * 16)
    ],
    "token": [
        lambda bad=bad, kind=kind: tokens.token(kind(token=bad))  # type: ignore[misc]
        for bad in (LONG_TOKEN, NUL, "a b")
        for kind in (T.RevokeTokenRequest, T.IntrospectTokenRequest)
    ],
    "challenge_types": [challenge(challenge_types=bad) for bad in ([0], [99], [1] * 17)],
    "kinds": [challenge(kinds=bad) for bad in ([0], [9], [99], [1] * 17)],
    "name": [f for bad in ("x" * 65, NUL, NEWLINE, BIDI) for f in (enroll(name=bad, push={}), update(name=bad))],
    "algorithm": [enroll(totp={"algorithm": 99}), enroll(hotp={"algorithm": 99})],
    "digits": [enroll(totp={"digits": 7}), enroll(totp={"digits": 5}), enroll(hotp={"digits": 9})],
    "period_seconds": [enroll(totp={"period_seconds": bad}) for bad in (14, 121, 2**31)],
    "phone_number": [
        enroll(**{kind: {"phone_number": bad}}) for kind in ("sms", "voice") for bad in ("+" + "1" * 32, NUL, "+44 20")
    ],
    "email": [enroll(email={"email": bad}) for bad in ("x" * 255, NUL, NEWLINE)],
    "count": [enroll(recovery_code={"count": 11})],
    "kind": [enroll(plugin={"kind": bad}) for bad in ("totp", "recovery-code", "x" * 65, "Upper", NUL)],
    "destination": [enroll(plugin={"kind": "fax", "destination": bad}) for bad in ("x" * 1025, NUL)],
    "update_mask": [update(paths=paths) for paths in (("id",), ("name", "state"), ("nonsense",), ("*",), ("Name",))],
    "id": [update(id=bad) for bad in ("x" * 129, NUL, WIDE)]
    + [lambda: authenticators.named(A.GetAuthenticatorRequest(id=NUL))],
}


@pytest.mark.parametrize(
    ("field", "convert"), [(name, convert) for name, converts in BAD.items() for convert in converts]
)
def test_a_field_beyond_its_limits_is_a_violation(field: str, convert: Callable[[], Any]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        convert()
    assert {name for name, _ in refused.value.violations} == {field}


GOOD: list[Callable[[], Any]] = [
    password(username="x" * 256, password="x" * 1024),
    password(username="Jürgen Müller", password="ü" * 512),
    password(password="tab\tand\nnewline"),
    password(target=T.TokenTarget(scope="x" * 1024, audience="x" * 512)),
    otp(mfa_token="x" * 4096, otp="492 039"),
    recovery(recovery_code="ABCD EFGH-JKLM " * 4),
    vouched(methods=["pwd"] * 8, authenticate_time=Timestamp(seconds=-1, nanos=999_999_999)),
    enroll(totp={"digits": 8, "period_seconds": 120}, name="📱 " * 32),
    enroll(recovery_code={"count": 10}),
    update(name=""),
    update(paths=("name", "name")),
    challenge(challenge_types=[1] * 16, kinds=[1, 2, 3, 4, 5, 6, 7, 8]),
]


@pytest.mark.parametrize("convert", GOOD)
def test_what_is_within_its_limits_arrives(convert: Callable[[], Any]) -> None:
    assert convert()


def test_all_violations_of_a_request_are_listed_at_once() -> None:
    with pytest.raises(InvalidRequest) as refused:
        password(username=NUL, password=NUL, target=T.TokenTarget(scope=NUL, audience=NUL))()
    assert [name for name, _ in refused.value.violations] == ["username", "password", "scope", "audience"]


def test_a_violation_does_not_repeat_what_was_sent() -> None:
    with pytest.raises(InvalidRequest) as refused:
        password(password="correct horse\x00")()
    assert "horse" not in repr(refused.value.violations)


ENROLLMENTS: list[tuple[dict[str, Any], EnrollmentRequest]] = [
    ({"totp": {}}, EnrollmentRequest("totp")),
    ({"totp": {"algorithm": 1}}, EnrollmentRequest("totp", options={"algorithm": "SHA1"})),
    (
        {"totp": {"algorithm": 2, "digits": 8, "period_seconds": 60}, "name": "Phone"},
        EnrollmentRequest("totp", "Phone", options={"algorithm": "SHA256", "digits": "8", "period": "60"}),
    ),
    (
        {"hotp": {"algorithm": 3, "digits": 7}},
        EnrollmentRequest("hotp", options={"algorithm": "SHA512", "digits": "7"}),
    ),
    ({"sms": {"phone_number": "+442071838750"}}, EnrollmentRequest("sms", destination="+442071838750")),
    ({"voice": {"phone_number": "+442071838750"}}, EnrollmentRequest("voice", destination="+442071838750")),
    ({"email": {}}, EnrollmentRequest("email")),
    ({"email": {"email": "jane@example.com"}}, EnrollmentRequest("email", destination="jane@example.com")),
    ({"push": {}}, EnrollmentRequest("push")),
    ({"webauthn": {}}, EnrollmentRequest("webauthn")),
    ({"webauthn": {"resident_key": True}}, EnrollmentRequest("webauthn", options={"resident_key": "true"})),
    ({"recovery_code": {}}, EnrollmentRequest("recovery-code")),
    ({"recovery_code": {"count": 3}}, EnrollmentRequest("recovery-code", options={"count": "3"})),
    ({"plugin": {"kind": "fax", "destination": "+44"}}, EnrollmentRequest("fax", destination="+44")),
]


@pytest.mark.parametrize(("wire", "wanted"), ENROLLMENTS)
def test_an_enrollment_arrives_whole(wire: dict[str, Any], wanted: EnrollmentRequest) -> None:
    assert enroll(**wire)() == wanted


def test_every_enrollment_of_the_wire_is_known() -> None:
    oneof = A.EnrollAuthenticatorRequest.DESCRIPTOR.oneofs_by_name["authenticator"]
    assert {field.name for field in oneof.fields} == set(authenticators._ENROLLMENTS)


def test_a_challenge_request_arrives_each_wish_once() -> None:
    wanted = challenge(challenge_types=[2, 1, 2], authenticator_id="totp|dev_1", kinds=[6, 1, 6])()
    assert wanted == ChallengeRequest((ChallengeType.OOB, ChallengeType.OTP), "totp|dev_1", ("push", "totp"))
    assert challenge()() == ChallengeRequest()


def test_tokens_leave_whole() -> None:
    sent = tokens.outcome(grants.Tokens("at", 86_400, "openid", "idt", "rt", "rc")).tokens
    assert (sent.access_token, sent.token_type, sent.expires_in.seconds) == ("at", "Bearer", 86_400)
    assert (sent.scope, sent.id_token, sent.refresh_token, sent.recovery_code) == ("openid", "idt", "rt", "rc")


@pytest.mark.parametrize("enrolling", [True, False])
def test_a_required_factor_leaves_with_what_can_be_done_about_it(enrolling: bool) -> None:
    value = grants.MfaRequired(
        "t", 1_700_000_000_000_000, enrolling, ("push", "totp", "fax", "pigeon", "recovery-code")
    )
    sent = tokens.outcome(value).mfa_required
    requirement = sent.enroll if enrolling else sent.challenge
    assert sent.WhichOneof("requirement") == ("enroll" if enrolling else "challenge")
    assert list(requirement.kinds) == [6, 1, 9, 8]
    assert (sent.mfa_token, sent.expire_time.seconds) == ("t", 1_700_000_000)


def test_a_required_factor_leaves_even_if_nothing_can_be_done() -> None:
    sent = tokens.outcome(grants.MfaRequired("t", 0, enroll=False, kinds=())).mfa_required
    assert sent.WhichOneof("requirement") == "challenge"


def test_a_pending_answer_leaves_with_its_interval() -> None:
    interval = tokens.outcome(grants.AnswerPending(7_500_000)).answer_pending.poll_interval
    assert (interval.seconds, interval.nanos) == (7, 500_000_000)


def test_no_private_part_of_a_key_leaves() -> None:
    keys = tokens.key_set([{"kty": "EC", "kid": "k", "x": "X", "y": "Y", "d": "private", "key_ops": "sign"}]).keys
    assert keys[0] == T.JsonWebKey(kty="EC", kid="k", x="X", y="Y")


def test_an_inactive_token_says_nothing() -> None:
    assert tokens.introspection(Introspection(active=False, sub="usr_1")) == T.IntrospectTokenResponse()


def test_an_active_token_says_everything() -> None:
    said = Introspection(True, "i", "s", ("a",), "c", "sc", "j", "access_token", 1, 2, 3, "acr", ("pwd",))
    sent = tokens.introspection(said)
    assert all(value == getattr(sent, field.name) for field, value in sent.ListFields())
    assert len(sent.ListFields()) == len(T.IntrospectTokenResponse.DESCRIPTOR.fields)


def test_an_authenticator_leaves_without_its_credential() -> None:
    sent = authenticators.authenticator(authenticator(name="Phone", confirmed_at=2_000_000, last_used_at=3_000_001))
    assert sent == A.Authenticator(
        id="totp|dev_1",
        kind=A.FACTOR_KIND_TOTP,
        state=A.AUTHENTICATOR_STATE_ACTIVE,
        name="Phone",
        create_time=Timestamp(seconds=1_700_000_000, nanos=123_456_000),
        confirm_time=Timestamp(seconds=2),
        last_use_time=Timestamp(seconds=3, nanos=1_000),
    )


def test_times_that_have_not_come_are_absent() -> None:
    sent = authenticators.authenticator(authenticator(state=State.PENDING))
    assert not sent.HasField("confirm_time")
    assert not sent.HasField("last_use_time")


def test_a_plugins_factor_is_named() -> None:
    sent = authenticators.authenticator(authenticator(kind="fax", state=State.DISABLED))
    assert (sent.kind, sent.plugin_kind, sent.state) == (9, "fax", A.AUTHENTICATOR_STATE_DISABLED)


def test_linked_authenticators_name_each_other() -> None:
    rows = [
        authenticator(id="push|1", link_id="l"),
        authenticator(id="totp|1", link_id="l"),
        authenticator(id="totp|2"),
    ]
    sent = authenticators.listed(rows).authenticators
    assert [(row.id, row.linked_id) for row in sent] == [("push|1", "totp|1"), ("totp|1", "push|1"), ("totp|2", "")]


SHOWN: list[tuple[dict[str, str], str, str]] = [
    ({"secret": "S", "barcode_uri": "u"}, "", "otp_secret"),
    ({}, "o", "oob"),
    ({"barcode_uri": "u"}, "o", "pairing"),
    ({"public_key_json": "{}"}, "o", "webauthn"),
    ({}, "", ""),
]


@pytest.mark.parametrize(("show", "oob_code", "form"), SHOWN)
def test_an_enrollment_leaves_in_the_form_of_what_is_shown(show: dict[str, str], oob_code: str, form: str) -> None:
    sent = authenticators.enrolled(Enrolled(authenticator(), show, oob_code, ("code",)))
    assert (sent.WhichOneof("enrollment") or "") == form
    assert list(sent.recovery_codes) == ["code"]
    if form:
        shown = getattr(sent, form)
        expected = {**show, **({"oob_code": oob_code} if oob_code else {})}
        assert {field.name: value for field, value in shown.ListFields()} == expected


CREATED: list[tuple[CreatedChallenge, str]] = [
    (CreatedChallenge(ChallengeType.OTP, "totp|1", "totp"), ""),
    (CreatedChallenge(ChallengeType.OOB, "sms|1", "sms", "o", expires_at=5), "code"),
    (CreatedChallenge(ChallengeType.OOB, "push|1", "push", "o", {"number": "123456"}, 5, on_device=True), "device"),
    (CreatedChallenge(ChallengeType.WEBAUTHN, "w|1", "webauthn", "o", {"public_key_json": "{}"}, 5), "webauthn"),
]


@pytest.mark.parametrize(("challenge", "prompt"), CREATED)
def test_a_challenge_leaves_with_its_prompt(challenge: CreatedChallenge, prompt: str) -> None:
    sent = challenges.created(challenge)
    assert (sent.WhichOneof("prompt") or "") == prompt
    assert sent.HasField("expire_time") == bool(challenge.oob_code)
    assert sent.oob_code == challenge.oob_code
    assert sent.device.number == challenge.show.get("number", "")


def test_every_kind_of_the_wire_but_two_names_a_factor() -> None:
    named = set(kinds._FROM_WIRE)
    assert set(A.FactorKind.values()) - named == {A.FACTOR_KIND_UNSPECIFIED, A.FACTOR_KIND_PLUGIN}
    assert all(kinds.to_wire(kind) == value for value, kind in kinds._FROM_WIRE.items())


@given(st.integers(fields.EARLIEST * 1_000_000, fields.LATEST * 1_000_000))
def test_an_instant_survives_the_wire(microseconds: int) -> None:
    noted = fields.Fields()
    assert fields.instant(noted, "t", fields.timestamp(microseconds)) == microseconds
    noted.done()


@given(st.text(st.characters(codec="utf-8"), max_size=300))
def test_no_text_reaches_the_domain_with_a_nul(text: str) -> None:
    try:
        grant, _ = password(username=text, password=text)()
    except (InvalidRequest, MissingParameter):
        return
    assert "\x00" not in grant.username + grant.password
    assert len(grant.username) <= 256


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"oob_code": "o", "code": "123456"}, AnswerRequest(Code("123456"), oob_code="o")),
        (
            {"challenge_id": "c", "signed": {"payload": b"p", "signature": b"s"}},
            AnswerRequest(Signed(b"p", b"s"), challenge_id="c"),
        ),
    ],
)
def test_an_answer_arrives_with_its_proof(message: dict[str, Any], expected: AnswerRequest) -> None:
    assert challenges.answer_request(challenges_pb2.AnswerChallengeRequest(**message)) == expected


@pytest.mark.parametrize(
    ("message", "refusal"),
    [
        ({"code": "123456"}, MissingParameter),
        ({"oob_code": "o"}, MissingParameter),
        ({"oob_code": "o", "code": ""}, MissingParameter),
        ({"oob_code": "o", "challenge_id": "c", "code": "1"}, InvalidRequest),
        ({"oob_code": "o", "code": "1" * 33}, InvalidRequest),
        ({"challenge_id": "c", "signed": {"payload": b"p"}}, MissingParameter),
        ({"challenge_id": "c", "signed": {"payload": b"p" * 8_193, "signature": b"s"}}, InvalidRequest),
        ({"challenge_id": "c", "signed": {"payload": b"p", "signature": b"s" * 1_025}}, InvalidRequest),
    ],
)
def test_an_answer_that_says_too_little_or_too_much_is_refused(
    message: dict[str, Any], refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        challenges.answer_request(challenges_pb2.AnswerChallengeRequest(**message))


@pytest.mark.parametrize("standing", list(Standing))
def test_every_state_has_its_value_on_the_wire(standing: Standing) -> None:
    state = challenges.answered(standing).state
    assert challenges_pb2.ChallengeState.Name(state) == f"CHALLENGE_STATE_{standing.name}"
