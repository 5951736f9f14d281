package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"onsale/waitroom"
)

func TestVerifyDraw(t *testing.T) {
	t.Parallel()
	room := waitroom.Room{Settings: waitroom.Settings{Event: "e", Order: waitroom.DrawOrder, Draw: waitroom.Draw{
		Secret: strings.Repeat("ab", 32), PublicSource: "the lottery", PublicValue: "4 8 15", N: 30, Base: 2,
		Digest: strings.Repeat("cd", 20), At: time.Unix(1_900_000_000, 0).UTC(),
	}}}
	proof := room.Proof()
	truth, err := json.Marshal(proof)
	if err != nil {
		t.Fatal(err)
	}
	lie := bytes.Replace(truth, []byte(`"4 8 15"`), []byte(`"4 8 16"`), 1)
	dir := t.TempDir()
	file := func(name string, text []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/draw" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(truth)
	}))
	t.Cleanup(server.Close)
	place, err := proof.PlaceOf(7)
	if err != nil {
		t.Fatal(err)
	}
	index := fmt.Sprintf("join index 7 has place %d", place)
	for _, c := range []struct {
		name  string
		args  []string
		stdin []byte
		code  int
		says  string
	}{
		{"a file", []string{file("truth.json", truth), "--index", "7"}, nil, 0, index},
		{"standard input", []string{"-"}, truth, 0, "The draw holds: 30 join indexes"},
		{"the web", []string{server.URL + "/draw", "--index=7"}, nil, 0, index},
		{"a lie", []string{file("lie.json", lie)}, nil, 1, "does not hold"},
		{"an index that is not in it", []string{file("more.json", truth), "--index", "31"}, nil, 1, "no join index 31"},
		{"no proof", []string{"-"}, []byte("hello"), 1, "not the proof"},
		{"too much", []string{"-"}, bytes.Repeat([]byte(" "), mostProof+2), 1, "larger"},
		{"another page", []string{server.URL + "/other"}, nil, 1, "404"},
		{"no file", []string{filepath.Join(dir, "none")}, nil, 1, "no such file"},
		{"nothing", nil, nil, 2, "name one"},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), append([]string{"verify-draw"}, c.args...), bytes.NewReader(c.stdin), &out, &errs, nil)
		if all := out.String() + errs.String(); code != c.code || !strings.Contains(all, c.says) {
			t.Errorf("%s: exit %d, %q; want %d and %q", c.name, code, all, c.code, c.says)
		}
	}
}
