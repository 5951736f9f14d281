package lua

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// errRecorded is how a recorder answers.
var errRecorded = errors.New("recorded")

// recorder is a Redis that only notes what it is sent.
type recorder struct {
	redis.Scripter

	keys []string
	args []any
}

func (r *recorder) EvalSha(ctx context.Context, _ string, keys []string, args ...any) *redis.Cmd {
	return r.note(ctx, keys, args)
}

func (r *recorder) Eval(ctx context.Context, _ string, keys []string, args ...any) *redis.Cmd {
	return r.note(ctx, keys, args)
}

func (r *recorder) note(ctx context.Context, keys []string, args []any) *redis.Cmd {
	r.keys, r.args = keys, args
	cmd := redis.NewCmd(ctx)
	cmd.SetErr(errRecorded)
	return cmd
}

// contract is what a script's header says of its input. Open says that the last
// arguments may be any number.
type contract struct {
	keys, args int
	open       bool
}

var numbered = regexp.MustCompile(`(?:^|\s)(\d+)(?:-(\d+)|(\.\.))? `)

func readContract(t *testing.T, name string) contract {
	t.Helper()
	src, err := sources.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var c contract
	section := ""
	for scanner := bufio.NewScanner(bytes.NewReader(src)); scanner.Scan(); {
		line, comment := strings.CutPrefix(scanner.Text(), "--")
		if !comment {
			break
		}
		if word := strings.TrimSpace(line); word != "" && word == strings.ToUpper(word) && !strings.ContainsAny(word, " {(0123456789") {
			section = word
			continue
		}
		for _, m := range numbered.FindAllStringSubmatch(line+" ", -1) {
			first, _ := strconv.Atoi(m[1])
			n := first
			if m[2] != "" {
				n, _ = strconv.Atoi(m[2])
			}
			switch section {
			case "KEYS":
				c.keys = max(c.keys, n)
			case "ARGV":
				// Numbers within a sentence are smaller or elsewhere than the
				// next position.
				if first == c.args+1 {
					c.args, c.open = n, m[3] != ""
				}
			}
		}
	}
	return c
}

// scriptsNamed lists the scripts, without preludes, whose names begin so.
func scriptsNamed(t *testing.T, prefixes ...string) (names []string) {
	t.Helper()
	files, err := sources.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := f.Name()
		for _, prefix := range prefixes {
			if strings.HasPrefix(name, prefix) && !strings.HasSuffix(name, "_prelude.lua") {
				names = append(names, name)
			}
		}
	}
	return names
}

// Each wrapper sends what its script's header says, and keys of one event only.
func TestRoomWrappersKeepTheirContracts(t *testing.T) {
	t.Parallel()
	const event = "e1"
	calls := map[string]func(context.Context, *recorder) error{
		"room_join.lua": func(ctx context.Context, r *recorder) error {
			_, err := RoomJoin(ctx, r, event, RoomLimits{PerAddress: 3}, 7, 0, []RoomJoinInput{{Visitor: "v", Address: "a", Fresh: true}})
			return err
		},
		"room_admit.lua": func(ctx context.Context, r *recorder) error {
			_, err := RoomAdmit(ctx, r, event, time.Second, 500, 1000, 0)
			return err
		},
		"room_place.lua": func(ctx context.Context, r *recorder) error {
			_, err := RoomPlace(ctx, r, event, []RoomPlacing{{"v", Score(4, 1), Score(4, 2)}})
			return err
		},
		"room_restore.lua": func(ctx context.Context, r *recorder) error { return RoomRestore(ctx, r, event, "v", "d:1:2:3:4:0") },
		"room_presence.lua": func(ctx context.Context, r *recorder) error {
			_, err := RoomPresence(ctx, r, event, []string{"v"})
			return err
		},
		"room_steer.lua": func(ctx context.Context, r *recorder) error {
			_, err := RoomSteer(ctx, r, event, 1, 2, "why")
			return err
		},
		"room_value.lua":   func(ctx context.Context, r *recorder) error { _, err := RoomValue(ctx, r, event, "v"); return err },
		"room_unsaved.lua": func(ctx context.Context, r *recorder) error { _, _, err := RoomUnsaved(ctx, r, event, 5); return err },
		"room_saved.lua": func(ctx context.Context, r *recorder) error {
			return RoomSaved(ctx, r, event, 5, []RoomDirtyTurn{{Visitor: "v", Changed: 7}})
		},
		"room_lane.lua": func(ctx context.Context, r *recorder) error {
			_, err := RoomLane(event, "v", 1, 0).Run(ctx, r)
			return err
		},
		"room_me.lua": func(ctx context.Context, r *recorder) error {
			_, err := RoomMe(event, "v", true).Run(ctx, r)
			return err
		},
		"room_claim.lua": func(ctx context.Context, r *recorder) error { _, err := RoomClaim(event, "v").Run(ctx, r); return err },
		"room_end.lua":   func(ctx context.Context, r *recorder) error { _, err := RoomLeave(event, "v").Run(ctx, r); return err },
		"room_seed.lua": func(ctx context.Context, r *recorder) error {
			_, err := RoomSeed(ctx, r, event, time.Second, 0, "name", "n")
			return err
		},
		"room_configure.lua": func(ctx context.Context, r *recorder) error {
			_, err := RoomConfigure(ctx, r, event, RoomAlways, "rate", 1)
			return err
		},
		"room_state.lua": func(ctx context.Context, r *recorder) error {
			_, err := RoomState(ctx, r, event, "open", "", 0, "paused", "lobby")
			return err
		},
		"room_message.lua": func(ctx context.Context, r *recorder) error { _, err := RoomMessage(ctx, r, event, "hi"); return err },
		"room_shop.lua": func(ctx context.Context, r *recorder) error {
			_, err := RoomShop(ctx, r, event, time.Second, 7, 1, 6)
			return err
		},
		"room_stats.lua": func(ctx context.Context, r *recorder) error { return RoomStats(ctx, r, event).Err() },
	}
	for _, name := range scriptsNamed(t, "room_") {
		call, ok := calls[name]
		if !ok {
			t.Errorf("%s has no wrapper in this test", name)
			continue
		}
		var r recorder
		if err := call(t.Context(), &r); !errors.Is(err, errRecorded) {
			t.Errorf("%s: the error of Redis is not handed on: %v", name, err)
		}
		c := readContract(t, name)
		if c.keys < 9 || c.args < 1 {
			t.Errorf("%s: the header says %+v", name, c)
		}
		if len(r.keys) != c.keys {
			t.Errorf("%s: %d keys are sent, the header says %d", name, len(r.keys), c.keys)
		}
		if n := len(r.args); n != c.args && (!c.open || n < c.args) {
			t.Errorf("%s: %d arguments are sent, the header says %d (open %v)", name, n, c.args, c.open)
		}
		for _, key := range r.keys {
			if !strings.Contains(key, "{"+event+"}") {
				t.Errorf("%s: key %q is outside the event's slot", name, key)
			}
		}
		if !slices.Equal(r.keys[:9], roomKeys(event)) {
			t.Errorf("%s: keys %v do not begin as the prelude says", name, r.keys)
		}
		if fmt.Sprint(r.args[0]) != RoomChannel(event) {
			t.Errorf("%s: the first argument is %v, not the channel", name, r.args[0])
		}
	}
}

func TestReadRoomTurn(t *testing.T) {
	t.Parallel()
	const place = 4_000_000_000_001
	for text, want := range map[string]VisitorState{
		"r:4000000000001:2:0:101:0": VisitorReady, "s:4000000000001:2:3:101:0": VisitorShopping, "r:4000000000001:2:0:100:0": VisitorExpired,
		"s:4000000000001:2:3:99:1": VisitorExpired, "x:4000000000001:2:0:5:1": VisitorExpired, "e:4000000000001:2:3:5:0": VisitorExpired,
		"d:4000000000001:2:3:5:0": VisitorDone, "l:4000000000001:0:0:0:0": VisitorLeft, "k:4000000000001:0:0:0:0": VisitorAway,
	} {
		r, err := ReadRoomTurn(text, 100)
		if lane, at := LanePlace(r.Score); err != nil || r.State != want || r.Score != place || lane != 4 || at != 1 {
			t.Errorf("ReadRoomTurn(%q) = %+v, %v", text, r, err)
		}
		if raw, err := ReadRoomTurn(text, 0); err != nil || FormatRoomTurn(raw) != text {
			t.Errorf("FormatRoomTurn(%+v) = %q, %v; want %q", raw, FormatRoomTurn(raw), err, text)
		}
	}
	for _, bad := range []string{"", "r", "q:1:2:3:4", "r:1:2:3:4", "r:a:b:c:d:e"} {
		if r, err := ReadRoomTurn(bad, 100); err == nil {
			t.Errorf("ReadRoomTurn(%q) = %+v", bad, r)
		}
	}
}
