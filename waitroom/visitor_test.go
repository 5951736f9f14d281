package waitroom

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// AppendJSON and encoding/json must not drift apart.
func TestAppendJSONIsTheSameAsMarshal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		moment := rapid.Custom(func(rt *rapid.T) time.Time {
			return time.UnixMilli(rapid.Int64Range(0, 4_000_000_000_000).Draw(rt, "ms")).UTC()
		})
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[A-Za-z0-9_.-]{0,40}`), rapid.SampledFrom([]string{"<&>\u2028", "\"\\\n\x7f", "\xff"}))
		me := Me{
			Visitor: text.Draw(rt, "visitor"), State: rapid.SampledFrom([]VisitorState{Waiting, Ready, Shopping, Left}).Draw(rt, "state"),
			Place:   rapid.Ptr(rapid.Int64(), true).Draw(rt, "place"),
			Ahead:   rapid.Ptr(rapid.Int(), true).Draw(rt, "ahead"),
			Wait:    rapid.Ptr(rapid.Make[Wait](), true).Draw(rt, "wait"),
			Receipt: rapid.Ptr(text, true).Draw(rt, "receipt"),
			ClaimBy: rapid.Ptr(moment, true).Draw(rt, "claim by"), LeaseEnds: rapid.Ptr(moment, true).Draw(rt, "lease ends"),
			Pass:      rapid.Ptr(text, true).Draw(rt, "pass"),
			PollAfter: rapid.Int().Draw(rt, "poll after"), AsOf: moment.Draw(rt, "as of"),
		}
		reason := rapid.Custom(func(rt *rapid.T) Reason { return Reason(text.Draw(rt, "reason")) })
		me.Room = RoomInfo{
			Name: text.Draw(rt, "name"), State: State(text.Draw(rt, "room state")), Order: Order(text.Draw(rt, "order")),
			Reason: rapid.Ptr(reason, true).Draw(rt, "reason"), ClosedReason: rapid.Ptr(text, true).Draw(rt, "closed reason"),
			Waiting: rapid.Int().Draw(rt, "waiting"), AdmittingPerMinute: rapid.Int().Draw(rt, "admitting"),
			Message: rapid.Ptr(text, true).Draw(rt, "message"), OpensAt: rapid.Ptr(moment, true).Draw(rt, "opens"),
			LobbyOpensAt: rapid.Ptr(moment, true).Draw(rt, "lobby opens"), StockLeft: rapid.Ptr(rapid.Int(), true).Draw(rt, "stock"),
		}
		want, err := json.Marshal(&me)
		if err != nil {
			rt.Fatal(err)
		}
		room, err := json.Marshal(me.Room)
		if err != nil {
			rt.Fatal(err)
		}
		if got := me.AppendJSON(nil, room); string(got) != string(want) {
			rt.Fatalf("AppendJSON\n%s\nMarshal\n%s", got, want)
		}
		if got := me.Room.AppendJSON(nil); string(got) != string(room) {
			rt.Fatalf("AppendJSON of the room\n%s\nMarshal\n%s", got, room)
		}
		joined := Joined{Me: me, VisitorToken: text.Draw(rt, "token")}
		if want, err = json.Marshal(&joined); err != nil {
			rt.Fatal(err)
		}
		if got := joined.AppendJSON(nil); string(got) != string(want) {
			rt.Fatalf("AppendJSON of the join\n%s\nMarshal\n%s", got, want)
		}
	})
}

func TestPulse(t *testing.T) {
	t.Parallel()
	last := time.Duration(0)
	for _, ahead := range []int{0, 99, 100, 999, 1000, 5000, 10_000, 1_000_000} {
		p := Pulse(ahead)
		if p < last || p < time.Second || p > 15*time.Second {
			t.Errorf("Pulse(%d) = %v after %v", ahead, p, last)
		}
		last = p
	}
	if Pulse(99) != time.Second || Pulse(999) != 5*time.Second || last != 15*time.Second {
		t.Error("the steps are not at 1, 5 and 15 seconds")
	}
}

func TestNetworkOfAnAddress(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"203.0.113.7": "203.0.113.7", "::ffff:203.0.113.7": "203.0.113.7",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "2001:db8:1:2::1": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
		"what": "what",
	} {
		if got := network(address); got != want {
			t.Errorf("network(%q) = %q, want %q", address, got, want)
		}
	}
}
