package cofactor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	cofactorv1 "github.com/cofactor-mfa/cofactor/clients/go/cofactor/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const domain = "cofactor.v1"

// Error is why a call failed; errors.As finds it in what every unary call of a [Client] returns, and
// [Client.Watch] and [Client.AwaitTokens].
type Error struct {
	// Code is gRPC's.
	Code codes.Code
	// Reason is the name of a cofactorv1.ErrorReason without its prefix, such as "INVALID_OTP"; also one that this
	// version does not know. Empty where no server of ours answered: a deadline, a connection that is away.
	Reason string
	// Message is for developers; it names no secret.
	Message string
	// Metadata says more about the reason, such as a hint.
	Metadata map[string]string
	// Violations lists what is wrong with which field, for a request that is malformed.
	Violations []Violation
	// RetryDelay is how long to wait before the call can succeed; zero where waiting does not help, or nobody knows.
	RetryDelay time.Duration

	status *status.Status
}

// Violation is what is wrong with one field of a request.
type Violation struct {
	// Field is a path, such as "realm".
	Field string
	// Description is for developers.
	Description string
}

// Error implements error.
func (e *Error) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "cofactor: %s: %s", e.Code, e.Message)
	if e.Reason != "" {
		fmt.Fprintf(&text, " (%s)", e.Reason)
	}
	for _, violation := range e.Violations {
		fmt.Fprintf(&text, "; %s: %s", violation.Field, violation.Description)
	}
	return text.String()
}

// GRPCStatus lets status.FromError and status.Code see what gRPC saw.
func (e *Error) GRPCStatus() *status.Status { return e.status }

// Unwrap lets errors.Is find context.DeadlineExceeded and context.Canceled.
func (e *Error) Unwrap() error {
	switch e.Code {
	case codes.DeadlineExceeded:
		return context.DeadlineExceeded
	case codes.Canceled:
		return context.Canceled
	}
	return nil
}

// Refused tells whether a call failed for one of the reasons.
func Refused(err error, reasons ...cofactorv1.ErrorReason) bool {
	var refusal *Error
	if !errors.As(err, &refusal) || refusal.Reason == "" {
		return false
	}
	for _, reason := range reasons {
		if "ERROR_REASON_"+refusal.Reason == reason.String() {
			return true
		}
	}
	return false
}

// refusing turns gRPC's errors into ours.
func refusing(ctx context.Context, method string, request, reply any, connection *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	return typed(invoke(ctx, method, request, reply, connection, options...))
}

// typed returns an [Error] for whatever a call returned; nil for nil.
func typed(err error) error {
	var already *Error
	if err == nil || errors.As(err, &already) {
		return err
	}
	// FromContextError leaves all others UNKNOWN; gRPC's own are found first.
	said, ok := status.FromError(err)
	if !ok {
		said = status.FromContextError(err)
	}
	found := &Error{Code: said.Code(), Message: said.Message(), status: said}
	for _, detail := range said.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.GetDomain() == domain {
				found.Reason, found.Metadata = detail.GetReason(), detail.GetMetadata()
			}
		case *errdetails.BadRequest:
			for _, violation := range detail.GetFieldViolations() {
				found.Violations = append(found.Violations, Violation{violation.GetField(), violation.GetDescription()})
			}
		case *errdetails.RetryInfo:
			found.RetryDelay = detail.GetRetryDelay().AsDuration()
		}
	}
	return found
}
