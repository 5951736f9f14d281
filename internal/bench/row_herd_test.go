package bench

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func TestAdjacent(t *testing.T) {
	t.Parallel()
	at := func(ordinal int, row, section string) seat {
		return seat{Ordinal: ordinal, Row: row, Section: section}
	}
	for _, test := range []struct {
		seats []seat
		well  bool
	}{
		{[]seat{at(3, "1", "Stalls"), at(4, "1", "Stalls")}, true},
		{[]seat{at(4, "1", "Stalls"), at(3, "1", "Stalls")}, false},
		{[]seat{at(3, "1", "Stalls"), at(5, "1", "Stalls")}, false},
		{[]seat{at(39, "1", "Stalls"), at(40, "2", "Stalls")}, false},
		{[]seat{at(39, "1", "Stalls"), at(40, "1", "Balcony")}, false},
		{[]seat{at(3, "1", "Stalls")}, false},
		{[]seat{at(3, "1", "Stalls"), at(4, "1", "Stalls"), at(5, "1", "Stalls")}, false},
		{nil, false},
	} {
		if err := adjacent(test.seats, 2); (err == nil) != test.well {
			t.Errorf("%+v: %v", test.seats, err)
		}
	}
}

func TestWavesOfAHerd(t *testing.T) {
	t.Parallel()
	got := func(first int, row string) bestAnswer {
		body, err := json.Marshal(held{ID: "h", Tickets: []seat{{Ordinal: first, Row: row, Section: "Stalls"}, {Ordinal: first + 1, Row: row, Section: "Stalls"}}})
		if err != nil {
			t.Fatal(err)
		}
		return bestAnswer{status: http.StatusCreated, body: body}
	}
	refusedAs := func(status int, code string) bestAnswer {
		return bestAnswer{status: status, body: []byte(`{"type":"https://onsale.example/problems/` + code + `","detail":"no such tickets are left"}`)}
	}
	for _, test := range []struct {
		name    string
		answers []bestAnswer
		wrong   string
	}{
		{"well", []bestAnswer{got(0, "1"), got(6, "1"), got(2, "1")}, ""},
		{"a seat twice", []bestAnswer{got(0, "1"), got(1, "1")}, "seat 1 is held twice"},
		{"a seat of an earlier wave", []bestAnswer{got(0, "1"), got(100, "3")}, "seat 100 is held twice"},
		{"refused too early", []bestAnswer{got(0, "1"), refusedAs(409, "sold-out")}, "answered 409 after 4 seats were held"},
		{"no hold", []bestAnswer{{status: 201, body: []byte("{}")}}, "0 seats are held"},
		{"no JSON", []bestAnswer{{status: 201, body: []byte("well")}}, "invalid character"},
	} {
		taken := map[int]bool{100: true, 101: true}
		err := pairs(test.answers, taken)
		if (test.wrong == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), test.wrong) {
			t.Errorf("%s: %v", test.name, err)
		}
		if err == nil && len(taken) != 2+2*len(test.answers) {
			t.Errorf("%s: %d are taken", test.name, len(taken))
		}
	}
	if err := soldOut([]bestAnswer{refusedAs(409, "sold-out"), refusedAs(409, "sold-out")}); err != nil {
		t.Error(err)
	}
	for _, answer := range []bestAnswer{got(4, "1"), refusedAs(409, "tickets-taken"), refusedAs(503, "sold-out"), refusedAs(429, "too-many-requests"), {status: 409}} {
		if err := soldOut([]bestAnswer{refusedAs(409, "sold-out"), answer}); err == nil {
			t.Errorf("%+v passed for sold out", answer)
		}
	}
}
