package redisstore_test

import (
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"

	"onsale/lua"
	"onsale/waitroom"
	"onsale/waitroom/pass"
	"onsale/waitroom/redisstore"
)

// TestForgottenPlacesAreNotGivenAgain lets Redis forget the last ten joins, as a
// replica does that is promoted without them. Newcomers who are quicker than those
// who come back stand behind them all the same.
func TestForgottenPlacesAreNotGivenAgain(t *testing.T) {
	t.Parallel()
	for _, server := range servers {
		t.Run(server.name, func(t *testing.T) {
			t.Parallel()
			rdb := client(t, server.start(t))
			s := wide()
			s.State = waitroom.Paused
			r := newRoom(t, rdb, s, redisstore.Options{})
			join := func(store waitroom.Store, j waitroom.Join) waitroom.Visitor {
				t.Helper()
				j.Fresh = j.Visitor == ""
				if j.Fresh {
					j.Visitor = pass.NewVisitor()
				}
				v, _, err := store.Join(t.Context(), r.event, j)
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
			var forgotten []waitroom.Visitor
			for range 10 {
				forgotten = append(forgotten, join(r, waitroom.Join{}))
			}
			// Another node has only looked.
			other := redisstore.New(rdb)
			if _, err := other.Room(t.Context(), r.event); err != nil {
				t.Fatal(err)
			}
			forget(t, rdb, r.event)
			for i, store := range []waitroom.Store{r, other} {
				if v := join(store, waitroom.Join{}); v.Place != int64(11+i) {
					t.Errorf("the newcomer at node %d has place %d", i, v.Place)
				}
			}
			for i, was := range forgotten {
				v := join(r, waitroom.Join{Visitor: was.ID, Place: was.Place, Epoch: was.Epoch, ReceiptLane: was.Lane})
				if v.Place != was.Place || v.Ahead != i {
					t.Errorf("who had place %d has %d, with %d ahead", was.Place, v.Place, v.Ahead)
				}
			}
		})
	}
}

// forget takes Redis back to before anybody joined.
func forget(t *testing.T, rdb redis.UniversalClient, event string) {
	t.Helper()
	err := rdb.HSet(t.Context(), lua.RoomKey(event), "next", 0, "joined", 0).Err()
	if err == nil {
		err = rdb.Del(t.Context(), lua.QueueKey(event)).Err()
	}
	if err != nil {
		t.Fatal(fmt.Errorf("forget: %w", err))
	}
}
