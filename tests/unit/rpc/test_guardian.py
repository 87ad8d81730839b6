"""Device accounts between the wire and the domain: what is missed is named, and every field has a limit."""

from collections.abc import Callable
from typing import Any

import pytest
from cofactor.v1 import authenticators_pb2
from cofactor.v1 import guardian_pb2 as pb
from cofactor_server.domain.challenges.guardian import (
    DeviceAccount,
    DeviceAccountChange,
    EnrolledDevice,
    NewDeviceAccount,
    OtpTwin,
    PushTarget,
    RichConsent,
)
from cofactor_server.errors import InvalidRequest, MissingParameter
from cofactor_server.rpc.convert import guardian as convert
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

APNS = pb.PushCredentials(service=pb.PUSH_SERVICE_APNS, token="rt")
TARGET = PushTarget("APNS", "rt")


def enrolling(**changes: Any) -> Callable[[], Any]:
    given = {
        "ticket": "t",
        "identifier": "i",
        "name": "n",
        "push_credentials": APNS,
        "public_key": pb.RsaPublicKey(n="AQ", e="AQAB"),
        **changes,
    }
    return lambda: convert.enrollment(pb.EnrollDeviceAccountRequest(**given))


def resolving(**changes: str) -> Callable[[], Any]:
    given = {"transaction_token": "t", "challenge_response": "r", **changes}
    return lambda: convert.resolving(pb.ResolveTransactionRequest(**given))


def changing(*paths: str, token: str = "t", **account: Any) -> Callable[[], Any]:
    message = pb.DeviceAccount(**{"id": "dev_1", **account})
    mask = FieldMask(paths=paths)
    return lambda: convert.change(pb.UpdateDeviceAccountRequest(device_token=token, account=message, update_mask=mask))


def removing(**changes: str) -> Callable[[], Any]:
    return lambda: convert.removal(pb.DeleteDeviceAccountRequest(**{"device_token": "t", "id": "dev_1", **changes}))


def asking(**changes: str) -> Callable[[], Any]:
    given = {"id": "c", "transaction_token": "t", "proof": "p", **changes}
    return lambda: convert.consent_wanted(pb.GetRichConsentRequest(**given))


def test_what_is_asked_is_what_was_said() -> None:
    assert enrolling()() == NewDeviceAccount("t", "i", "n", TARGET, "AQ", "AQAB")
    assert resolving()() == ("t", "r")
    assert changing("name", name="N")() == ("t", DeviceAccountChange("dev_1", name="N"))
    assert changing("identifier", "push_credentials", identifier="I", push_credentials=APNS, name="not named")() == (
        "t",
        DeviceAccountChange("dev_1", identifier="I", push=TARGET),
    )
    assert removing()() == ("t", "dev_1")
    assert asking()() == ("c", "t", "p")


@pytest.mark.parametrize(
    ("call", "parameter"),
    [
        (enrolling(ticket=""), "ticket"),
        (enrolling(identifier=""), "identifier"),
        (enrolling(name=""), "name"),
        (enrolling(push_credentials=None), "push_credentials.token"),
        (enrolling(push_credentials=pb.PushCredentials(token="rt")), "push_credentials.service"),
        (enrolling(public_key=None), "public_key.n"),
        (enrolling(public_key=pb.RsaPublicKey(n="AQ")), "public_key.e"),
        (resolving(transaction_token=""), "transaction_token"),
        (resolving(challenge_response=""), "challenge_response"),
        (changing(), "update_mask"),
        (changing("name", token="", name="N"), "device_token"),
        (changing("name", id="", name="N"), "account.id"),
        (changing("name"), "account.name"),
        (changing("identifier"), "account.identifier"),
        (changing("push_credentials"), "push_credentials.token"),
        (removing(device_token=""), "device_token"),
        (removing(id=""), "id"),
        (asking(id=""), "id"),
        (asking(transaction_token=""), "transaction_token"),
        (asking(proof=""), "proof"),
    ],
)
def test_what_is_missing_is_named(call: Callable[[], Any], parameter: str) -> None:
    with pytest.raises(MissingParameter) as caught:
        call()
    assert caught.value.metadata == {"parameter": parameter}


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (enrolling(ticket="x" * 129), "ticket"),
        (enrolling(ticket="a b"), "ticket"),
        (enrolling(identifier="x" * 257), "identifier"),
        (enrolling(identifier="a\0"), "identifier"),
        (enrolling(name="x" * 65), "name"),
        (enrolling(name="\u202eevil"), "name"),
        (
            enrolling(push_credentials=pb.PushCredentials(service=pb.PUSH_SERVICE_FCM, token="x" * 2_049)),
            "push_credentials.token",
        ),
        (
            enrolling(push_credentials=pb.PushCredentials(service=9, token="rt")),  # type: ignore[arg-type]
            "push_credentials.service",
        ),
        (enrolling(public_key=pb.RsaPublicKey(n="x" * 1_025, e="AQAB")), "public_key.n"),
        (enrolling(public_key=pb.RsaPublicKey(n="AQ", e="é")), "public_key.e"),
        (resolving(transaction_token="x" * 4_097), "transaction_token"),
        (resolving(challenge_response="x" * 4_097), "challenge_response"),
        (changing("id", id="dev_2"), "update_mask"),
        (changing("name", name="\n"), "account.name"),
        (removing(id="a b"), "id"),
        (asking(proof="a b"), "proof"),
    ],
)
def test_what_is_beyond_a_limit_is_refused_without_quoting_it(call: Callable[[], Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        call()
    assert [name for name, _ in caught.value.violations] == [field]


def test_what_is_answered_is_what_is_so() -> None:
    twin = OtpTwin("JBSW", "SHA256", 8, 60)
    device = EnrolledDevice("dev_1", "https://mfa.example/", "Example", "usr_1", "token", twin)

    enrolled = convert.enrolled(device)
    bare = convert.enrolled(EnrolledDevice("dev_1", "https://mfa.example/", "Example", "usr_1", "token"))

    assert (enrolled.id, enrolled.url, enrolled.device_token) == ("dev_1", "https://mfa.example/", "token")
    assert enrolled.totp == pb.DeviceTotp(
        secret="JBSW", algorithm=authenticators_pb2.OTP_ALGORITHM_SHA256, digits=8, period_seconds=60
    )
    assert not bare.HasField("totp")
    account = DeviceAccount("dev_1", "i", "n", TARGET)
    assert convert.account(account) == pb.DeviceAccount(id="dev_1", identifier="i", name="n", push_credentials=APNS)
    assert not convert.account(DeviceAccount("dev_1", "i", "n", None)).HasField("push_credentials")
    consent = RichConsent("c", "https://api.example/", ("a", "b"), "Blue", "[]", 1_000_000, 2_000_000)
    assert convert.consent(consent) == pb.GetRichConsentResponse(
        id="c",
        audience="https://api.example/",
        scopes=["a", "b"],
        binding_message="Blue",
        authorization_details_json="[]",
        create_time=Timestamp(seconds=1),
        expire_time=Timestamp(seconds=2),
    )


@pytest.mark.parametrize(
    "value",
    [
        NewDeviceAccount("the-ticket", "the-identifier", "n", PushTarget("FCM", "the-token"), "AQ", "AQAB"),
        EnrolledDevice("dev_1", "u", "l", "usr_1", "the-token", OtpTwin("the-secret", "SHA1", 6, 30)),
        DeviceAccount("dev_1", "the-identifier", "n", PushTarget("FCM", "the-token")),
    ],
)
def test_no_secret_of_a_device_is_printed(value: object) -> None:
    assert "the-" not in repr(value)
