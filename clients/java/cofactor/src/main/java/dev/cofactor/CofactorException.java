package dev.cofactor;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import dev.cofactor.v1.ErrorReason;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CancellationException;

/**
 * A call that was refused or failed. What the server said of it is here: the reason of {@code google.rpc.ErrorInfo}, how
 * long to wait, and which fields were wrong. A call that never got an answer has a code and no reason.
 */
public final class CofactorException extends RuntimeException {
    private static final long serialVersionUID = 1L;
    private static final String DOMAIN = "cofactor.v1";
    private static final String PREFIX = "ERROR_REASON_";

    /** The gRPC code. */
    private final Status.Code code;

    private final String reason;
    private final transient Map<String, String> metadata;
    private final transient List<Violation> violations;
    private final Duration retryDelay;

    /**
     * What is wrong with a field of a request.
     *
     * @param field its path, such as {@code mfa_otp.otp}
     * @param description what is wrong, for developers
     */
    public record Violation(String field, String description) {}

    private CofactorException(
            Status.Code code,
            String reason,
            String message,
            Map<String, String> metadata,
            List<Violation> violations,
            Duration retryDelay,
            Throwable cause) {
        super(message, cause);
        this.code = code;
        this.reason = reason;
        this.metadata = metadata;
        this.violations = violations;
        this.retryDelay = retryDelay;
    }

    /**
     * Reads what a generated stub threw.
     *
     * @param failure a {@code StatusRuntimeException}, {@code StatusException}, or anything else
     * @return what it says; itself, if it is one of these already
     */
    public static CofactorException of(Throwable failure) {
        for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
            if (cause instanceof CofactorException known) {
                return known;
            }
            if (cause instanceof CancellationException) {
                return cancelled("the call was cancelled");
            }
        }
        Status status = Status.fromThrowable(failure);
        var details = details(failure);
        var info = found(details, ErrorInfo.class, ErrorInfo.getDefaultInstance());
        var ours = info.getDomain().equals(DOMAIN);
        var retry = found(details, RetryInfo.class, null);
        var violations = found(details, BadRequest.class, BadRequest.getDefaultInstance()).getFieldViolationsList();
        return new CofactorException(
                status.getCode(),
                ours ? info.getReason() : "",
                status.getDescription() == null ? status.getCode().name() : status.getDescription(),
                ours ? Map.copyOf(info.getMetadataMap()) : Map.of(),
                violations.stream().map(v -> new Violation(v.getField(), v.getDescription())).toList(),
                retry == null ? null : Durations.of(retry.getRetryDelay()),
                failure);
    }

    static CofactorException cancelled(String message) {
        return of(Status.CANCELLED.withDescription(message).asRuntimeException());
    }

    private static List<Any> details(Throwable failure) {
        try {
            var told = StatusProto.fromThrowable(failure);
            return told == null ? List.of() : told.getDetailsList();
        } catch (IllegalArgumentException malformed) {
            return List.of(); // The code still stands, and says enough.
        }
    }

    private static <M extends Message> M found(List<Any> details, Class<M> type, M otherwise) {
        for (Any detail : details) {
            if (detail.is(type)) {
                try {
                    return detail.unpack(type);
                } catch (InvalidProtocolBufferException malformed) {
                    return otherwise; // As above.
                }
            }
        }
        return otherwise;
    }

    /**
     * The gRPC code.
     *
     * @return such as {@code PERMISSION_DENIED}
     */
    public Status.Code code() {
        return code;
    }

    /**
     * Why, as {@code ErrorReason} names it, without the prefix.
     *
     * @return such as {@code INVALID_OTP}; a newer server's own, too; empty where the server gave none
     */
    public String reason() {
        return reason;
    }

    /**
     * Whether this is the reason.
     *
     * @param reason one that this version knows
     * @return true if the server said so
     */
    public boolean is(ErrorReason reason) {
        return this.reason.equals(reason.name().substring(PREFIX.length()));
    }

    /**
     * More about the reason, as {@code errors.proto} describes it.
     *
     * @return names and values; empty where the server gave none
     */
    public Map<String, String> metadata() {
        return metadata == null ? Map.of() : metadata;
    }

    /**
     * What is wrong with the request.
     *
     * @return one for each field; empty where the request is not to blame
     */
    public List<Violation> violations() {
        return violations == null ? List.of() : violations;
    }

    /**
     * How long to wait before asking again.
     *
     * @return as the server said; empty where it did not
     */
    public Optional<Duration> retryDelay() {
        return Optional.ofNullable(retryDelay);
    }

    @Override
    public String toString() {
        return getClass().getName() + ": " + code + (reason.isEmpty() ? "" : " " + reason) + ": " + getMessage();
    }
}
