package checkout_test

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/anishathalye/porcupine"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
)

// edit changes one place of a file in lua.
type edit struct{ file, from, to string }

// planted are bugs that the scripts do not have.
var planted = []struct {
	name  string
	edits []edit
}{
	{"a ticket is handed out that somebody has", []edit{
		{"hold_prelude.lua", "'NX', 'PX'", "'PX'"},
		{"hold_prelude.lua", "return is == 'A', is", "return is ~= 'S', is"},
	}},
	{"half of a refused hold is kept", []edit{
		{"hold.lua", "unlock()", "take()"},
	}},
	{"anybody's hold can be extended, changed and ordered", []edit{
		{"hold_prelude.lua", "if h.visitor ~= visitor then return nil, -7 end", ""},
	}},
	{"anybody's hold can be released", []edit{
		{"hold_release.lua", "if h.visitor ~= visitor then return {-7} end", ""},
	}},
	{"a hold that is over is used", []edit{
		{"hold_prelude.lua", "if not h or h.expires <= now then return nil, -6 end", "if not h then return nil, -6 end"},
	}},
	{"a hold is never over", []edit{
		{"hold_prelude.lua", "'NX', 'PX', px)", "'NX')"},
		{"hold_prelude.lua", "'LIMIT', 0, most)", "'LIMIT', 0, 0)"},
	}},
	{"a hold is over too early", []edit{
		{"hold_prelude.lua", "'ZRANGEBYSCORE', EXP, '-inf', int(now)", "'ZRANGEBYSCORE', EXP, '-inf', int(now + 60)"},
	}},
	{"the hold of an order is over when the hold was", []edit{
		{"hold_keep.lua", "to = math.max(to, h.expires)", "to = h.expires"},
	}},
	{"the hold of an order can be changed", []edit{
		{"hold_edit.lua", "if h.pinned then return {-9} end", ""},
	}},
	{"a dropped ticket is not free", []edit{
		{"hold_edit.lua", "for _, o in ipairs(dropped) do free(int(o), id) end", ""},
	}},
	{"a changed hold keeps its fence", []edit{
		{"hold_edit.lua", "h.fence = next_seq()", "next_seq()"},
	}},
	{"what is sold is for sale", []edit{
		{"inventory_settle.lua", "flip(o, 'S')", "flip(o, 'A')"},
	}},
}

// TestPlantedBugsAreFound plants bugs between the client and Redis: the same check
// has to find each of them soon. And whatever Redis does, Postgres sells no ticket
// twice; record looks.
func TestPlantedBugsAreFound(t *testing.T) {
	t.Parallel()
	db := historyDatabase(t)
	var g errgroup.Group
	g.SetLimit(historiesAtOnce)
	for n, bug := range planted {
		g.Go(func() error {
			t.Run(bug.name, func(t *testing.T) {
				const most = 30
				used := int64(0)
				for i := range uint64(most) {
					var p *plant
					c := record(t, db, uint64(n)<<32+i, false, func(rdb *redis.Client) redis.Hook {
						p = newPlant(t, rdb, bug.edits)
						return p
					})
					used += p.used.Load()
					if result, _ := c.check(); result == porcupine.Illegal {
						t.Logf("found in history %d, of %d calls", i+1, len(c.acts))
						return
					}
				}
				t.Errorf("not found in %d histories, in which the scripts that were edited ran %d times", most, used)
			})
			return nil
		})
	}
	_ = g.Wait() // failures are t's
}

// plant replaces scripts by edited ones on their way to Redis.
type plant struct {
	by   map[string]string // digest or source of a script → of the edited one
	used atomic.Int64
}

func newPlant(t *testing.T, rdb *redis.Client, edits []edit) *plant {
	t.Helper()
	const prelude = "hold_prelude.lua"
	files, err := filepath.Glob("../lua/*.lua")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	was, is := make(map[string]string), make(map[string]string)
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(path)
		was[name], is[name] = string(text), string(text)
	}
	for _, e := range edits {
		if strings.Count(is[e.file], e.from) != 1 {
			t.Fatalf("%s does not have %q once: the bug has to be planted anew", e.file, e.from)
		}
		is[e.file] = strings.Replace(is[e.file], e.from, e.to, 1)
	}
	p := &plant{by: make(map[string]string)}
	for name := range was {
		if !strings.HasPrefix(name, "hold") && !strings.HasPrefix(name, "inventory") || name == prelude {
			continue
		}
		before, after := was[prelude]+was[name], is[prelude]+is[name]
		if before == after {
			continue
		}
		digest, err := rdb.ScriptLoad(t.Context(), after).Result()
		if err != nil {
			t.Fatalf("%s does not compile any more: %v", name, err)
		}
		p.by[before] = after
		p.by[sha(before)] = digest
	}
	return p
}

func sha(text string) string {
	sum := sha1.Sum([]byte(text)) // as Redis names scripts
	return hex.EncodeToString(sum[:])
}

func (p *plant) replace(cmd redis.Cmder) {
	args := cmd.Args()
	if name := cmd.Name(); name != "evalsha" && name != "eval" || len(args) < 2 {
		return
	}
	script, _ := args[1].(string)
	if other, ok := p.by[script]; ok {
		args[1] = other
		p.used.Add(1)
	}
}

func (p *plant) DialHook(next redis.DialHook) redis.DialHook { return next }

func (p *plant) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		p.replace(cmd)
		return next(ctx, cmd)
	}
}

func (p *plant) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			p.replace(cmd)
		}
		return next(ctx, cmds)
	}
}
