package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"onsale/internal/stack"
	"onsale/internal/stack/stacktest"
)

// A small crowd walks through the program itself, as a child process on servers
// of its own.
func TestBenchJourney(t *testing.T) {
	stacktest.OwnRedis(t, stack.RedisOptions{Forget: true}) // skips where there is none
	stacktest.Postgres(t)
	file := filepath.Join(t.TempDir(), "report.json")
	// The settings are another node's and must not reach the child.
	environ := append(slices.Clone(os.Environ()), programMode+"=1", "ONSALE_ROLE=waitroom", "ONSALE_ADDR=127.0.0.1:1")
	code, stdout, stderr := executeIn(t, environ, "bench", "--scenario", "journey", "--visitors", "20", "--seats", "10",
		"--arrive", "200ms", "--limit", "10m", "--json", file)
	if code != exitOK {
		t.Fatalf("code %d\n%s\n%s", code, stdout, stderr)
	}
	var report struct {
		Visitors int
		Tickets  int `json:"tickets_bought"`
		Ends     map[string]int
		Checks   []struct{ Name, Broken string }
	}
	content, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(content, &report)
	}
	if err != nil || report.Visitors != 20 || report.Tickets != 10 || report.Ends["failed"] != 0 {
		t.Errorf("%v in %s", err, content)
	}
	fromDatabase := 0
	for _, check := range report.Checks {
		if check.Broken != "" {
			t.Errorf("%s: %s", check.Name, check.Broken)
		}
		if strings.HasPrefix(check.Name, "database: ") {
			fromDatabase++
		}
	}
	if fromDatabase < 4 || !strings.Contains(stdout, "holds   no ticket sold twice (10 tickets)") {
		t.Errorf("the report says\n%s", stdout)
	}
}

func TestBenchFindsTheRunningProgram(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "admin-token"), []byte("kept-in-the-folder\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args    []string
		environ []string
		code    int
		stderr  string
	}{
		{[]string{"--scenario", "party"}, nil, 2, `no scenario "party"`},
		{[]string{"--rows", "join,speed"}, nil, 2, `no row "speed"`},
		{[]string{"--scenario", "journey", "--visitors", "0"}, nil, 1, "visitors must be 1 or more"},
		{[]string{"--scenario", "journey", "--url", "http://192.0.2.1", "--admin-token", "x"}, nil, 1, "not on this machine"},
		{[]string{"--scenario", "journey", "--url", "http://127.0.0.1:1", "--data-dir", filepath.Join(folder, "none")}, nil, 1, "admin-token"},
		// With a token kept for a program of the folder, its database must run.
		{[]string{"--scenario", "journey", "--url", "http://127.0.0.1:1", "--data-dir", folder}, nil, 1, "no PostgreSQL runs"},
		// With the token of another program, the folder's database is not asked.
		{[]string{"--scenario", "journey", "--url", "http://127.0.0.1:1", "--data-dir", folder}, []string{"ONSALE_ADMIN_TOKEN=another"}, 1, "connection refused"},
	} {
		code, _, stderr := executeIn(t, test.environ, append([]string{"bench"}, test.args...)...)
		if code != test.code || !strings.Contains(stderr, test.stderr) {
			t.Errorf("%v: code %d, %s", test.args, code, stderr)
		}
	}
}

// The child that others are measured against is nobody's business.
func TestBenchReferenceIsHidden(t *testing.T) {
	t.Parallel()
	var help bytes.Buffer
	cmd := newBenchCommand(nil)
	cmd.SetOut(&help)
	if err := cmd.Help(); err != nil || strings.Contains(help.String(), "Available Commands") || !strings.Contains(help.String(), "--rows") {
		t.Errorf("%v: %s", err, help.String())
	}
}
