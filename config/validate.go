package config

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"math"
	"net"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// imageOrigin is what a policy for pictures may list: nothing in it ends a directive.
var imageOrigin = regexp.MustCompile(`^(https://[a-z0-9.-]+|http://(localhost|127(\.[0-9]{1,3}){3}|\[::1\]))(:[0-9]{1,5})?$`)

// minAdminToken is the shortest admin token accepted, in characters.
const minAdminToken = 16

// mostLabel is the longest name of an issuer, in characters.
const mostLabel = 40

// complete fills in what follows from other settings.
func (c *Config) complete() {
	if c.PublicURL == "" {
		c.PublicURL = c.URLFor(c.Addr)
	}
	c.PublicURL = strings.TrimSuffix(c.PublicURL, "/")
}

// URLFor returns the URL of the program listening on addr as seen from this
// machine: an address that means "all interfaces" becomes the loopback one.
func (c *Config) URLFor(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "http://" + addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// SigningSeeds returns the Ed25519 seeds of signing_key: the first signs, all
// verify. None when it is empty.
func (c *Config) SigningSeeds() ([][]byte, error) {
	if !c.SigningKey.IsSet() {
		return nil, nil
	}
	var seeds [][]byte
	for i, text := range strings.Split(c.SigningKey.Reveal(), ",") {
		seed, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(text), "="))
		if err != nil {
			// The decoder's own error would show a byte of the key.
			return nil, fmt.Errorf("key %d is not base64url", i+1)
		}
		if len(seed) != ed25519.SeedSize {
			return nil, fmt.Errorf("key %d has %d bytes, not %d: use one that onsale keygen printed", i+1, len(seed), ed25519.SeedSize)
		}
		seeds = append(seeds, seed)
	}
	return seeds, nil
}

// validate reports everything that no process could work with.
func (c *Config) validate(problems *Problems) {
	checkAddress("addr", c.Addr, problems)
	if u, err := url.Parse(c.PublicURL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		problems.addf("public_url: %q is not a web address such as https://tickets.example", c.PublicURL)
	}
	oneOf("role", c.Role, problems, RoleAll, RoleWaitroom, RoleShop, RoleWorker)
	oneOf("payment_gateway", c.PaymentGateway, problems, GatewaySandbox, GatewayStripe)
	oneOf("accounts.sign_in", c.Accounts.SignIn, problems, SignInCode, SignInOIDC, SignInBoth, SignInOff)
	oneOf("log.level", c.Log.Level, problems, "debug", "info", "warn", "error")
	oneOf("log.format", c.Log.Format, problems, "text", "json")
	c.validateServers(problems)
	for _, origin := range c.AllowedOrigins {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || origin != u.Scheme+"://"+u.Host || u.Host == "" {
			problems.addf("allowed_origins: %q is not an origin such as https://shop.example (no path)", origin)
		}
	}
	for _, origin := range c.ImageOrigins {
		if !imageOrigin.MatchString(origin) || strings.HasPrefix(origin, "https://") && strings.HasSuffix(origin, ":443") {
			problems.addf("image_origins: %q is not an origin such as https://images.example (no path, in lower case; http only of this machine)", origin)
		}
	}
	if c.Metrics.Addr != "" {
		checkAddress("metrics.addr", c.Metrics.Addr, problems)
	}

	within("shutdown_grace", c.ShutdownGrace, time.Second, time.Hour, problems)
	within("waitroom.joins_per_address_per_minute", c.Waitroom.JoinsPerAddressPerMinute, 0, 1_000_000, problems)
	within("waitroom.rate_per_minute", c.Waitroom.RatePerMinute, 1, 1_000_000, problems)
	within("waitroom.burst", c.Waitroom.Burst, 1, 100_000, problems)
	within("waitroom.max_shoppers", c.Waitroom.MaxShoppers, 1, 1_000_000, problems)
	within("waitroom.lease", c.Waitroom.Lease, 10*time.Second, 24*time.Hour, problems)
	within("waitroom.claim_window", c.Waitroom.ClaimWindow, 5*time.Second, time.Hour, problems)
	within("waitroom.grace", c.Waitroom.Grace, 0, 24*time.Hour, problems)
	within("waitroom.away_after", c.Waitroom.AwayAfter, 0, 24*time.Hour, problems)
	within("waitroom.return_window", c.Waitroom.ReturnWindow, 0, 10*time.Minute, problems)
	within("waitroom.suspects_per_minute", c.Waitroom.SuspectsPerMinute, 0, 1_000_000, problems)
	within("waitroom.challenge_bits", c.Waitroom.ChallengeBits, 1, 30, problems)
	within("database_read_lag", c.DatabaseReadLag, time.Second, time.Hour, problems)
	within("waitroom.tick", c.Waitroom.Tick, 50*time.Millisecond, time.Minute, problems)
	within("checkout.hold_ttl", c.Checkout.HoldTTL, 10*time.Second, 24*time.Hour, problems)
	within("checkout.max_extensions", c.Checkout.MaxExtensions, 0, 100, problems)
	within("checkout.pay_within", c.Checkout.PayWithin, 10*time.Second, 7*24*time.Hour, problems)
	within("checkout.max_per_buyer", c.Checkout.MaxPerBuyer, 1, 100, problems)
	within("checkout.gateway_timeout", c.Checkout.GatewayTimeout, 100*time.Millisecond, 12*time.Second, problems) // jobs ask the gateway about an attempt after 15 s
	within("limits.body_bytes", c.Limits.BodyBytes, 1<<10, 64<<20, problems)
	within("limits.header_timeout", c.Limits.HeaderTimeout, time.Second, 5*time.Minute, problems)
	within("limits.sockets_per_address", c.Limits.Sockets, 0, 1_000_000, problems)
	c.validateTaxes(problems)
	c.validateIdentity(problems)
	c.validateGateways(problems)
	c.validateMail(problems)
	within("limits.request_timeout", c.Limits.RequestTimeout, time.Second, time.Hour, problems)
}

// validateMail checks what can be checked without asking the server. Its messages
// never show the address, which can hold a password.
func (c *Config) validateMail(problems *Problems) {
	m := c.Mail
	for name, address := range map[string]string{"mail.from": m.From, "mail.reply_to": m.ReplyTo} {
		if _, err := mail.ParseAddress(address); address != "" && err != nil {
			problems.addf("%s: %q is not an address such as Tickets <tickets@example.org>", name, address)
		}
	}
	if !m.SMTPURL.IsSet() {
		return
	}
	if m.From == "" {
		problems.addf("mail.from: is missing beside mail.smtp_url")
	}
	u, err := url.Parse(m.SMTPURL.Reveal())
	if err != nil || !slices.Contains([]string{"smtp", "smtps", "file"}, u.Scheme) || (u.Host == "") != (u.Scheme == "file") {
		problems.addf("mail.smtp_url: not an address such as smtp://user:password@mail.example:587")
	}
}

// validateIdentity checks where user tokens come from.
func (c *Config) validateIdentity(problems *Problems) {
	i := c.Identity
	if i.Issuer == "" {
		if c.Accounts.SignIn == SignInOIDC || c.Accounts.SignIn == SignInBoth {
			problems.addf("accounts.sign_in: %s needs identity.issuer", c.Accounts.SignIn)
		}
		if i != (Identity{}) {
			problems.addf("identity.issuer: is missing beside the other settings of identity")
		}
		return
	}
	for name, address := range map[string]string{"identity.issuer": i.Issuer, "identity.jwks_url": i.JWKSURL} {
		if address == "" {
			continue
		}
		if u, err := url.Parse(address); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
			problems.addf("%s: %q is not a web address such as https://login.example", name, address)
		}
	}
	if utf8.RuneCountInString(i.Label) > mostLabel || !utf8.ValidString(i.Label) || strings.ContainsFunc(i.Label, unicode.IsControl) {
		problems.addf("identity.label: has more than %d characters, or some that control", mostLabel)
	}
	if i.Audience == "" {
		problems.addf("identity.audience: is missing; tokens that the issuer made for somebody else would be taken too")
	}
}

// validateGateways checks what the payment gateway in use needs. Its messages never
// show a secret.
func (c *Config) validateGateways(problems *Problems) {
	if share := c.Sandbox.FaultShare; share < 0 || share > 1 || math.IsNaN(share) {
		problems.addf("sandbox.fault_share: %v is not between 0 and 1", share)
	}
	if c.PaymentGateway != GatewayStripe {
		return
	}
	key, public := c.Stripe.SecretKey.Reveal(), c.Stripe.PublishableKey
	if !strings.HasPrefix(key, "sk_") && !strings.HasPrefix(key, "rk_") {
		problems.addf("stripe.secret_key (%sSTRIPE_SECRET_KEY) is required with payment_gateway stripe, and begins with sk_ or rk_", EnvPrefix)
	}
	if !strings.HasPrefix(public, "pk_") {
		problems.addf("stripe.publishable_key (%sSTRIPE_PUBLISHABLE_KEY) is required with payment_gateway stripe, and begins with pk_", EnvPrefix)
	}
	if !strings.HasPrefix(c.Stripe.WebhookSecret.Reveal(), "whsec_") {
		problems.addf("stripe.webhook_secret (%sSTRIPE_WEBHOOK_SECRET) is required with payment_gateway stripe, and begins with whsec_", EnvPrefix)
	}
	live := strings.Contains(key, "_live_")
	if live != strings.HasPrefix(public, "pk_live_") {
		problems.addf("stripe: the secret key and the publishable key are not of the same mode, test or live")
	}
	if live && !strings.HasPrefix(c.PublicURL, "https://") {
		problems.addf("public_url: Stripe takes live payments only for pages under https://")
	}
	if address := c.Stripe.APIURL; address != "" {
		if u, err := url.Parse(address); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
			problems.addf("stripe.api_url: %q is not a web address such as http://127.0.0.1:12111", address)
		}
	}
}

// validateServers checks what belongs to the servers and the secrets. Its
// messages never show a value, since each of them can hold a password.
func (c *Config) validateServers(problems *Problems) {
	if c.RedisURL.IsSet() {
		u, err := url.Parse(c.RedisURL.Reveal())
		if err != nil || !slices.Contains([]string{"redis", "rediss", "unix"}, u.Scheme) || u.Host == "" && u.Path == "" {
			problems.addf("redis_url: not an address such as redis://host:6379/0")
		}
	}
	for name, secret := range map[string]Secret{"database_url": c.DatabaseURL, "database_read_url": c.DatabaseReadURL} {
		// net/url cannot read several hosts with ports, nor PostgreSQL's key=value form.
		text := secret.Reveal()
		rest, ok := strings.CutPrefix(text, "postgres://")
		if !ok {
			rest, ok = strings.CutPrefix(text, "postgresql://")
		}
		if secret.IsSet() && (!ok || rest == "") && !strings.Contains(text, "=") {
			problems.addf("%s: not an address such as postgres://user:password@host:5432/name", name)
		}
	}
	if c.EmbeddedPostgres() && c.DatabaseReadURL.IsSet() {
		problems.addf("database_read_url: a replica needs its primary: set database_url too")
	}
	switch {
	case c.AdminToken.IsSet() && len([]rune(c.AdminToken.Reveal())) < minAdminToken:
		problems.addf("admin_token: shorter than %d characters", minAdminToken)
	case !c.AdminToken.IsSet() && !c.Embedded():
		problems.addf("admin_token (%sADMIN_TOKEN) is required when redis_url and database_url are set", EnvPrefix)
	}
	if _, err := c.SigningSeeds(); err != nil {
		problems.addf("signing_key: %v", err)
	} else if !c.SigningKey.IsSet() && !c.Embedded() {
		problems.addf("signing_key (%sSIGNING_KEY) is required when redis_url and database_url are set: onsale keygen prints one", EnvPrefix)
	}
}

func checkAddress(name, addr string, problems *Problems) {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		problems.addf("%s: %q is not an address such as 127.0.0.1:8080", name, addr)
	}
}

func oneOf[T ~string](name string, value T, problems *Problems, allowed ...T) {
	if slices.Contains(allowed, value) {
		return
	}
	texts := make([]string, len(allowed))
	for i, text := range allowed {
		texts[i] = string(text)
	}
	problems.addf("%s: %q is not one of: %s", name, value, strings.Join(texts, ", "))
}

func within[T int | int64 | time.Duration](name string, value, low, high T, problems *Problems) {
	if value < low || value > high {
		problems.addf("%s: %v is not between %v and %v", name, value, low, high)
	}
}
