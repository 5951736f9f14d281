package bench

import (
	"net/http"
	"strings"
	"testing"
)

func TestNoTwoNamedRequestsAreTheSame(t *testing.T) {
	t.Parallel()
	plain := requestBytes(http.MethodGet, "/v1/events/x", "127.0.0.1:1", nil)
	next := named(plain)
	seen := make(map[string]bool)
	for range 1500 {
		got := string(next(3))
		if seen[got] || !strings.HasPrefix(got, "GET /v1/events/x HTTP/1.1\r\nX-Request-ID: 000000") || !strings.HasSuffix(got, "\r\n\r\n") {
			t.Fatalf("asks %q, seen before: %v", got, seen[got])
		}
		seen[got] = true
	}
	if other := string(next(4)); len(other) != len(plain)+len("X-Request-ID: 0000000000\r\n") {
		t.Errorf("asks %q", other)
	}
}
