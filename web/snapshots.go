package web

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
)

// How old an answer from memory may be. What it is made from is up to 300 ms old itself,
// so that altogether nobody is told of a stock older than a second.
const (
	snapshotFresh  = 250 * time.Millisecond // then one asks again, and
	snapshotOldest = 700 * time.Millisecond // until then the others need not wait for it
)

// snapshots keeps what many people look at, by key, so that a crowd costs one look a
// moment, not one per request.
type snapshots[V any] struct {
	kept   *keep[*snapshot[V]]
	flight singleflight.Group
	epoch  *atomic.Int64 // grows when an operator has changed something here
}

// snapshot is what was seen at a moment. It does not change.
type snapshot[V any] struct {
	value *V
	at    time.Time
	epoch int64
}

// newSnapshots keeps so many bytes at most.
func newSnapshots[V any](most int, epoch *atomic.Int64) *snapshots[V] {
	return &snapshots[V]{kept: newKeep[*snapshot[V]](most), epoch: epoch}
}

// now returns what was seen if that is no longer ago than an age, else nil.
func (d *snapshots[V]) now(key string, at time.Time, age time.Duration) *V {
	snap, ok := d.kept.get(key, at.Unix())
	if !ok || snap.epoch != d.epoch.Load() || at.Sub(snap.at) > age {
		return nil
	}
	return snap.value
}

// of returns what is to be seen now. look is called by one for all who ask meanwhile,
// with what was seen last or nil, and returns how many bytes its result takes, too.
func (d *snapshots[V]) of(ctx context.Context, clock func() time.Time, key string, look func(ctx context.Context, last *V) (*V, int, error)) (*V, error) {
	if v := d.now(key, clock(), snapshotFresh); v != nil {
		return v, nil
	}
	epoch := d.epoch.Load()
	made := d.flight.DoChan(key+" "+strconv.FormatInt(epoch, 36), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		at := clock()
		var last *V
		if snap, ok := d.kept.get(key, at.Unix()); ok {
			last = snap.value
		}
		v, size, err := look(ctx, last)
		if err == nil {
			d.kept.put(key, &snapshot[V]{v, at, epoch}, size, at.Unix())
		}
		return v, err
	})
	if v := d.now(key, clock(), snapshotOldest); v != nil {
		select {
		case r := <-made:
			return seen[V](r)
		default:
			return v, nil
		}
	}
	select {
	case r := <-made:
		return seen[V](r)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func seen[V any](r singleflight.Result) (*V, error) {
	if r.Err != nil {
		return nil, r.Err
	}
	v, _ := r.Val.(*V)
	return v, nil
}
