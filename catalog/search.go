package catalog

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"onsale/internal/fault"
)

// Sort is an order of events. Those that are equal in it go by their ids.
type Sort string

// The orders.
const (
	ByStart Sort = "starts_at"
	ByName  Sort = "name" // without case and accents, then by start
	// ByRelevance has what fits the text best first, then the earlier. Among very
	// many that fit it orders stretch by stretch, see Stretch.
	ByRelevance Sort = "relevance"
)

// Stretch is how many events are compared by relevance at a time: a word that
// half of all events have would else cost reading half of them. The first 1000
// that fit, by start, come in the order of relevance, then the next 1000.
const Stretch = 1000

// mostWords bounds what one text can ask the database for.
const mostWords = 16

// Text is what somebody typed to find events, as a condition on words: any of
// its branches, in which all terms must hold.
type Text struct {
	branches [][]term
}

// term is a word, or words one after another.
type term struct {
	words   []string
	not     bool
	quoted  bool
	prefix  bool     // the word may go on: it is being typed
	guesses []string // words of the catalog that may have been meant
}

// ParseText reads a text as search engines have taught everybody to write:
// all words must be there, "these together", -not, or. The last word may be the
// beginning of one. Other punctuation only parts words. Text without anything to
// look for, or of too many words, is fault.Invalid.
func ParseText(s string) (*Text, error) {
	p := textParser{rest: norm.NFKD.String(s)}
	t := &Text{branches: [][]term{nil}}
	words := 0
	for {
		one, or, more := p.next()
		if !more {
			break
		}
		last := len(t.branches) - 1
		if or {
			if len(t.branches[last]) > 0 {
				t.branches = append(t.branches, nil)
			}
			continue
		}
		words += len(one.words)
		t.branches[last] = append(t.branches[last], one)
	}
	if last := len(t.branches) - 1; last > 0 && len(t.branches[last]) == 0 { // "jazz or"
		t.branches = t.branches[:last]
	}
	switch {
	case words == 0:
		return nil, fault.New(fault.Invalid, "q has no word to look for")
	case words > mostWords:
		return nil, fault.New(fault.Invalid, "q has more than %d words", mostWords)
	}
	for _, all := range t.branches {
		if !slices.ContainsFunc(all, func(one term) bool { return !one.not }) {
			return nil, fault.New(fault.Invalid, "q must name something to find, not only what to leave out")
		}
	}
	return t, nil
}

type textParser struct{ rest string }

// next takes a term or an "or" from the text.
func (p *textParser) next() (one term, or, more bool) {
	for p.rest != "" {
		p.rest = strings.TrimLeftFunc(p.rest, unicode.IsSpace)
		one = term{}
		if after, ok := strings.CutPrefix(p.rest, "-"); ok {
			p.rest, one.not = after, true
		}
		var raw string
		if after, ok := strings.CutPrefix(p.rest, `"`); ok {
			raw, p.rest, _ = strings.Cut(after, `"`)
			one.quoted = true
		} else {
			end := strings.IndexFunc(p.rest, func(r rune) bool { return unicode.IsSpace(r) || r == '"' })
			if end < 0 {
				end = len(p.rest)
			}
			raw, p.rest = p.rest[:end], p.rest[end:]
			if !one.not && strings.EqualFold(raw, "or") {
				return term{}, true, true
			}
		}
		if one.words = wordsOf(raw); len(one.words) == 0 {
			continue
		}
		one.prefix = p.rest == "" && !one.quoted && !one.not && mayGoOn(raw)
		return one, false, true
	}
	return term{}, false, false
}

// wordsOf parts a text as search_words_of does in the database.
func wordsOf(raw string) []string {
	var b strings.Builder
	for _, r := range raw {
		switch {
		case strings.ContainsRune("'\u2018\u2019\u02bc`\u00b4", r):
		case unicode.IsLetter(r), unicode.IsNumber(r), unicode.IsMark(r):
			b.WriteRune(r)
		default:
			b.WriteByte(' ')
		}
	}
	return slices.DeleteFunc(strings.Fields(b.String()), func(w string) bool {
		return !strings.ContainsFunc(w, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) })
	})
}

// mayGoOn tells whether a word at the end is looked for as a beginning: a
// single Latin letter begins too many.
func mayGoOn(raw string) bool {
	r, size := utf8.DecodeLastRuneInString(raw)
	return (unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r)) && (len(raw) > size || r >= utf8.RuneSelf)
}

// Expression is the text as Postgres' to_tsquery reads it.
func (t *Text) Expression() string {
	branches := make([]string, len(t.branches))
	for i, all := range t.branches {
		terms := make([]string, len(all))
		for k, one := range all {
			terms[k] = one.expression()
		}
		branches[i] = "(" + strings.Join(terms, " & ") + ")"
	}
	return strings.Join(branches, " | ")
}

func (one term) expression() string {
	// Words are letters, digits and marks: nothing that quotes could end by.
	quoted := make([]string, len(one.words))
	for i, w := range one.words {
		quoted[i] = "'" + w + "'"
	}
	e := strings.Join(quoted, " <-> ")
	if one.prefix {
		e += ":*"
	}
	if one.not {
		return "!(" + e + ")"
	}
	for _, g := range one.guesses {
		e += " | '" + g + "'"
	}
	return "(" + e + ")"
}

// Plain is what is looked for, in plain words: names are compared with it.
func (t *Text) Plain() string {
	var words []string
	for _, all := range t.branches {
		for _, one := range all {
			if !one.not {
				words = append(words, one.words...)
			}
		}
	}
	return strings.Join(words, " ")
}

// Typos of a word: none in a short one, where every other word is one letter
// away.
const (
	oneTypoFrom  = 4 // letters
	twoTyposFrom = 8
	mostGuesses  = 8
)

// Unsure lists the words that may be mistyped: those in quotes and those with
// digits are meant as they are.
func (t *Text) Unsure() []string {
	var words []string
	for _, all := range t.branches {
		for _, one := range all {
			if one.mayBeTypo() && !slices.Contains(words, one.words[0]) {
				words = append(words, one.words[0])
			}
		}
	}
	return words
}

func (one term) mayBeTypo() bool {
	return len(one.words) == 1 && !one.quoted && !one.not &&
		utf8.RuneCountInString(one.words[0]) >= oneTypoFrom && !strings.ContainsFunc(one.words[0], unicode.IsNumber)
}

// Likeness is a word of a text as the catalog would write it, and words of the
// catalog that are like it.
type Likeness struct {
	Word, Folded string
	Alike        []string
}

// Guess gives the words what they may have been meant to be: the nearest of
// those that are alike. Words that the catalog has stay alone. It reports whether
// any guess was made.
func (t *Text) Guess(known []Likeness) bool {
	made := false
	for _, all := range t.branches {
		for i := range all {
			if !all[i].mayBeTypo() {
				continue
			}
			k := slices.IndexFunc(known, func(l Likeness) bool { return l.Word == all[i].words[0] })
			if k < 0 {
				continue
			}
			all[i].guesses = nearest(known[k].Folded, known[k].Alike, all[i].prefix)
			made = made || len(all[i].guesses) > 0
		}
	}
	return made
}

// nearest are the words with the fewest typos between them and word, if these
// are few enough. Of none, word is one of them.
func nearest(word string, alike []string, prefix bool) []string {
	letters := []rune(word)
	best := 1
	if len(letters) >= twoTyposFrom {
		best = 2
	}
	var found []string
	for _, w := range alike {
		d := typos(letters, []rune(w), prefix)
		if d > best || slices.Contains(found, w) {
			continue
		}
		if d < best {
			best, found = d, nil
		}
		found = append(found, w)
	}
	if best == 0 {
		return nil
	}
	slices.Sort(found)
	return found[:min(len(found), mostGuesses)]
}

// typos counts the letters to insert, drop, replace or swap with their
// neighbour that make a of b, or of the best beginning of b. (Optimal string
// alignment distance, by dynamic programming.)
func typos(a, b []rune, prefix bool) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range a {
		row[0] = i + 1
		for j := range b {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	if prefix {
		return slices.Min(last)
	}
	return last[len(b)]
}

// EventCursor marks a place in the order of a query: after the event with these
// keys. It is opaque to clients and means nothing to any other query.
type EventCursor struct {
	StartsAt time.Time // to the microsecond, as Postgres has it
	ID       string
	Name     string // by name: the event's
	Rank     int    // by relevance: the event's
	// ByRelevance: the last event of the stretch before; none: the first stretch.
	StretchStart time.Time
	StretchID    string
	Guessed      bool // typos are made good
}

// eventCursor is a cursor as it travels.
type eventCursor struct {
	Query        string `json:"q"`
	StartsAt     int64  `json:"s,omitempty"`
	ID           string `json:"i,omitempty"`
	Name         string `json:"n,omitempty"`
	Rank         int    `json:"r,omitempty"`
	StretchStart int64  `json:"b,omitempty"`
	StretchID    string `json:"c,omitempty"`
	Guessed      bool   `json:"g,omitempty"`
}

const cursorVersion = "e2."

// Token encodes a place in the order of the query, which must have been checked.
func (q Query) Token(c EventCursor) string {
	micro := func(t time.Time, id string) int64 {
		if id == "" {
			return 0
		}
		return t.UnixMicro()
	}
	b, err := json.Marshal(eventCursor{
		q.digest(), micro(c.StartsAt, c.ID), c.ID, c.Name, c.Rank, micro(c.StretchStart, c.StretchID), c.StretchID, c.Guessed,
	})
	if err != nil { // strings, numbers and a bool
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(append([]byte(cursorVersion), b...))
}

// Place decodes the query's cursor; without one it is the zero value. What is
// none, and what belongs to another query, is fault.Invalid. The query must have
// been checked.
func (q Query) Place() (EventCursor, error) {
	if q.Cursor == "" {
		return EventCursor{}, nil
	}
	const most = 4096
	raw, err := base64.RawURLEncoding.DecodeString(q.Cursor[:min(len(q.Cursor), most)])
	doc, ok := bytes.CutPrefix(raw, []byte(cursorVersion))
	if err != nil || !ok {
		return EventCursor{}, badCursor()
	}
	var c eventCursor
	d := json.NewDecoder(bytes.NewReader(doc))
	d.DisallowUnknownFields()
	if d.Decode(&c) != nil || d.More() {
		return EventCursor{}, badCursor()
	}
	if c.Query != q.digest() {
		return EventCursor{}, fault.New(fault.Invalid, "the cursor belongs to another search: give it the parameters of the page that it came with")
	}
	const far = 1 << 57 // microseconds: Postgres knows the time
	if !storable(c.Name) || utf8.RuneCountInString(c.Name) > mostText || (c.ID == "" && c.StretchID == "") ||
		(c.ID != "" && !IsID(c.ID)) || (c.StretchID != "" && !IsID(c.StretchID)) ||
		max(c.StartsAt, c.StretchStart) > far || min(c.StartsAt, c.StretchStart) < -far ||
		c.Rank > 1<<30 || c.Rank < -1<<30 || (q.Sort != ByRelevance && c.ID == "") {
		return EventCursor{}, badCursor()
	}
	at := EventCursor{ID: c.ID, Name: c.Name, Rank: c.Rank, StretchID: c.StretchID, Guessed: c.Guessed}
	if c.ID != "" {
		at.StartsAt = time.UnixMicro(c.StartsAt).UTC()
	}
	if c.StretchID != "" {
		at.StretchStart = time.UnixMicro(c.StretchStart).UTC()
	}
	return at, nil
}

// digest tells queries apart. The size of pages may change on the way.
func (q Query) digest() string {
	q.Cursor, q.Limit = "", 0
	q.From, q.To = q.From.UTC(), q.To.UTC()
	b, err := json.Marshal(q)
	if err != nil { // years are bounded by Check
		panic(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}
