package dev.cofactor;

import com.google.protobuf.Any;
import com.google.protobuf.Message;
import com.google.rpc.ErrorInfo;
import dev.cofactor.v1.AnswerPending;
import dev.cofactor.v1.ChallengeServiceGrpc.ChallengeServiceImplBase;
import dev.cofactor.v1.ChallengeState;
import dev.cofactor.v1.IssueTokenRequest;
import dev.cofactor.v1.IssueTokenResponse;
import dev.cofactor.v1.TokenServiceGrpc.TokenServiceImplBase;
import dev.cofactor.v1.Tokens;
import dev.cofactor.v1.WatchChallengeRequest;
import dev.cofactor.v1.WatchChallengeResponse;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.function.Consumer;

/** A server on loopback that answers as it is told, call by call, and remembers what it was asked. */
final class FakeServer implements AutoCloseable {
    final BlockingQueue<Consumer<StreamObserver<IssueTokenResponse>>> tokens = new LinkedBlockingQueue<>();
    final BlockingQueue<Consumer<StreamObserver<WatchChallengeResponse>>> watches = new LinkedBlockingQueue<>();
    final List<IssueTokenRequest> asked = new CopyOnWriteArrayList<>();
    final List<Metadata> headers = new CopyOnWriteArrayList<>();
    final CountDownLatch left = new CountDownLatch(1);
    private final Server server;

    FakeServer() throws IOException {
        server = Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create())
                .addService(new FakeTokens())
                .addService(new FakeChallenges())
                .intercept(new Headers())
                .build()
                .start();
    }

    String target() {
        return "127.0.0.1:" + server.getPort();
    }

    Cofactor connect() {
        return Cofactor.connect(target(), ClientCredentials.of("cli_1", "s3cret"), Transport.loopback());
    }

    @Override
    public void close() {
        server.shutdownNow();
    }

    static <T> Consumer<StreamObserver<T>> answers(T message) {
        return answer -> {
            answer.onNext(message);
            answer.onCompleted();
        };
    }

    static <T> Consumer<StreamObserver<T>> refuses(StatusRuntimeException failure) {
        return answer -> answer.onError(failure);
    }

    static Consumer<StreamObserver<WatchChallengeResponse>> tells(ChallengeState... states) {
        return answer -> {
            for (var state : states) {
                answer.onNext(WatchChallengeResponse.newBuilder().setState(state).build());
            }
        };
    }

    static IssueTokenResponse issued() {
        return IssueTokenResponse.newBuilder()
                .setTokens(Tokens.newBuilder().setAccessToken("eyJ.secret").setScope("openid"))
                .build();
    }

    static IssueTokenResponse pending(int milliseconds) {
        var interval = com.google.protobuf.Duration.newBuilder().setNanos(milliseconds * 1_000_000);
        return IssueTokenResponse.newBuilder()
                .setAnswerPending(AnswerPending.newBuilder().setPollInterval(interval))
                .build();
    }

    static StatusRuntimeException refusal(Status.Code code, String reason, Message... more) {
        var status = com.google.rpc.Status.newBuilder().setCode(code.value()).setMessage("Refused.");
        status.addDetails(Any.pack(
                ErrorInfo.newBuilder().setDomain("cofactor.v1").setReason(reason).build()));
        for (var detail : more) {
            status.addDetails(Any.pack(detail));
        }
        return StatusProto.toStatusRuntimeException(status.build());
    }

    private static <T> void next(BlockingQueue<Consumer<StreamObserver<T>>> told, StreamObserver<T> answer) {
        var next = told.poll();
        if (next == null) {
            answer.onError(Status.UNIMPLEMENTED.withDescription("nothing was told").asRuntimeException());
        } else {
            next.accept(answer);
        }
    }

    private final class FakeTokens extends TokenServiceImplBase {
        @Override
        public void issueToken(IssueTokenRequest request, StreamObserver<IssueTokenResponse> answer) {
            asked.add(request);
            next(tokens, answer);
        }
    }

    private final class FakeChallenges extends ChallengeServiceImplBase {
        @Override
        public void watchChallenge(WatchChallengeRequest request, StreamObserver<WatchChallengeResponse> answer) {
            ((ServerCallStreamObserver<WatchChallengeResponse>) answer).setOnCancelHandler(left::countDown);
            next(watches, answer);
        }
    }

    private final class Headers implements ServerInterceptor {
        @Override
        public <Q, R> ServerCall.Listener<Q> interceptCall(
                ServerCall<Q, R> call, Metadata metadata, ServerCallHandler<Q, R> next) {
            headers.add(metadata);
            return next.startCall(call, metadata);
        }
    }
}
