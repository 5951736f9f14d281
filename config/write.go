package config

import (
	"bufio"
	"fmt"
	"io"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// WriteDefaults writes a YAML file with every setting's default, environment
// variable and description. It is what config/onsale.example.yaml holds.
func WriteDefaults(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprintln(out, `# Every setting of onsale with its default. Each can also be set by the environment
# variable named beside it or by a flag (waitroom.lease: --waitroom-lease; secrets
# have no flags). Environment overrides this file, flags override both.
# Durations are written like 90s, 10m or 1h30m.`)
	if err := writeGroup(out, reflect.ValueOf(Default()), "", ""); err != nil {
		return err
	}
	return out.Flush()
}

func writeGroup(out *bufio.Writer, group reflect.Value, prefix, indent string) error {
	for field, value := range group.Fields() {
		key := field.Tag.Get("yaml")
		fmt.Fprintln(out)
		for _, line := range wrap(field.Tag.Get("doc"), 96-len(indent)) {
			fmt.Fprintf(out, "%s# %s\n", indent, line)
		}
		if isGroup(field) {
			fmt.Fprintf(out, "%s%s:\n", indent, key)
			if err := writeGroup(out, value, prefix+key+".", indent+"  "); err != nil {
				return err
			}
			continue
		}
		text, err := yamlValue(value)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s# %s\n%s%s: %s\n", indent, envName(prefix+key), indent, key, text)
	}
	return nil
}

// Write writes the configuration in force as YAML. Secrets show as "[set]".
func (c *Config) Write(w io.Writer) error {
	out := bufio.NewWriter(w)
	var problem error
	group := ""
	walk(reflect.ValueOf(*c), "", func(name string, _ reflect.StructField, value reflect.Value) {
		text, err := yamlValue(value)
		if err != nil {
			problem = err
		}
		key, indent := name, ""
		if before, after, inGroup := strings.Cut(name, "."); inGroup {
			if before != group {
				group = before
				fmt.Fprintf(out, "%s:\n", group)
			}
			key, indent = after, "  "
		}
		fmt.Fprintf(out, "%s%s: %s\n", indent, key, text)
	})
	if problem != nil {
		return problem
	}
	return out.Flush()
}

// yamlValue writes one value on one line.
func yamlValue(value reflect.Value) (string, error) {
	if value.Kind() == reflect.Slice {
		items := make([]string, value.Len())
		for i := range items {
			item, err := yamlValue(value.Index(i))
			if err != nil {
				return "", err
			}
			items[i] = item
		}
		return "[" + strings.Join(items, ", ") + "]", nil
	}
	var content any = format(value)
	switch value.Kind() {
	case reflect.Bool, reflect.Int, reflect.Float64:
		content = value.Interface()
	case reflect.Int64:
		if value.Type() == reflect.TypeFor[int64]() { // not a duration
			content = value.Interface()
		}
	}
	text, err := yaml.Marshal(content)
	return strings.TrimSpace(string(text)), err
}

// wrap breaks text into lines of at most width characters.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
