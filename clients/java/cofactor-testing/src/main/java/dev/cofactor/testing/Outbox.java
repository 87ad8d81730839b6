package dev.cofactor.testing;

import dev.cofactor.testing.v1.ListMessagesRequest;
import dev.cofactor.testing.v1.Message;
import dev.cofactor.testing.v1.OutboxServiceGrpc;
import io.grpc.Channel;
import java.util.List;
import java.util.function.Supplier;

/** What a server in test mode would have sent. */
public final class Outbox {
    private final Supplier<Channel> channel;

    Outbox(Supplier<Channel> channel) {
        this.channel = channel;
    }

    /**
     * Messages to an address.
     *
     * @param to a number, such as {@code +442071838750}, or a mail address
     * @return the messages, newest last
     */
    public List<Message> messages(String to) {
        var request = ListMessagesRequest.newBuilder().setTo(to).build();
        return OutboxServiceGrpc.newBlockingStub(channel.get()).listMessages(request).getMessagesList();
    }
}
