// Package cofactortest tests services that use Cofactor, without a telephone: a throw-away server with a clock that the
// test moves, and what users hold, in software.
//
//	server := cofactortest.ForTest(t)
//	client, err := server.Client()
//
// The server is `cofactor demo --test`, from the command that the environment variable COFACTOR_COMMAND holds
// (arguments are split at spaces), by default `cofactor`. Where COFACTOR_DEMO names the demo.json of one that runs,
// [ForTest] and [JoinOrStart] join that one.
package cofactortest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cofactor-mfa/cofactor/clients/go/cofactor"
	testingv1 "github.com/cofactor-mfa/cofactor/clients/go/cofactor/testing/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	startTimeout = 60 * time.Second
	stopTimeout  = 15 * time.Second
)

// Demo is what the server says of itself: demo.json.
type Demo struct {
	HTTP         string `json:"http"`
	GRPC         string `json:"grpc"`
	Issuer       string `json:"issuer"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	Username     string `json:"username"`
	Password     string `json:"password"`
	Realm        string `json:"realm"`
	Audience     string `json:"audience"`
	// Test is for mutual TLS: a listener that demands a client certificate, and one that it takes.
	Test struct {
		GRPCTLS         string `json:"grpc_tls"`
		CAFile          string `json:"ca_file"`
		CertificateFile string `json:"certificate_file"`
		KeyFile         string `json:"key_file"`
		TLSClientID     string `json:"tls_client_id"`
	} `json:"test"`
}

// LogValue logs neither secret nor password.
func (d Demo) LogValue() slog.Value { return slog.StringValue(d.String()) }

// String tells neither secret nor password.
func (d Demo) String() string { return "demo at " + d.GRPC }

// GoString tells neither secret nor password.
func (d Demo) GoString() string { return d.String() }

// Server is a server in test mode.
type Server struct {
	// Demo is where it is, and with which credentials it is called. [Server.Restart] changes it.
	Demo Demo

	folder  string // empty where the server was joined
	command *exec.Cmd
	said    *bytes.Buffer
	testing *cofactor.Client
}

// Start starts a throw-away server, which [Server.Stop] stops and removes.
func Start(ctx context.Context) (*Server, error) {
	folder, err := os.MkdirTemp("", "cofactor-test-")
	if err != nil {
		return nil, err
	}
	server := &Server{folder: folder}
	if err := server.start(ctx, "0", "0"); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	return server, nil
}

// Join uses a server that somebody else started in test mode; file is its demo.json.
func Join(file string) (*Server, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	server := &Server{}
	return server, server.learn(content)
}

// ForTest joins the server that COFACTOR_DEMO names, or starts one for this test alone.
func ForTest(t testing.TB) *Server {
	t.Helper()
	server, err := JoinOrStart(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// JoinOrStart is ForTest for a TestMain, where all tests share a server: joins the server that COFACTOR_DEMO names, or
// starts one.
func JoinOrStart(ctx context.Context) (*Server, error) {
	if file := os.Getenv("COFACTOR_DEMO"); file != "" {
		return Join(file)
	}
	return Start(ctx)
}

// Client connects as the demo's client, which may vouch for users; options come after the kit's own.
func (s *Server) Client(options ...cofactor.Option) (*cofactor.Client, error) {
	own := []cofactor.Option{cofactor.WithPlaintext(), cofactor.WithSecret(s.Demo.ClientID, s.Demo.ClientSecret)}
	return cofactor.Connect(s.Demo.GRPC, append(own, options...)...)
}

// TLSClient connects by mutual TLS, as the client that the test mode's certificate names; it has no secret.
func (s *Server) TLSClient(options ...cofactor.Option) (*cofactor.Client, error) {
	test := s.Demo.Test
	own := []cofactor.Option{
		cofactor.WithAuthorities(test.CAFile),
		cofactor.WithCertificate(test.CertificateFile, test.KeyFile),
		cofactor.WithClientID(test.TLSClientID),
	}
	return cofactor.Connect(test.GRPCTLS, append(own, options...)...)
}

// Now is the server's time.
func (s *Server) Now(ctx context.Context) (time.Time, error) {
	answer, err := testingv1.NewClockServiceClient(s.testing.Connection()).GetTime(ctx, &testingv1.GetTimeRequest{})
	return answer.GetTime().AsTime(), err
}

// Advance moves the server's clock forward, and returns its time.
func (s *Server) Advance(ctx context.Context, by time.Duration) (time.Time, error) {
	request := &testingv1.AdvanceTimeRequest{By: durationpb.New(by)}
	answer, err := testingv1.NewClockServiceClient(s.testing.Connection()).AdvanceTime(ctx, request)
	return answer.GetTime().AsTime(), err
}

// Messages lists what was sent to an address, newest last; to anyone if it is empty.
func (s *Server) Messages(ctx context.Context, to string) ([]*testingv1.Message, error) {
	request := &testingv1.ListMessagesRequest{To: to}
	answer, err := testingv1.NewOutboxServiceClient(s.testing.Connection()).ListMessages(ctx, request)
	return answer.GetMessages(), err
}

// Stop stops the server and removes what it stored; one that was joined goes on.
func (s *Server) Stop() error {
	closed := s.testing.Close()
	if s.folder == "" {
		return closed
	}
	return errors.Join(closed, s.terminate(), os.RemoveAll(s.folder))
}

// Restart stops the server and starts it again, with what it stored and on the same ports, but that of mutual TLS.
// Call Terminate and Resume instead to do something in between.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.Terminate(); err != nil {
		return err
	}
	return s.Resume(ctx)
}

// Terminate stops the server, and keeps what it stored for [Server.Resume].
func (s *Server) Terminate() error {
	if s.folder == "" {
		return errors.New("cofactortest: the server was started by somebody else")
	}
	return errors.Join(s.testing.Close(), s.terminate())
}

// Resume starts the server again after [Server.Terminate].
func (s *Server) Resume(ctx context.Context) error {
	address, err := url.Parse(s.Demo.HTTP)
	if err != nil {
		return err
	}
	_, grpcPort, err := net.SplitHostPort(s.Demo.GRPC)
	if err != nil {
		return err
	}
	return s.start(ctx, address.Port(), grpcPort)
}

// start runs the command until it says that calls are answered.
func (s *Server) start(ctx context.Context, httpPort, grpcPort string) error {
	line := os.Getenv("COFACTOR_COMMAND")
	if line == "" {
		line = "cofactor"
	}
	words := append(strings.Fields(line), "demo", "--test", "--state-dir", s.folder, "--http-port", httpPort, "--grpc-port", grpcPort)
	command := exec.Command(words[0], words[1:]...)
	s.said = &bytes.Buffer{}
	command.Stderr = s.said
	command.WaitDelay = stopTimeout
	output, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return fmt.Errorf("cofactortest: %w (COFACTOR_COMMAND names the command)", err)
	}
	s.command = command
	first := make(chan []byte, 1)
	go func() {
		content, _ := bufio.NewReader(output).ReadBytes('\n')
		first <- content
	}()
	select {
	case content := <-first:
		if len(content) == 0 {
			_ = command.Wait()
			return fmt.Errorf("cofactortest: %s ended: %s", words[0], s.said)
		}
		return s.learn(content)
	case <-ctx.Done():
		return errors.Join(ctx.Err(), s.terminate())
	case <-time.After(startTimeout):
		return errors.Join(fmt.Errorf("cofactortest: %s is not up after %s", words[0], startTimeout), s.terminate())
	}
}

// learn takes what a server says of itself.
func (s *Server) learn(content []byte) (err error) {
	s.Demo = Demo{}
	if err := json.Unmarshal(content, &s.Demo); err != nil {
		return fmt.Errorf("cofactortest: not what a demo says: %w", err)
	}
	if s.Demo.Test.GRPCTLS == "" {
		return errors.New("cofactortest: the demo is not in test mode: cofactor demo --test")
	}
	s.testing, err = cofactor.Connect(s.Demo.GRPC, cofactor.WithPlaintext())
	return err
}

// terminate ends the process.
func (s *Server) terminate() error {
	command := s.command
	if command == nil {
		return nil
	}
	s.command = nil
	if err := command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	overdue := time.AfterFunc(stopTimeout, func() { _ = command.Process.Kill() })
	defer overdue.Stop()
	err := command.Wait()
	if status, ok := command.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGTERM {
		return nil // stopped before it listened to signals
	}
	if err != nil {
		return fmt.Errorf("cofactortest: the server stopped badly: %w: %s", err, s.said)
	}
	return nil
}
