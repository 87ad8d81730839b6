package dev.cofactor.testing;

import static dev.cofactor.testing.SigningKey.base64url;
import static dev.cofactor.testing.SigningKey.sha256;

import com.google.gson.JsonObject;
import com.google.protobuf.ByteString;
import dev.cofactor.Cofactor;
import dev.cofactor.CofactorException;
import dev.cofactor.v1.AnswerChallengeRequest;
import dev.cofactor.v1.ChallengeServiceGrpc;
import dev.cofactor.v1.ChallengeState;
import dev.cofactor.v1.CreateDeviceNonceRequest;
import dev.cofactor.v1.PairDeviceRequest;
import dev.cofactor.v1.PromptForDevice;
import dev.cofactor.v1.SignedAnswer;
import dev.cofactor.v1.SignedStatement;
import dev.cofactor.v1.WatchDeviceRequest;
import io.grpc.Context;
import io.grpc.StatusRuntimeException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

/** A device that gets prompts: pairs with a key of its own, listens, and answers as its user decides. */
public final class PushDevice {
    private static final long PATIENCE_SECONDS = 30;

    private final Supplier<Cofactor> cofactor;
    private final TestClock clock;
    private final String issuer;
    private final SigningKey key = new SigningKey();
    private String id;
    private String user;

    private PushDevice(Supplier<Cofactor> cofactor, TestClock clock, String issuer) {
        this.cofactor = cofactor;
        this.clock = clock;
        this.issuer = issuer;
    }

    static PushDevice pair(Supplier<Cofactor> cofactor, TestClock clock, String barcodeUri) {
        Map<String, String> scanned = Scanned.parameters(barcodeUri);
        var device = new PushDevice(cofactor, clock, scanned.get("base_url"));
        device.pair(scanned.get("enrollment_tx_id"));
        return device;
    }

    /**
     * What the device is called.
     *
     * @return the id of its authenticator, such as {@code push|dev_8Rk2TqLmXw4YbN0a}
     */
    public String id() {
        return id;
    }

    /**
     * Waits for a prompt; one that waits already will do.
     *
     * @return the prompt
     * @throws CofactorException if none comes within half a minute, or the device was removed
     */
    public PromptForDevice prompt() {
        var nonce = cofactor.get()
                .authenticators()
                .call(stub -> stub.createDeviceNonce(CreateDeviceNonceRequest.getDefaultInstance()))
                .getNonce();
        var said = saying("cofactor.watch");
        said.addProperty("nonce", nonce);
        said.addProperty("user", user);
        said.addProperty("device", id);
        var request = WatchDeviceRequest.newBuilder().setStatement(statement(said)).build();
        var stub = ChallengeServiceGrpc.newBlockingStub(cofactor.get().channel())
                .withDeadlineAfter(PATIENCE_SECONDS, TimeUnit.SECONDS);
        var listening = Context.current().withCancellation();
        var before = listening.attach();
        try {
            var events = stub.watchDevice(request);
            while (events.hasNext()) {
                var event = events.next();
                if (event.hasPrompt()) {
                    return event.getPrompt();
                }
            }
            throw new IllegalStateException("the stream ended before a prompt came");
        } catch (StatusRuntimeException failure) {
            throw CofactorException.of(failure);
        } finally {
            listening.detach(before);
            listening.cancel(null);
        }
    }

    /**
     * Approves.
     *
     * @param prompt what was prompted
     * @param number what the login page shows, typed by the user; a wrong one denies
     * @return where the challenge stands now
     */
    public ChallengeState approve(PromptForDevice prompt, String number) {
        return answer(prompt, "approve", number);
    }

    /**
     * Denies.
     *
     * @param prompt what was prompted
     * @return where the challenge stands now
     */
    public ChallengeState deny(PromptForDevice prompt) {
        return answer(prompt, "deny", "");
    }

    private ChallengeState answer(PromptForDevice prompt, String decision, String number) {
        var said = saying("cofactor.answer");
        said.addProperty("challenge", prompt.getChallengeId());
        said.addProperty("user", user);
        said.addProperty("device", id);
        said.addProperty("decision", decision);
        said.addProperty("number", number);
        said.addProperty("shown_sha256", base64url(sha256(prompt.getShown().toByteArray())));
        said.addProperty("time", clock.now().getEpochSecond());
        var signed = statement(said);
        var answer = SignedAnswer.newBuilder().setPayload(signed.getPayload()).setSignature(signed.getSignature());
        var request = AnswerChallengeRequest.newBuilder().setChallengeId(prompt.getChallengeId()).setSigned(answer);
        return cofactor.get().challenges().call(stub -> stub.answerChallenge(request.build())).getState();
    }

    private void pair(String secret) {
        var jwk = new JsonObject();
        jwk.addProperty("kty", "EC");
        jwk.addProperty("crv", "P-256");
        jwk.addProperty("x", base64url(key.x()));
        jwk.addProperty("y", base64url(key.y()));
        var said = saying("cofactor.pair");
        said.addProperty("secret_sha256", base64url(sha256(secret)));
        said.add("key", jwk);
        said.addProperty("name", "A phone in software");
        var request = PairDeviceRequest.newBuilder().setPairingSecret(secret).setStatement(statement(said));
        var paired = cofactor.get().authenticators().call(stub -> stub.pairDevice(request.build()));
        id = paired.getDeviceId();
        user = paired.getUserId();
    }

    private JsonObject saying(String type) {
        var said = new JsonObject();
        said.addProperty("type", type);
        said.addProperty("version", 1);
        said.addProperty("issuer", issuer);
        return said;
    }

    private SignedStatement statement(JsonObject said) {
        byte[] payload = said.toString().getBytes(StandardCharsets.UTF_8);
        return SignedStatement.newBuilder()
                .setPayload(ByteString.copyFrom(payload))
                .setSignature(ByteString.copyFrom(key.sign(payload)))
                .build();
    }
}
