package web

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"onsale/waitroom"
)

// most is what a visitor who waits may cost this process, in bytes.
const most = 12 << 10

// A visitor who waits costs at most 12 KB. The clients are bare TCP connections
// of the same process, so what they cost is counted too.
func TestMemoryOfAWaitingVisitor(t *testing.T) {
	n := 400
	if testing.Short() {
		n = 300
	}
	h := newHall(t, nil)
	visitors := make([]string, n)
	for i := range visitors {
		visitors[i] = h.join().Visitor
	}
	conns := make([]net.Conn, 0, n)
	t.Cleanup(func() {
		for _, c := range conns {
			_ = c.Close()
		}
	})
	address := strings.TrimSuffix(strings.TrimPrefix(h.url, "ws://"), "/ws")
	reader := bufio.NewReader(nil)
	dial := func(visitor string) {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		if _, err := fmt.Fprintf(c, "GET /ws?visitor=%s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: onsale.v1\r\n\r\n", visitor); err != nil {
			t.Fatal(err)
		}
		reader.Reset(c)
		resp, err := http.ReadResponse(reader, nil)
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("handshake: %v, %v", resp, err)
		}
		if first, err := reader.ReadByte(); err != nil || first != 0x81 { // the first frame has come
			t.Fatalf("first frame: %x, %v", first, err)
		}
		_ = c.SetDeadline(time.Time{})
	}
	for _, visitor := range visitors[:50] { // what is there once is not counted
		dial(visitor)
	}
	heapBefore, rssBefore := memory(t)
	for _, visitor := range visitors[50:] {
		dial(visitor)
	}
	each, resident := settled(t, func() (live, resident int64) {
		heapAfter, rssAfter := memory(t)
		return (heapAfter - heapBefore) / int64(n-50), (rssAfter - rssBefore) / int64(n-50)
	})
	if got := h.hub.Connections(); got != n {
		t.Fatalf("%d connections, want %d", got, n)
	}
	t.Logf("a waiting visitor costs %d B of heap and stack, %d B of resident memory", each, resident)
	if each > most {
		t.Errorf("a waiting visitor costs %d B, at most %d are allowed", each, most)
	}
}

// settled measures what a connection costs until that is little enough, or for some
// seconds: on a busy machine handshakes are being ended yet.
func settled(t testing.TB, measure func() (live, resident int64)) (live, resident int64) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); ; <-time.After(100 * time.Millisecond) {
		live, resident = measure()
		if live <= most || time.Now().After(end) {
			return live, resident
		}
	}
}

// memory is the live heap with all stacks, and the resident memory, in bytes.
func memory(t testing.TB) (live, resident int64) {
	t.Helper()
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		for line := range strings.Lines(string(status)) {
			var kb int64
			if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kb); n == 1 {
				resident = kb << 10
			}
		}
	}
	return int64(m.HeapAlloc + m.StackInuse), resident
}

// What one push costs, with everything but the network.
func BenchmarkComposeFrame(b *testing.B) {
	h := newHall(b, nil)
	j := h.join()
	c := h.connect(j.Visitor)
	c.next()
	h.hub.mu.Lock()
	var p *peer
	for known := range h.hub.all {
		p = known.party.(*peer)
	}
	h.hub.mu.Unlock()
	var buf []byte
	var v waitroom.Visitor
	b.ReportAllocs()
	for b.Loop() {
		buf = h.hub.compose(p, &v, buf[:0])
	}
	b.SetBytes(int64(len(buf)))
}

// What one tick costs with 19,000 visitors at this node, without the store.
func BenchmarkPositions(b *testing.B) {
	const n = 19000
	q := waitroom.Query{Front: 1000}
	s := waitroom.Survey{Room: waitroom.Room{Settings: waitroom.Settings{Next: 100_000}, Waiting: 100_000}}
	for i := range 1000 {
		s.Front = append(s.Front, int64(i+1))
	}
	for i := range 64 {
		q.Scores = append(q.Scores, int64(2000+i*1500))
		s.Ahead = append(s.Ahead, 2000+i*1500-1)
	}
	b.ReportAllocs()
	for b.Loop() {
		p := newPositions(q, s)
		for i := range n {
			p.before(int64(i * 5))
		}
	}
}
