package dev.cofactor.examples;

import static org.junit.jupiter.api.Assertions.assertInstanceOf;

import dev.cofactor.ClientCredentials;
import dev.cofactor.Cofactor;
import dev.cofactor.CofactorException;
import dev.cofactor.Outcome;
import dev.cofactor.Transport;
import dev.cofactor.testing.TestServer;
import dev.cofactor.v1.CreateChallengeResponse;
import dev.cofactor.v1.EnrollAuthenticatorRequest;
import dev.cofactor.v1.ErrorReason;
import dev.cofactor.v1.IssueTokenRequest;
import dev.cofactor.v1.MfaOtpGrant;
import dev.cofactor.v1.TotpEnrollment;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;

/** What README.md shows, where the compiler sees it; what needs no server of its own address runs as a test. */
class SnippetsTest {
    Cofactor connected(String secret) {
        var cofactor = Cofactor.connect("mfa.example.com:443", ClientCredentials.of("cli_8Rk2TqLmXw4YbN0a", secret));
        return cofactor;
    }

    Cofactor byCertificate(Path ca, Path certificate, Path key) {
        var transport = Transport.tls().trusting(ca).showing(certificate, key);
        var cofactor = Cofactor.connect("mfa.example.com:443", ClientCredentials.of("cli_8Rk2TqLmXw4YbN0a"), transport);
        return cofactor;
    }

    Cofactor nearby(String id, String secret) {
        var cofactor = Cofactor.connect("127.0.0.1:50051", ClientCredentials.of(id, secret), Transport.loopback());
        return cofactor;
    }

    String login(Cofactor cofactor, IssueTokenRequest request) {
        Outcome outcome = cofactor.issue(request);
        if (outcome instanceof Outcome.Tokens complete) {
            return complete.message().getAccessToken();
        } else if (outcome instanceof Outcome.MfaRequired more) {
            return more.message().getMfaToken(); // Challenge or enroll with it, then issue again.
        } else {
            return "ask again after " + ((Outcome.Pending) outcome).interval();
        }
    }

    String code(Cofactor cofactor, IssueTokenRequest request) {
        try {
            cofactor.issue(request, Duration.ofSeconds(3));
        } catch (CofactorException refused) {
            if (refused.is(ErrorReason.ERROR_REASON_INVALID_OTP)) {
                return "Wrong code. Try again.";
            }
            if (refused.retryDelay().isPresent()) {
                return "Try again in " + refused.retryDelay().get().toSeconds() + " seconds.";
            }
            throw refused; // code(), reason(), violations() and the message say more.
        }
        return "";
    }

    CompletableFuture<Outcome> pushed(Cofactor cofactor, String mfaToken, CreateChallengeResponse challenge) {
        try (var states = cofactor.watch(mfaToken, challenge.getOobCode())) {
            states.forEach(state -> System.out.println("the challenge is " + state));
        }
        return cofactor.awaitTokensAsync(mfaToken, challenge.getOobCode());
    }

    @Test
    void aUserEnrollsAnApp() {
        try (var server = TestServer.start(); var cofactor = server.connect()) {
            var required = (Outcome.MfaRequired) cofactor.issue(server.vouched("4711"));
            var mfaToken = required.message().getMfaToken();
            var totp = EnrollAuthenticatorRequest.newBuilder().setTotp(TotpEnrollment.getDefaultInstance()).build();
            var enrolled = cofactor.authenticators(mfaToken).call(stub -> stub.enrollAuthenticator(totp));
            var app = server.app(enrolled.getOtpSecret().getBarcodeUri());
            var grant = MfaOtpGrant.newBuilder().setMfaToken(mfaToken).setOtp(app.code());
            var outcome = cofactor.issue(IssueTokenRequest.newBuilder().setMfaOtp(grant).build());
            assertInstanceOf(Outcome.Tokens.class, outcome);
        }
    }
}
