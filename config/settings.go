package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// EnvPrefix begins the names of all environment variables of the program.
const EnvPrefix = "ONSALE_"

// Setting describes one value an operator can set.
type Setting struct {
	Name    string // in the file, groups joined with dots: waitroom.lease
	Env     string // environment variable: ONSALE_WAITROOM_LEASE
	Flag    string // command line flag without dashes: waitroom-lease; "" for secrets
	Default string // as it would be written in the environment; "" for empty
	Doc     string // one or two sentences
}

// Settings lists every setting, in the order of the example file.
func Settings() []Setting {
	defaults := Default()
	var all []Setting
	walk(reflect.ValueOf(defaults), "", func(name string, field reflect.StructField, value reflect.Value) {
		setting := Setting{
			Name:    name,
			Env:     envName(name),
			Default: format(value),
			Doc:     field.Tag.Get("doc"),
		}
		if field.Type != reflect.TypeFor[Secret]() {
			setting.Flag = strings.NewReplacer(".", "-", "_", "-").Replace(name)
		}
		all = append(all, setting)
	})
	return all
}

// envName is the rule that the env tags follow too (a test checks it).
func envName(name string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(name, ".", "_"))
}

// walk visits every setting of a struct, groups inside.
func walk(group reflect.Value, prefix string, visit func(name string, field reflect.StructField, value reflect.Value)) {
	for field, value := range group.Fields() {
		name := prefix + field.Tag.Get("yaml")
		if isGroup(field) {
			walk(value, name+".", visit)
			continue
		}
		visit(name, field, value)
	}
}

func isGroup(field reflect.StructField) bool { return field.Tag.Get("envPrefix") != "" }

// format writes a value as the environment has it.
func format(value reflect.Value) string {
	switch v := value.Interface().(type) {
	case time.Duration:
		return formatDuration(v)
	case encoding.TextMarshaler:
		text, err := v.MarshalText()
		if err != nil {
			return err.Error()
		}
		return string(text)
	}
	if value.Kind() == reflect.Slice {
		parts := make([]string, value.Len())
		for i := range parts {
			parts[i] = format(value.Index(i))
		}
		return strings.Join(parts, ",")
	}
	return fmt.Sprint(value.Interface())
}

// formatDuration leaves out the zero parts that time.Duration prints: 10m, not 10m0s.
func formatDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
