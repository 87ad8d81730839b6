package cofactor

import (
	"context"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"time"

	cofactorv1 "github.com/cofactor-mfa/cofactor/clients/go/cofactor/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	firstPause = 250 * time.Millisecond
	maxPause   = 30 * time.Second
	// patience is how long a watch goes on without hearing anything: no mfa_token lives longer.
	patience = 10 * time.Minute
	// defaultInterval is that of RFC 8628 section 3.2, and slower what its section 3.5 adds on slow_down.
	defaultInterval, slower = 5 * time.Second, 5 * time.Second
)

// Watch tells the state of a challenge, now and at every change, until it is approved or final:
//
//	for state, err := range client.Watch(ctx, mfaToken, oobCode) { … }
//
// A connection that is lost is made anew, after pauses that double (RFC 8628 section 3.5), for ten minutes or until the
// context ends. Each state is told once. An error is the last thing that is told.
func (c *Client) Watch(ctx context.Context, mfaToken, oobCode string) iter.Seq2[*cofactorv1.WatchChallengeResponse, error] {
	return func(yield func(*cofactorv1.WatchChallengeResponse, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // ends the stream when the caller stops listening
		last := cofactorv1.ChallengeState_CHALLENGE_STATE_UNSPECIFIED
		pause, heard := firstPause, time.Now()
		for {
			stream, err := c.Challenges.WatchChallenge(ctx, &cofactorv1.WatchChallengeRequest{OobCode: oobCode}, Bearer(mfaToken))
			for err == nil {
				var change *cofactorv1.WatchChallengeResponse
				if change, err = stream.Recv(); err != nil {
					break
				}
				pause, heard = firstPause, time.Now()
				if change.GetState() == last {
					continue
				}
				last = change.GetState()
				if !yield(change, nil) || last != cofactorv1.ChallengeState_CHALLENGE_STATE_PENDING {
					return
				}
			}
			if errors.Is(err, io.EOF) { // a stream that ends before its challenge does was cut off
				err = status.Error(codes.Unavailable, "the watch ended before the challenge")
			}
			if status.Code(err) != codes.Unavailable || time.Since(heard) > patience {
				yield(nil, typed(err))
				return
			}
			if err := sleep(ctx, jittered(pause)); err != nil {
				yield(nil, typed(err))
				return
			}
			pause = min(2*pause, maxPause)
		}
	}
}

// AwaitTokens waits until a challenge is answered, and redeems it: the outcome is [Tokens], or [MfaRequired] where
// policy wants one more factor. A challenge that was denied, or whose time is over, is an [Error].
//
// It watches; where the server can't have it watch, it polls, no faster than the server says.
func (c *Client) AwaitTokens(ctx context.Context, mfaToken, oobCode string) (Outcome, error) {
	return c.awaiting(ctx, &cofactorv1.MfaOobGrant{MfaToken: mfaToken, OobCode: oobCode}, sleep)
}

func (c *Client) awaiting(ctx context.Context, grant *cofactorv1.MfaOobGrant,
	sleep func(context.Context, time.Duration) error) (Outcome, error) {
	for _, err := range c.Watch(ctx, grant.GetMfaToken(), grant.GetOobCode()) {
		if err == nil {
			continue
		}
		if !pollingHelps(err) {
			return nil, err
		}
	}
	// Whatever the state, redeeming tells: tokens, or the server's own words on why there are none.
	interval, heard := defaultInterval, time.Now()
	request := &cofactorv1.IssueTokenRequest{Grant: &cofactorv1.IssueTokenRequest_MfaOob{MfaOob: grant}}
	for {
		if request.RequestId == "" {
			request.RequestId = newUUID()
		}
		outcome, err := c.Issue(ctx, request)
		pending, isPending := outcome.(Pending)
		switch code := status.Code(err); {
		case isPending:
			interval, heard = max(pending.Interval(), time.Second), time.Now()
			request.RequestId = "" // what was asked is answered; the next poll is another request
		case Refused(err, cofactorv1.ErrorReason_ERROR_REASON_SLOW_DOWN):
			interval, heard = max(interval+slower, retryDelay(err)), time.Now()
			request.RequestId = ""
		case ctx.Err() == nil && (code == codes.Unavailable || code == codes.DeadlineExceeded) && time.Since(heard) < patience:
			interval = min(2*interval, time.Minute) // with the same request_id: the reply may be what was lost
		default:
			return outcome, err
		}
		if err := sleep(ctx, interval); err != nil {
			return nil, typed(err)
		}
	}
}

func retryDelay(err error) time.Duration {
	var refusal *Error
	if errors.As(err, &refusal) {
		return refusal.RetryDelay
	}
	return 0
}

// jittered returns between half of a pause and all of it, so that those whom one server left do not return at once.
func jittered(pause time.Duration) time.Duration { return pause/2 + rand.N(pause/2) }

// sleep waits, or returns the context's error.
func sleep(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// pollingHelps tells whether a watch failed so that polling may do: none is served here, too many watch already, or the
// token is an access token for the MFA audience, which redeems what it enrolled and watches nothing.
func pollingHelps(err error) bool {
	code := status.Code(err)
	return code == codes.Unimplemented || code == codes.ResourceExhausted ||
		Refused(err, cofactorv1.ErrorReason_ERROR_REASON_MFA_TOKEN_MALFORMED)
}
