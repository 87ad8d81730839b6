package dev.cofactor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.cofactor.v1.IssueTokenRequest;
import io.grpc.Status;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TransportTest {
    private static final ClientCredentials CLIENT = ClientCredentials.of("cli_1", "s3cret");

    @ParameterizedTest
    @ValueSource(strings = {
        "mfa.example.com:50051", "10.0.0.1:50051", "127.0.0.1.example.com:50051", "localhost.example.com:50051",
        "127.1:50051", "127.0.0.256:50051", "127.0.0.1@example.com:50051", "127.0.0.1", "[::2]:50051", "::1:50051",
        "dns://example.com/127.0.0.1:50051", "dns:///127.0.0.1:1,example.com:2", "xds:///localhost:50051", "0.0.0.0:50051", ""
    })
    void plainTextToAnotherMachineIsRefused(String target) {
        var refused = assertThrows(
                IllegalArgumentException.class, () -> Cofactor.connect(target, CLIENT, Transport.loopback()));

        assertTrue(refused.getMessage().contains("not on this machine"));
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "127.0.0.1:50051", "127.8.9.10:50051", "[::1]:50051", "localhost:50051", "LOCALHOST:50051", "dns:///localhost:50051",
        "unix:/run/cofactor.sock", "unix:///run/cofactor.sock"
    })
    void plainTextToThisMachineIsAllowed(String target) {
        try (var cofactor = Cofactor.connect(target, CLIENT, Transport.loopback())) {
            assertEquals("Transport[plaintext]", Transport.loopback().toString());
            assertTrue(cofactor.channel().authority().length() > 0);
        }
    }

    @Test
    void plainTextGoesElsewhereWhereItIsAskedFor() {
        try (var cofactor = Cofactor.connect("mfa.example.com:50051", CLIENT, Transport.allowPlaintext())) {
            assertEquals("mfa.example.com:50051", cofactor.channel().authority());
        }
    }

    @Test
    void whatIsSentByDefaultIsTls() throws IOException {
        try (var listener = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
                var cofactor = Cofactor.connect("127.0.0.1:" + listener.getLocalPort(), CLIENT)) {
            var call = cofactor.issueAsync(IssueTokenRequest.getDefaultInstance());
            try (var socket = listener.accept()) {
                assertEquals(0x16, socket.getInputStream().read()); // A TLS record of the handshake, RFC 8446 section 5.1
            }
            call.cancel(true);
        }
    }

    @Test
    void plainTextHasNoCertificates() {
        var file = Path.of("ca.pem");

        assertThrows(IllegalStateException.class, () -> Transport.loopback().trusting(file));
        assertThrows(IllegalStateException.class, () -> Transport.allowPlaintext().showing(file, file));
    }

    @Test
    void aCertificateThatIsNotThereIsToldOfAtOnce() {
        var transport = Transport.tls().trusting(Path.of("nowhere.pem"));

        assertThrows(UncheckedIOException.class, () -> Cofactor.connect("localhost:1", CLIENT, transport));
    }

    @Test
    void aServerThatIsNotThereIsUnavailable() throws IOException {
        int port;
        try (var free = new ServerSocket(0)) {
            port = free.getLocalPort();
        }
        try (var cofactor = Cofactor.connect("127.0.0.1:" + port, CLIENT, Transport.loopback())) {
            var refused = assertThrows(
                    CofactorException.class,
                    () -> cofactor.issue(IssueTokenRequest.getDefaultInstance()));

            assertEquals(Status.Code.UNAVAILABLE, refused.code());
            assertEquals("", refused.reason());
        }
    }
}
