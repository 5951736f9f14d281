package web

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// Who asks for everything once does not push out what a crowd asks for.
func TestKeepDropsWhatIsNotUsed(t *testing.T) {
	t.Parallel()
	const size = 100
	k := newKeep[int](80 * size)
	for second := range int64(1000) {
		if v, ok := k.get("popular", second); second > 0 && (!ok || v != 7) {
			t.Fatalf("after %d seconds the popular one is gone", second)
		}
		if second == 0 {
			k.put("popular", 7, size, second)
		}
		k.put(fmt.Sprint(second), int(second), size, second)
		if len(k.items) > 80 || k.total != len(k.items)*size {
			t.Fatalf("%d kept, of %d bytes", len(k.items), k.total)
		}
	}
	if _, ok := k.get("999", 1000); !ok || len(k.items) < 60 {
		t.Errorf("%d kept, the latest: %t", len(k.items), ok)
	}
	k.put("popular", 8, 3*size, 1000)
	if v, _ := k.get("popular", 1000); v != 8 || k.total != (len(k.items)+2)*size {
		t.Errorf("replaced by %d, %d bytes", v, k.total)
	}
	k.put("vast", 1, 81*size, 1001)
	if _, ok := k.get("vast", 1001); ok || len(k.items) < 60 {
		t.Error("what is too large empties all")
	}
}

// A crowd compresses once, and those who must not wait are given plain bytes.
func TestCodedIsMadeOnce(t *testing.T) {
	t.Parallel()
	text := []byte(strings.Repeat("a seat in the stalls, ", 100))
	d := newCoded(text)
	var crowd sync.WaitGroup
	bodies := make([][]byte, 50)
	for n := range bodies {
		crowd.Go(func() {
			b, c, err := d.in(inBrotli, true)
			if err != nil || c != inBrotli {
				t.Errorf("%v %v", c, err)
				return
			}
			bodies[n] = b.body
		})
	}
	crowd.Wait()
	for _, body := range bodies {
		if len(body) == 0 || len(body) >= len(text) || &body[0] != &bodies[0][0] {
			t.Fatalf("%d bytes of %d, made more than once", len(body), len(text))
		}
	}
	gzip := &d.codings[inGzip]
	gzip.making.Lock() // somebody is at it
	if b, c, err := d.in(inGzip, false); err != nil || c != inPlain || !bytes.Equal(b.body, text) {
		t.Errorf("meanwhile: %v %v", c, err)
	}
	gzip.making.Unlock()
	if _, c, _ := d.in(inGzip, false); c != inGzip {
		t.Errorf("afterwards: %v", c)
	}
	if _, c, _ := newCoded([]byte("{}")).in(inBrotli, true); c != inPlain {
		t.Error("two bytes are compressed")
	}
}
