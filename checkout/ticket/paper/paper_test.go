package paper_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"onsale/checkout/ticket/paper"
	"onsale/internal/stack/stacktest"
)

func some() []paper.Ticket {
	zone := time.FixedZone("CEST", 2*60*60)
	first := paper.Ticket{
		Event: "Trio at the mill: an evening of Dvořák, Łukasiewicz and Ελληνικά songs", Starts: time.Date(2031, 5, 1, 20, 0, 0, 0, zone),
		Doors: time.Date(2031, 5, 1, 19, 0, 0, 0, zone), Venue: "The mill", Address: []string{"Mill Lane 1", "Köln", "DE"},
		Section: "Stalls", Row: "2", Seat: "17", Tier: "Front stalls", Price: "45.00 EUR", Holder: "Zoë Ångström-Nuñez",
		Order: "0190b0a0-8c3e-7a41-9d5e-3f1f6f1f0001", Code: "0123-4567-89AB-CDEF", QR: "T1" + strings.Repeat("0A", 96),
		Issued: time.Date(2031, 2, 1, 8, 0, 0, 0, time.UTC),
	}
	second := first
	second.Row, second.Seat, second.Section, second.Tier = "", "", "Floor", strings.Repeat("Very long category ", 10)
	second.Holder, second.Event, second.Rotating = "山田 太郎 e\u0301", strings.Repeat("A name that does not end ", 12), true
	return []paper.Ticket{first, second}
}

func printed(t *testing.T, tickets []paper.Ticket) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := paper.Print(&b, tickets); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestPrintIsDeterministic: the same tickets are the same bytes, other tickets
// others.
func TestPrintIsDeterministic(t *testing.T) {
	t.Parallel()
	first := printed(t, some())
	for range 5 {
		if !bytes.Equal(printed(t, some()), first) {
			t.Fatal("the same tickets gave other bytes")
		}
	}
	other := some()
	other[0].Seat = "18"
	if bytes.Equal(printed(t, other), first) {
		t.Error("another seat gave the same bytes")
	}
	for name, change := range map[string]func(*paper.Ticket){
		"an entrance": func(t *paper.Ticket) { t.Entrance = "Door B" },
		"a note":      func(t *paper.Ticket) { t.Notes = "restricted view" },
	} {
		other := some()
		change(&other[0])
		if bytes.Equal(printed(t, other), first) {
			t.Errorf("%s is not printed", name)
		}
	}
	if !bytes.HasPrefix(first, []byte("%PDF-1.")) || !bytes.Contains(first, []byte("/Count 2")) || len(first) > 200_000 {
		t.Errorf("%d bytes, %q…", len(first), first[:16])
	}
	if err := paper.Print(&bytes.Buffer{}, nil); err == nil {
		t.Error("no tickets were printed")
	}
}

// TestPrintedText reads the pages back with poppler.
func TestPrintedText(t *testing.T) {
	t.Parallel()
	tool, err := exec.LookPath("pdftotext")
	if err != nil {
		stacktest.Missing(t, fmt.Errorf("no pdftotext, of poppler-utils: %w", err))
	}
	file := filepath.Join(t.TempDir(), "tickets.pdf")
	if err := os.WriteFile(file, printed(t, some()), 0o600); err != nil {
		t.Fatal(err)
	}
	if keep := os.Getenv("ONSALE_KEEP_PDF"); keep != "" {
		if err := os.WriteFile(keep, printed(t, some()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), tool, "-layout", file, "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	pages := strings.Split(strings.TrimSuffix(string(out), "\f"), "\f")
	if len(pages) != 2 {
		t.Fatalf("%d pages", len(pages))
	}
	for _, want := range []string{
		"Dvořák", "Łukasiewicz", "Ελληνικά", "Thursday, 1 May 2031, 20:00 CEST", "Doors open at 19:00", "Mill Lane 1, Köln, DE", "Stalls", "17",
		"45.00 EUR", "Zoë Ångström-Nuñez", "3f1f6f1f0001", "0123-4567-89AB-CDEF", "Ticket 1 of 2", "1 February 2031, 10:00 CEST", "one person in",
	} {
		if !strings.Contains(pages[0], want) {
			t.Errorf("page 1 lacks %q:\n%s", want, pages[0])
		}
	}
	for _, want := range []string{"?? ?? é", "Ticket 2 of 2", "…", "only codes on a phone"} {
		if !strings.Contains(pages[1], want) {
			t.Errorf("page 2 lacks %q:\n%s", want, pages[1])
		}
	}
	if strings.Contains(pages[1], "SEAT") {
		t.Error("page 2 has a seat")
	}
}
