package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"onsale/catalog/pgstore"
	"onsale/config"
	"onsale/internal/audit"
	"onsale/internal/redisconn"
	"onsale/waitroom"
	"onsale/waitroom/pass"
	waitroompg "onsale/waitroom/pgstore"
	waitroomredis "onsale/waitroom/redisstore"
	"onsale/web"
)

// withReviser runs f on what changes events by their documents. Rooms are changed, too,
// where the configuration names their Redis: that of running nodes. An embedded one is
// theirs alone, and then rooms stay as they are, which is noted.
func withReviser(ctx context.Context, cmd *cobra.Command, cfg config.Config, databaseURL string, store *pgstore.Store, f func(web.Reviser) error) (err error) {
	if cfg.EmbeddedRedis() {
		return f(web.Reviser{Store: store})
	}
	redis.SetLogger(redisLog{logTo(cmd)})
	rdb, err := redisconn.Open(cfg.RedisURL.Reveal())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rdb.Close()) }()
	db, err := pgxpool.New(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer db.Close()
	rooms, err := waitroom.New(waitroom.Deps{
		Store: waitroomredis.New(rdb), Archive: waitroompg.New(db), Now: time.Now, Logger: logTo(cmd),
		Keys: pass.Generate(), // nobody is given anything that is signed
	})
	if err != nil {
		return err
	}
	log := audit.New(db)
	return f(web.Reviser{Store: store, Rooms: keptRooms{rooms}, Record: func(ctx context.Context, action, subject string, detail any) error {
		b, err := json.Marshal(detail)
		if err != nil {
			return err
		}
		return log.Record(ctx, audit.Entry{At: time.Now(), Actor: "onsale import", Action: action, Subject: subject, Detail: b})
	}})
}

// keptRooms are rooms whose changes stand in the database at once: this program does not
// run until the next checkpoint, and maybe no other does.
type keptRooms struct{ *waitroom.Service }

// Configure implements web.Rooms.
func (k keptRooms) Configure(ctx context.Context, event string, p waitroom.Patch) error {
	err := k.Service.Configure(ctx, event, p)
	if err == nil {
		err = k.Keep(ctx, event)
	}
	return err
}

// Message implements web.Rooms.
func (k keptRooms) Message(ctx context.Context, event, text string) error {
	err := k.Service.Message(ctx, event, text)
	if err == nil {
		err = k.Keep(ctx, event)
	}
	return err
}
