package pgstore_test

import (
	"slices"
	"testing"
)

func TestProgressOfALargeEvent(t *testing.T) {
	t.Parallel()
	store, _ := newStore(t)
	var written []int
	store.OnProgress(func(n, total int) {
		if total != 25_006 {
			t.Errorf("there are %d tickets in all", total)
		}
		written = append(written, n)
	})
	e := hall(t, "Large", spring)
	e.Areas[0].Capacity = 25_000
	if _, err := store.CreateEvent(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(written, []int{10_000, 20_000}) {
		t.Errorf("progress was told at %v", written)
	}
}
