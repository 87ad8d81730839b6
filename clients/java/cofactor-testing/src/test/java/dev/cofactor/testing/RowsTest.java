package dev.cofactor.testing;

import static dev.cofactor.testing.Logins.tokens;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.cofactor.ClientCredentials;
import dev.cofactor.Cofactor;
import dev.cofactor.CofactorException;
import dev.cofactor.Outcome;
import dev.cofactor.Transport;
import dev.cofactor.v1.ChallengeState;
import dev.cofactor.v1.ChallengeType;
import dev.cofactor.v1.EnrollAuthenticatorRequest;
import dev.cofactor.v1.ErrorReason;
import dev.cofactor.v1.FactorKind;
import dev.cofactor.v1.IssueTokenRequest;
import dev.cofactor.v1.MfaRecoveryCodeGrant;
import dev.cofactor.v1.MfaWebAuthnGrant;
import dev.cofactor.v1.WebAuthnEnrollment;
import io.grpc.Status;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What every client shows against a live server, named alike in every language. */
@Timeout(120)
class RowsTest {
    private static TestServer server;
    private static Cofactor cofactor;
    private static Logins logins;

    @BeforeAll
    static void open() {
        server = TestServer.open();
        cofactor = server.connect();
        logins = new Logins(server, cofactor);
    }

    @AfterAll
    static void close() {
        cofactor.close();
        server.close();
    }

    @Test
    void enrollOtp() throws IOException {
        var required = logins.begin(Logins.stranger());
        var wanted = EnrollAuthenticatorRequest.newBuilder();
        wanted.getTotpBuilder();
        var enrolled = logins.enroll(required.getMfaToken(), wanted);
        var app = server.app(enrolled.getOtpSecret().getBarcodeUri());

        assertTrue(required.getEnroll().getKindsList().contains(FactorKind.FACTOR_KIND_TOTP));
        assertFalse(tokens(logins.otp(required.getMfaToken(), app.code())).getAccessToken().isEmpty());
        Row.shown("enroll_otp");
    }

    @Test
    void verify() throws IOException {
        var user = logins.withApp();
        var required = logins.begin(user.subject());
        var challenge = logins.challenge(required.getMfaToken(), ChallengeType.CHALLENGE_TYPE_OTP);
        var wrong = assertThrows(
                CofactorException.class, () -> logins.otp(required.getMfaToken(), user.app().wrongCode()));

        assertTrue(required.getChallenge().getKindsList().contains(FactorKind.FACTOR_KIND_TOTP));
        assertEquals(ChallengeType.CHALLENGE_TYPE_OTP, challenge.getChallengeType());
        assertTrue(wrong.is(ErrorReason.ERROR_REASON_INVALID_OTP), wrong.toString());
        tokens(logins.otp(required.getMfaToken(), user.app().code()));
        Row.shown("verify");
    }

    @Test
    void recovery() throws IOException {
        var user = logins.withApp();
        var next = tokens(recover(user.subject(), user.recoveryCode())).getRecoveryCode();
        var used = assertThrows(CofactorException.class, () -> recover(user.subject(), user.recoveryCode()));

        assertNotEquals(user.recoveryCode(), next);
        assertTrue(used.is(ErrorReason.ERROR_REASON_INVALID_RECOVERY_CODE), used.toString());
        tokens(recover(user.subject(), next));
        Row.shown("recovery");
    }

    @Test
    void pushWatch() throws IOException {
        var user = logins.withDevice();
        var mfaToken = logins.begin(user.subject()).getMfaToken();
        var challenge = logins.challenge(mfaToken, ChallengeType.CHALLENGE_TYPE_OOB);
        var prompt = user.device().prompt();
        var heard = new ArrayList<ChallengeState>();
        try (var states = cofactor.watch(mfaToken, challenge.getOobCode())) {
            states.forEach(state -> {
                heard.add(state);
                if (state == ChallengeState.CHALLENGE_STATE_PENDING) {
                    user.device().approve(prompt, challenge.getDevice().getNumber());
                }
            });
        }

        assertEquals(List.of(ChallengeState.CHALLENGE_STATE_PENDING, ChallengeState.CHALLENGE_STATE_APPROVED), heard);
        tokens(cofactor.awaitTokens(mfaToken, challenge.getOobCode()));
        Row.shown("push_watch");
    }

    @Test
    void webauthn() throws IOException {
        var subject = Logins.stranger();
        var enrolling = logins.begin(subject).getMfaToken();
        var wanted = EnrollAuthenticatorRequest.newBuilder().setWebauthn(WebAuthnEnrollment.getDefaultInstance());
        var creation = logins.enroll(enrolling, wanted).getWebauthn();
        var key = new SecurityKey("http://localhost:3000");
        tokens(sign(enrolling, creation.getOobCode(), key.create(creation.getPublicKeyJson())));
        var mfaToken = logins.begin(subject).getMfaToken();
        var challenge = logins.challenge(mfaToken, ChallengeType.CHALLENGE_TYPE_WEBAUTHN);
        var signed = key.get(challenge.getWebauthn().getPublicKeyJson());

        tokens(sign(mfaToken, challenge.getOobCode(), signed));
        Row.shown("webauthn");
    }

    @Test
    void retryDelay() throws IOException {
        var user = logins.withApp();
        var mfaToken = logins.begin(user.subject()).getMfaToken();
        CofactorException refused;
        int guesses = 0;
        do {
            refused = assertThrows(
                    CofactorException.class, () -> logins.otp(mfaToken, user.app().wrongCode()));
        } while (refused.code() != Status.Code.RESOURCE_EXHAUSTED && ++guesses < 50);

        assertTrue(refused.is(ErrorReason.ERROR_REASON_TOO_MANY_FAILED_CODES), refused.toString());
        assertTrue(refused.retryDelay().orElseThrow().compareTo(Duration.ZERO) > 0);
        Row.shown("retry_delay");
    }

    @Test
    void deadline() throws IOException {
        var request = server.vouched(Logins.stranger());
        var late = assertThrows(CofactorException.class, () -> cofactor.issue(request, Duration.ofNanos(1)));

        assertEquals(Status.Code.DEADLINE_EXCEEDED, late.code());
        Row.shown("deadline");
    }

    @Test
    void mtls() throws IOException {
        var demo = server.demo();
        var unknown = Transport.tls().trusting(demo.caFile());
        try (var known = server.connectByCertificate();
                var stranger = Cofactor.connect(demo.grpcTls(), ClientCredentials.of(demo.tlsClientId()), unknown)) {
            var request = server.vouched(Logins.stranger());
            var refused = assertThrows(CofactorException.class, () -> stranger.issue(request));

            assertEquals(Status.Code.UNAVAILABLE, refused.code());
            assertFalse(new Logins(server, known).begin(Logins.stranger()).getMfaToken().isEmpty());
        }
        Row.shown("mtls");
    }

    @Test
    void reconnect() throws Exception {
        try (var mortal = TestServer.start();
                var connected = mortal.connect()) {
            var there = new Logins(mortal, connected);
            var user = there.withDevice();
            var mfaToken = there.begin(user.subject()).getMfaToken();
            var challenge = there.challenge(mfaToken, ChallengeType.CHALLENGE_TYPE_OOB);
            var pending = new CountDownLatch(1);
            List<ChallengeState> heard = Collections.synchronizedList(new ArrayList<>());
            var watching = connected.watchAsync(mfaToken, challenge.getOobCode(), state -> {
                heard.add(state);
                pending.countDown();
            });
            assertTrue(pending.await(30, TimeUnit.SECONDS));

            mortal.restart();
            var device = user.device();
            device.approve(device.prompt(), challenge.getDevice().getNumber());

            assertEquals(ChallengeState.CHALLENGE_STATE_APPROVED, watching.get(60, TimeUnit.SECONDS));
            assertEquals(
                    List.of(ChallengeState.CHALLENGE_STATE_PENDING, ChallengeState.CHALLENGE_STATE_APPROVED), heard);
            tokens(connected.awaitTokens(mfaToken, challenge.getOobCode()));
        }
        Row.shown("reconnect");
    }

    private static Outcome recover(String subject, String code) {
        var mfaToken = logins.begin(subject).getMfaToken();
        var grant = MfaRecoveryCodeGrant.newBuilder().setMfaToken(mfaToken).setRecoveryCode(code);
        return cofactor.issue(IssueTokenRequest.newBuilder().setMfaRecoveryCode(grant).build());
    }

    private static Outcome sign(String mfaToken, String oobCode, String credential) {
        var grant = MfaWebAuthnGrant.newBuilder()
                .setMfaToken(mfaToken)
                .setOobCode(oobCode)
                .setCredentialJson(credential);
        return cofactor.issue(IssueTokenRequest.newBuilder().setMfaWebauthn(grant).build());
    }
}
