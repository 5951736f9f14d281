// Package docs_test holds the documentation against the project.
package docs_test

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"
)

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// Every direct dependency has its reason in dependencies.md, and nothing else has.
func TestDependenciesAreExplained(t *testing.T) {
	t.Parallel()
	explained := make(map[string]bool)
	for _, match := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| \\S").FindAllStringSubmatch(read(t, "dependencies.md"), -1) {
		explained[match[1]] = true
	}
	used := make(map[string]bool)
	for _, match := range regexp.MustCompile(`(?m)^\t(\S+) v\S+( // indirect)?$`).FindAllStringSubmatch(read(t, "../go.mod"), -1) {
		used[match[1]] = match[2] == ""
	}
	var page struct{ Dependencies, DevDependencies map[string]string }
	if err := json.Unmarshal([]byte(read(t, "../web/ui/package.json")), &page); err != nil {
		t.Fatal(err)
	}
	maps.Copy(page.Dependencies, page.DevDependencies)
	for name := range page.Dependencies {
		used[name] = true
	}
	if len(used) < 20 {
		t.Fatalf("found only %d dependencies: is go.mod read right?", len(used))
	}
	for name, direct := range used {
		if direct && !explained[name] {
			t.Errorf("%s is used, but dependencies.md does not say why", name)
		}
	}
	for name := range explained {
		if direct, found := used[name]; !found && strings.Contains(name, "/") {
			t.Errorf("dependencies.md explains %s, which is not used (direct: %t)", name, direct)
		}
	}
}
