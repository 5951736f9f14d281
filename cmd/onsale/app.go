package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"onsale/catalog"
	catalogpg "onsale/catalog/pgstore"
	"onsale/checkout"
	"onsale/checkout/account"
	"onsale/checkout/mail"
	"onsale/checkout/messages"
	"onsale/checkout/payment"
	checkoutpg "onsale/checkout/pgstore"
	checkoutredis "onsale/checkout/redisstore"
	"onsale/checkout/webhook"
	"onsale/config"
	"onsale/internal/audit"
	"onsale/internal/redisconn"
	"onsale/waitroom"
	"onsale/waitroom/identity"
	"onsale/waitroom/pass"
	waitroompg "onsale/waitroom/pgstore"
	waitroomredis "onsale/waitroom/redisstore"
	"onsale/web"
	"onsale/web/ui"
)

const (
	heartbeatEvery = time.Second
	heartbeatWait  = time.Second // for Postgres to answer before the shop counts as down
	sandboxSlow    = 3 * time.Second
)

// App is the running program in one role. It owns every connection and
// goroutine that newApp and Run make.
type App struct {
	cfg       config.Config
	log       *slog.Logger
	rdb       redis.UniversalClient
	db        *pgxpool.Pool // nil in a waitroom node without a database
	replica   *pgxpool.Pool // nil: reads go to db
	reads     *catalogpg.Replica
	rooms     *waitroom.Service
	catalog   *catalog.Cache      // nil in the waitroom role
	inventory *checkout.Inventory // nil in the waitroom role
	jobs      *checkoutpg.Jobs    // nil unless this node is a worker
	sandbox   *payment.Sandbox    // nil unless this node is a shop with the sandbox gateway
	server    *web.Server
	metrics   http.Handler // served on an address of its own; nil: beside the rest, or not at all
}

// newApp wires the program. It opens pools but waits for nothing: a dependency
// that is down now may be up later, and /readyz says so.
func newApp(ctx context.Context, cfg config.Config, log *slog.Logger) (_ *App, err error) {
	a := &App{cfg: cfg, log: log}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	isWaitroom := cfg.Role == config.RoleAll || cfg.Role == config.RoleWaitroom
	isShop := cfg.Role == config.RoleAll || cfg.Role == config.RoleShop
	isWorker := cfg.Role == config.RoleAll || cfg.Role == config.RoleWorker

	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	public, err := url.Parse(cfg.PublicURL)
	if err != nil {
		return nil, fmt.Errorf("public_url: %w", err)
	}
	keys, err := pass.ParseKeySet(cfg.SigningKey.Reveal())
	if err != nil {
		return nil, fmt.Errorf("signing_key: %w", err)
	}
	redis.SetLogger(redisLog{log}) // go-redis has one for the whole process
	if a.rdb, err = redisconn.Open(cfg.RedisURL.Reveal()); err != nil {
		return nil, err
	}
	ready := map[string]func(context.Context) error{
		"redis": func(ctx context.Context) error { return a.rdb.Ping(ctx).Err() },
	}
	var archive waitroom.Archive
	if cfg.DatabaseURL.IsSet() {
		if a.db, err = connectPostgres(ctx, cfg.DatabaseURL.Reveal()); err != nil {
			return nil, fmt.Errorf("database_url: %w", err)
		}
		archive = waitroompg.New(a.db)
		if isShop || isWorker { // the waiting room does without
			ready["postgres"] = a.db.Ping
		}
	}
	if cfg.DatabaseReadURL.IsSet() {
		if a.replica, err = connectPostgres(ctx, cfg.DatabaseReadURL.Reveal()); err != nil {
			return nil, fmt.Errorf("database_read_url: %w", err)
		}
		a.reads = catalogpg.NewReplica(a.db, a.replica, cfg.DatabaseReadLag, log)
		if err = a.reads.Register(registry); err != nil {
			return nil, err
		}
	}
	var known waitroom.Identity
	var atIssuer account.Browser
	if cfg.Identity.Issuer != "" {
		issuer := identity.New(cfg.Identity.Issuer, cfg.Identity.Audience, cfg.Identity.JWKSURL)
		known, atIssuer = issuer, issuer.Browser(cfg.Identity.ClientSecret.Reveal(), web.CallbackURL(public))
	}
	a.rooms, err = waitroom.New(waitroom.Deps{
		Store:   waitroomredis.New(a.rdb).WithOptions(waitroomredis.Options{AwayAfter: orNever(cfg.Waitroom.AwayAfter)}),
		Archive: archive, Keys: keys, Identity: known, Now: time.Now, Logger: log, Registerer: registry,
		Options: waitroom.Options{
			Tick: cfg.Waitroom.Tick, JoinsPerMinute: cfg.Waitroom.JoinsPerAddressPerMinute, Suspicious: cfg.Waitroom.SuspectsPerMinute,
			ChallengeBits: cfg.Waitroom.ChallengeBits, ReturnWindow: orNever(cfg.Waitroom.ReturnWindow), SignIn: cfg.Identity.Required,
		},
	})
	if err != nil {
		return nil, err
	}
	deps := web.Deps{
		Roles:     web.Roles{Waitroom: isWaitroom, Shop: isShop},
		PublicURL: public, AllowedOrigins: cfg.AllowedOrigins, TrustedProxies: cfg.TrustedProxies,
		AdminToken: cfg.AdminToken.Reveal(), BodyBytes: cfg.Limits.BodyBytes, SocketsPerAddress: cfg.Limits.Sockets,
		Rooms: a.rooms, Keys: keys, Ready: ready,
		AtIssuer: atIssuer != nil && (cfg.Accounts.SignIn == config.SignInOIDC || cfg.Accounts.SignIn == config.SignInBoth),
		Clock:    time.Now, Logger: log, Registerer: registry,
	}
	switch {
	case cfg.Metrics.Enabled && cfg.Metrics.Addr == "":
		deps.Gatherer = registry
	case cfg.Metrics.Enabled:
		a.metrics = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	}
	if deps.UI, err = fs.Sub(ui.Dist, "dist"); err != nil {
		return nil, err
	}
	if a.db != nil && !isShop {
		deps.Events = catalog.NewCache(catalogpg.New(a.db, a.reads), time.Now)
	}
	if isShop || isWorker {
		if err := a.addShop(&deps, registry, isWorker, known, atIssuer); err != nil {
			return nil, err
		}
	}
	if a.server, err = web.New(deps); err != nil {
		return nil, err
	}
	return a, nil
}

// orNever turns the 0 of a setting into what packages take for never: to them, 0
// is the default.
func orNever(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// addShop wires catalog, holds, orders and payments, and the jobs of a worker.
func (a *App) addShop(deps *web.Deps, registry *prometheus.Registry, isWorker bool, known waitroom.Identity, atIssuer account.Browser) error {
	if a.db == nil {
		return errors.New("database_url is needed in this role")
	}
	kept := catalogpg.New(a.db, a.reads)
	events := catalog.NewCache(kept, time.Now)
	holds := checkoutredis.New(a.rdb)
	orders, err := checkoutpg.New(a.db)
	if err != nil {
		return err
	}
	kept.OnMoved(orders.TellMoved)
	a.catalog = events
	a.inventory, err = checkout.NewInventory(holds, orders, events, time.Now, a.log, registry)
	if err != nil {
		return err
	}
	gateway, err := a.openGateway(deps)
	if err != nil {
		return err
	}
	shop, err := checkout.New(checkout.Deps{
		Options: checkout.Options{
			HoldTTL: a.cfg.Checkout.HoldTTL, MaxExtensions: a.cfg.Checkout.MaxExtensions,
			PayWithin: a.cfg.Checkout.PayWithin, GatewayTimeout: a.cfg.Checkout.GatewayTimeout,
		},
		Catalog: events, Holds: holds, Orders: orders, Gateway: gateway, Inventory: a.inventory,
		Logger: a.log, Registerer: registry, Step: crashStep,
	})
	if err != nil {
		return err
	}
	told, err := a.messages(orders, shop, events, deps)
	if err != nil {
		return err
	}
	if isWorker {
		if a.jobs, err = checkoutpg.NewJobs(a.db, orders, shop, a.log, checkoutpg.WithMessages(told)); err != nil {
			return err
		}
	}
	deps.Accounts, err = account.New(account.Deps{
		Store: checkoutpg.Accounts{Store: orders}, Keys: deps.Keys, Identity: known, Browser: atIssuer, SignIn: a.cfg.Accounts.SignIn,
		IssuerName: issuerName(a.cfg.Identity),
		Mailing:    a.cfg.Mail.SMTPURL.IsSet(), Clock: time.Now,
	})
	if err != nil {
		return err
	}
	deps.EventDefaults = eventDefaults(a.cfg)
	deps.Organiser = kept
	deps.Catalog, deps.Shop, deps.Inventory, deps.Messages = events, shop, a.inventory, told
	deps.Audit = audit.New(a.db)
	return nil
}

// issuerName is what people call the issuer.
func issuerName(c config.Identity) string {
	if c.Label != "" {
		return c.Label
	}
	u, err := url.Parse(c.Issuer)
	if err != nil {
		return c.Issuer
	}
	return u.Host
}

// messages wires webhooks and e-mails.
func (a *App) messages(orders *checkoutpg.Store, shop *checkout.Service, events *catalog.Cache, deps *web.Deps) (*messages.Service, error) {
	sender, err := mail.Open(mail.Settings{URL: a.cfg.Mail.SMTPURL.Reveal(), From: a.cfg.Mail.From, ReplyTo: a.cfg.Mail.ReplyTo})
	if err != nil {
		return nil, err
	}
	templates, err := mail.NewTemplates()
	if err != nil {
		return nil, err
	}
	orders.Mailing(sender != nil)
	if sender == nil {
		a.log.Info("no e-mails are sent: mail.smtp_url is empty")
	}
	return messages.New(messages.Deps{
		Store: checkoutpg.Messages{Store: orders}, Orders: shop, Events: events, Mail: sender, Templates: templates,
		Courier:  webhook.NewClient(a.cfg.Webhooks.AllowPrivate, "onsale/"+version),
		Code:     func(id string) string { return account.CodeText(deps.Keys, id) },
		Attacher: web.PaperTickets{Admissions: shop, Events: events, Keys: deps.Keys},
		Link:     func(o checkout.Order) string { _, link := web.OrderLink(deps.PublicURL, deps.Keys, o); return link },
		HolderLink: func(a *checkout.Admission) string {
			_, link := web.HolderLink(deps.PublicURL, deps.Keys, a)
			return link
		},
		Clock: time.Now, Logger: a.log,
	})
}

// eventDefaults is what the configuration says about events that say nothing.
func eventDefaults(cfg config.Config) catalog.Defaults {
	room := catalog.DefaultRoom()
	room.RatePerMinute, room.Burst, room.MaxShoppers = cfg.Waitroom.RatePerMinute, cfg.Waitroom.Burst, cfg.Waitroom.MaxShoppers
	room.Lease, room.ClaimWindow, room.Grace = cfg.Waitroom.Lease, cfg.Waitroom.ClaimWindow, cfg.Waitroom.Grace
	taxes := make(map[string]catalog.Tax, len(cfg.Checkout.Taxes))
	for _, t := range cfg.Checkout.Taxes {
		taxes[t.Country] = catalog.Tax{Name: t.Name, Rate: catalog.Rate(t.Rate), Included: t.Included}
	}
	images := slices.Clone(cfg.ImageOrigins)
	if own, ok := catalog.ImageOrigin(cfg.PublicURL + "/"); ok && !slices.Contains(images, own) {
		images = append(images, own) // what this program serves itself
	}
	return catalog.Defaults{Room: room, MaxPerBuyer: cfg.Checkout.MaxPerBuyer, Taxes: taxes, ImageOrigins: images}
}

// Run serves on listener until ctx ends, then moves everybody elsewhere within
// the grace time. It closes the listener and all connections.
func (a *App) Run(ctx context.Context, listener net.Listener) error {
	defer a.close()
	server := &http.Server{
		Handler:           a.server.Handler(),
		ReadHeaderTimeout: a.cfg.Limits.HeaderTimeout,
		ReadTimeout:       a.cfg.Limits.RequestTimeout,
		WriteTimeout:      a.cfg.Limits.RequestTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	g, work := errgroup.WithContext(work)
	g.Go(func() error { return a.rooms.Run(work) })
	g.Go(func() error { return a.server.Run(work) })
	if a.inventory != nil {
		g.Go(func() error { return a.inventory.Run(work, a.events) })
		g.Go(func() error { return a.heartbeat(work) })
	}
	if a.jobs != nil {
		g.Go(func() error { return a.runJobs(work) })
	}
	if a.sandbox != nil {
		g.Go(func() error { return a.runSandbox(work, listener) })
	}
	if a.metrics != nil {
		g.Go(func() error { return serveMetrics(work, a.cfg.Metrics.Addr, a.metrics) })
	}
	g.Go(func() error {
		if err := server.Serve(a.server.Listen(server, listener)); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		select {
		case <-ctx.Done():
		case <-work.Done(): // something else failed
		}
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.ShutdownGrace)
		defer cancel()
		defer stopWork()
		a.server.Shutdown(grace)
		if err := server.Shutdown(grace); err != nil {
			return server.Close() // requests that outlived the grace time
		}
		return nil
	})
	return g.Wait()
}

// serveMetrics answers /metrics, and nothing else, on addr until ctx ends.
func serveMetrics(ctx context.Context, addr string, metrics http.Handler) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	server := &http.Server{Addr: addr, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

// events lists the events with a room: those whose inventory is alive.
func (a *App) events(ctx context.Context) ([]string, error) {
	rooms, err := a.rooms.Rooms(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]string, len(rooms))
	for i := range rooms {
		list[i] = rooms[i].Event
	}
	return list, nil
}

// heartbeat tells every room each second whether its shop can sell, and how
// much there is left. A room that hears nothing stops admitting. It also says how
// the shop feels here, and lets the autopilots follow how all of it does.
func (a *App) heartbeat(ctx context.Context) error {
	beat := time.NewTicker(heartbeatEvery)
	defer beat.Stop()
	node := rand.Text()[:12]
	wasWell := true
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
		}
		ping, cancel := context.WithTimeout(ctx, heartbeatWait)
		err := a.db.Ping(ping)
		cancel()
		events, lerr := a.events(ctx)
		if lerr != nil {
			continue // Redis is away: there is nobody to tell
		}
		health := a.server.Health()
		health.PoolShare = float64(a.db.Stat().AcquiredConns()) / float64(a.db.Stat().MaxConns())
		whole, serr := a.rooms.Steer(ctx, node, health)
		if err == nil && serr == nil {
			if why, critical := whole.Critical(); critical {
				err = errors.New(why) //nolint:err113 // for the log
			}
		}
		if well := err == nil; well != wasWell && ctx.Err() == nil {
			wasWell = well
			a.log.WarnContext(ctx, "the shop changed its state; rooms follow", slog.Bool("well", well), slog.Any("error", err))
		}
		for _, event := range events {
			if err != nil {
				_ = a.rooms.ShopDown(ctx, event) // the grace time ends it anyway
				continue
			}
			a.reportStock(ctx, event)
		}
	}
}

// reportStock tells a room what its shop has left. What fails is said again with
// the next beat, a second later.
func (a *App) reportStock(ctx context.Context, event string) {
	stock, err := a.inventory.Stock(ctx, event)
	if err != nil {
		return
	}
	perBuyer := 0
	if e, err := a.catalog.Event(ctx, event); err == nil {
		perBuyer = e.MaxPerBuyer
	}
	available := stock.Available + a.inventory.Kept(ctx, event)
	_ = a.rooms.ShopOK(ctx, event, available, stock.Held, perBuyer)
}

// runJobs works off the durable jobs, and waits for Postgres where it must.
func (a *App) runJobs(ctx context.Context) error {
	for ctx.Err() == nil {
		err := a.jobs.Run(ctx)
		if err == nil {
			return nil
		}
		a.log.WarnContext(ctx, "jobs cannot start yet", slog.Any("error", err))
		select {
		case <-ctx.Done():
		case <-time.After(2 * time.Second):
		}
	}
	return nil
}

func (a *App) close() {
	if a.rdb != nil {
		if err := a.rdb.Close(); err != nil {
			a.log.Debug("closing Redis", slog.Any("error", err))
		}
	}
	for _, db := range []*pgxpool.Pool{a.db, a.replica} {
		if db != nil {
			db.Close()
		}
	}
}

// prepareDemo migrates the database and imports the demo events when it is empty.
func prepareDemo(ctx context.Context, cfg config.Config, log *slog.Logger) error {
	if err := catalogpg.Migrate(ctx, cfg.DatabaseURL.Reveal(), log); err != nil {
		return err
	}
	db, err := connectPostgres(ctx, cfg.DatabaseURL.Reveal())
	if err != nil {
		return err
	}
	defer db.Close()
	_, created, err := catalog.SeedDemo(ctx, catalogpg.New(db, nil), time.Now(), cfg.PublicURL)
	if err == nil && created > 0 {
		log.Info("demo events imported", slog.Int("events", created))
	}
	return err
}
