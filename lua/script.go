package lua

import (
	"embed"
	"fmt"
)

//go:embed *.lua
var sources embed.FS

// source is the text of a script, or of a part of one.
func source(name string) string {
	src, err := sources.ReadFile(name)
	if err != nil {
		panic(fmt.Sprintf("lua: %v", err)) // an embedded file cannot be missing
	}
	return string(src)
}
