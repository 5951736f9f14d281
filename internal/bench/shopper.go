package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"
)

// shopper is a visitor of an event who has claimed their turn.
type shopper struct {
	event string
	pass  string
}

// wideOpen lets in everybody who comes, for longer than any row takes.
func wideOpen() Throttle {
	return Throttle{RatePerMinute: 1_000_000, Burst: 100_000, MaxShoppers: 1_000_000, LeaseS: 3600, ClaimWindowS: 3600}
}

// admit has so many visitors join an event whose room is wide open, and claim
// their turn.
func (n *Node) admit(ctx context.Context, event string, size int) ([]shopper, error) {
	settled, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	// Whoever comes before the shop has said that it can sell waits for a tick, and
	// everybody else behind them.
	before, err := n.settledRoom(settled, event, func(r *Room) error {
		if r.Reason != "" {
			return fmt.Errorf("the room stands still: %s", r.Reason)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	joined, err := n.tell(ctx, size, func(to []byte, _ int) []byte {
		return appendRequest(to, http.MethodPost, "/v1/rooms/"+event+"/join", n.host(), "", []byte("{}"))
	})
	if err != nil {
		return nil, fmt.Errorf("join: %w", err)
	}
	if slices.ContainsFunc(joined, func(m me) bool { return m.State != "ready" }) {
		if _, err := n.settledRoom(settled, event, func(r *Room) error {
			if in := r.Ready + r.Shopping - before.Ready - before.Shopping; in < size {
				return fmt.Errorf("of %d visitors %d were let in, %d wait", size, in, r.Waiting)
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	claimed, err := n.tell(ctx, size, func(to []byte, i int) []byte {
		return appendRequest(to, http.MethodPost, "/v1/rooms/"+event+"/claim", n.host(), joined[i].Token, []byte("{}"))
	})
	if err != nil {
		return nil, fmt.Errorf("claim: %w", err)
	}
	shoppers := make([]shopper, size)
	for i, m := range claimed {
		if m.Pass == nil || m.State != "shopping" {
			return nil, fmt.Errorf("a claim was answered with state %q", m.State)
		}
		shoppers[i] = shopper{event: event, pass: *m.Pass}
	}
	return shoppers, nil
}

// settledRoom waits until nothing is wrong with a room any more.
func (n *Node) settledRoom(ctx context.Context, event string, wrong func(r *Room) error) (Room, error) {
	var now Room
	var err error
	late := poll(ctx, 50*time.Millisecond, func() bool {
		var r Room
		if r, err = n.room(ctx, event); err == nil {
			now, err = r, wrong(&r)
		}
		return err == nil
	}, func() error { return err })
	return now, late
}

// tell sends so many requests, each about one visitor, and returns what each was
// told. request writes the nth one.
func (n *Node) tell(ctx context.Context, size int, request func(to []byte, n int) []byte) ([]me, error) {
	const connections = 64
	var (
		next  atomic.Int64
		told  = make([]me, size)
		asked [connections]int // who asks on each connection
		sent  [connections][]byte
	)
	l := &load{
		address: n.host(), connections: connections, status: http.StatusOK,
		next: func(c int) []byte {
			if asked[c] = int(next.Add(1)) - 1; asked[c] >= size {
				return nil
			}
			sent[c] = request(sent[c][:0], asked[c])
			return sent[c]
		},
		heard: func(c int, body []byte) error {
			m := &told[asked[c]]
			if err := json.Unmarshal(body, m); err != nil {
				return err
			}
			if m.Visitor == "" {
				return errors.New("an answer names no visitor")
			}
			return nil
		},
	}
	_, err := l.all(ctx)
	return told, err
}
