package dev.cofactor;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.MethodDescriptor;
import java.time.Duration;
import java.util.concurrent.TimeUnit;

/** Gives every unary call a deadline, counted from the call on, unless it has one. Streams last as long as they last. */
record DefaultDeadline(Duration within) implements ClientInterceptor {
    @Override
    public <Q, R> ClientCall<Q, R> interceptCall(MethodDescriptor<Q, R> method, CallOptions options, Channel next) {
        var timed = method.getType() == MethodDescriptor.MethodType.UNARY && options.getDeadline() == null
                ? options.withDeadlineAfter(within.toNanos(), TimeUnit.NANOSECONDS)
                : options;
        return next.newCall(method, timed);
    }
}
