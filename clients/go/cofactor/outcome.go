package cofactor

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	cofactorv1 "github.com/cofactor-mfa/cofactor/clients/go/cofactor/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Outcome is what became of a grant: a [Tokens], [MfaRequired] or [Pending], and nothing else.
type Outcome interface{ outcome() }

// Tokens completes a login.
type Tokens struct{ *cofactorv1.Tokens }

// MfaRequired asks for another factor.
type MfaRequired struct{ *cofactorv1.MfaRequired }

// Pending says that the challenge is not answered yet.
type Pending struct{ *cofactorv1.AnswerPending }

func (Tokens) outcome()      {}
func (MfaRequired) outcome() {}
func (Pending) outcome()     {}

// Interval is the least time until the next poll.
func (p Pending) Interval() time.Duration { return p.GetPollInterval().AsDuration() }

// Format prints no token.
func (t Tokens) Format(state fmt.State, _ rune) {
	_, _ = fmt.Fprintf(state, "Tokens(scope=%q)", t.GetScope())
}

// LogValue logs no token.
func (t Tokens) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(t)) }

// Format prints no mfa_token.
func (m MfaRequired) Format(state fmt.State, _ rune) {
	_, _ = fmt.Fprintf(state, "MfaRequired(challenge=%v, enroll=%v)", m.GetChallenge().GetKinds(), m.GetEnroll().GetKinds())
}

// LogValue logs no mfa_token.
func (m MfaRequired) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(m)) }

// Issue exchanges a grant, and says what became of it:
//
//	switch outcome := outcome.(type) {
//	case cofactor.Tokens: // done
//	case cofactor.MfaRequired: // challenge or enroll, and go on with outcome.MfaToken
//	case cofactor.Pending: // ask again after outcome.Interval(), or wait with AwaitTokens
//	}
//
// An [Error] says why a grant was refused. Grants that use something up get a request_id if they have none, so that
// gRPC may repeat the call where a server was away.
func (c *Client) Issue(ctx context.Context, request *cofactorv1.IssueTokenRequest, options ...grpc.CallOption) (Outcome, error) {
	response, err := c.Tokens.IssueToken(ctx, request, options...)
	if err != nil {
		return nil, err
	}
	switch outcome := response.GetOutcome().(type) {
	case *cofactorv1.IssueTokenResponse_Tokens:
		return Tokens{outcome.Tokens}, nil
	case *cofactorv1.IssueTokenResponse_MfaRequired:
		return MfaRequired{outcome.MfaRequired}, nil
	case *cofactorv1.IssueTokenResponse_AnswerPending:
		return Pending{outcome.AnswerPending}, nil
	}
	return nil, typed(status.Error(codes.Internal, "the server's answer holds no outcome that this version knows"))
}
