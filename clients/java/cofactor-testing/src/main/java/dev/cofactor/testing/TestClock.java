package dev.cofactor.testing;

import dev.cofactor.testing.v1.AdvanceTimeRequest;
import dev.cofactor.testing.v1.ClockServiceGrpc;
import dev.cofactor.testing.v1.ClockServiceGrpc.ClockServiceBlockingStub;
import dev.cofactor.testing.v1.GetTimeRequest;
import io.grpc.Channel;
import java.time.Duration;
import java.time.Instant;
import java.util.function.Supplier;

/** The clock of a server in test mode. It goes by itself, and only forward. */
public final class TestClock {
    private final Supplier<Channel> channel;

    TestClock(Supplier<Channel> channel) {
        this.channel = channel;
    }

    /**
     * The server's time.
     *
     * @return now
     */
    public Instant now() {
        var time = stub().getTime(GetTimeRequest.getDefaultInstance()).getTime();
        return Instant.ofEpochSecond(time.getSeconds(), time.getNanos());
    }

    /**
     * Moves the clock, for everybody who uses the server.
     *
     * @param by how far; more than nothing
     */
    public void advance(Duration by) {
        var length = com.google.protobuf.Duration.newBuilder().setSeconds(by.getSeconds()).setNanos(by.getNano());
        stub().advanceTime(AdvanceTimeRequest.newBuilder().setBy(length).build());
    }

    private ClockServiceBlockingStub stub() {
        return ClockServiceGrpc.newBlockingStub(channel.get());
    }
}
