package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSimulate(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "report.json")
	small := []string{"--visitors", "200", "--tickets=100", "--lobby=1m", "--arrive=1m", "--shop-time=20s", "--order=fifo"}
	for _, c := range []struct {
		name string
		args []string
		code int
		says []string
	}{
		{"a small sale", append(small, "--json", file), 0, []string{"200 people for 100 tickets", "Sold out 0:0", "Nobody is let in before somebody ahead of them: holds"}},
		{"bad numbers", []string{"--visitors=0", "--order=random"}, 2, []string{"visitors must be from 1", `order must be fifo or draw, not "random"`}},
		{"a word too many", []string{"fast"}, 2, []string{"fast"}},
		{"nowhere to write", append(small, "--json", filepath.Join(file, "none")), 1, []string{"none"}},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), append([]string{"simulate"}, c.args...), nil, &out, &errs, nil)
		if code != c.code {
			t.Errorf("%s: exit %d, want %d: %s", c.name, code, c.code, errs.String())
		}
		for _, want := range c.says {
			if all := out.String() + errs.String(); !strings.Contains(all, want) {
				t.Errorf("%s: %q is not in\n%s", c.name, want, all)
			}
		}
		if strings.Contains(errs.String(), "invalid-request") {
			t.Errorf("%s: a code of the API is told to people: %s", c.name, errs.String())
		}
	}
	var report struct {
		Sold     int  `json:"sold"`
		SoldOutS *int `json:"sold_out_s"`
	}
	raw, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(raw, &report)
	}
	if err != nil || report.Sold != 100 || report.SoldOutS == nil {
		t.Errorf("the file says %+v, %v", report, err)
	}
}
