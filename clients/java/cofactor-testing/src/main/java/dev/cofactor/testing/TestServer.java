package dev.cofactor.testing;

import com.google.protobuf.Timestamp;
import dev.cofactor.ClientCredentials;
import dev.cofactor.Cofactor;
import dev.cofactor.Transport;
import dev.cofactor.v1.IssueTokenRequest;
import dev.cofactor.v1.TokenTarget;
import dev.cofactor.v1.VouchedGrant;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;

/** A server for tests: one of your own, which goes when it is closed, or one that runs already. */
public final class TestServer implements AutoCloseable {
    private final ServerProcess process;
    private final TestClock clock;
    private final Outbox outbox;
    private Demo demo;
    private Cofactor anybody;

    private TestServer(ServerProcess process, Demo demo) {
        this.process = process;
        this.demo = demo;
        this.anybody = connect(ClientCredentials.none());
        this.clock = new TestClock(() -> anybody.channel());
        this.outbox = new Outbox(() -> anybody.channel());
    }

    /**
     * Starts a server: the command that {@code COFACTOR_COMMAND} holds, words apart by spaces, or {@code cofactor}.
     *
     * @return the server, once it answers calls
     * @throws IllegalStateException if it does not start
     */
    public static TestServer start() {
        try {
            var process = new ServerProcess();
            try {
                return new TestServer(process, Demo.of(process.start(0, 0)));
            } catch (IOException | RuntimeException failed) {
                process.stop();
                process.remove();
                throw failed;
            }
        } catch (IOException failed) {
            throw new UncheckedIOException("the server did not start: is COFACTOR_COMMAND right?", failed);
        }
    }

    /**
     * Joins a server that runs, {@code cofactor demo --test}; its clock and users are shared with others.
     *
     * @param demoJson what it wrote, {@code demo.json}
     * @return the server, which goes on when this is closed
     */
    public static TestServer join(Path demoJson) {
        try {
            return new TestServer(null, Demo.of(Files.readString(demoJson)));
        } catch (IOException failed) {
            throw new UncheckedIOException(failed);
        }
    }

    /**
     * Joins the server whose {@code demo.json} {@code COFACTOR_DEMO} names; starts one if it names none.
     *
     * @return the server
     */
    public static TestServer open() {
        var running = System.getenv().getOrDefault("COFACTOR_DEMO", "");
        return running.isEmpty() ? start() : join(Path.of(running));
    }

    /**
     * What the server says of itself.
     *
     * @return addresses and credentials
     */
    public Demo demo() {
        return demo;
    }

    /**
     * Connects as the demo's client, which may use every grant, vouch for users, create and enroll them.
     *
     * @return the connection; close it
     */
    public Cofactor connect() {
        return connect(ClientCredentials.of(demo.clientId(), demo.clientSecret()));
    }

    /**
     * Connects.
     *
     * @param credentials somebody's
     * @return the connection; close it
     */
    public Cofactor connect(ClientCredentials credentials) {
        return Cofactor.connect(demo.grpc(), credentials, Transport.loopback());
    }

    /**
     * Connects as a client with the same rights that is known by its certificate and has no secret.
     *
     * @return the connection; close it
     */
    public Cofactor connectByCertificate() {
        var transport =
                Transport.tls().trusting(demo.caFile()).showing(demo.certificateFile(), demo.keyFile());
        return Cofactor.connect(demo.grpcTls(), ClientCredentials.of(demo.tlsClientId()), transport);
    }

    /**
     * A login of a user who passed a first factor just now; the user is created if it is not known.
     *
     * @param subject the user's name in the demo's realm
     * @return the request for {@link Cofactor#issue}
     */
    public IssueTokenRequest vouched(String subject) {
        var now = clock.now();
        var time = Timestamp.newBuilder().setSeconds(now.getEpochSecond()).setNanos(now.getNano());
        var vouched = VouchedGrant.newBuilder()
                .setRealm(demo.realm())
                .setSubject(subject)
                .addMethods("pwd")
                .setAuthenticateTime(time)
                .setLabel(subject)
                .setTarget(TokenTarget.newBuilder().setAudience(demo.audience()));
        return IssueTokenRequest.newBuilder().setVouched(vouched).build();
    }

    /**
     * The server's clock.
     *
     * @return the clock
     */
    public TestClock clock() {
        return clock;
    }

    /**
     * What the server would have sent.
     *
     * @return the messages
     */
    public Outbox outbox() {
        return outbox;
    }

    /**
     * An authenticator app that has scanned a QR code.
     *
     * @param barcodeUri of {@code OtpSecret}
     * @return the app, which goes by the server's clock
     */
    public AuthenticatorApp app(String barcodeUri) {
        return new AuthenticatorApp(barcodeUri, clock);
    }

    /**
     * Where codes arrive.
     *
     * @param address a number, such as {@code +442071838750}, or a mail address
     * @return the telephone or mailbox
     */
    public Phone phone(String address) {
        return new Phone(outbox, address);
    }

    /**
     * A device that has scanned a QR code and paired.
     *
     * @param barcodeUri of {@code DevicePairing}
     * @return the device
     */
    public PushDevice pushDevice(String barcodeUri) {
        return PushDevice.pair(() -> anybody, clock, barcodeUri);
    }

    /** Stops a server that was started here, as an operator does; it can be started again. */
    public void stop() {
        own().stop();
    }

    /** Stops the server if it runs, and starts it with the same users on the same ports, once it answers calls. */
    public void restart() {
        own().stop();
        try {
            int http = URI.create(demo.http()).getPort();
            int grpc = URI.create("tcp://" + demo.grpc()).getPort();
            demo = Demo.of(process.start(http, grpc));
        } catch (IOException failed) {
            throw new UncheckedIOException(failed);
        }
        anybody.close();
        anybody = connect(ClientCredentials.none());
    }

    /** Leaves a server that was joined; stops one that was started, and removes all it kept. */
    @Override
    public void close() {
        anybody.close();
        if (process != null) {
            process.stop();
            try {
                process.remove();
            } catch (IOException failed) {
                throw new UncheckedIOException(failed);
            }
        }
    }

    private ServerProcess own() {
        if (process == null) {
            throw new IllegalStateException("this server is shared with others: start one with TestServer.start()");
        }
        return process;
    }
}
