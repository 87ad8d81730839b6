package dev.cofactor;

import static dev.cofactor.FakeServer.answers;
import static dev.cofactor.FakeServer.issued;
import static dev.cofactor.FakeServer.pending;
import static dev.cofactor.FakeServer.refusal;
import static dev.cofactor.FakeServer.refuses;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.rpc.BadRequest;
import com.google.rpc.BadRequest.FieldViolation;
import com.google.rpc.RetryInfo;
import dev.cofactor.CofactorException.Violation;
import dev.cofactor.v1.ErrorReason;
import dev.cofactor.v1.IssueTokenRequest;
import dev.cofactor.v1.MfaOtpGrant;
import dev.cofactor.v1.VouchedGrant;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletionException;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class CallsTest {
    private static final IssueTokenRequest OTP = IssueTokenRequest.newBuilder()
            .setMfaOtp(MfaOtpGrant.newBuilder().setMfaToken("token").setOtp("123456"))
            .build();

    private FakeServer server;
    private Cofactor cofactor;

    @BeforeEach
    void open() throws IOException {
        server = new FakeServer();
        cofactor = server.connect();
    }

    @AfterEach
    void close() {
        cofactor.close();
        server.close();
    }

    private CofactorException refusedBy(StatusRuntimeException failure) {
        server.tokens.add(refuses(failure));
        return assertThrows(CofactorException.class, () -> cofactor.issue(OTP));
    }

    @Test
    void anUnavailableServerIsAskedAgainByTheSameRequestId() {
        server.tokens.add(refuses(refusal(Status.Code.UNAVAILABLE, "UNAVAILABLE")));
        server.tokens.add(refuses(refusal(Status.Code.UNAVAILABLE, "UNAVAILABLE")));
        server.tokens.add(answers(issued()));

        assertInstanceOf(Outcome.Tokens.class, cofactor.issue(OTP));
        assertEquals(3, server.asked.size());
        assertEquals(36, server.asked.get(0).getRequestId().length());
        assertEquals(1, server.asked.stream().map(IssueTokenRequest::getRequestId).distinct().count());
    }

    @Test
    void fourCallsInVainAreEnough() {
        for (int call = 0; call < 5; call++) {
            server.tokens.add(refuses(Status.UNAVAILABLE.asRuntimeException()));
        }

        assertEquals(
                Status.Code.UNAVAILABLE,
                assertThrows(CofactorException.class, () -> cofactor.issue(OTP)).code());
        assertEquals(4, server.asked.size());
    }

    @Test
    void whatWasDecidedIsNotAskedAgain() {
        for (var code : Set.of(Status.Code.INTERNAL, Status.Code.RESOURCE_EXHAUSTED, Status.Code.ABORTED)) {
            server.asked.clear();
            refusedBy(refusal(code, "INTERNAL"));

            assertEquals(1, server.asked.size(), code.name());
        }
    }

    @Test
    void requestIdsAreForGrantsThatUseSomethingUpAndForThoseWithoutOne() {
        var vouched = IssueTokenRequest.newBuilder().setVouched(VouchedGrant.getDefaultInstance()).build();
        var named = OTP.toBuilder().setRequestId("0123456789abcdef").build();
        for (var request : List.of(vouched, named, OTP, OTP)) {
            server.tokens.add(answers(issued()));
            cofactor.issue(request);
        }
        var ids = server.asked.stream().map(IssueTokenRequest::getRequestId).toList();

        assertEquals(List.of("", "0123456789abcdef"), ids.subList(0, 2));
        assertEquals(4, Set.copyOf(ids).size());
    }

    @Test
    void credentialsGoIntoTheMetadata() {
        server.tokens.add(answers(issued()));
        cofactor.tokens("bearer").call(stub -> stub.issueToken(OTP));
        var sent = server.headers.get(0);
        var names = List.of("cofactor-client-id", "cofactor-client-secret", "authorization");

        assertEquals(
                List.of("cli_1", "s3cret", "Bearer bearer"),
                names.stream()
                        .map(name -> sent.get(Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER)))
                        .toList());
    }

    @Test
    void aTokenThatCanNotBeSentIsLeftToTheServerToRefuse() {
        server.tokens.add(answers(issued()));
        cofactor.tokens("secret\n\u00e9").call(stub -> stub.issueToken(OTP));
        var authorization = Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

        assertEquals("Bearer secret??", server.headers.get(0).get(authorization));
    }

    @Test
    void aCallHasTenSecondsUnlessItIsGivenOthers() {
        var timeout = Metadata.Key.of("grpc-timeout", Metadata.ASCII_STRING_MARSHALLER);
        server.tokens.add(answers(issued()));
        server.tokens.add(answers(issued()));
        cofactor.issue(OTP);
        cofactor.tokens().call(stub -> stub.withDeadlineAfter(1, TimeUnit.HOURS).issueToken(OTP));
        var sent = server.headers.stream().map(headers -> seconds(headers.get(timeout))).toList();

        assertTrue(sent.get(0) > 8 && sent.get(0) <= 10, sent.toString());
        assertTrue(sent.get(1) > 3_500, sent.toString());
    }

    private static double seconds(String timeout) {
        var unit = Set.of("n", "u", "m", "S").stream().filter(timeout::endsWith).findFirst().orElseThrow();
        var scale = Map.of("n", 1e9, "u", 1e6, "m", 1e3, "S", 1.0).get(unit);
        return Double.parseDouble(timeout.substring(0, timeout.length() - 1)) / scale;
    }

    @Test
    void aDeadlineThatPassesIsAnErrorWithoutAReason() {
        server.tokens.add(answer -> {});
        var late = assertThrows(CofactorException.class, () -> cofactor.issue(OTP, Duration.ofMillis(200)));

        assertEquals(Status.Code.DEADLINE_EXCEEDED, late.code());
        assertEquals("", late.reason());
    }

    @Test
    void aRefusalSaysWhyAndHowLongToWaitAndWhatIsWrong() {
        var delay = com.google.protobuf.Duration.newBuilder().setSeconds(7);
        var wrong = FieldViolation.newBuilder().setField("mfa_otp.otp").setDescription("6 digits");
        var refused = refusedBy(refusal(
                Status.Code.RESOURCE_EXHAUSTED,
                "TOO_MANY_FAILED_CODES",
                RetryInfo.newBuilder().setRetryDelay(delay).build(),
                BadRequest.newBuilder().addFieldViolations(wrong).build()));

        assertEquals(Status.Code.RESOURCE_EXHAUSTED, refused.code());
        assertEquals("TOO_MANY_FAILED_CODES", refused.reason());
        assertTrue(refused.is(ErrorReason.ERROR_REASON_TOO_MANY_FAILED_CODES));
        assertFalse(refused.is(ErrorReason.ERROR_REASON_INVALID_OTP));
        assertEquals("Refused.", refused.getMessage());
        assertEquals(Duration.ofSeconds(7), refused.retryDelay().orElseThrow());
        assertEquals(List.of(new Violation("mfa_otp.otp", "6 digits")), refused.violations());
        assertEquals("dev.cofactor.CofactorException: RESOURCE_EXHAUSTED TOO_MANY_FAILED_CODES: Refused.", refused.toString());
    }

    @Test
    void aReasonOfANewerServerSurvivesAsText() {
        assertEquals("OF_TOMORROW", refusedBy(refusal(Status.Code.ABORTED, "OF_TOMORROW")).reason());
    }

    @Test
    void detailsThatCanNotBeReadLeaveTheCode() {
        var trailers = new Metadata();
        trailers.put(Metadata.Key.of("grpc-status-details-bin", Metadata.BINARY_BYTE_MARSHALLER), new byte[] {1, 2, 3});
        var refused = refusedBy(Status.PERMISSION_DENIED.withDescription("No.").asRuntimeException(trailers));

        assertEquals(Status.Code.PERMISSION_DENIED, refused.code());
        assertEquals("", refused.reason());
        assertTrue(refused.retryDelay().isEmpty());
    }

    @Test
    void futuresEndAsCallsDo() {
        server.tokens.add(answers(pending(250)));
        server.tokens.add(refuses(refusal(Status.Code.UNAUTHENTICATED, "INVALID_OTP")));
        var first = cofactor.issueAsync(OTP).join();
        var second = assertThrows(CompletionException.class, () -> cofactor.issueAsync(OTP).join());

        assertEquals(Duration.ofMillis(250), assertInstanceOf(Outcome.Pending.class, first).interval());
        assertEquals("INVALID_OTP", assertInstanceOf(CofactorException.class, second.getCause()).reason());
    }

    @Test
    void everyReasonOfTheProtosCanBeAskedFor() {
        var reasons = List.of(ErrorReason.values()).stream()
                .filter(reason -> reason != ErrorReason.UNRECOGNIZED)
                .collect(Collectors.toSet());

        for (var reason : reasons) {
            var told = CofactorException.of(
                    refusal(Status.Code.ABORTED, reason.name().substring("ERROR_REASON_".length())));
            assertEquals(Set.of(reason), reasons.stream().filter(told::is).collect(Collectors.toSet()));
        }
    }
}
