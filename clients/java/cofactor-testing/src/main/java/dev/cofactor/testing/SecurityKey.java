package dev.cofactor.testing;

import static dev.cofactor.testing.SigningKey.base64url;
import static dev.cofactor.testing.SigningKey.sha256;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.SecureRandom;
import java.util.Arrays;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * A security key together with the browser in front of it (WebAuthn Level 3, CTAP 2.1). It makes credentials on P-256,
 * attests nothing, verifies its user and counts its signatures.
 */
public final class SecurityKey {
    private static final int ES256 = -7; // RFC 9053 section 2.1
    private static final int USER_PRESENT = 0x01;
    private static final int USER_VERIFIED = 0x04;
    private static final int ATTESTED = 0x40;
    private static final SecureRandom RANDOM = new SecureRandom();

    private final String origin;
    private final Map<String, Made> made = new LinkedHashMap<>();

    private static final class Made {
        private final byte[] id = new byte[32];
        private final SigningKey key = new SigningKey();
        private final String userHandle;
        private int count;

        Made(String userHandle) {
            this.userHandle = userHandle;
            RANDOM.nextBytes(id);
        }
    }

    /**
     * A new key.
     *
     * @param origin of the page that asks, such as {@code http://localhost:3000}
     */
    public SecurityKey(String origin) {
        this.origin = origin;
    }

    /**
     * Makes a credential, as {@code navigator.credentials.create} does.
     *
     * @param publicKeyJson of {@code WebAuthnCreation}
     * @return the credential for {@code MfaWebAuthnGrant.credential_json}
     * @throws IllegalStateException if the key holds one that is excluded, or the algorithms offered are none of its own
     */
    public String create(String publicKeyJson) {
        var options = JsonParser.parseString(publicKeyJson).getAsJsonObject();
        if (!offers(options.getAsJsonArray("pubKeyCredParams"))) {
            throw new IllegalStateException("NotSupportedError: ES256 is not offered");
        }
        if (among(options.getAsJsonArray("excludeCredentials")) != null) {
            throw new IllegalStateException("InvalidStateError: a credential of this key is registered already");
        }
        var credential = new Made(options.getAsJsonObject("user").get("id").getAsString());
        made.put(base64url(credential.id), credential);
        byte[] clientData = clientData("webauthn.create", options.get("challenge").getAsString());
        byte[] data = authenticatorData(options.getAsJsonObject("rp").get("id").getAsString(), credential, true);
        var response = new JsonObject();
        response.addProperty("clientDataJSON", base64url(clientData));
        response.addProperty("attestationObject", base64url(attestation(data)));
        var transports = new JsonArray();
        transports.add("usb");
        response.add("transports", transports);
        return credential(credential, response);
    }

    /**
     * Signs, as {@code navigator.credentials.get} does.
     *
     * @param publicKeyJson of {@code WebAuthnPrompt}
     * @return the credential for {@code MfaWebAuthnGrant.credential_json}
     * @throws IllegalStateException if the key holds none that is allowed
     */
    public String get(String publicKeyJson) {
        var options = JsonParser.parseString(publicKeyJson).getAsJsonObject();
        var credential = among(options.getAsJsonArray("allowCredentials"));
        if (credential == null) {
            throw new IllegalStateException("NotAllowedError: this key holds no credential that is allowed");
        }
        credential.count++;
        byte[] clientData = clientData("webauthn.get", options.get("challenge").getAsString());
        byte[] data = authenticatorData(options.get("rpId").getAsString(), credential, false);
        var response = new JsonObject();
        response.addProperty("clientDataJSON", base64url(clientData));
        response.addProperty("authenticatorData", base64url(data));
        response.addProperty("signature", base64url(credential.key.sign(joined(data, sha256(clientData)))));
        response.addProperty("userHandle", credential.userHandle);
        return credential(credential, response);
    }

    private static boolean offers(JsonArray parameters) {
        for (var parameter : parameters) {
            if (parameter.getAsJsonObject().get("alg").getAsInt() == ES256) {
                return true;
            }
        }
        return false;
    }

    private Made among(JsonArray descriptors) {
        if (descriptors == null) {
            return null;
        }
        for (var descriptor : descriptors) {
            var id = Base64.getUrlDecoder().decode(descriptor.getAsJsonObject().get("id").getAsString());
            var found = made.get(base64url(id));
            if (found != null) {
                return found;
            }
        }
        return null;
    }

    private byte[] clientData(String type, String challenge) {
        var data = new JsonObject();
        data.addProperty("type", type);
        data.addProperty("challenge", challenge);
        data.addProperty("origin", origin);
        data.addProperty("crossOrigin", false);
        return data.toString().getBytes(StandardCharsets.UTF_8);
    }

    private static byte[] authenticatorData(String rpId, Made credential, boolean attested) {
        int flags = USER_PRESENT | USER_VERIFIED | (attested ? ATTESTED : 0);
        byte[] count = ByteBuffer.allocate(Integer.BYTES).putInt(credential.count).array();
        byte[] data = joined(sha256(rpId), new byte[] {(byte) flags}, count);
        if (!attested) {
            return data;
        }
        byte[] length = ByteBuffer.allocate(Short.BYTES).putShort((short) credential.id.length).array();
        return joined(data, new byte[16], length, credential.id, cose(credential.key));
    }

    /** The public key as COSE has it: a map of kty EC2, alg ES256, crv P-256, x and y. */
    private static byte[] cose(SigningKey key) {
        return joined(
                new byte[] {(byte) 0xA5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21},
                bytes(key.x()),
                new byte[] {0x22},
                bytes(key.y()));
    }

    private static byte[] attestation(byte[] authenticatorData) {
        return joined(
                new byte[] {(byte) 0xA3},
                text("fmt"),
                text("none"),
                text("attStmt"),
                new byte[] {(byte) 0xA0},
                text("authData"),
                bytes(authenticatorData));
    }

    private static byte[] bytes(byte[] value) {
        return joined(head(2, value.length), value);
    }

    private static byte[] text(String value) {
        byte[] octets = value.getBytes(StandardCharsets.UTF_8);
        return joined(head(3, octets.length), octets);
    }

    /** The first octets of a CBOR item (RFC 8949 section 3) of fewer than 256 octets. */
    private static byte[] head(int major, int length) {
        if (length < 24) {
            return new byte[] {(byte) (major << 5 | length)};
        }
        if (length < 256) {
            return new byte[] {(byte) (major << 5 | 24), (byte) length};
        }
        throw new IllegalArgumentException("too long");
    }

    private static byte[] joined(byte[]... parts) {
        var all = new ByteArrayOutputStream();
        Arrays.stream(parts).forEach(all::writeBytes);
        return all.toByteArray();
    }

    private static String credential(Made made, JsonObject response) {
        var credential = new JsonObject();
        credential.addProperty("id", base64url(made.id));
        credential.addProperty("rawId", base64url(made.id));
        credential.addProperty("type", "public-key");
        credential.addProperty("authenticatorAttachment", "cross-platform");
        credential.add("clientExtensionResults", new JsonObject());
        credential.add("response", response);
        return credential.toString();
    }
}
