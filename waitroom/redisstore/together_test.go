package redisstore_test

import (
	"fmt"
	"testing"

	"onsale/lua"
	"onsale/waitroom"
	"onsale/waitroom/redisstore"
)

// TestNewcomersInOneScript: whoever joins with many others in one script is told
// what the room has of them, at every server and whatever comes in between.
func TestNewcomersInOneScript(t *testing.T) {
	t.Parallel()
	fresh := func(name string, n int) (in []lua.RoomJoinInput) {
		for i := range n {
			in = append(in, lua.RoomJoinInput{Visitor: fmt.Sprintf("%s%04d", name, i), Fresh: true})
		}
		return in
	}
	mixed := append(fresh("first", 230), lua.RoomJoinInput{Visitor: "known", Receipt: lua.Score(4, 0)})
	mixed = append(mixed, fresh("then", 3)...)
	mixed = append(mixed, lua.RoomJoinInput{Visitor: "counted", Fresh: true, Address: "a"}, lua.RoomJoinInput{Visitor: "suspect", Fresh: true, Address: "a"})
	mixed = append(mixed, fresh("last", 5)...)
	for _, server := range servers {
		t.Run(server.name, func(t *testing.T) {
			t.Parallel()
			rdb := client(t, server.start(t))
			for name, change := range map[string]func(*waitroom.Settings){
				"line":   func(*waitroom.Settings) {},
				"door":   func(s *waitroom.Settings) { s.Throttle = narrow(3).Throttle },
				"random": func(s *waitroom.Settings) { s.Order = waitroom.Random },
				"lobby":  func(s *waitroom.Settings) { s.State = waitroom.Lobby },
				"paused": func(s *waitroom.Settings) { s.State = waitroom.Paused },
			} {
				t.Run(name, func(t *testing.T) {
					s := wide()
					change(&s)
					r := newRoom(t, rdb, s, redisstore.Options{})
					if name == "door" {
						r.shopOK()
					}
					join := func() []lua.RoomReply {
						t.Helper()
						replies, err := lua.RoomJoin(t.Context(), rdb, r.event, lua.RoomLimits{Suspect: 1}, 7, 0, mixed)
						if err != nil {
							t.Fatal(err)
						}
						return replies
					}
					replies := join()
					states := map[lua.VisitorState]int{}
					for i, reply := range replies {
						states[reply.State]++
						visitor := mixed[i].Visitor
						now, err := lua.RoomMe(r.event, visitor, false).Run(t.Context(), rdb)
						if err != nil {
							t.Fatal(err)
						}
						if reply.Code != lua.RoomOK || reply.Extra != lua.JoinedAnew || reply.State != now.State || reply.Score != now.Score || reply.Until != now.Until || reply.Epoch != now.Epoch || reply.Now == 0 {
							t.Fatalf("%s was told %+v, and is %+v", visitor, reply, now)
						}
						if name != "random" && visitor != "suspect" && reply.Ahead != now.Ahead {
							t.Fatalf("%s was told of %d ahead, and there are %d", visitor, reply.Ahead, now.Ahead)
						}
					}
					wait := map[string]int{"line": len(mixed), "door": len(mixed) - 3, "random": len(mixed), "paused": len(mixed)}[name]
					if states[lua.VisitorWaiting] != wait {
						t.Errorf("%v, want %d to wait", states, wait)
					}
					if n := r.now().Joined; n != int64(len(mixed)) {
						t.Errorf("%d joined, want %d", n, len(mixed))
					}
					for i, reply := range join() { // the reply was lost
						if was := replies[i]; reply.Code != lua.RoomOK || reply.State != was.State || reply.Score != was.Score {
							t.Fatalf("%s again: %+v, was %+v", mixed[i].Visitor, reply, was)
						}
					}
					if n := r.now().Joined; n != int64(len(mixed)) {
						t.Errorf("%d joined after the second time, want %d", n, len(mixed))
					}
				})
			}
			if replies, err := lua.RoomJoin(t.Context(), rdb, "no-room", lua.RoomLimits{Suspect: 1}, 7, 0, mixed); err != nil || len(replies) != len(mixed) || replies[len(mixed)-1].Code != lua.RoomMissing {
				t.Errorf("no room: %v, %d replies", err, len(replies))
			}
		})
	}
}
