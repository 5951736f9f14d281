package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/caarlos0/env/v11"
	"go.yaml.in/yaml/v3"
)

// Source is where Load takes values from, beyond the defaults.
type Source struct {
	File    string            // path of a YAML file; "": ONSALE_CONFIG from Environ, else none
	Environ []string          // as os.Environ returns it
	Flags   map[string]string // flags given on the command line, by Setting.Flag
}

// Problems is the error of a configuration that cannot be used: one line each.
type Problems []string

func (p Problems) Error() string {
	if len(p) == 1 {
		return "configuration: " + p[0]
	}
	return fmt.Sprintf("configuration: %d problems:\n  - %s", len(p), strings.Join(p, "\n  - "))
}

func (p *Problems) addf(format string, args ...any) { *p = append(*p, fmt.Sprintf(format, args...)) }

// Load builds and validates the configuration. Its error is Problems with
// everything that is wrong, whatever source it came from.
func Load(source Source) (Config, error) {
	config := Default()
	var problems Problems
	environ := ours(source.Environ)
	if path := cmp.Or(source.File, environ[fileVariable]); path != "" {
		config.loadFile(path, &problems)
	}
	config.loadEnviron(environ, &problems)
	config.loadFlags(source.Flags, &problems)
	config.complete()
	config.validate(&problems)
	if len(problems) > 0 {
		return Config{}, problems
	}
	return config, nil
}

func (c *Config) loadFile(path string, problems *Problems) {
	content, err := os.ReadFile(path)
	if err != nil {
		problems.addf("%v", err)
		return
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return // an empty file sets nothing
	} else if err != nil {
		problems.addf("%s: %v", path, err)
		return
	}
	if len(document.Content) != 1 || document.Content[0].Kind != yaml.MappingNode {
		if document.Content[0].Tag != "!!null" { // nothing but comments
			problems.addf("%s: a list of settings is expected (key: value)", path)
		}
		return
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		problems.addf("%s: only one document is expected", path)
	}
	// The unknown keys are looked for by hand, not by KnownFields: an operator
	// is told the key's full name and what it may be meant to be.
	before := len(*problems)
	checkKeys(document.Content[0], reflect.TypeFor[Config](), "", path, problems)
	err = document.Decode(c)
	var wrong *yaml.TypeError
	switch {
	case errors.As(err, &wrong):
		for _, problem := range wrong.Errors {
			problems.addf("%s: %s", path, problem)
		}
	case err != nil && len(*problems) == before:
		problems.addf("%s: %v", path, err)
	}
}

// checkKeys reports the keys of a mapping that are no settings.
func checkKeys(mapping *yaml.Node, group reflect.Type, prefix, path string, problems *Problems) {
	known := make(map[string]reflect.StructField)
	for field := range group.Fields() {
		known[field.Tag.Get("yaml")] = field
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		field, found := known[key.Value]
		switch {
		case !found:
			problems.addf("%s: line %d: %s is not a setting%s", path, key.Line, prefix+key.Value,
				didYouMean(prefix+key.Value, settingNames(func(s Setting) string { return s.Name })))
		case isGroup(field) && value.Kind == yaml.MappingNode:
			checkKeys(value, field.Type, prefix+key.Value+".", path, problems)
		}
	}
}

// fileVariable names the configuration file, where no flag does.
const fileVariable = EnvPrefix + "CONFIG"

// notSettings matches variables with our prefix that belong to others: the
// project's own tests, and what Kubernetes and Docker links set for a service
// whose name begins with "onsale".
var notSettings = regexp.MustCompile(`^ONSALE_(TEST_\w*|CRASH_\w*|SCREENSHOTS|REQUIRE_REAL)$` +
	`|_SERVICE_(HOST|PORT)(_\w+)?$|_PORT(_\d+_(TCP|UDP)(_(PROTO|PORT|ADDR))?)?$`)

// ours returns the non-empty variables that are settings, or should be.
func ours(environ []string) map[string]string {
	found := make(map[string]string)
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, EnvPrefix) && value != "" && !notSettings.MatchString(name) {
			found[name] = value
		}
	}
	return found
}

func (c *Config) loadEnviron(environ map[string]string, problems *Problems) {
	known := settingNames(func(s Setting) string { return s.Env })
	for _, name := range slices.Sorted(maps.Keys(environ)) {
		switch {
		case name == fileVariable:
		case !slices.Contains(known, name):
			problems.addf("%s is not a setting%s", name, didYouMean(name, known))
		default:
			c.set(name, name, environ[name], problems)
		}
	}
}

func (c *Config) loadFlags(flags map[string]string, problems *Problems) {
	for _, setting := range Settings() {
		if value, given := flags[setting.Flag]; given && setting.Flag != "" {
			c.set("--"+setting.Flag, setting.Env, value, problems)
		}
	}
}

// set sets one value by the name of its environment variable; shown is how a
// problem names it. One variable at a time, so that a problem can name it: the
// library knows only the name of the struct's field.
func (c *Config) set(shown, name, value string, problems *Problems) {
	err := env.ParseWithOptions(c, env.Options{Prefix: EnvPrefix, Environment: map[string]string{name: value}})
	if all, ok := errors.AsType[env.AggregateError](err); ok {
		for _, err := range all.Errors {
			if wrong, ok := errors.AsType[env.ParseError](err); ok {
				err = wrong.Err
			}
			problems.addf("%s: %v", shown, err)
		}
	} else if err != nil {
		problems.addf("%s: %v", shown, err)
	}
}

func settingNames(name func(Setting) string) []string {
	var names []string
	for _, setting := range Settings() {
		names = append(names, name(setting))
	}
	return names
}

// didYouMean returns "; did you mean X?" for the known name that is nearest to
// the unknown one, if any is near.
func didYouMean(unknown string, known []string) string {
	unknown = strings.ToLower(unknown)
	best, least := "", len(unknown)/3+1
	for _, name := range known {
		lower := strings.ToLower(name)
		distance := editDistance(unknown, lower)
		if strings.HasSuffix(lower, "."+unknown) { // the right key outside its group
			distance = 1
		}
		if distance < least {
			best, least = name, distance
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// editDistance is the least number of inserted, deleted and changed bytes
// (Levenshtein), by the usual table of which two rows are kept.
func editDistance(a, b string) int {
	previous := make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := range len(a) {
		current := make([]int, len(b)+1)
		current[0] = i + 1
		for j := range len(b) {
			change := previous[j]
			if a[i] != b[j] {
				change++
			}
			current[j+1] = min(change, previous[j+1]+1, current[j]+1)
		}
		previous = current
	}
	return previous[len(b)]
}
