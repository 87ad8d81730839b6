package cofactortest

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"hash"
	"net/url"
	"strconv"
	"strings"
	"time"

	testingv1 "github.com/cofactor-mfa/cofactor/clients/go/cofactor/testing/v1"
)

// App is an authenticator app, RFC 6238.
type App struct {
	server *Server
	secret []byte
	hash   func() hash.Hash
	digits int
	period int64
	last   int64
}

// App scans the barcode of an enrollment: OtpSecret.barcode_uri.
func (s *Server) App(barcodeURI string) (*App, error) {
	scanned, err := scan(barcodeURI)
	if err != nil {
		return nil, err
	}
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(scanned.Get("secret"))
	if err != nil {
		return nil, fmt.Errorf("cofactortest: the barcode's secret: %w", err)
	}
	hashes := map[string]func() hash.Hash{"SHA1": sha1.New, "SHA256": sha256.New, "SHA512": sha512.New}
	app := &App{server: s, secret: secret, hash: hashes[scanned.Get("algorithm")], digits: 6, period: 30}
	if app.hash == nil {
		return nil, fmt.Errorf("cofactortest: the barcode's algorithm is %q", scanned.Get("algorithm"))
	}
	for name, number := range map[string]func(int){
		"digits": func(n int) { app.digits = n }, "period": func(n int) { app.period = int64(n) },
	} {
		if text := scanned.Get(name); text != "" {
			value, err := strconv.Atoi(text)
			if err != nil || value < 1 {
				return nil, fmt.Errorf("cofactortest: the barcode's %s is %q", name, text)
			}
			number(value)
		}
	}
	return app, nil
}

// Code returns the code that the app shows, by the server's clock. Each works once: where the code shown was returned
// already, the clock is moved to the next.
func (a *App) Code(ctx context.Context) (string, error) {
	now, err := a.server.Now(ctx)
	if err != nil {
		return "", err
	}
	if now.Unix()/a.period <= a.last {
		until := time.Unix((a.last+1)*a.period, 0).Sub(now)
		if now, err = a.server.Advance(ctx, until); err != nil {
			return "", err
		}
	}
	a.last = now.Unix() / a.period
	return a.CodeAt(now), nil
}

// WrongCode returns a code that no time near the server's has.
func (a *App) WrongCode(ctx context.Context) (string, error) {
	now, err := a.server.Now(ctx)
	if err != nil {
		return "", err
	}
	right := map[string]bool{}
	for step := now.Unix()/a.period - 20; step <= now.Unix()/a.period+20; step++ {
		right[a.CodeAt(time.Unix(step*a.period, 0))] = true
	}
	for guess := 0; ; guess++ {
		if code := fmt.Sprintf("%0*d", a.digits, guess); !right[code] {
			return code, nil
		}
	}
}

// CodeAt returns the code that the app shows at a time, whether it was returned before or not.
func (a *App) CodeAt(now time.Time) string {
	mac := hmac.New(a.hash, a.secret)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(now.Unix()/a.period)))
	sum := mac.Sum(nil) // RFC 4226 section 5.3, from here
	number := binary.BigEndian.Uint32(sum[sum[len(sum)-1]&0x0f:]) & 0x7fffffff
	digits := fmt.Sprintf("%0*d", a.digits, number)
	return digits[len(digits)-a.digits:]
}

// scan reads what a barcode says.
func scan(barcodeURI string) (url.Values, error) {
	barcode, err := url.Parse(strings.TrimSpace(barcodeURI))
	if err != nil || barcode.Scheme != "otpauth" {
		return nil, fmt.Errorf("cofactortest: the barcode is no otpauth URI") // which is a secret: not quoted
	}
	return barcode.Query(), nil
}

// Phone is a telephone or mailbox that gets codes.
type Phone struct {
	server  *Server
	address string
	last    time.Time
}

// Phone reads what is sent to a number or mail address from now on.
func (s *Server) Phone(address string) *Phone { return &Phone{server: s, address: address} }

// Code returns the newest code; it waits for one that it has not returned yet, until the context ends.
func (p *Phone) Code(ctx context.Context) (string, error) {
	message, err := p.message(ctx)
	return message.GetCode(), err
}

func (p *Phone) message(ctx context.Context) (*testingv1.Message, error) {
	for {
		messages, err := p.server.Messages(ctx, p.address)
		if err != nil {
			return nil, err
		}
		if len(messages) > 0 {
			newest := messages[len(messages)-1]
			if at := newest.GetCreateTime().AsTime(); newest.GetCode() != "" && at.After(p.last) {
				p.last = at
				return newest, nil
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("cofactortest: no code came to %s: %w", p.address, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
