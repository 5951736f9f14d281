package ticket_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDocumentedVerifier runs the program in docs/tickets.md on the example there.
func TestDocumentedVerifier(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/tickets.md")
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile("(?s)```go\n(.*?)```").FindSubmatch(doc)
	if code == nil || !strings.Contains(string(doc), "\n"+vectorText+"\n") {
		t.Fatal("the program or the example is missing")
	}
	dir := t.TempDir()
	program, keys := filepath.Join(dir, "main.go"), filepath.Join(dir, "jwks.json")
	for name, content := range map[string][]byte{program: code[1], keys: testKeys(t).JWKS()} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	v := vector()
	forged := strings.Replace(vectorText, "T10", "T11", 1)
	for text, want := range map[string]string{
		vectorText: "[" + v.Event.String() + " " + v.Ticket.String() + " " + v.Admission.String() + "] <nil>\n",
		forged:     "forged",
		"T1":       "not a ticket",
	} {
		out, err := exec.CommandContext(t.Context(), "go", "run", program, keys, text).CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%.10s…: %s %v, want %s", text, out, err, want)
		}
	}
}
