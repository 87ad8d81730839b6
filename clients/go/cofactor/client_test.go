package cofactor

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	cofactorv1 "github.com/cofactor-mfa/cofactor/clients/go/cofactor/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// scripted is a server that answers IssueToken as it is told, one answer after the other, and lets nobody watch:
// watching says why not.
type scripted struct {
	cofactorv1.UnimplementedTokenServiceServer
	cofactorv1.UnimplementedChallengeServiceServer

	answers  []func() (*cofactorv1.IssueTokenResponse, error)
	watching error
	lock     sync.Mutex
	asked    []*cofactorv1.IssueTokenRequest
}

func (s *scripted) IssueToken(_ context.Context, request *cofactorv1.IssueTokenRequest) (*cofactorv1.IssueTokenResponse, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.asked = append(s.asked, request)
	if len(s.asked) > len(s.answers) {
		return nil, status.Error(codes.FailedPrecondition, "nothing more is scripted")
	}
	return s.answers[len(s.asked)-1]()
}

func (s *scripted) WatchChallenge(request *cofactorv1.WatchChallengeRequest,
	stream grpc.ServerStreamingServer[cofactorv1.WatchChallengeResponse]) error {
	if s.watching != nil {
		return s.watching
	}
	return s.UnimplementedChallengeServiceServer.WatchChallenge(request, stream)
}

// ids returns the request_ids that came, in order.
func (s *scripted) ids() (ids []string) {
	s.lock.Lock()
	defer s.lock.Unlock()
	for _, request := range s.asked {
		ids = append(ids, request.GetRequestId())
	}
	return ids
}

type answer = func() (*cofactorv1.IssueTokenResponse, error)

func tokens() (*cofactorv1.IssueTokenResponse, error) {
	return &cofactorv1.IssueTokenResponse{Outcome: &cofactorv1.IssueTokenResponse_Tokens{
		Tokens: &cofactorv1.Tokens{AccessToken: "secret-token"},
	}}, nil
}

func pending(interval time.Duration) answer {
	return func() (*cofactorv1.IssueTokenResponse, error) {
		return &cofactorv1.IssueTokenResponse{Outcome: &cofactorv1.IssueTokenResponse_AnswerPending{
			AnswerPending: &cofactorv1.AnswerPending{PollInterval: durationpb.New(interval)},
		}}, nil
	}
}

func refused(code codes.Code, details ...proto.Message) answer {
	return func() (*cofactorv1.IssueTokenResponse, error) {
		said := status.New(code, "no")
		for _, detail := range details {
			said, _ = said.WithDetails(protoadapt.MessageV1Of(detail))
		}
		return nil, said.Err()
	}
}

func because(reason string) proto.Message {
	return &errdetails.ErrorInfo{Reason: reason, Domain: "cofactor.v1"}
}

// of serves a script, and connects to it.
func (s *scripted) connect(t *testing.T, options ...Option) *Client {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	cofactorv1.RegisterTokenServiceServer(server, s)
	cofactorv1.RegisterChallengeServiceServer(server, s)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	client, err := Connect(listener.Addr().String(), append([]Option{WithPlaintext()}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

var otp = &cofactorv1.IssueTokenRequest{Grant: &cofactorv1.IssueTokenRequest_MfaOtp{
	MfaOtp: &cofactorv1.MfaOtpGrant{MfaToken: "secret-token", Otp: "123456"},
}}

func TestWhereServersAreAwayTheSameRequestIsSentAgain(t *testing.T) {
	server := &scripted{answers: []answer{refused(codes.Unavailable), refused(codes.Unavailable), tokens}}
	client := server.connect(t)

	if _, err := client.Issue(t.Context(), otp); err != nil {
		t.Fatal(err)
	}

	ids := server.ids()
	if len(ids) != 3 || len(ids[0]) != 36 || ids[1] != ids[0] || ids[2] != ids[0] {
		t.Errorf("the request ids are %q", ids)
	}
	if otp.RequestId != "" {
		t.Error("the caller's message was changed")
	}
}

func TestWhatIsRefusedOtherwiseIsSentOnce(t *testing.T) {
	for _, code := range []codes.Code{codes.Internal, codes.ResourceExhausted, codes.Unauthenticated, codes.Aborted} {
		server := &scripted{answers: []answer{refused(code), tokens}}
		if _, err := server.connect(t).Issue(t.Context(), otp); status.Code(err) != code || len(server.ids()) != 1 {
			t.Errorf("%s: %v after %d calls", code, err, len(server.ids()))
		}
	}
}

func TestAGrantThatUsesNothingUpGetsNoRequestID(t *testing.T) {
	server := &scripted{answers: []answer{tokens, tokens}}
	client := server.connect(t)
	password := &cofactorv1.IssueTokenRequest{Grant: &cofactorv1.IssueTokenRequest_Password{Password: &cofactorv1.PasswordGrant{}}}
	named := &cofactorv1.IssueTokenRequest{Grant: otp.GetGrant(), RequestId: "the caller's own id"}

	for _, request := range []*cofactorv1.IssueTokenRequest{password, named} {
		if _, err := client.Issue(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	}

	if ids := server.ids(); !slices.Equal(ids, []string{"", "the caller's own id"}) {
		t.Errorf("the request ids are %q", ids)
	}
}

func TestPollingKeepsToTheServersIntervalAndGrowsSlower(t *testing.T) { // S141, RFC 8628 section 3.5
	late := refused(codes.DeadlineExceeded)
	server := &scripted{answers: []answer{
		pending(7 * time.Second),
		refused(codes.ResourceExhausted, because("SLOW_DOWN"), &errdetails.RetryInfo{RetryDelay: durationpb.New(9 * time.Second)}),
		late, late, pending(5 * time.Second), tokens,
	}}
	client := server.connect(t)
	var pauses []time.Duration
	pause := func(_ context.Context, pause time.Duration) error {
		pauses = append(pauses, pause)
		return nil
	}

	outcome, err := client.awaiting(t.Context(), &cofactorv1.MfaOobGrant{MfaToken: "x", OobCode: "y"}, pause)

	if _, ok := outcome.(Tokens); !ok || err != nil {
		t.Fatalf("%v, %v", outcome, err)
	}
	seconds := []time.Duration{7, 12, 24, 48, 5}
	for i := range seconds {
		seconds[i] *= time.Second
	}
	if !slices.Equal(pauses, seconds) {
		t.Errorf("paused for %v", pauses)
	}
	// What was answered is done with; what got no answer is asked again under its name.
	ids := server.ids()
	if ids[0] == ids[1] || ids[1] == ids[2] || ids[2] != ids[3] || ids[3] != ids[4] || ids[4] == ids[5] {
		t.Errorf("the request ids are %q", ids)
	}
}

func TestAnAccessTokenThatWatchesNothingPolls(t *testing.T) {
	_, malformed := refused(codes.Unauthenticated, because("MFA_TOKEN_MALFORMED"))()
	server := &scripted{answers: []answer{tokens}, watching: malformed}

	outcome, err := server.connect(t).AwaitTokens(t.Context(), "access", "oob")

	if _, ok := outcome.(Tokens); !ok || err != nil {
		t.Fatalf("%v, %v", outcome, err)
	}
}

func TestAWatchThatIsRefusedOtherwiseEndsTheWait(t *testing.T) {
	_, stale := refused(codes.Unauthenticated, because("MFA_TOKEN_STALE"))()
	server := &scripted{answers: []answer{tokens}, watching: stale}

	_, err := server.connect(t).AwaitTokens(t.Context(), "mfa", "oob")

	if !Refused(err, cofactorv1.ErrorReason_ERROR_REASON_MFA_TOKEN_STALE) || len(server.ids()) != 0 {
		t.Fatalf("%v after %q", err, server.ids())
	}
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	server := &scripted{answers: []answer{pending(time.Hour)}}
	client := server.connect(t)
	ctx, cancel := context.WithCancel(t.Context())
	pause := func(ctx context.Context, pause time.Duration) error {
		cancel()
		return sleep(ctx, pause)
	}

	_, err := client.awaiting(ctx, &cofactorv1.MfaOobGrant{}, pause)

	if status.Code(err) == codes.OK || len(server.ids()) > 1 {
		t.Errorf("%v", err)
	}
}

func TestAWatchOfAServerThatIsAwayEndsWithItsContext(t *testing.T) {
	client, err := Connect("127.0.0.1:1", WithPlaintext())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()

	var ends []error
	for _, err := range client.Watch(ctx, "x", "y") {
		ends = append(ends, err)
	}

	if len(ends) != 1 || status.Code(ends[0]) != codes.DeadlineExceeded {
		t.Errorf("%v", ends)
	}
}

func TestUnknownReasonsSurviveAndThoseOfOthersAreNotTaken(t *testing.T) {
	foreign := &errdetails.ErrorInfo{Reason: "QUOTA", Domain: "proxy.example"}
	server := &scripted{answers: []answer{
		refused(codes.PermissionDenied, because("OF_TOMORROW")), refused(codes.PermissionDenied, foreign),
	}}
	client := server.connect(t)

	_, tomorrow := client.Issue(t.Context(), otp)
	_, proxy := client.Issue(t.Context(), otp)

	if found, ok := tomorrow.(*Error); !ok || found.Reason != "OF_TOMORROW" {
		t.Errorf("%v", tomorrow)
	}
	if found, ok := proxy.(*Error); !ok || found.Reason != "" || found.Code != codes.PermissionDenied {
		t.Errorf("%v", proxy)
	}
	if Refused(proxy, cofactorv1.ErrorReason_ERROR_REASON_UNSPECIFIED) {
		t.Error("no reason is not the reason that is never sent")
	}
}

func TestPlaintextStaysOnThisMachineUnlessToldOtherwise(t *testing.T) {
	for target, stays := range map[string]bool{
		"127.0.0.1:50051": true, "127.8.7.6:1": true, "[::1]:50051": true, "localhost:50051": true, "LOCALHOST:1": true,
		"unix:/run/cofactor.sock": true, "unix:///run/cofactor.sock": true, "dns:///localhost:1": true,
		"passthrough:///127.0.0.1:1": true, "[::ffff:127.0.0.1]:1": true, "localhost": true,
		"mfa.example.com:443": false, "10.0.0.1:50051": false, "0.0.0.0:1": false, "[::]:1": false, "": false, ":50051": false,
		"localhost.example.com:1": false, "127.0.0.1.example.com:1": false, "dns://10.0.0.1/localhost:1": false,
		"xds:///localhost": false, "2130706433:1": false, "127.1:1": false, "https://localhost:1": false,
	} {
		client, err := Connect(target, WithPlaintext(), WithSecret("id", "very secret"))
		if (err == nil) != stays {
			t.Errorf("%q: %v", target, err)
		}
		if err == nil {
			_ = client.Close()
		} else if strings.Contains(err.Error(), "very secret") {
			t.Errorf("%q: the error tells the secret", target)
		}
	}
	client, err := Connect("mfa.example.com:443", AllowPlaintext())
	if err != nil {
		t.Fatal(err)
	}
	_ = client.Close()
}

func TestWithoutOptionsTheTransportIsTLS(t *testing.T) {
	transport, err := security{}.transport("127.0.0.1:50051")
	if err != nil || transport.Info().SecurityProtocol != "tls" {
		t.Errorf("%v, %v", transport, err)
	}
}

func TestFilesThatDoNotFitStopTheConnection(t *testing.T) {
	for name, option := range map[string]Option{
		"no such authorities": WithAuthorities(t.TempDir() + "/ca.pem"),
		"no authorities":      WithAuthorities("client_test.go"),
		"no certificate":      WithCertificate("client_test.go", "client_test.go"),
		"no id":               WithClientID(""),
		"a line break":        WithSecret("id", "sec\nret"),
		"both": func(s *settings) {
			WithPlaintext()(s)
			WithAuthorities("client_test.go")(s)
		},
	} {
		if _, err := Connect("localhost:1", option); err == nil || strings.Contains(err.Error(), "sec\nret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestABearerThatCannotBeSentIsNotSent(t *testing.T) {
	server := &scripted{}
	client := server.connect(t)
	for _, token := range []string{"", "to\nken", "tök"} {
		_, err := client.Issue(t.Context(), otp, Bearer(token))
		if err == nil || len(server.ids()) > 0 || token != "" && strings.Contains(err.Error(), token) {
			t.Errorf("%q: %v", token, err)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	server := &scripted{answers: []answer{tokens, func() (*cofactorv1.IssueTokenResponse, error) {
		return &cofactorv1.IssueTokenResponse{Outcome: &cofactorv1.IssueTokenResponse_MfaRequired{
			MfaRequired: &cofactorv1.MfaRequired{MfaToken: "secret-token", RecoveryCode: "secret-code"},
		}}, nil
	}}}
	client := server.connect(t, WithSecret("id", "secret-of-the-client"))
	complete, _ := client.Issue(t.Context(), otp)
	required, _ := client.Issue(t.Context(), otp)
	option := Bearer("secret-token")
	chosen := settings{}
	WithSecret("id", "secret-of-the-client")(&chosen)

	for _, printed := range []any{complete, required, &complete, client, *client, option, chosen} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			if text := fmt.Sprintf(verb, printed); strings.Contains(text, "secret-") {
				t.Errorf("%s of %T prints %s", verb, printed, text)
			}
		}
	}
	if complete == nil || required == nil {
		t.Error("there was nothing to print")
	}
}
