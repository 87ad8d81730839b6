package dev.cofactor.testing;

import java.nio.ByteBuffer;
import java.security.GeneralSecurityException;
import java.time.Duration;
import java.util.Map;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** An authenticator app: computes codes (RFC 6238) by the server's clock. */
public final class AuthenticatorApp {
    private final TestClock clock;
    private final byte[] secret;
    private final String algorithm;
    private final int digits;
    private final long period;
    private long used = Long.MIN_VALUE;

    AuthenticatorApp(String barcodeUri, TestClock clock) {
        Map<String, String> scanned = Scanned.parameters(barcodeUri);
        this.clock = clock;
        this.secret = Scanned.base32(scanned.get("secret"));
        this.algorithm = scanned.getOrDefault("algorithm", "SHA1");
        this.digits = Integer.parseInt(scanned.getOrDefault("digits", "6"));
        this.period = Long.parseLong(scanned.getOrDefault("period", "30"));
    }

    /**
     * Computes a code that it has not shown before. If it has shown this step's, it moves the server's clock to the next.
     *
     * @return digits
     */
    public String code() {
        long now = clock.now().getEpochSecond();
        long step = Math.floorDiv(now, period);
        if (step <= used) {
            clock.advance(Duration.ofSeconds((used + 1) * period - now));
            step = used + 1;
        }
        used = step;
        return code(step);
    }

    /**
     * Computes a code that is wrong now, and was and will be for some minutes.
     *
     * @return digits
     */
    public String wrongCode() {
        long step = Math.floorDiv(clock.now().getEpochSecond(), period);
        for (int guess = 0; ; guess++) {
            var code = ("%0" + digits + "d").formatted(guess);
            boolean right = false;
            for (long near = step - 20; near <= step + 20; near++) {
                right |= code(near).equals(code);
            }
            if (!right) {
                return code;
            }
        }
    }

    /** The code of this step, shown before or not. */
    String shown() {
        return code(Math.floorDiv(clock.now().getEpochSecond(), period));
    }

    private String code(long step) {
        try {
            var mac = Mac.getInstance("Hmac" + algorithm);
            mac.init(new SecretKeySpec(secret, mac.getAlgorithm()));
            byte[] hash = mac.doFinal(ByteBuffer.allocate(Long.BYTES).putLong(step).array());
            int offset = hash[hash.length - 1] & 0xF; // RFC 4226 section 5.3
            int binary = ByteBuffer.wrap(hash, offset, Integer.BYTES).getInt() & Integer.MAX_VALUE;
            return ("%0" + digits + "d").formatted(binary % (long) Math.pow(10, digits));
        } catch (GeneralSecurityException impossible) {
            throw new IllegalStateException(impossible);
        }
    }
}
