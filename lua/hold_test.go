package lua

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// Each wrapper sends what its script's header says, and keys of one event only.
func TestHoldWrappersKeepTheirContracts(t *testing.T) {
	t.Parallel()
	const event = "e1"
	run := func(c HoldCall) func(context.Context, *recorder) error {
		return func(ctx context.Context, r *recorder) error { _, err := c.Run(ctx, r); return err }
	}
	calls := map[string]func(context.Context, *recorder) error{
		"hold.lua": func(ctx context.Context, r *recorder) error {
			_, err := Hold(ctx, r, event, []HoldInput{{
				Visitor: "v", ID: "h", TTL: time.Minute, Limit: 4, Singles: "avoid", Ordinals: []int{1},
				Areas: []Quantity{{N: 1, Where: []Stretch{{0, 9, true}}}}, Best: &Best{N: 2, Where: []Stretch{{0, 9, false}}},
			}, {Visitor: "w", ID: "i"}})
			return err
		},
		"hold_edit.lua":    run(EditHold(event, "v", "h", 4, "avoid", []int{1}, []int{2})),
		"hold_keep.lua":    run(KeepHold(event, "v", "h", ExtendHold, time.Minute, 2)),
		"hold_release.lua": run(ReleaseHold(event, "v", "h")),
		"hold_sweep.lua":   func(ctx context.Context, r *recorder) error { _, err := SweepHolds(ctx, r, event, 5); return err },
		"inventory_load.lua": func(ctx context.Context, r *recorder) error {
			_, err := LoadInventory(ctx, r, InventoryInput{Event: event, Status: []byte("A")})
			return err
		},
		"inventory_settle.lua": func(ctx context.Context, r *recorder) error {
			_, _, err := Settle(ctx, r, SettleInput{Event: event, To: 'S', Ordinals: []int{1}})
			return err
		},
		"inventory_shape.lua": func(ctx context.Context, r *recorder) error {
			_, err := ShapeInventory(ctx, r, event, 1, []byte("@"))
			return err
		},
		"inventory_allot.lua": func(ctx context.Context, r *recorder) error {
			_, _, err := Allot(ctx, r, event, 1, false, []int{1})
			return err
		},
	}
	for _, name := range scriptsNamed(t, "hold", "inventory_") {
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
		if len(r.keys) != max(c.keys, 11) || c.keys == 0 {
			t.Errorf("%s: %d keys are sent, the header says %d", name, len(r.keys), c.keys)
		}
		if n := len(r.args); n != c.args && (!c.open || name != "hold.lua" || n != 2+2*12) {
			t.Errorf("%s: %d arguments are sent, the header says %d", name, len(r.args), c.args)
		}
		for _, key := range r.keys {
			if !strings.Contains(key, "{"+event+"}") {
				t.Errorf("%s: key %q is outside the event's slot", name, key)
			}
		}
		if !slices.Equal(r.keys[:11], holdKeys(event)) {
			t.Errorf("%s: keys %v do not begin as the prelude says", name, r.keys)
		}
		if !slices.Equal(r.args[:2], holdArgs(event)) {
			t.Errorf("%s: arguments %v do not begin as the prelude says", name, fmt.Sprint(r.args[:2]...))
		}
	}
}
