package catalog

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"onsale/internal/fault"
)

func TestTextIsReadAsSearchEnginesDo(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"jazz":                         "(('jazz':*))",
		"midnight jazz":                "(('midnight') & ('jazz':*))",
		`"midnight jazz" trio`:         "(('midnight' <-> 'jazz') & ('trio':*))",
		`"midnight jazz"`:              "(('midnight' <-> 'jazz'))",
		`"midnight`:                    "(('midnight'))",
		"jazz or Blues":                "(('jazz')) | (('Blues':*))",
		"or jazz OR or blues or":       "(('jazz')) | (('blues'))",
		"jazz -free":                   "(('jazz') & !('free'))",
		`jazz -"free entry"`:           "(('jazz') & !('free' <-> 'entry'))",
		"AC/DC":                        "(('AC' <-> 'DC':*))",
		"O'Hara’s":                     "(('OHaras':*))",
		"jazz ":                        "(('jazz'))",
		"jazz!":                        "(('jazz'))",
		"u":                            "(('u'))",
		"u2":                           "(('u2':*))",
		"愛":                            "(('愛':*))",
		`'); drop table events; --`:    "(('drop') & ('table') & ('events'))",
		`a\b:* & !c | (d <-> e) 'f''g`: "(('a' <-> 'b') & ('c') & ('d') & ('e') & ('fg':*))",
		"%_ x":                         "(('x'))",
	} {
		got, err := ParseText(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got.Expression() != want {
			t.Errorf("%s: got %s, want %s", text, got.Expression(), want)
		}
	}
	for text, want := range map[string]string{
		"": "no word", "%": "no word", `"" - -- ""`: "no word", "or": "no word", "\u0301": "no word", "🎺": "no word",
		"-jazz": "something to find", "jazz or -blues": "something to find",
		strings.Repeat("a ", mostWords+1): "16 words", "\"" + strings.Repeat("a ", mostWords+1): "16 words",
	} {
		if _, err := ParseText(text); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestGuesses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		word   string
		prefix bool
		alike  []string
		want   string
	}{
		{"lantrens", false, []string{"lantern", "lanterns", "lanes"}, "lanterns"},
		{"lanten", true, []string{"lanterns", "lanes"}, "lanterns"},
		{"lanten", false, []string{"lanterns"}, ""}, // two, in a word of six letters
		{"symphonieorkester", false, []string{"symphonieorchester", "symphonic"}, "symphonieorchester"},
		{"mozrat", false, []string{"mozart", "mozarts"}, "mozart"},
		{"mozart", false, []string{"mozart", "mozarts"}, ""}, // it is known
		{"band", false, []string{"bend", "bank", "sand", "hound"}, "bank bend sand"},
		{"mo", false, []string{"no"}, ""}, // too short to be unsure
	} {
		text, err := ParseText(test.word)
		if err != nil {
			t.Fatal(err)
		}
		text.branches[0][0].prefix = test.prefix
		made := text.Guess([]Likeness{{test.word, test.word, test.alike}})
		if got := strings.Join(text.branches[0][0].guesses, " "); got != test.want || made != (test.want != "") {
			t.Errorf("%s: guessed %q, %t; want %q", test.word, got, made, test.want)
		}
	}
	text, err := ParseText(`lantrens "quoted" -without u2000 jaz or lantrens midnight`)
	if err != nil {
		t.Fatal(err)
	}
	if got := text.Unsure(); !slices.Equal(got, []string{"lantrens", "midnight"}) {
		t.Errorf("unsure about %q", got)
	}
}

// TestTyposAreADistance compares the distance with its definition: one change of
// any kind costs one, whatever else the words have.
func TestTyposAreADistance(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		word := []rune(rapid.StringMatching(`[a-eé]{2,12}`).Draw(t, "word"))
		at := rapid.IntRange(0, len(word)-2).Draw(t, "at")
		changed := slices.Clone(word)
		switch rapid.IntRange(0, 3).Draw(t, "change") {
		case 0:
			changed = slices.Delete(changed, at, at+1)
		case 1:
			changed = slices.Insert(changed, at, 'z')
		case 2:
			changed[at] = 'z'
		default:
			changed[at], changed[at+1] = changed[at+1], changed[at]
		}
		want := 1
		if slices.Equal(word, changed) {
			want = 0
		}
		if got := typos(word, changed, false); got != want {
			t.Fatalf("%s and %s: %d", string(word), string(changed), got)
		}
		if typos(changed, word, false) != want {
			t.Fatal("the way back is another")
		}
		if got := typos(word, append(changed, 'x', 'y'), true); got > want {
			t.Fatalf("%s begins %sxy: %d", string(word), string(changed), got)
		}
	})
}

func TestCursorsOfEvents(t *testing.T) {
	t.Parallel()
	at := time.Date(2027, 3, 1, 19, 0, 0, 123456000, time.UTC)
	q := Query{Text: "jazz", City: "Köln", From: at}
	if err := q.Check(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []EventCursor{
		{StartsAt: at, ID: testID(7)},
		{StartsAt: time.Unix(-5, 0).UTC(), ID: testID(7), Name: "uber \"alles\"", Rank: -3},
		{StartsAt: time.UnixMicro(0).UTC(), ID: testID(7), StretchStart: at, StretchID: testID(8), Guessed: true},
		{StretchStart: at, StretchID: testID(8)},
	} {
		q.Cursor = q.Token(want)
		if got, err := q.Place(); err != nil || got != want {
			t.Errorf("%+v became %+v, %v", want, got, err)
		}
	}
	q.Limit = 7
	if _, err := q.Place(); err != nil {
		t.Errorf("a page of another size: %v", err)
	}
	for what, change := range map[string]func(*Query){
		"q": func(q *Query) { q.Text = "blues" }, "sort": func(q *Query) { q.Sort = ByStart }, "city": func(q *Query) { q.City = "" },
		"from": func(q *Query) { q.From = q.From.Add(1) }, "to": func(q *Query) { q.To = at }, "drafts": func(q *Query) { q.Drafts = true },
		"name": func(q *Query) { q.Name = "x" }, "artist": func(q *Query) { q.Artist = "x" }, "type": func(q *Query) { q.Type = "x" },
	} {
		other := q
		change(&other)
		if _, err := other.Place(); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "another search") {
			t.Errorf("another %s: %v", what, err)
		}
	}
	for _, bad := range []string{
		"x", "e1", TicketCursor(4), strings.Repeat("A", 5000), "ZTEuLi4", "\xff",
		q.Token(EventCursor{}), q.Token(EventCursor{StartsAt: at, ID: "no-id"}), q.Token(EventCursor{StretchStart: at, StretchID: "no-id"}),
		q.Token(EventCursor{StartsAt: at, ID: testID(1), Rank: 1 << 40}), q.Token(EventCursor{StartsAt: at, ID: testID(1), Name: "\x00"}),
		q.Token(EventCursor{StartsAt: at.AddDate(9000, 0, 0), ID: testID(1)}),
	} {
		q.Cursor = bad
		if _, err := q.Place(); !fault.Is(err, fault.Invalid) {
			t.Errorf("cursor %.50q: %v", bad, err)
		}
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{`"a b" or -c`, "O'Hara", "\u0301\"-\"", "ﬁ ½ İ"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text, err := ParseText(s)
		if err != nil {
			if !fault.Is(err, fault.Invalid) {
				t.Fatal(err)
			}
			return
		}
		// Every quote of the expression is one of ours.
		for i, piece := range strings.Split(text.Expression(), "'") {
			if i%2 == 0 && strings.Trim(piece, "()|&!:*<-> ") != "" || i%2 == 1 && strings.ContainsAny(piece, ` \'`) {
				t.Fatalf("%q became %s", s, text.Expression())
			}
		}
	})
}
