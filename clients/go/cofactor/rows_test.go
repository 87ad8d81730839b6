package cofactor_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cofactor-mfa/cofactor/clients/go/cofactor"
	cofactorv1 "github.com/cofactor-mfa/cofactor/clients/go/cofactor/v1"
	"github.com/cofactor-mfa/cofactor/clients/go/cofactortest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// shared is the server of all tests but those that stop theirs.
var shared *cofactortest.Server

func TestMain(m *testing.M) {
	server, err := cofactortest.JoinOrStart(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	shared = server
	code := m.Run()
	if err := server.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// row notes, where COFACTOR_ROWS names a file, that a test of the table that all clients have in common has passed.
func row(t *testing.T, name string) {
	t.Helper()
	file := os.Getenv("COFACTOR_ROWS")
	if file == "" || t.Failed() {
		return
	}
	rows, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	must(t, err)
	_, err = fmt.Fprintf(rows, "{\"row\": %q}\n", name)
	must(t, errors.Join(err, rows.Close()))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// within bounds what a test waits for.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// someone is a user whom nobody else knows, at a client.
type someone struct {
	t       *testing.T
	server  *cofactortest.Server
	client  *cofactor.Client
	subject string
}

func newcomer(t *testing.T, server *cofactortest.Server) *someone {
	t.Helper()
	client, err := server.Client()
	must(t, err)
	t.Cleanup(func() { must(t, client.Close()) })
	return &someone{t, server, client, rand.Text()}
}

// login vouches for the first factor, and returns what is wanted next.
func (s *someone) login() cofactor.MfaRequired {
	s.t.Helper()
	now, err := s.server.Now(within(s.t))
	must(s.t, err)
	return expect[cofactor.MfaRequired](s.t, s.client, &cofactorv1.IssueTokenRequest{
		Grant: &cofactorv1.IssueTokenRequest_Vouched{Vouched: &cofactorv1.VouchedGrant{
			Realm: s.server.Demo.Realm, Subject: s.subject, Methods: []string{"pwd"}, AuthenticateTime: timestamppb.New(now),
		}},
	})
}

// enroll begins an enrollment.
func (s *someone) enroll(mfaToken string, request *cofactorv1.EnrollAuthenticatorRequest) *cofactorv1.EnrollAuthenticatorResponse {
	s.t.Helper()
	begun, err := s.client.Authenticators.EnrollAuthenticator(within(s.t), request, cofactor.Bearer(mfaToken))
	must(s.t, err)
	return begun
}

// withApp enrolls an authenticator app, and returns it with the recovery code.
func (s *someone) withApp() (*cofactortest.App, string) {
	s.t.Helper()
	mfaToken := s.login().GetMfaToken()
	begun := s.enroll(mfaToken, &cofactorv1.EnrollAuthenticatorRequest{
		Authenticator: &cofactorv1.EnrollAuthenticatorRequest_Totp{Totp: &cofactorv1.TotpEnrollment{}},
	})
	app, err := s.server.App(begun.GetOtpSecret().GetBarcodeUri())
	must(s.t, err)
	expect[cofactor.Tokens](s.t, s.client, otp(mfaToken, s.code(app)))
	return app, begun.GetRecoveryCodes()[0]
}

// withDevice enrolls a push device.
func (s *someone) withDevice() *cofactortest.PushDevice {
	s.t.Helper()
	mfaToken := s.login().GetMfaToken()
	begun := s.enroll(mfaToken, &cofactorv1.EnrollAuthenticatorRequest{
		Authenticator: &cofactorv1.EnrollAuthenticatorRequest_Push{Push: &cofactorv1.PushEnrollment{}},
	})
	device, err := s.server.PushDevice(within(s.t), begun.GetPairing().GetBarcodeUri())
	must(s.t, err)
	expect[cofactor.Tokens](s.t, s.client, oob(mfaToken, begun.GetPairing().GetOobCode(), ""))
	return device
}

// prompted logs in and has the device prompted.
func (s *someone) prompted() (string, *cofactorv1.CreateChallengeResponse) {
	s.t.Helper()
	mfaToken := s.login().GetMfaToken()
	challenge, err := s.client.Challenges.CreateChallenge(within(s.t), &cofactorv1.CreateChallengeRequest{
		Kinds: []cofactorv1.FactorKind{cofactorv1.FactorKind_FACTOR_KIND_PUSH},
	}, cofactor.Bearer(mfaToken))
	must(s.t, err)
	return mfaToken, challenge
}

func (s *someone) code(app *cofactortest.App) string {
	s.t.Helper()
	code, err := app.Code(within(s.t))
	must(s.t, err)
	return code
}

// approve answers the prompt that waits for the device.
func (s *someone) approve(device *cofactortest.PushDevice, challenge *cofactorv1.CreateChallengeResponse) {
	s.t.Helper()
	prompt, err := device.Prompt(within(s.t))
	must(s.t, err)
	must(s.t, device.Approve(within(s.t), prompt, challenge.GetDevice().GetNumber()))
}

func otp(mfaToken, code string) *cofactorv1.IssueTokenRequest {
	return &cofactorv1.IssueTokenRequest{Grant: &cofactorv1.IssueTokenRequest_MfaOtp{
		MfaOtp: &cofactorv1.MfaOtpGrant{MfaToken: mfaToken, Otp: code},
	}}
}

func oob(mfaToken, oobCode, code string) *cofactorv1.IssueTokenRequest {
	return &cofactorv1.IssueTokenRequest{Grant: &cofactorv1.IssueTokenRequest_MfaOob{
		MfaOob: &cofactorv1.MfaOobGrant{MfaToken: mfaToken, OobCode: oobCode, BindingCode: code},
	}}
}

// expect issues, and returns the outcome that is the right one.
func expect[O cofactor.Outcome](t *testing.T, client *cofactor.Client, request *cofactorv1.IssueTokenRequest) O {
	t.Helper()
	outcome, err := client.Issue(within(t), request)
	must(t, err)
	right, ok := outcome.(O)
	if !ok {
		t.Fatalf("the outcome is %v", outcome)
	}
	return right
}

func TestAnAppIsEnrolled(t *testing.T) {
	user := newcomer(t, shared)
	if offered := user.login().GetEnroll().GetKinds(); len(offered) == 0 {
		t.Fatal("nothing is offered for enrollment")
	}

	user.withApp()

	kinds := user.login().GetChallenge().GetKinds()
	if len(kinds) != 2 || kinds[0] != cofactorv1.FactorKind_FACTOR_KIND_TOTP {
		t.Errorf("the user can be challenged for %v", kinds)
	}
	row(t, "enroll_otp")
}

func TestALoginIsVerifiedByApp(t *testing.T) {
	user := newcomer(t, shared)
	app, _ := user.withApp()

	tokens := expect[cofactor.Tokens](t, user.client, otp(user.login().GetMfaToken(), user.code(app)))

	if tokens.GetAccessToken() == "" || tokens.GetTokenType() != "Bearer" || tokens.GetExpiresIn().AsDuration() <= 0 {
		t.Error("these are no tokens")
	}
	row(t, "verify")
}

func TestALoginIsVerifiedByTextMessage(t *testing.T) {
	user := newcomer(t, shared)
	var digits [2]byte
	_, _ = rand.Read(digits[:])
	number := fmt.Sprintf("+4420718%05d", int(digits[0])<<8|int(digits[1]))
	phone := shared.Phone(number)
	mfaToken := user.login().GetMfaToken()
	begun := user.enroll(mfaToken, &cofactorv1.EnrollAuthenticatorRequest{
		Authenticator: &cofactorv1.EnrollAuthenticatorRequest_Sms{Sms: &cofactorv1.SmsEnrollment{PhoneNumber: number}},
	})
	code, err := phone.Code(within(t))
	must(t, err)
	expect[cofactor.Tokens](t, user.client, oob(mfaToken, begun.GetOob().GetOobCode(), code))

	mfaToken = user.login().GetMfaToken()
	challenge, err := user.client.Challenges.CreateChallenge(within(t), &cofactorv1.CreateChallengeRequest{}, cofactor.Bearer(mfaToken))
	must(t, err)
	code, err = phone.Code(within(t))
	must(t, err)

	expect[cofactor.Tokens](t, user.client, oob(mfaToken, challenge.GetOobCode(), code))
}

func TestARecoveryCodeIsReplaced(t *testing.T) {
	user := newcomer(t, shared)
	_, written := user.withApp()
	recovery := func(code string) *cofactorv1.IssueTokenRequest {
		return &cofactorv1.IssueTokenRequest{Grant: &cofactorv1.IssueTokenRequest_MfaRecoveryCode{
			MfaRecoveryCode: &cofactorv1.MfaRecoveryCodeGrant{MfaToken: user.login().GetMfaToken(), RecoveryCode: code},
		}}
	}

	replacement := expect[cofactor.Tokens](t, user.client, recovery(written)).GetRecoveryCode()

	if replacement == "" || replacement == written {
		t.Error("the recovery code was not replaced")
	}
	expect[cofactor.Tokens](t, user.client, recovery(replacement))
	_, err := user.client.Issue(within(t), recovery(written))
	if !cofactor.Refused(err, cofactorv1.ErrorReason_ERROR_REASON_INVALID_RECOVERY_CODE) {
		t.Errorf("a used recovery code is answered with %v", err)
	}
	row(t, "recovery")
}

func TestAWatchHearsOfAnApproval(t *testing.T) {
	user := newcomer(t, shared)
	device := user.withDevice()
	mfaToken, challenge := user.prompted()

	var heard []cofactorv1.ChallengeState
	for change, err := range user.client.Watch(within(t), mfaToken, challenge.GetOobCode()) {
		must(t, err)
		heard = append(heard, change.GetState())
		if change.GetState() == cofactorv1.ChallengeState_CHALLENGE_STATE_PENDING {
			user.approve(device, challenge)
		}
	}

	const pending, approved = cofactorv1.ChallengeState_CHALLENGE_STATE_PENDING, cofactorv1.ChallengeState_CHALLENGE_STATE_APPROVED
	if len(heard) != 2 || heard[0] != pending || heard[1] != approved {
		t.Errorf("heard %v", heard)
	}
	outcome, err := user.client.AwaitTokens(within(t), mfaToken, challenge.GetOobCode())
	must(t, err)
	if _, ok := outcome.(cofactor.Tokens); !ok {
		t.Errorf("an approved login ends with %v", outcome)
	}
	row(t, "push_watch")
}

func TestADeniedLoginEndsWithTheServersRefusal(t *testing.T) {
	user := newcomer(t, shared)
	device := user.withDevice()
	mfaToken, challenge := user.prompted()
	prompt, err := device.Prompt(within(t))
	must(t, err)
	must(t, device.Deny(within(t), prompt))

	_, err = user.client.AwaitTokens(within(t), mfaToken, challenge.GetOobCode())

	if !cofactor.Refused(err, cofactorv1.ErrorReason_ERROR_REASON_CHALLENGE_DENIED) {
		t.Errorf("a denied login ends with %v", err)
	}
}

func TestAnExpiredChallengeEndsWithTheServersRefusal(t *testing.T) {
	user := newcomer(t, shared)
	user.withDevice()
	mfaToken, challenge := user.prompted()
	now, err := shared.Now(within(t))
	must(t, err)
	_, err = shared.Advance(within(t), challenge.GetExpireTime().AsTime().Sub(now)+time.Second)
	must(t, err)

	_, err = user.client.AwaitTokens(within(t), mfaToken, challenge.GetOobCode())

	if !cofactor.Refused(err, cofactorv1.ErrorReason_ERROR_REASON_OOB_CODE_EXPIRED) {
		t.Errorf("an expired challenge ends with %v", err)
	}
}

func TestASecurityKeyRegistersAndLogsIn(t *testing.T) {
	user := newcomer(t, shared)
	key := shared.SecurityKey()
	mfaToken := user.login().GetMfaToken()
	begun := user.enroll(mfaToken, &cofactorv1.EnrollAuthenticatorRequest{
		Authenticator: &cofactorv1.EnrollAuthenticatorRequest_Webauthn{Webauthn: &cofactorv1.WebAuthnEnrollment{}},
	}).GetWebauthn()
	made, err := key.Register(begun.GetPublicKeyJson())
	must(t, err)
	signed := func(mfaToken, oobCode, credential string) *cofactorv1.IssueTokenRequest {
		return &cofactorv1.IssueTokenRequest{Grant: &cofactorv1.IssueTokenRequest_MfaWebauthn{
			MfaWebauthn: &cofactorv1.MfaWebAuthnGrant{MfaToken: mfaToken, OobCode: oobCode, CredentialJson: credential},
		}}
	}
	expect[cofactor.Tokens](t, user.client, signed(mfaToken, begun.GetOobCode(), made))

	mfaToken = user.login().GetMfaToken()
	challenge, err := user.client.Challenges.CreateChallenge(within(t), &cofactorv1.CreateChallengeRequest{
		Kinds: []cofactorv1.FactorKind{cofactorv1.FactorKind_FACTOR_KIND_WEBAUTHN},
	}, cofactor.Bearer(mfaToken))
	must(t, err)
	asserted, err := key.Assert(challenge.GetWebauthn().GetPublicKeyJson())
	must(t, err)

	expect[cofactor.Tokens](t, user.client, signed(mfaToken, challenge.GetOobCode(), asserted))
	row(t, "webauthn")
}

func TestARefusalTellsWhenToTryAgain(t *testing.T) {
	user := newcomer(t, shared)
	app, _ := user.withApp()
	mfaToken := user.login().GetMfaToken()
	wrong, err := app.WrongCode(within(t))
	must(t, err)

	var refusal *cofactor.Error
	for range 50 {
		_, err = user.client.Issue(within(t), otp(mfaToken, wrong))
		if !errors.As(err, &refusal) {
			t.Fatalf("a wrong code is answered with %v", err)
		}
		if refusal.Code == codes.ResourceExhausted {
			break
		}
		if refusal.Reason != "INVALID_OTP" || refusal.RetryDelay != 0 {
			t.Fatalf("a wrong code is answered with %v", refusal)
		}
	}

	if refusal.Reason != "TOO_MANY_FAILED_CODES" || refusal.RetryDelay <= 0 {
		t.Errorf("at the end %v after %v", refusal, refusal.RetryDelay)
	}
	if text := refusal.Error(); strings.Contains(text, mfaToken) || strings.Contains(text, wrong) {
		t.Error("the error tells what was sent")
	}
	row(t, "retry_delay")
}

func TestARefusalTellsWhichFieldIsWrong(t *testing.T) {
	user := newcomer(t, shared)

	_, err := user.client.Issue(within(t), &cofactorv1.IssueTokenRequest{Grant: &cofactorv1.IssueTokenRequest_Vouched{
		Vouched: &cofactorv1.VouchedGrant{Realm: strings.Repeat("r", 10_000), Subject: user.subject, Methods: []string{"pwd"},
			AuthenticateTime: timestamppb.Now()},
	}})

	var refusal *cofactor.Error
	if !errors.As(err, &refusal) || refusal.Reason != "INVALID_REQUEST" || len(refusal.Violations) != 1 ||
		refusal.Violations[0].Field != "realm" || refusal.Violations[0].Description == "" {
		t.Errorf("refused with %+v", refusal)
	}
}

func TestADeadlineThatPassesIsATypedError(t *testing.T) {
	user := newcomer(t, shared)
	ctx, cancel := context.WithTimeout(t.Context(), time.Microsecond)
	defer cancel()
	hasty, err := shared.Client(cofactor.WithDeadline(time.Microsecond))
	must(t, err)
	t.Cleanup(func() { must(t, hasty.Close()) })

	_, ofContext := user.client.Issue(ctx, otp("x", "123456"))
	_, ofClient := hasty.Issue(t.Context(), otp("x", "123456"))

	for _, err := range []error{ofContext, ofClient} {
		var late *cofactor.Error
		if !errors.As(err, &late) || late.Code != codes.DeadlineExceeded || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a deadline that passes ends with %v", err)
		}
	}
	row(t, "deadline")
}

func TestACertificateIsAClient(t *testing.T) {
	client, err := shared.TLSClient()
	must(t, err)
	t.Cleanup(func() { must(t, client.Close()) })
	user := &someone{t, shared, client, rand.Text()}

	user.withApp()

	anonymous, err := cofactor.Connect(shared.Demo.Test.GRPCTLS, cofactor.WithAuthorities(shared.Demo.Test.CAFile))
	must(t, err)
	t.Cleanup(func() { must(t, anonymous.Close()) })
	if _, err := anonymous.Issue(within(t), otp("x", "123456")); status.Code(err) != codes.Unavailable {
		t.Errorf("without a certificate %v", err)
	}
	distrustful, err := cofactor.Connect(shared.Demo.Test.GRPCTLS)
	must(t, err)
	t.Cleanup(func() { must(t, distrustful.Close()) })
	if _, err := distrustful.Issue(within(t), otp("x", "123456")); status.Code(err) != codes.Unavailable {
		t.Errorf("with the system's authorities %v", err)
	}
	row(t, "mtls")
}

func TestAWatchGoesOnAfterARestart(t *testing.T) {
	server, err := cofactortest.Start(within(t))
	must(t, err)
	t.Cleanup(func() { must(t, server.Stop()) })
	user := newcomer(t, server)
	device := user.withDevice()
	mfaToken, challenge := user.prompted()

	var heard []cofactorv1.ChallengeState
	for change, err := range user.client.Watch(within(t), mfaToken, challenge.GetOobCode()) {
		must(t, err)
		if heard = append(heard, change.GetState()); len(heard) == 1 {
			must(t, server.Restart(within(t)))
			user.approve(device, challenge)
		}
	}

	const pending, approved = cofactorv1.ChallengeState_CHALLENGE_STATE_PENDING, cofactorv1.ChallengeState_CHALLENGE_STATE_APPROVED
	if len(heard) != 2 || heard[0] != pending || heard[1] != approved {
		t.Errorf("heard %v", heard)
	}
	expect[cofactor.Tokens](t, user.client, oob(mfaToken, challenge.GetOobCode(), ""))
	row(t, "reconnect")
}
