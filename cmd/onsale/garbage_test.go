package main

import "testing"

func TestShareOfGarbage(t *testing.T) {
	t.Parallel()
	for live, want := range map[uint64]int{
		0: 400, 1 << 20: 400, 8 << 20: 300, 16 << 20: 100, 22 << 20: 50, 32 << 20: 50, 1 << 40: 50,
	} {
		if got := gcShare(live); got != want {
			t.Errorf("with %d MB in use %d %%, not %d %%", live>>20, got, want)
		}
	}
}
