package dev.cofactor;

import static java.util.Objects.requireNonNull;

import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannelBuilder;
import io.grpc.TlsChannelCredentials;
import java.io.IOException;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** How calls travel: by TLS, or in plain text to this machine. */
public final class Transport {
    // Addresses to the letter: a name that only looks like one of them may be anybody's.
    private static final String OCTET = "(?:25[0-5]|2[0-4]\\d|1?\\d?\\d)";
    private static final Pattern LOOPBACK = Pattern.compile(
            "(?:dns:///)?((?i:localhost)|127\\." + OCTET + "\\." + OCTET + "\\." + OCTET + "|\\[::1\\]):(\\d{1,5})");
    private static final Pattern SOCKET = Pattern.compile("unix:.+");

    private final boolean plain;
    private final boolean anywhere;
    private final Path caFile;
    private final Path certificate;
    private final Path key;

    private Transport(boolean plain, boolean anywhere, Path caFile, Path certificate, Path key) {
        this.plain = plain;
        this.anywhere = anywhere;
        this.caFile = caFile;
        this.certificate = certificate;
        this.key = key;
    }

    /**
     * TLS, trusting the authorities that the Java runtime trusts. The default.
     *
     * @return the transport
     */
    public static Transport tls() {
        return new Transport(false, false, null, null, null);
    }

    /**
     * Plain text to this machine: {@code 127.0.0.0/8}, {@code [::1]}, {@code localhost} or {@code unix:}. Connecting to
     * anything else is refused.
     *
     * @return the transport
     */
    public static Transport loopback() {
        return new Transport(true, false, null, null, null);
    }

    /**
     * Plain text to anywhere. Whoever is on the way reads secrets, codes and tokens: only for where something else encrypts,
     * such as a service mesh.
     *
     * @return the transport
     */
    public static Transport allowPlaintext() {
        return new Transport(true, true, null, null, null);
    }

    /**
     * TLS that trusts other authorities, and only those.
     *
     * @param caFile their certificates, in PEM
     * @return another transport
     */
    public Transport trusting(Path caFile) {
        return new Transport(false, false, requireNonNull(caFile), certificate, key).encrypted(this);
    }

    /**
     * TLS by which the client, too, shows a certificate.
     *
     * @param certificate the chain, in PEM
     * @param key its private key, in PEM (PKCS #8), not encrypted
     * @return another transport
     */
    public Transport showing(Path certificate, Path key) {
        return new Transport(false, false, caFile, requireNonNull(certificate), requireNonNull(key)).encrypted(this);
    }

    private Transport encrypted(Transport from) {
        if (from.plain) {
            throw new IllegalStateException("plain text has no certificates: begin with Transport.tls()");
        }
        return this;
    }

    /** Says how, and names no file. */
    @Override
    public String toString() {
        return "Transport[" + (plain ? "plaintext" : certificate == null ? "TLS" : "mTLS") + "]";
    }

    ManagedChannelBuilder<?> channel(String target) throws IOException {
        if (!plain) {
            return Grpc.newChannelBuilder(target, credentials());
        }
        var builder = Grpc.newChannelBuilder(anywhere ? target : onThisMachine(target), credentials());
        // A proxy that the environment names would read what was to stay here.
        return anywhere ? builder : builder.proxyDetector(address -> null);
    }

    private ChannelCredentials credentials() throws IOException {
        if (plain) {
            return InsecureChannelCredentials.create();
        }
        var tls = TlsChannelCredentials.newBuilder();
        if (caFile != null) {
            tls.trustManager(caFile.toFile());
        }
        if (certificate != null) {
            tls.keyManager(certificate.toFile(), key.toFile());
        }
        return tls.build();
    }

    private static String onThisMachine(String target) {
        Matcher found = LOOPBACK.matcher(target);
        if (found.matches()) {
            var host = found.group(1).replace("[", "%5B").replace("]", "%5D"); // A path has no brackets, RFC 3986
            return "dns:///" + host + ":" + found.group(2);
        }
        if (SOCKET.matcher(target).matches()) {
            return target;
        }
        throw new IllegalArgumentException(
                target + " is not on this machine: secrets go there by TLS, or by Transport.allowPlaintext()");
    }
}
