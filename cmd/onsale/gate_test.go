package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"onsale/internal/stack/stacktest"
	"onsale/waitroom/pass"
)

func TestGateUsage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		args   []string
		code   int
		stderr string
	}{
		{nil, 2, "are required"},
		{[]string{"--event", "x", "--onsale", "https://t.example", "--site", "https://s.example", "--upstream", "127.0.0.1:3000"}, 2, "--upstream"},
		{[]string{"--event", "x", "--onsale", "t.example", "--site", "https://s.example", "--upstream", "http://127.0.0.1:3000"}, 1, "Onsale"},
		{[]string{"--event", "x", "--onsale", "https://t.example", "--site", "https://s.example/a", "--upstream", "http://127.0.0.1:3000"}, 1, "Site"},
	} {
		if code, _, stderr := execute(t, append([]string{"gate"}, test.args...)...); code != test.code || !strings.Contains(stderr, test.stderr) {
			t.Errorf("%v: code %d: %s", test.args, code, stderr)
		}
	}
}

// TestGateIsAProxy that passes on what comes with a pass, and ends when told to.
func TestGateIsAProxy(t *testing.T) {
	t.Parallel()
	const event = "0190b0a0-0000-7000-8000-000000000001"
	keys := pass.Generate()
	onsale := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/.well-known/jwks.json":
			_, _ = w.Write(keys.JWKS())
		case r.Header.Get("Authorization") != "":
			w.WriteHeader(http.StatusNoContent)
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer onsale.Close()
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strings.Join([]string{r.Host, r.RequestURI, r.Header.Get("X-Onsale-Visitor"), r.Header.Get("X-Forwarded-For")}, " "))
	}))
	defer site.Close()
	addr := stacktest.FreeAddress(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{
			"gate", "--addr", addr, "--event", event, "--onsale", onsale.URL, "--site", "http://" + addr, "--upstream", site.URL,
		}, strings.NewReader(""), io.Discard, io.Discard, nil)
	}()
	visitor := pass.NewVisitor()
	token := keys.SignPass(pass.Pass{Visitor: visitor, Event: event, Claimed: time.Now(), Expires: time.Now().Add(time.Hour)})
	ask := func(bearer string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/buy?x=1", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if bearer != "" {
			r.Header.Set("Authorization", "Bearer "+bearer)
		}
		r.Header.Set("X-Forwarded-For", "203.0.113.9")
		r.Close = true
		response, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			return 0, err.Error()
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(text)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for code, _ := ask(""); code == 0; code, _ = ask("") {
		select {
		case code := <-ended:
			t.Fatalf("the gate ended with %d", code)
		case <-tick.C:
		}
	}
	if code, body := ask(""); code != http.StatusUnauthorized || !strings.Contains(body, onsale.URL+"/queue/"+event) {
		t.Errorf("without a pass: %d %s", code, body)
	}
	if code, body := ask(token); code != http.StatusOK || body != addr+" /buy?x=1 "+visitor+" 127.0.0.1" {
		t.Errorf("with a pass: %d %s", code, body)
	}
	site.Close()
	if code, _ := ask(token); code != http.StatusBadGateway {
		t.Errorf("the site is gone: %d", code)
	}
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("the gate ended with %d", code)
	}
}
