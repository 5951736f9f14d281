package lua

import (
	"embed"
	"fmt"

	"github.com/redis/go-redis/v9"
)

//go:embed *.lua
var sources embed.FS

// load makes the script in name ready to run. EVALSHA is tried first; a server
// that has not seen the script, or was told SCRIPT FLUSH, gets it by EVAL.
func load(name string) *redis.Script {
	src, err := sources.ReadFile(name)
	if err != nil {
		panic(fmt.Sprintf("lua: %v", err)) // an embedded file cannot be missing
	}
	return redis.NewScript(string(src))
}
