package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"onsale/internal/stack"
	"onsale/internal/stack/stacktest"
	"onsale/waitroom"
	"onsale/waitroom/pass"
	waitroompg "onsale/waitroom/pgstore"
	waitroomredis "onsale/waitroom/redisstore"
)

// TestImportChangesTheRoom of an event that exists, in the Redis of the running nodes.
func TestImportChangesTheRoom(t *testing.T) {
	t.Parallel()
	environ := empty(t)
	dir := folderOf(t, map[string]string{"hall.json": hallPlan, "reading.yaml": hallEvent})
	id := imported(t, environ, filepath.Join(dir, "reading.yaml"))
	server := stacktest.OwnRedis(t, stack.RedisOptions{Forget: true})
	address, err := redis.ParseURL(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(address)
	t.Cleanup(func() { _ = rdb.Close() })
	db, err := pgxpool.New(t.Context(), strings.TrimPrefix(environ[0], "ONSALE_DATABASE_URL="))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	node, err := waitroom.New(waitroom.Deps{
		Store: waitroomredis.New(rdb), Archive: waitroompg.New(db), Keys: pass.Generate(), Now: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := node.Room(t.Context(), id); err != nil { // made from its row
		t.Fatal(err)
	}
	all := append(slices.Clone(environ), "ONSALE_REDIS_URL="+server.URL(), "ONSALE_ADMIN_TOKEN=a-token-of-some-length", "ONSALE_SIGNING_KEY="+newSigningKey())
	file := filepath.Join(dir, "again.yaml")
	edited := strings.NewReplacer("name: \"Reading", "id: "+id+"\nname: \"Reading", "rate_per_minute: 60", "rate_per_minute: 7", "message: null", "message: Soon").Replace(hallEvent)
	if err := os.WriteFile(file, []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	noted := func() (n int) {
		t.Helper()
		if err := db.QueryRow(t.Context(), `select count(*) from audit_log where subject = $1 and action = 'room.configure' and actor = 'onsale import'`, id).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	differences := "room.rate_per_minute: 60 -> 7\nroom.message: nothing -> \"Soon\"\n"
	for i, step := range []struct {
		environ []string
		args    []string
		said    string
		rate    int
		noted   int
	}{
		{environ, nil, "nothing is different\n", 60, 0}, // without the Redis
		{all, []string{"--dry-run"}, differences + "would be changed\n", 60, 0},
		{all, nil, differences + "changed\n", 7, 1},
		{all, nil, "nothing is different\n", 7, 1},
	} {
		code, stdout, stderr := executeIn(t, step.environ, append([]string{"import", "event", file}, step.args...)...)
		if code != exitOK || stdout != step.said+"event: "+id+"\n" {
			t.Fatalf("step %d: %d\n%s%s", i, code, stdout, stderr)
		}
		if got := strings.Contains(stderr, "note: room: stays as it is"); got != (i == 0) {
			t.Errorf("step %d notes: %s", i, stderr)
		}
		room, err := waitroomredis.New(rdb).Room(t.Context(), id)
		if err != nil || room.Throttle.RatePerMinute != step.rate || noted() != step.noted {
			t.Errorf("step %d: the room has %+v, noted %d times, %v", i, room.Throttle, noted(), err)
		}
	}
	// It stands in the row at once, whether a node runs or not.
	var rate int
	var message string
	if err := db.QueryRow(t.Context(), `select rate_per_minute, message from rooms where event_id = $1`, id).Scan(&rate, &message); err != nil || rate != 7 || message != "Soon" {
		t.Errorf("the row has %d, %q, %v", rate, message, err)
	}
	// A Redis that does not answer: nothing is done.
	if err := server.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(edited, "Reading: 2027", "Renamed", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, stdout, stderr := executeIn(t, all, "import", "event", file); code != exitFailed {
		t.Errorf("without its Redis: %d\n%s%s", code, stdout, stderr)
	}
	var name string
	if err := db.QueryRow(t.Context(), `select name from events where id = $1`, id).Scan(&name); err != nil || name != "Reading: 2027" {
		t.Errorf("the event is called %q, %v", name, err)
	}
}
