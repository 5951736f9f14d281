package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// How much garbage may lie beside what is in use, in percent. Most of a node's
// memory are people who wait, so half the usual share is worth having; but a
// small heap is not collected for a few megabytes, dozens of times a second
// when many join: up to heapFloor it may be all garbage.
const (
	gcPercent = 50
	heapFloor = 32 << 20
)

// tendGarbage keeps the collector at that until ctx ends. GOGC in the
// environment overrides it.
func tendGarbage(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	last := debug.SetGCPercent(gcPercent)
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		metrics.Read(live)
		// Setting it stops the world for a moment: not for nothing.
		if percent := gcShare(live[0].Value.Uint64()); percent*10 < last*9 || percent*10 > last*11 {
			debug.SetGCPercent(percent)
			last = percent
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// gcShare is the percentage for so many bytes in use.
func gcShare(live uint64) int {
	const most = 400
	if live == 0 {
		return most
	}
	return int(min(max(gcPercent, (heapFloor-min(live, heapFloor))*100/live), most))
}
