package dev.cofactor.examples;

import com.google.protobuf.Timestamp;
import dev.cofactor.*;
import dev.cofactor.testing.TestServer;
import dev.cofactor.v1.*;
import java.util.UUID;

/** A login by a one-time password and one by a push device, for a service that checks passwords itself. */
record Login(TestServer server, Cofactor cofactor, String user) {
    public static void main(String[] arguments) {
        try (var server = TestServer.open(); // Elsewhere: Cofactor.connect("mfa.example.com:443", credentials)
                var cofactor = server.connect()) {
            new Login(server, cofactor, "user-" + UUID.randomUUID()).run();
        }
    }

    void run() {
        // The first time the user scans a QR code, and types the code that the app shows.
        String mfaToken = begin("", "");
        var totp = EnrollAuthenticatorRequest.newBuilder().setTotp(TotpEnrollment.getDefaultInstance()).build();
        var secret = cofactor.authenticators(mfaToken).call(stub -> stub.enrollAuthenticator(totp)).getOtpSecret();
        var app = server.app(secret.getBarcodeUri());
        System.out.println("enrolled: " + verify(mfaToken, app.code()));

        // From then on the user types a code, here to manage authenticators, and adds a device by another QR code.
        mfaToken = begin(server.demo().issuer() + "mfa/", "enroll");
        var verified = (Outcome.Tokens) verify(mfaToken, app.code());
        System.out.println("verified: " + verified);
        String access = verified.message().getAccessToken();
        var push = EnrollAuthenticatorRequest.newBuilder().setPush(PushEnrollment.getDefaultInstance()).build();
        var pairing = cofactor.authenticators(access).call(stub -> stub.enrollAuthenticator(push)).getPairing();
        var device = server.pushDevice(pairing.getBarcodeUri());
        System.out.println("paired: " + cofactor.awaitTokens(access, pairing.getOobCode()));

        // The page shows a number, the user types it on the device, and the login goes on.
        String login = begin("", "");
        var wanted = CreateChallengeRequest.newBuilder().setAuthenticatorId(device.id()).build();
        var challenge = cofactor.challenges(login).call(stub -> stub.createChallenge(wanted));
        var waiting = cofactor.awaitTokensAsync(login, challenge.getOobCode());
        device.approve(device.prompt(), challenge.getDevice().getNumber());
        System.out.println("approved: " + waiting.join());
    }

    String begin(String audience, String scope) {
        var now = Timestamp.newBuilder().setSeconds(server.clock().now().getEpochSecond());
        var target = TokenTarget.newBuilder().setAudience(audience).setScope(scope);
        var vouched = VouchedGrant.newBuilder().setRealm("demo").setSubject(user).addMethods("pwd");
        vouched.setAuthenticateTime(now).setTarget(target); // We say: the password was right, just now.
        var outcome = cofactor.issue(IssueTokenRequest.newBuilder().setVouched(vouched).build());
        return ((Outcome.MfaRequired) outcome).message().getMfaToken();
    }

    Outcome verify(String mfaToken, String code) {
        var grant = MfaOtpGrant.newBuilder().setMfaToken(mfaToken).setOtp(code);
        return cofactor.issue(IssueTokenRequest.newBuilder().setMfaOtp(grant).build());
    }
}
