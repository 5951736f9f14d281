package webhook_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	standard "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"

	"onsale/checkout/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func post(t *testing.T, c *webhook.Client, url string, secrets ...webhook.Secret) (webhook.Answer, error) {
	t.Helper()
	t.Cleanup(c.Close)
	return c.Post(t.Context(), webhook.Message{ID: "msg-1", URL: url, At: time.Now(), Body: []byte(`{"type":"order.paid"}`), Secrets: secrets})
}

// What we sign verifies by the specification's own library, whichever of the two
// secrets a receiver has, and does not once anything is changed.
func TestReferenceLibraryVerifies(t *testing.T) {
	t.Parallel()
	fresh, before := webhook.NewSecret(), webhook.NewSecret()
	type request struct {
		header http.Header
		body   []byte
	}
	got := make(chan request, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- request{r.Header, body}
	}))
	defer server.Close()
	answer, err := post(t, webhook.NewClient(true, "onsale/test"), server.URL, fresh, before)
	if err != nil || !answer.OK() {
		t.Fatalf("%+v, %v", answer, err)
	}
	r := <-got
	if r.header.Get(webhook.HeaderID) != "msg-1" || r.header.Get("Content-Type") != "application/json" || r.header.Get("User-Agent") != "onsale/test" {
		t.Errorf("header %v", r.header)
	}
	for _, secret := range []webhook.Secret{fresh, before} {
		verifier, err := standard.NewWebhook(secret.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		if err := verifier.Verify(r.body, r.header); err != nil {
			t.Error(err)
		}
		if verifier.Verify(append(r.body, ' '), r.header) == nil {
			t.Error("another body verifies")
		}
		for name, value := range map[string]string{"Webhook-Id": "msg-2", "Webhook-Timestamp": strconv.FormatInt(time.Now().Add(time.Second*2).Unix(), 10)} {
			changed := r.header.Clone()
			changed.Set(name, value)
			if verifier.Verify(r.body, changed) == nil {
				t.Errorf("another %s verifies", name)
			}
		}
	}
	other, _ := standard.NewWebhook(webhook.NewSecret().Reveal())
	if other.Verify(r.body, r.header) == nil {
		t.Error("another secret verifies")
	}
}

func TestSecretIsNotPrinted(t *testing.T) {
	t.Parallel()
	secret := webhook.NewSecret()
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", slog.Any("secret", secret))
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", slog.Any("secret", secret))
	encoded, err := json.Marshal(map[string]any{"secret": secret})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(secret), fmt.Sprintf("%v %s %+v %#v", secret, secret, secret, secret), log.String(), string(encoded)} {
		if plain := strings.TrimPrefix(secret.Reveal(), "whsec_"); strings.Contains(text, plain) || !strings.Contains(text, "[set]") {
			t.Errorf("shown as %s", text)
		}
	}
}

// An address inside the operator's own network is refused when the connection is
// made, whatever name leads there: the server is never asked.
func TestPrivateAddressIsRefused(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer server.Close()
	port := server.URL[strings.LastIndexByte(server.URL, ':'):]
	client := webhook.NewClient(false, "onsale/test")
	for _, host := range []string{
		"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",
		"100.64.0.1", "[fe80::1]", "[fd00::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "255.255.255.255", "224.0.0.1",
	} {
		if _, err := post(t, client, "https://"+host+port+"/"); !errors.Is(err, webhook.ErrPrivate) {
			t.Errorf("%s: %v", host, err)
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the server was asked %d times", n)
	}
}

func TestAddressesOfEndpoints(t *testing.T) {
	t.Parallel()
	strict, open := webhook.NewClient(false, "x"), webhook.NewClient(true, "x")
	for _, good := range []string{"https://hooks.example/", "https://hooks.example:8443/a/b?c=d", "https://93.184.216.34/", "https://[2606:4700::1]/"} {
		if err := strict.Check(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "hooks", "//hooks.example", "http://hooks.example/", "ftp://hooks.example/", "https://", "https://:443/", "https://u:p@hooks.example/", "https://hooks.example/#a",
		"https://hooks.example/a b", "https://hooks.example/\n", "https://10.1.2.3/", "https://[::1]/", "https://169.254.169.254/latest", "https://hooks.example/" + strings.Repeat("x", 2000),
	} {
		if strict.Check(bad) == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
	for _, good := range []string{"http://127.0.0.1:8080/", "http://hooks.internal/", "https://10.1.2.3/"} {
		if err := open.Check(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	var followed atomic.Int32
	mux := http.NewServeMux()
	mux.Handle("/old", http.RedirectHandler("/new", http.StatusTemporaryRedirect))
	mux.HandleFunc("/new", func(http.ResponseWriter, *http.Request) { followed.Add(1) })
	server := httptest.NewServer(mux)
	defer server.Close()
	answer, err := post(t, webhook.NewClient(true, "x"), server.URL+"/old")
	if err != nil || answer.Status != http.StatusTemporaryRedirect || answer.OK() || followed.Load() != 0 {
		t.Errorf("%+v, %v, followed %d times", answer, err, followed.Load())
	}
}

// An endpoint that answers without end costs us a bounded part of it.
func TestAnswerIsBounded(t *testing.T) {
	t.Parallel()
	written := make(chan int, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		part, n := make([]byte, 64<<10), 0
		for n < 1<<30 {
			some, err := w.Write(part)
			if n += some; err != nil {
				break
			}
		}
		written <- n
	}))
	defer server.Close()
	answer, err := post(t, webhook.NewClient(true, "x"), server.URL)
	if err != nil || !answer.OK() {
		t.Fatalf("%+v, %v", answer, err)
	}
	if n := <-written; n >= 64<<20 { // what lies in the buffers of two sockets is far less
		t.Errorf("%d bytes were taken", n)
	}
}

func TestRetryAfterIsBounded(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]time.Duration{"": 0, "30": 30 * time.Second, "-1": 0, "9999999": time.Hour, "99999999999999999999": 0, "Wed, 21 Oct 2037 07:28:00 GMT": 0} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", value)
			w.WriteHeader(http.StatusServiceUnavailable)
		}))
		answer, err := post(t, webhook.NewClient(true, "x"), server.URL)
		server.Close()
		if err != nil || answer.Wait != want || answer.Status != http.StatusServiceUnavailable {
			t.Errorf("Retry-After %q: %+v, %v", value, answer, err)
		}
	}
}

// An error names what happened, and not the address, which may hold a token.
func TestErrorsHoldNoAddress(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	address := server.URL
	server.Close()
	_, err := post(t, webhook.NewClient(true, "x"), address+"/hook?token=letmein")
	if err == nil || strings.Contains(err.Error(), "letmein") {
		t.Errorf("%v", err)
	}
}
