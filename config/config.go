// Package config is everything an operator can set, in one typed struct.
//
// Values come from, each overriding the one before: the defaults, a YAML file,
// ONSALE_* environment variables, command line flags. Every setting has the same
// name in all of them: waitroom.lease is ONSALE_WAITROOM_LEASE and
// --waitroom-lease. Names that do not exist are errors, and [Load] reports all
// problems at once, before anything starts.
package config

import (
	"net/netip"
	"time"
)

// Config is the whole configuration. The tags are its documentation: what they
// say is printed by `onsale checkconfig --print-defaults`.
type Config struct {
	Addr            string         `yaml:"addr" env:"ADDR" doc:"Address to listen on, host:port. Port 0 takes a free one."`
	PublicURL       string         `yaml:"public_url" env:"PUBLIC_URL" doc:"Address under which visitors reach the program, for links, redirects and cookies. Empty: http:// and addr."`
	Role            Role           `yaml:"role" env:"ROLE" doc:"What this process does: all, waitroom (queue only), shop (events, holds, orders) or worker (background jobs)."`
	DataDir         string         `yaml:"data_dir" env:"DATA_DIR" doc:"Folder of the embedded Redis and PostgreSQL and of generated keys. Empty: one in the user's data folder. Unused when redis_url and database_url are set."`
	RedisURL        Secret         `yaml:"redis_url" env:"REDIS_URL" doc:"Redis: redis://user:password@host:6379/0 (rediss:// for TLS); a cluster as redis://host1:6379?addr=host2:6379; Sentinel as redis://sentinel1:26379?master_name=NAME&addr=sentinel2:26379. Empty: an embedded one."`
	DatabaseURL     Secret         `yaml:"database_url" env:"DATABASE_URL" doc:"PostgreSQL primary: postgres://user:password@host:5432/name; several hosts with commas. Empty: an embedded one."`
	DatabaseReadURL Secret         `yaml:"database_read_url" env:"DATABASE_READ_URL" doc:"PostgreSQL replica for reading the catalog; never for ticket decisions. Empty: the primary."`
	DatabaseReadLag time.Duration  `yaml:"database_read_lag" env:"DATABASE_READ_LAG" doc:"How far the replica may be behind; while it is farther, the primary is read."`
	AdminToken      Secret         `yaml:"admin_token" env:"ADMIN_TOKEN" doc:"Bearer token of the admin API and the console, 16 characters or more. Empty: generated and kept in data_dir, only with an embedded server."`
	SigningKey      Secret         `yaml:"signing_key" env:"SIGNING_KEY" doc:"Keys that sign passes and receipts, as onsale keygen prints them; several with commas: the first signs, all verify. Empty: generated and kept in data_dir, only with an embedded server."`
	PaymentGateway  string         `yaml:"payment_gateway" env:"PAYMENT_GATEWAY" doc:"Who takes the money: sandbox (nobody; for trying out) or stripe."`
	AllowedOrigins  []string       `yaml:"allowed_origins" env:"ALLOWED_ORIGINS" doc:"Further origins whose pages may call the API from a browser, such as https://shop.example. public_url always may."`
	ImageOrigins    []string       `yaml:"image_origins" env:"IMAGE_ORIGINS" doc:"Origins that pages may show events' pictures from, such as https://images.example: their policy for pictures lists these alone. Empty: pages show none but what public_url itself serves."`
	TrustedProxies  []netip.Prefix `yaml:"trusted_proxies" env:"TRUSTED_PROXIES" doc:"Networks of the proxies in front, such as 10.0.0.0/8. Only from these is X-Forwarded-For believed."`
	ShutdownGrace   time.Duration  `yaml:"shutdown_grace" env:"SHUTDOWN_GRACE" doc:"How long a stopping process lets requests end and moves WebSockets elsewhere."`
	Log             Log            `yaml:"log" envPrefix:"LOG_" doc:"Logs, on stderr."`
	Waitroom        Waitroom       `yaml:"waitroom" envPrefix:"WAITROOM_" doc:"Waiting rooms. Throttle values are what a new room starts with; operators change each room's own."`
	Checkout        Checkout       `yaml:"checkout" envPrefix:"CHECKOUT_" doc:"Holds, orders and payments."`
	Sandbox         Sandbox        `yaml:"sandbox" envPrefix:"SANDBOX_" doc:"The sandbox gateway, which moves no money, and what goes wrong with it."`
	Stripe          Stripe         `yaml:"stripe" envPrefix:"STRIPE_" doc:"The account at Stripe. Used when payment_gateway is stripe, and then needed."`
	Mail            Mail           `yaml:"mail" envPrefix:"MAIL_" doc:"E-mails to buyers."`
	Webhooks        Webhooks       `yaml:"webhooks" envPrefix:"WEBHOOKS_" doc:"Messages to other systems. Operators enter their addresses in the admin API."`
	Accounts        Accounts       `yaml:"accounts" envPrefix:"ACCOUNTS_" doc:"Accounts of buyers. Nobody needs one."`
	Identity        Identity       `yaml:"identity" envPrefix:"IDENTITY_" doc:"Who knows the site's users, so that one account has one place."`
	Limits          Limits         `yaml:"limits" envPrefix:"LIMITS_" doc:"Protection against oversized and slow clients."`
	Metrics         Metrics        `yaml:"metrics" envPrefix:"METRICS_" doc:"Prometheus metrics."`
}

// Role says which part of the system a process is.
type Role string

// The roles.
const (
	RoleAll      Role = "all"
	RoleWaitroom Role = "waitroom"
	RoleShop     Role = "shop"
	RoleWorker   Role = "worker"
)

// Log configures logging.
type Log struct {
	Level  string `yaml:"level" env:"LEVEL" doc:"Least severe level shown: debug, info, warn or error."`
	Format string `yaml:"format" env:"FORMAT" doc:"text or json."`
}

// Waitroom configures the waiting rooms.
type Waitroom struct {
	JoinsPerAddressPerMinute int           `yaml:"joins_per_address_per_minute" env:"JOINS_PER_ADDRESS_PER_MINUTE" doc:"Most new visitors per minute from one network address. 0: no limit."`
	RatePerMinute            int           `yaml:"rate_per_minute" env:"RATE_PER_MINUTE" doc:"Most visitors admitted per minute."`
	Burst                    int           `yaml:"burst" env:"BURST" doc:"Most visitors admitted at once after a quiet time."`
	MaxShoppers              int           `yaml:"max_shoppers" env:"MAX_SHOPPERS" doc:"Most visitors in the shop at the same time."`
	Lease                    time.Duration `yaml:"lease" env:"LEASE" doc:"How long an admitted visitor may shop."`
	ClaimWindow              time.Duration `yaml:"claim_window" env:"CLAIM_WINDOW" doc:"How long a visitor whose turn came has to enter."`
	Grace                    time.Duration `yaml:"grace" env:"GRACE" doc:"How long after a missed turn a visitor who comes back has one more."`
	AwayAfter                time.Duration `yaml:"away_after" env:"AWAY_AFTER" doc:"How long after their last connection dropped a visitor's turn is kept for later instead of being given. 0: never."`
	ReturnWindow             time.Duration `yaml:"return_window" env:"RETURN_WINDOW" doc:"How long a room that Redis lost admits nobody, so that those who had a place come back first."`
	SuspectsPerMinute        int           `yaml:"suspects_per_minute" env:"SUSPECTS_PER_MINUTE" doc:"New visitors per minute from one network address beyond which they stand behind everybody else, until they appeal. 0: no limit."`
	ChallengeBits            int           `yaml:"challenge_bits" env:"CHALLENGE_BITS" doc:"Hardness of the proof of work, in rooms that ask for one: a page needs about 2 to this power hashes."`
	Tick                     time.Duration `yaml:"tick" env:"TICK" doc:"How often a node looks whom to admit and tells visitors their place."`
}

// Checkout configures holds, orders and payments.
type Checkout struct {
	HoldTTL        time.Duration `yaml:"hold_ttl" env:"HOLD_TTL" doc:"How long chosen tickets stay held, at most until the lease ends."`
	MaxExtensions  int           `yaml:"max_extensions" env:"MAX_EXTENSIONS" doc:"How often a hold can be extended by hold_ttl."`
	PayWithin      time.Duration `yaml:"pay_within" env:"PAY_WITHIN" doc:"How long an order waits for its payment."`
	MaxPerBuyer    int           `yaml:"max_per_buyer" env:"MAX_PER_BUYER" doc:"Most tickets per visitor and event, where the event does not say otherwise."`
	Taxes          []CountryTax  `yaml:"taxes" env:"TAXES" doc:"Tax by the country of the venue, for events that name none: country, percent, included or added, name, such as DE 7 included VAT."`
	GatewayTimeout time.Duration `yaml:"gateway_timeout" env:"GATEWAY_TIMEOUT" doc:"How long one call to the payment gateway may take."`
}

// The payment gateways.
const (
	GatewaySandbox = "sandbox"
	GatewayStripe  = "stripe"
)

// Sandbox configures the sandbox gateway.
type Sandbox struct {
	FaultShare float64 `yaml:"fault_share" env:"FAULT_SHARE" doc:"Share of the sandbox's calls and webhooks that go wrong by chance, 0 to 1: declined, lost before or after their effect, slow, failed, sent twice, late or never."`
	Seed       int64   `yaml:"seed" env:"SEED" doc:"What chance starts from: the same seed and payments give the same faults."`
	Webhooks   bool    `yaml:"webhooks" env:"WEBHOOKS" doc:"Let the sandbox send webhooks, to this program itself."`
}

// Stripe configures the account at Stripe.
type Stripe struct {
	SecretKey      Secret `yaml:"secret_key" env:"SECRET_KEY" doc:"Secret or restricted key of the account: sk_… or rk_…."`
	PublishableKey string `yaml:"publishable_key" env:"PUBLISHABLE_KEY" doc:"Publishable key of the same account and mode, for the checkout page: pk_…."`
	WebhookSecret  Secret `yaml:"webhook_secret" env:"WEBHOOK_SECRET" doc:"Secret that signs the webhooks to public_url/v1/webhooks/stripe: whsec_…."`
	APIURL         string `yaml:"api_url" env:"API_URL" doc:"Address of the API, for tests against a stand-in. Empty: Stripe's own."`
}

// Mail configures e-mails.
type Mail struct {
	SMTPURL Secret `yaml:"smtp_url" env:"SMTP_URL" doc:"Mail server: smtp://user:password@host:587 (?tls=required, which is the default, starttls or none) or smtps://user:password@host:465. file:///folder writes .eml files instead. Empty: no e-mails, they are recorded as skipped."`
	From    string `yaml:"from" env:"FROM" doc:"Sender of e-mails, such as Tickets <tickets@example.org>. Needed with smtp_url."`
	ReplyTo string `yaml:"reply_to" env:"REPLY_TO" doc:"Where answers to e-mails go. Empty: to the sender."`
}

// Webhooks configures messages to other systems.
type Webhooks struct {
	AllowPrivate bool `yaml:"allow_private" env:"ALLOW_PRIVATE" doc:"Let messages go to loopback, private and link-local addresses and over plain HTTP. Only where operators may reach everything that this machine can."`
}

// The ways to sign in to an account.
const (
	SignInCode = "code"
	SignInOIDC = "oidc"
	SignInBoth = "both"
	SignInOff  = "off"
)

// Accounts configures accounts.
type Accounts struct {
	SignIn string `yaml:"sign_in" env:"SIGN_IN" doc:"How buyers sign in: code (sent by e-mail, which needs mail.smtp_url), oidc (at identity.issuer, or by an ID token of it), both, or off."`
}

// Identity configures the issuer of user tokens (OpenID Connect).
type Identity struct {
	Issuer       string `yaml:"issuer" env:"ISSUER" doc:"Issuer of the user tokens that visitors join with and of sign-ins to accounts, such as https://login.example. Empty: there is none."`
	Audience     string `yaml:"audience" env:"AUDIENCE" doc:"Audience that user tokens must be for: the client id under which the issuer knows this site. Its redirect URI is public_url and /v1/account/oidc/callback."`
	ClientSecret Secret `yaml:"client_secret" env:"CLIENT_SECRET" doc:"Secret of that client, for buyers who sign in there in the browser. Empty: a public client, which PKCE alone protects."`
	Label        string `yaml:"label" env:"LABEL" doc:"What the sign-in button calls the issuer, such as Example account. Empty: the host of the issuer."`
	JWKSURL      string `yaml:"jwks_url" env:"JWKS_URL" doc:"Where the issuer's keys are. Empty: where its discovery document says. Sending browsers there to sign in takes that document in any case."`
	Required     bool   `yaml:"required" env:"REQUIRED" doc:"Let nobody join without a user token."`
}

// Limits protects against oversized and slow clients.
type Limits struct {
	BodyBytes      int64         `yaml:"body_bytes" env:"BODY_BYTES" doc:"Largest request body, in bytes. Imports by operators may be larger."`
	HeaderTimeout  time.Duration `yaml:"header_timeout" env:"HEADER_TIMEOUT" doc:"How long a client may take to send a request's header."`
	RequestTimeout time.Duration `yaml:"request_timeout" env:"REQUEST_TIMEOUT" doc:"How long one request may take in all."`
	Sockets        int           `yaml:"sockets_per_address" env:"SOCKETS_PER_ADDRESS" doc:"Most WebSockets of visitors, and as many of people who look at seat maps, from one network address at one node. 0: no limit."`
}

// Metrics configures the Prometheus endpoint.
type Metrics struct {
	Enabled bool   `yaml:"enabled" env:"ENABLED" doc:"Serve /metrics."`
	Addr    string `yaml:"addr" env:"ADDR" doc:"Separate address for /metrics, host:port. Empty: on addr, beside everything else."`
}

// Default returns the configuration of a program that was told nothing.
func Default() Config {
	return Config{
		Addr:            "127.0.0.1:8080",
		Role:            RoleAll,
		PaymentGateway:  GatewaySandbox,
		DatabaseReadLag: 5 * time.Second,
		ShutdownGrace:   20 * time.Second,
		Log:             Log{Level: "info", Format: "text"},
		Waitroom: Waitroom{
			JoinsPerAddressPerMinute: 300,
			RatePerMinute:            600,
			Burst:                    100,
			MaxShoppers:              500,
			Lease:                    10 * time.Minute,
			ClaimWindow:              time.Minute,
			Grace:                    2 * time.Minute,
			AwayAfter:                time.Minute,
			ReturnWindow:             10 * time.Second,
			ChallengeBits:            16,
			Tick:                     time.Second,
		},
		Checkout: Checkout{
			HoldTTL:        5 * time.Minute,
			MaxExtensions:  2,
			PayWithin:      10 * time.Minute,
			MaxPerBuyer:    6,
			GatewayTimeout: 10 * time.Second,
		},
		Accounts: Accounts{SignIn: SignInCode},
		Sandbox:  Sandbox{Seed: 1, Webhooks: true},
		Limits: Limits{
			BodyBytes:      64 << 10,
			HeaderTimeout:  10 * time.Second,
			RequestTimeout: 30 * time.Second,
			Sockets:        5000,
		},
		Metrics: Metrics{Enabled: true},
	}
}

// EmbeddedRedis tells whether the program runs its own Redis.
func (c *Config) EmbeddedRedis() bool { return !c.RedisURL.IsSet() }

// EmbeddedPostgres tells whether the program runs its own PostgreSQL.
func (c *Config) EmbeddedPostgres() bool { return !c.DatabaseURL.IsSet() }

// Embedded tells whether the program runs at least one server of its own. It is
// then a single node, and generated keys can live in its data folder.
func (c *Config) Embedded() bool { return c.EmbeddedRedis() || c.EmbeddedPostgres() }
