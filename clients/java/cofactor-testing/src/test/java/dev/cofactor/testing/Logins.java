package dev.cofactor.testing;

import static org.junit.jupiter.api.Assertions.assertInstanceOf;

import dev.cofactor.Cofactor;
import dev.cofactor.Outcome;
import dev.cofactor.v1.ChallengeType;
import dev.cofactor.v1.CreateChallengeRequest;
import dev.cofactor.v1.CreateChallengeResponse;
import dev.cofactor.v1.EnrollAuthenticatorRequest;
import dev.cofactor.v1.EnrollAuthenticatorResponse;
import dev.cofactor.v1.IssueTokenRequest;
import dev.cofactor.v1.MfaOtpGrant;
import dev.cofactor.v1.MfaRequired;
import dev.cofactor.v1.PushEnrollment;
import dev.cofactor.v1.Tokens;
import dev.cofactor.v1.TotpEnrollment;
import java.util.UUID;

/** What tests do again and again: log in, enroll, challenge. */
record Logins(TestServer server, Cofactor cofactor) {
    /** A user with an authenticator app. */
    record WithApp(String subject, AuthenticatorApp app, String recoveryCode) {}

    /** A user with a device for prompts. */
    record WithDevice(String subject, PushDevice device) {}

    static String stranger() {
        return "user-" + UUID.randomUUID();
    }

    MfaRequired begin(String subject) {
        return assertInstanceOf(Outcome.MfaRequired.class, cofactor.issue(server.vouched(subject)))
                .message();
    }

    EnrollAuthenticatorResponse enroll(String mfaToken, EnrollAuthenticatorRequest.Builder request) {
        return cofactor.authenticators(mfaToken).call(stub -> stub.enrollAuthenticator(request.build()));
    }

    CreateChallengeResponse challenge(String mfaToken, ChallengeType type) {
        var request = CreateChallengeRequest.newBuilder().addChallengeTypes(type).build();
        return cofactor.challenges(mfaToken).call(stub -> stub.createChallenge(request));
    }

    Outcome otp(String mfaToken, String code) {
        var grant = MfaOtpGrant.newBuilder().setMfaToken(mfaToken).setOtp(code);
        return cofactor.issue(IssueTokenRequest.newBuilder().setMfaOtp(grant).build());
    }

    static Tokens tokens(Outcome outcome) {
        return assertInstanceOf(Outcome.Tokens.class, outcome).message();
    }

    WithApp withApp() {
        var subject = stranger();
        var mfaToken = begin(subject).getMfaToken();
        var wanted = EnrollAuthenticatorRequest.newBuilder().setTotp(TotpEnrollment.getDefaultInstance());
        var enrolled = enroll(mfaToken, wanted);
        var app = server.app(enrolled.getOtpSecret().getBarcodeUri());
        tokens(otp(mfaToken, app.code()));
        return new WithApp(subject, app, enrolled.getRecoveryCodes(0));
    }

    WithDevice withDevice() {
        var subject = stranger();
        var mfaToken = begin(subject).getMfaToken();
        var wanted = EnrollAuthenticatorRequest.newBuilder().setPush(PushEnrollment.getDefaultInstance());
        var pairing = enroll(mfaToken, wanted).getPairing();
        var device = server.pushDevice(pairing.getBarcodeUri());
        tokens(cofactor.awaitTokens(mfaToken, pairing.getOobCode()));
        return new WithDevice(subject, device);
    }
}
