package cofactor

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	cofactorv1 "github.com/cofactor-mfa/cofactor/clients/go/cofactor/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// serviceConfig has gRPC repeat calls that did not reach a server that works. The watches have no entry of their own to
// repeat them: [Client.Watch] does, and knows what it has heard.
const serviceConfig = `{"methodConfig": [
	{"name": [{"service": "cofactor.v1.ChallengeService", "method": "WatchChallenge"},
		{"service": "cofactor.v1.ChallengeService", "method": "WatchDevice"}]},
	{"name": [{"service": "cofactor.v1.TokenService"}, {"service": "cofactor.v1.ChallengeService"},
		{"service": "cofactor.v1.AuthenticatorService"}],
	"retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
		"retryableStatusCodes": ["UNAVAILABLE"]}}]}`

// deadline bounds calls whose context has no deadline.
func deadline(after time.Duration) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, request, reply any, connection *grpc.ClientConn,
		invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		if _, bounded := ctx.Deadline(); !bounded && after > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, after)
			defer cancel()
		}
		return invoke(ctx, method, request, reply, connection, options...)
	}
}

// identifying names grants that use something up, so that repeating one after a lost reply gets the same outcome again
// instead of a refusal, or of the end of a refresh token's family. The caller's message stays as it is.
func identifying(ctx context.Context, method string, request, reply any, connection *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	if issue, ok := request.(*cofactorv1.IssueTokenRequest); ok {
		request = identified(issue)
	}
	return invoke(ctx, method, request, reply, connection, options...)
}

// identified returns the request with a request_id, if it is of use and missing.
func identified(request *cofactorv1.IssueTokenRequest) *cofactorv1.IssueTokenRequest {
	if request.GetRequestId() != "" {
		return request
	}
	switch request.GetGrant().(type) {
	case *cofactorv1.IssueTokenRequest_MfaOtp, *cofactorv1.IssueTokenRequest_MfaOob,
		*cofactorv1.IssueTokenRequest_MfaRecoveryCode, *cofactorv1.IssueTokenRequest_MfaWebauthn,
		*cofactorv1.IssueTokenRequest_RefreshToken:
		named := proto.CloneOf(request)
		named.RequestId = newUUID()
		return named
	}
	return request
}

// newUUID returns a random UUID, RFC 9562 section 5.4.
func newUUID() string {
	var octets [16]byte
	_, _ = rand.Read(octets[:]) // never fails, as its documentation says
	octets[6], octets[8] = octets[6]&0x0f|0x40, octets[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", octets[:4], octets[4:6], octets[6:8], octets[8:10], octets[10:])
}
