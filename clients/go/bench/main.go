// Bench measures how many calls per second this client makes: IssueToken with a constant request, whatever the answer.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cofactor-mfa/cofactor/clients/go/cofactor"
	cofactorv1 "github.com/cofactor-mfa/cofactor/clients/go/cofactor/v1"
)

// measured is what all clients' benches write.
type measured struct {
	Language     string  `json:"language"`
	Calls        int64   `json:"calls"`
	Seconds      float64 `json:"seconds"`
	PerSecond    float64 `json:"per_second"`
	FirstCallMS  float64 `json:"first_call_ms"`
	SizeKB       int64   `json:"size_kb"`
	WithOthersKB int64   `json:"with_dependencies_kb"`
}

func main() {
	target := flag.String("target", "127.0.0.1:50051", "the server")
	seconds := flag.Float64("seconds", 5, "how long")
	callers := flag.Int("callers", 32, "how many at once")
	out := flag.String("out", "/dev/stdout", "where the result goes, as JSON")
	source := flag.String("source", ".", "the module, for its size")
	started := flag.Int64("started", time.Now().UnixNano(), "when the process was started, in nanoseconds since the Unix epoch")
	flag.Parse()
	if err := run(*target, *seconds, *callers, *out, *source, time.Unix(0, *started)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(target string, seconds float64, callers int, out, source string, started time.Time) error {
	client, err := cofactor.Connect(target, cofactor.WithPlaintext(), cofactor.WithSecret("bench", "bench"))
	if err != nil {
		return err
	}
	defer client.Close()
	call := func() error {
		_, err := client.Issue(context.Background(), &cofactorv1.IssueTokenRequest{Grant: &cofactorv1.IssueTokenRequest_MfaOtp{
			MfaOtp: &cofactorv1.MfaOtpGrant{MfaToken: "an-mfa-token-of-the-bench", Otp: "123456"},
		}})
		if refusal := (*cofactor.Error)(nil); errors.As(err, &refusal) && refusal.Reason != "" {
			return nil // an answer, too
		}
		return err
	}
	if err := call(); err != nil {
		return err
	}
	first := time.Since(started)

	var calls atomic.Int64
	var failed atomic.Pointer[error]
	var group sync.WaitGroup
	start := time.Now()
	until := start.Add(time.Duration(seconds * float64(time.Second)))
	for range callers {
		group.Go(func() {
			for time.Now().Before(until) {
				if err := call(); err != nil {
					failed.Store(&err)
					return
				}
				calls.Add(1)
			}
		})
	}
	group.Wait()
	took := time.Since(start).Seconds()
	if err := failed.Load(); err != nil {
		return *err
	}

	size, err := kilobytes(filepath.Join(source, "cofactor"))
	if err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	whole, err := kilobytes(program)
	if err != nil {
		return err
	}
	content, err := json.Marshal(measured{
		"go", calls.Load(), took, float64(calls.Load()) / took, float64(first.Microseconds()) / 1_000, size, whole,
	})
	if err != nil {
		return err
	}
	return os.WriteFile(out, append(content, '\n'), 0o600)
}

// kilobytes is the size of a file, or of what is in a folder but tests.
func kilobytes(path string) (int64, error) {
	var octets int64
	err := filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if test, _ := filepath.Match("*_test.go", entry.Name()); test {
			return nil
		}
		found, err := entry.Info()
		if err == nil {
			octets += found.Size()
		}
		return err
	})
	return octets / 1_000, err
}
