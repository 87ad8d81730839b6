package cofactor_test

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cofactor-mfa/cofactor/clients/go/cofactor"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// vectors is clients/vectors.json, whose "about" says what each member means.
type vectors struct {
	Preludes map[string][]step
	Cases    []struct {
		Name  string
		After string
		Steps []step
	}
}

type step struct {
	Set     map[string]string
	Advance int
	Outbox  *struct{ To string }
	RPC     string
	Request json.RawMessage
	Client  string
	Bearer  *string
	Expect  any
	Refused *struct {
		Code       string
		Reason     string
		Message    *string
		RetryDelay bool `json:"retry_delay"`
		Fields     []string
	}
	Save map[string]string
}

// run is one case.
type run struct {
	t     *testing.T
	names map[string]string
}

func TestEveryVectorHolds(t *testing.T) {
	content, err := os.ReadFile("../../vectors.json")
	must(t, err)
	var all vectors
	must(t, json.Unmarshal(content, &all))
	if len(all.Cases) == 0 {
		t.Fatal("there are no vectors")
	}
	for _, each := range all.Cases {
		t.Run(each.Name, func(t *testing.T) {
			prelude, known := all.Preludes[each.After]
			if each.After != "" && !known {
				t.Fatalf("there is no prelude %q", each.After)
			}
			demo := shared.Demo
			var digits, subject [16]byte
			_, _ = rand.Read(digits[:])
			_, _ = rand.Read(subject[:])
			run := run{t, map[string]string{
				"client_id": demo.ClientID, "client_secret": demo.ClientSecret, "username": demo.Username,
				"password": demo.Password, "realm": demo.Realm, "audience": demo.Audience, "issuer": demo.Issuer,
				"subject": hex.EncodeToString(subject[:]), "phone": fmt.Sprintf("+4420718%05d", (int(digits[0])<<16|int(digits[1])<<8|int(digits[2]))%100_000),
			}}
			for number, step := range slices.Concat(prelude, each.Steps) {
				if err := run.take(step); err != nil {
					t.Fatalf("step %d, %s: %v", number+1, step.RPC, err)
				}
			}
		})
	}
	row(t, "vectors")
}

var placeholder = regexp.MustCompile(`\$\{([^}]*)\}`)

// filled replaces placeholders in whatever JSON holds.
func (r *run) filled(value any) any {
	switch value := value.(type) {
	case string:
		return placeholder.ReplaceAllStringFunc(value, func(found string) string { return r.looked(found[2 : len(found)-1]) })
	case []any:
		filled := make([]any, len(value))
		for i, item := range value {
			filled[i] = r.filled(item)
		}
		return filled
	case map[string]any:
		filled := map[string]any{}
		for name, member := range value {
			filled[name] = r.filled(member)
		}
		return filled
	}
	return value
}

func (r *run) text(value string) string { return r.filled(value).(string) }

func (r *run) looked(name string) string {
	kind, of, special := strings.Cut(name, ":")
	kept, known := r.names[name]
	if special {
		kept, known = r.names[of]
	}
	switch {
	case name == "now":
		return r.now().UTC().Format(time.RFC3339)
	case special && kind == "totp" && known:
		app, err := shared.App(kept)
		must(r.t, err)
		return app.CodeAt(r.now())
	case special && kind == "wrong" && known:
		last := kept[len(kept)-1]
		return kept[:len(kept)-1] + string('0'+(last-'0'+1)%10)
	case !special && known:
		return kept
	}
	r.t.Fatalf("there is no ${%s}", name)
	return ""
}

func (r *run) now() time.Time {
	now, err := shared.Now(within(r.t))
	must(r.t, err)
	return now
}

func (r *run) take(step step) error {
	switch {
	case step.Set != nil:
		for name, text := range step.Set {
			r.names[name] = r.text(text)
		}
		return nil
	case step.Advance != 0:
		_, err := shared.Advance(within(r.t), time.Duration(step.Advance)*time.Second)
		return err
	case step.Outbox != nil:
		code, err := shared.Phone(r.text(step.Outbox.To)).Code(within(r.t))
		r.names["code"] = code
		return err
	case step.RPC != "":
		return r.call(step)
	}
	return errors.New("this client does not know what to do")
}

// call makes a call and judges what comes of it.
func (r *run) call(step step) error {
	service, method, _ := strings.Cut(step.RPC, "/")
	described, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName("cofactor.v1." + service + "." + method))
	if err != nil {
		return err
	}
	rpc := described.(protoreflect.MethodDescriptor)
	request, response := message(r.t, rpc.Input()), message(r.t, rpc.Output())
	if step.Request != nil {
		var asked any
		must(r.t, json.Unmarshal(step.Request, &asked))
		filled, err := json.Marshal(r.filled(asked))
		must(r.t, err)
		if err := protojson.Unmarshal(filled, request); err != nil {
			return err
		}
	}
	var options []grpc.CallOption
	if step.Bearer != nil {
		options = append(options, cofactor.Bearer(r.text(*step.Bearer)))
	}
	client, err := shared.Client(r.credentials(step.Client))
	must(r.t, err)
	defer func() { must(r.t, client.Close()) }()
	err = client.Connection().Invoke(within(r.t), "/cofactor.v1."+step.RPC, request, response, options...)
	if step.Refused != nil {
		return step.refused(err)
	}
	if err != nil {
		return err
	}
	content, err := protojson.Marshal(response)
	must(r.t, err)
	var answered any
	must(r.t, json.Unmarshal(content, &answered))
	if difference := differs("answer", r.filled(step.Expect), answered); difference != "" {
		return errors.New(difference)
	}
	for name, path := range step.Save {
		if r.names[name], err = at(answered, path); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) credentials(whose string) cofactor.Option {
	switch whose {
	case "", "demo":
		return cofactor.WithSecret(r.names["client_id"], r.names["client_secret"])
	case "none":
		return cofactor.WithoutCredentials()
	case "unknown":
		return cofactor.WithSecret("unknown", "unknown")
	}
	r.t.Fatalf("there are no credentials %q", whose)
	return nil
}

func (s step) refused(err error) error {
	var refusal *cofactor.Error
	if !errors.As(err, &refusal) {
		return fmt.Errorf("not refused: %v", err)
	}
	name := code.Code(refusal.Code).String() // gRPC's codes and Google's are the same numbers
	var fields []string
	for _, violation := range refusal.Violations {
		fields = append(fields, violation.Field)
	}
	switch want := s.Refused; {
	case name != want.Code, refusal.Reason != want.Reason:
		return fmt.Errorf("refused with %s %s", name, refusal.Reason)
	case want.Message != nil && refusal.Message != *want.Message:
		return fmt.Errorf("the message is %q", refusal.Message)
	case (refusal.RetryDelay > 0) != want.RetryDelay:
		return fmt.Errorf("the retry delay is %s", refusal.RetryDelay)
	case !slices.Equal(fields, want.Fields):
		return fmt.Errorf("the fields are %q", fields)
	}
	return nil
}

// message returns an empty message of a type.
func message(t *testing.T, described protoreflect.MessageDescriptor) proto.Message {
	t.Helper()
	known, err := protoregistry.GlobalTypes.FindMessageByName(described.FullName())
	must(t, err)
	return known.New().Interface()
}

// differs tells where an answer is not what is wanted; nothing where it is.
func differs(path string, want, got any) string {
	switch want := want.(type) {
	case nil:
		if got != nil {
			return path + " is there"
		}
	case map[string]any:
		held, ok := got.(map[string]any)
		if !ok {
			return path + " is no object"
		}
		for name, member := range want {
			if difference := differs(path+"."+name, member, held[name]); difference != "" {
				return difference
			}
		}
	case []any:
		held, ok := got.([]any)
		if !ok || len(held) != len(want) {
			return fmt.Sprintf("%s is no list of %d", path, len(want))
		}
		for i, item := range want {
			if difference := differs(fmt.Sprintf("%s.%d", path, i), item, held[i]); difference != "" {
				return difference
			}
		}
	default:
		empty := got == nil || reflect.ValueOf(got).Kind() != reflect.Bool && reflect.ValueOf(got).Kind() != reflect.Float64 && reflect.ValueOf(got).Len() == 0
		if want == "*" && empty || want != "*" && !reflect.DeepEqual(want, got) {
			return path + " is something else"
		}
	}
	return ""
}

// at returns the text at a path.
func at(value any, path string) (string, error) {
	for _, name := range strings.Split(path, ".") {
		switch held := value.(type) {
		case map[string]any:
			value = held[name]
		case []any:
			index, err := strconv.Atoi(name)
			if err != nil || index >= len(held) {
				return "", fmt.Errorf("nothing is at %s", path)
			}
			value = held[index]
		}
	}
	if text, ok := value.(string); ok && text != "" {
		return text, nil
	}
	return "", fmt.Errorf("no text is at %s", path)
}
