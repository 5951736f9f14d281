package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestSetOrdinal(t *testing.T) {
	t.Parallel()
	request := appendRequest(nil, http.MethodPost, "/here", "host", "token", []byte(`{"ordinals":[      ]}`))
	length := len(request)
	for _, ordinal := range []int{0, 7, 123456, 42, 999999, 5} { // what was longer leaves nothing behind
		setOrdinal(request, ordinal)
		read, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(request)))
		if err != nil {
			t.Fatal(err)
		}
		var b struct{ Ordinals []int }
		body, err := io.ReadAll(read.Body)
		if err == nil {
			err = json.Unmarshal(body, &b)
		}
		if err != nil || len(request) != length || len(b.Ordinals) != 1 || b.Ordinals[0] != ordinal || read.Header.Get("Authorization") != "Bearer token" {
			t.Errorf("%d became %q, %v", ordinal, request, err)
		}
	}
}

// Every ticket is asked for once, by the shopper it is meant for, each of whom
// stays on one connection, and all that was held is released.
func TestAskingForEveryTicketOnce(t *testing.T) {
	t.Parallel()
	var (
		mu       sync.Mutex
		held     = make(map[string]string) // hold → who has it
		asked    = make(map[string]bool)
		from     = make(map[string]string) // shopper → connection
		released int
	)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := r.Header.Get("Authorization")
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodDelete {
			hold := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
			if held[hold] != who {
				t.Errorf("%s is released by %s", hold, who)
			}
			delete(held, hold)
			released++
			w.WriteHeader(http.StatusNoContent)
			return
		}
		if r.URL.Path == "/v1/events/hall-0" || r.URL.Path == "/v1/events/hall-1" {
			n := 0
			for hold := range held {
				if strings.HasSuffix(hold, r.URL.Path[len(r.URL.Path)-1:]) {
					n++
				}
			}
			_ = json.NewEncoder(w).Encode(event{Tickets: &Stock{Total: 1000, Held: n, Available: 1000 - n}})
			return
		}
		var b struct{ Ordinals []int }
		if err := json.NewDecoder(r.Body).Decode(&b); err != nil || len(b.Ordinals) != 1 {
			t.Errorf("%v %v", b, err)
			return
		}
		ticket := fmt.Sprint(r.URL.Path, b.Ordinals[0])
		// Shopper n of a hall has tickets 10 n to 10 n + 9.
		if want := fmt.Sprintf("Bearer %s/%d", r.URL.Path[len("/v1/events/hall-"):][:1], b.Ordinals[0]/holdEach); asked[ticket] || who != want || from[who] != "" && from[who] != r.RemoteAddr {
			t.Errorf("%s asks from %s for %s, which was asked for %t", who, r.RemoteAddr, ticket, asked[ticket])
		}
		asked[ticket], from[who] = true, r.RemoteAddr
		hold := fmt.Sprintf("%034d-%s", len(asked), r.URL.Path[len("/v1/events/hall-"):][:1])
		held[hold] = who
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"hold":%q,"event":"x"}`, hold)
	}))
	defer server.Close()
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	trial := &holdTrial{node: &Node{API: NewAPI(base, "token")}, halls: []string{"hall-0", "hall-1"}, tickets: 2000}
	for n := range 100 {
		for hall, id := range trial.halls {
			trial.shoppers = append(trial.shoppers, shopper{id, fmt.Sprintf("%d/%d", hall, n)})
		}
	}
	a := trial.asking()
	a.limit = 50 // of the 200 shoppers, at first
	if n, err := a.load().all(t.Context()); err != nil || n != 500 || a.held() != 500 || a.left() != 1500 {
		t.Fatalf("%d tickets are held, %d of them known, %d are left: %v", n, a.held(), a.left(), err)
	}
	a.limit = 200
	if n, err := a.load().all(t.Context()); err != nil || n != 1500 || a.left() != 0 || len(asked) != 2000 {
		t.Fatalf("%d tickets are held, %d are left: %v", n, a.left(), err)
	}
	if err := trial.counts(t.Context(), 2000); err != nil {
		t.Error(err)
	}
	if err := a.settle(t.Context()); err != nil || released != 2000 {
		t.Errorf("%d holds are released: %v", released, err)
	}
}

func TestHalfLoadThatIsNone(t *testing.T) {
	t.Parallel()
	busy, free := []time.Duration{time.Second, time.Second, time.Second}, []time.Duration{time.Millisecond, time.Millisecond, 7 * time.Millisecond}
	run := func(results ...[]time.Duration) (p99 float64, tries int, err error) {
		p99, err = halfLoad(t.Context(), func(context.Context) (*pace, []time.Duration, error) {
			tries++
			return &pace{rate: 1000, callers: 10}, results[min(tries, len(results))-1], nil
		})
		return p99, tries, err
	}
	if p99, tries, err := run(busy, busy, free); err != nil || tries != 3 || p99 != 7000 {
		t.Errorf("%v µs after %d tries, %v", p99, tries, err)
	}
	if _, tries, err := run(busy); err == nil || tries != 5 || !strings.Contains(err.Error(), "1,000 calls a second") {
		t.Errorf("%d tries on a busy machine: %v", tries, err)
	}
	if _, err := halfLoad(t.Context(), func(context.Context) (*pace, []time.Duration, error) { return nil, nil, io.ErrNoProgress }); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a failing measurement: %v", err)
	}
}

func TestAnAnswerWithoutAHold(t *testing.T) {
	t.Parallel()
	a := (&holdTrial{}).asking()
	for _, body := range []string{"", "{}", `{"hold":"short"}`} {
		if err := a.heard(0, []byte(body)); err == nil {
			t.Errorf("%q was taken for a hold", body)
		}
	}
}
