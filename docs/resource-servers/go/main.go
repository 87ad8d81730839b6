// go-jwt-middleware, for an API of the profile auth0. Environment: ISSUER, AUDIENCE, PORT.
package main

import (
	"context"
	"errors"
	"log"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	jwtmiddleware "github.com/auth0/go-jwt-middleware/v2"
	"github.com/auth0/go-jwt-middleware/v2/jwks"
	"github.com/auth0/go-jwt-middleware/v2/validator"
)

// [check]
// claims are those that the library does not check by itself.
type claims struct {
	Client string `json:"azp"`
	ID     string `json:"jti"`
	Scope  string `json:"scope"`
	ACR    string `json:"acr"`
}

var levels = []string{"urn:cofactor:acr:mfa", "urn:cofactor:acr:phr", "urn:cofactor:acr:phrh"}

// Validate refuses an id_token, a token without the scope, and a login with one factor.
func (c *claims) Validate(context.Context) error {
	switch {
	case c.Client == "" || c.ID == "":
		return errors.New("not an access token")
	case !slices.Contains(strings.Fields(c.Scope), "read:orders"):
		return errors.New("insufficient_scope")
	case !slices.Contains(levels, c.ACR):
		return errors.New("insufficient_user_authentication")
	}
	return nil
}

func protect(issuer *url.URL, audience string, next http.Handler) (http.Handler, error) {
	keys := jwks.NewCachingProvider(issuer, 5*time.Minute)
	checked, err := validator.New(
		keys.KeyFunc, validator.RS256, issuer.String(), []string{audience},
		validator.WithCustomClaims(func() validator.CustomClaims { return &claims{} }),
	)
	if err != nil {
		return nil, err
	}
	return jwtmiddleware.New(checked.ValidateToken).CheckJWT(next), nil
}
// [/check]

func main() {
	issuer, err := url.Parse(os.Getenv("ISSUER"))
	if err != nil {
		log.Fatal(err)
	}
	orders, err := protect(issuer, os.Getenv("AUDIENCE"), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok"))
	}))
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/orders", orders)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
