package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"strconv"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/gin-gonic/gin"
	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"onsale/checkout"
)

// seatMap is the state of all tickets of an event at one moment. It is encoded
// once, in each coding when the first asks for it, for everybody who looks: over
// HTTP, and as the frame that a viewer begins with.
type seatMap struct {
	view      *checkout.View
	encodings prometheus.Counter

	once  sync.Once
	frame []byte // as a WebSocket tells it
	coded [3]codedMap
}

// codedMap is the answer in one coding. Header values are as net/http has them;
// they are shared and not changed.
type codedMap struct {
	once         sync.Once
	body         []byte
	err          error
	etag, length []string
}

// coding is what an answer is compressed with.
type coding int

const (
	inPlain coding = iota
	inGzip
	inBrotli
)

var codingNames = [...][]string{inPlain: nil, inGzip: {"gzip"}, inBrotli: {"br"}}

// codingFor is the best coding that an Accept-Encoding header lists.
func codingFor(accepted string) coding {
	switch {
	case accepts(accepted, "br"):
		return inBrotli
	case accepts(accepted, "gzip"):
		return inGzip
	default:
		return inPlain
	}
}

// mapBrotli is a level of brotli that takes a large map a millisecond, as gzip
// does: a map is old within a second.
const mapBrotli = 5

// encode makes the frame and the plain answer, which is the frame's payload.
func (m *seatMap) encode() {
	m.once.Do(func() {
		m.encodings.Inc()
		body := appendSnapshot(make([]byte, 0, snapshotLength(m.view)), m.view)
		m.frame = appendFrame(make([]byte, 0, len(body)+16), websocket.TextMessage, body)
		body = m.frame[len(m.frame)-len(body):]
		sum := sha256.Sum256(body)
		tag := hex.EncodeToString(sum[:12])
		for c := range m.coded {
			name := tag
			if suffix := codingNames[c]; suffix != nil {
				name += "-" + suffix[0] // the same map in other bytes
			}
			m.coded[c].etag = []string{`"` + name + `"`}
		}
		m.coded[inPlain].body, m.coded[inPlain].length = body, []string{strconv.Itoa(len(body))}
	})
}

// whole is the frame that tells all tickets.
func (m *seatMap) whole() []byte {
	m.encode()
	return m.frame
}

// in is the answer in a coding.
func (m *seatMap) in(c coding) (*codedMap, error) {
	m.encode()
	a := &m.coded[c]
	if c != inPlain {
		a.once.Do(func() {
			m.encodings.Inc()
			a.body, a.err = compressed(c, mapBrotli, m.coded[inPlain].body)
			a.length = []string{strconv.Itoa(len(a.body))}
		})
	}
	return a, a.err
}

func compressed(c coding, level int, body []byte) ([]byte, error) {
	var b bytes.Buffer
	var w io.WriteCloser
	if c == inBrotli {
		w = brotli.NewWriterLevel(&b, level)
	} else {
		w = gzip.NewWriter(&b)
	}
	if _, err := w.Write(body); err != nil {
		return nil, err
	}
	err := w.Close()
	return bytes.Clone(b.Bytes()), err
}

// answer answers with the map, or 304 to who has it.
func (m *seatMap) answer(c *gin.Context, cache []string) error {
	m.encode()
	coding := codingFor(c.GetHeader("Accept-Encoding"))
	h := c.Writer.Header()
	etag := m.coded[coding].etag
	known := matches(c, etag[0])
	var a *codedMap
	if !known {
		var err error
		if a, err = m.in(coding); err != nil {
			return err
		}
	}
	h["Etag"], h["Cache-Control"] = etag, cache
	h.Add("Vary", "Accept-Encoding")
	if known {
		c.Status(http.StatusNotModified)
		return nil
	}
	h["Content-Type"], h["Content-Length"] = eventType, a.length
	if name := codingNames[coding]; name != nil {
		h["Content-Encoding"] = name
	}
	c.Status(http.StatusOK)
	_, _ = c.Writer.Write(a.body) // who has gone does not read it
	return nil
}

// cost is about how many bytes a map keeps once it is encoded in every way.
func (m *seatMap) cost() int { return len(m.view.Status) + 3*snapshotLength(m.view) + 1024 }

// seatMaps keeps the maps of the events people look at.
type seatMaps struct {
	encodings prometheus.Counter

	mu   sync.Mutex
	made map[string]*latestMaps // by event
	size int
}

// latestMaps are the last two maps of an event: while one replaces the other, some
// still ask for the one before.
type latestMaps [2]*seatMap

// mostOfMaps bounds the kept bytes.
const mostOfMaps = 64 << 20

func newSeatMaps() *seatMaps {
	return &seatMaps{
		made: make(map[string]*latestMaps),
		encodings: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "onsale_live_encodings_total", Help: "Seat maps and changes of them encoded, each once for all who look.",
		}),
	}
}

// of returns the map that says what v says.
func (d *seatMaps) of(event string, v *checkout.View) *seatMap {
	d.mu.Lock()
	defer d.mu.Unlock()
	latest := d.made[event]
	if latest == nil {
		latest = new(latestMaps)
	}
	for _, m := range latest {
		if m != nil && sameMap(m.view, v) {
			return m
		}
	}
	m := &seatMap{view: v, encodings: d.encodings}
	d.size += m.cost()
	if last := latest[1]; last != nil {
		d.size -= last.cost()
	}
	latest[0], latest[1] = m, latest[0]
	if d.size > mostOfMaps {
		clear(d.made)
		latest[1] = nil
		d.size = m.cost()
	}
	d.made[event] = latest
	return m
}

// sameInventory tells whether two views are of one inventory, so that the changes
// from one to the other can be told. One that was rebuilt is another.
func sameInventory(a, b *checkout.View) bool {
	return a.Epoch == b.Epoch && len(a.Status) == len(b.Status)
}

// sameMap tells whether two views say the same.
func sameMap(a, b *checkout.View) bool { return a.Seq == b.Seq && sameInventory(a, b) }

// snapshotLength is at least as many bytes as the snapshot of v takes.
func snapshotLength(v *checkout.View) int {
	return len(`{"type":"snapshot","seq":,"total":,"status":""}`) + 2*20 + base64.StdEncoding.EncodedLen((len(v.Status)+3)/4)
}

// appendSnapshot appends the state of all tickets.
func appendSnapshot(dst []byte, v *checkout.View) []byte {
	dst = strconv.AppendInt(append(dst, `{"type":"snapshot","seq":`...), v.Seq, 10)
	dst = strconv.AppendInt(append(dst, `,"total":`...), int64(len(v.Status)), 10)
	dst = base64.StdEncoding.AppendEncode(append(dst, `,"status":"`...), twoBits(v.Status))
	return append(dst, `"}`...)
}

// appendDelta appends what changed from one view to the next. It reports false
// when they are not of one inventory, or when telling everything is shorter.
func appendDelta(dst []byte, from, to *checkout.View) ([]byte, bool) {
	if !sameInventory(from, to) || to.Seq < from.Seq {
		return dst, false
	}
	start, longest := len(dst), max(snapshotLength(to), longDelta)
	dst = strconv.AppendInt(append(dst, `{"type":"delta","seq":`...), to.Seq, 10)
	dst = strconv.AppendInt(append(dst, `,"prev":`...), from.Seq, 10)
	dst = append(dst, `,"changes":[`...)
	first := true
	for o := range to.Status {
		if from.Status[o] == to.Status[o] {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = strconv.AppendInt(append(dst, '['), int64(o), 10)
		dst = append(dst, ',', '0'+stateNumber(to.Status[o]), ']')
		if len(dst)-start > longest {
			return dst[:start], false
		}
	}
	return append(dst, `]}`...), true
}

// longDelta is a length up to which what changed is told as such, however few
// tickets there are.
const longDelta = 4 << 10

// twoBits packs status bytes four to a byte, lowest bits first: 0 available,
// 1 held, 2 sold, 3 blocked.
func twoBits(status []byte) []byte {
	packed := make([]byte, (len(status)+3)/4)
	for o, b := range status {
		packed[o/4] |= stateNumber(b) << (o % 4 * 2)
	}
	return packed
}

func stateNumber(b byte) byte {
	switch checkout.TicketState(b) {
	case checkout.Available:
		return 0
	case checkout.Held:
		return 1
	case checkout.Sold:
		return 2
	default:
		return 3
	}
}
