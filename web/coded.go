package web

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/gin-gonic/gin"
)

// codedDocument is a document of unchanging bytes in all codings. Compressing is
// done once, by the first who asks for it.
type codedDocument struct {
	level   int // of brotli
	codings [len(codingNames)]codedBody
}

// codedBody holds header values as net/http has them; they are shared and not
// changed.
type codedBody struct {
	made         atomic.Bool // the rest may be read
	making       sync.Mutex
	body         []byte
	etag, length []string
}

// newCoded returns the document with these bytes. What its tag says of them
// besides the coding is their digest.
func newCoded(body []byte) *codedDocument {
	sum := sha256.Sum256(body)
	return newTagged(hex.EncodeToString(sum[:12]), body)
}

// newTagged is newCoded for who knows another name of the bytes.
func newTagged(tag string, body []byte) *codedDocument {
	d := &codedDocument{level: mapBrotli}
	for c := range d.codings {
		name := tag
		if suffix := codingNames[c]; suffix != nil {
			name += "-" + suffix[0] // the same document in other bytes
		}
		d.codings[c].etag = []string{`"` + name + `"`}
	}
	d.codings[inPlain].set(body)
	return d
}

func (b *codedBody) set(body []byte) {
	b.body, b.length = body, []string{strconv.Itoa(len(body))}
	b.made.Store(true)
}

// leastCoded is the size from which compressing saves more than its headers cost.
const leastCoded = 256

// in returns the document in a coding and which one that is: another than asked
// for where compressing is not worth it, or while somebody compresses and the
// caller does not wait for it.
func (d *codedDocument) in(c coding, wait bool) (*codedBody, coding, error) {
	plain, b := &d.codings[inPlain], &d.codings[c]
	if b.made.Load() {
		return b, c, nil
	}
	if len(plain.body) < leastCoded {
		return plain, inPlain, nil
	}
	if wait {
		b.making.Lock()
	} else if !b.making.TryLock() {
		return plain, inPlain, nil
	}
	defer b.making.Unlock()
	if !b.made.Load() {
		small, err := compressed(c, d.level, plain.body)
		if err != nil {
			return nil, c, err
		}
		b.set(small)
	}
	return b, c, nil
}

// same reports whether two documents have the same bytes.
func (d *codedDocument) same(as *codedDocument) bool {
	return d.codings[inPlain].etag[0] == as.codings[inPlain].etag[0]
}

// size is what the document may take in memory, all codings made.
func (d *codedDocument) size() int { return 2*len(d.codings[inPlain].body) + 1<<10 }

// answer answers with the document, or 304 to who has it. The crowd waits for the
// compressed one: what is answered so is large.
func (d *codedDocument) answer(c *gin.Context, kind, cache []string) error {
	asked := codingFor(c.GetHeader("Accept-Encoding"))
	if _, _, err := d.in(asked, true); err != nil {
		return err
	}
	d.write(c.Writer, c.Request, kind, cache)
	return nil
}

// choose returns the coding that r is answered in, and whether its client has the
// document so already, or plain, as it is given small ones. A crowd gets the plain
// one while somebody compresses.
func (d *codedDocument) choose(r *http.Request) (b *codedBody, c coding, known bool) {
	asked := inPlain
	if accepted := r.Header["Accept-Encoding"]; len(accepted) > 0 {
		asked = codingFor(accepted[0])
	}
	if given := r.Header["If-None-Match"]; len(given) > 0 {
		for _, c := range [...]coding{asked, inPlain} {
			if b := &d.codings[c]; (c == inPlain || len(d.codings[inPlain].body) >= leastCoded) && holds(given, b.etag[0]) {
				return b, c, true
			}
		}
	}
	b, c, err := d.in(asked, false)
	if err != nil { // plain it can always be had
		b, c = &d.codings[inPlain], inPlain
	}
	return b, c, false
}

// write is answer for small documents, which are not waited for. It reports
// whether the client had the document.
func (d *codedDocument) write(w http.ResponseWriter, r *http.Request, kind, cache []string) (known bool) {
	b, got, known := d.choose(r)
	d.writeAs(w, b, got, known, kind, cache)
	return known
}

func (d *codedDocument) writeAs(w http.ResponseWriter, b *codedBody, c coding, known bool, kind, cache []string) {
	h := w.Header()
	h["Cache-Control"] = cache
	addVary(h, varyCoding)
	h["Etag"] = b.etag
	if known {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h["Content-Type"] = kind
	if len(b.body) > selfCounted {
		h["Content-Length"] = b.length
	}
	if name := codingNames[c]; name != nil {
		h["Content-Encoding"] = name
	}
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(b.body) //nolint:gosec // nothing of the request is in it; who has gone does not read it
}

// selfCounted is what net/http surely counts itself. A header less is felt by a
// crowd.
const selfCounted = 2000

var varyCoding = []string{"Accept-Encoding"}

// addVary adds to what an answer depends on.
func addVary(h http.Header, by []string) {
	if before := h["Vary"]; len(before) > 0 {
		by = slices.Concat(before, by)
	}
	h["Vary"] = by
}

// keep holds what is costly to make, within a number of bytes: what was used
// least lately leaves first, and a few at a time, so that who asks for all there
// is neither empties it nor makes every other request sort it.
type keep[V any] struct {
	most int

	mu    sync.RWMutex
	items map[string]*remembered[V]
	total int
}

type remembered[V any] struct {
	value V
	size  int
	used  atomic.Int64 // seconds
}

func newKeep[V any](most int) *keep[V] {
	return &keep[V]{most: most, items: make(map[string]*remembered[V])}
}

// get returns what is kept under a key. now is any clock in seconds.
func (m *keep[V]) get(key string, now int64) (v V, ok bool) {
	m.mu.RLock()
	item := m.items[key]
	m.mu.RUnlock()
	if item == nil {
		return v, false
	}
	if item.used.Load() != now { // all of a crowd would write the same
		item.used.Store(now)
	}
	return item.value, true
}

// put keeps a value of some bytes. One larger than all there is room for is not
// kept.
func (m *keep[V]) put(key string, v V, size int, now int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(key)
	if size > m.most {
		return
	}
	if m.total+size > m.most {
		m.evict(m.most - size)
	}
	item := &remembered[V]{value: v, size: size}
	item.used.Store(now)
	m.items[key] = item
	m.total += size
}

// evict makes room for an eighth more than it must. It needs the lock.
func (m *keep[V]) evict(to int) {
	to -= min(to, m.most/8)
	type entry struct {
		key  string
		used int64
	}
	entries := make([]entry, 0, len(m.items))
	for key, item := range m.items {
		entries = append(entries, entry{key, item.used.Load()})
	}
	slices.SortFunc(entries, func(a, b entry) int { return int(a.used - b.used) })
	for _, e := range entries {
		if m.total <= to {
			return
		}
		m.drop(e.key)
	}
}

// drop needs the lock.
func (m *keep[V]) drop(key string) {
	if item := m.items[key]; item != nil {
		m.total -= item.size
		delete(m.items, key)
	}
}
