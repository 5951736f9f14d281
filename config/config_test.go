package config_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"onsale/config"
)

var update = flag.Bool("update", false, "rewrite onsale.example.yaml from the defaults")

// load loads from YAML text ("" for no file), variables and flags.
func load(t *testing.T, text string, environ []string, flags map[string]string) (config.Config, error) {
	t.Helper()
	source := config.Source{Environ: environ, Flags: flags}
	if text != "" {
		source.File = filepath.Join(t.TempDir(), "onsale.yaml")
		if err := os.WriteFile(source.File, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return config.Load(source)
}

func TestDefaultsAreValid(t *testing.T) {
	t.Parallel()
	got, err := load(t, "", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.PublicURL = "http://127.0.0.1:8080"
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestLaterSourcesOverrideEarlierOnes(t *testing.T) {
	t.Parallel()
	const file = "waitroom: {lease: 1m, burst: 7, rate_per_minute: 5}\nlog: {level: debug}\n"
	got, err := load(t, file,
		[]string{"ONSALE_WAITROOM_LEASE=2m", "ONSALE_WAITROOM_BURST=8", "HOME=/home/x"},
		map[string]string{"waitroom-lease": "3m"})
	if err != nil {
		t.Fatal(err)
	}
	w := got.Waitroom
	if w.Lease != 3*time.Minute || w.Burst != 8 || w.RatePerMinute != 5 || w.MaxShoppers != config.Default().Waitroom.MaxShoppers || got.Log.Level != "debug" {
		t.Errorf("waitroom %+v, log %+v", w, got.Log)
	}
}

func TestEverySourceReadsEveryType(t *testing.T) {
	t.Parallel()
	check := func(got config.Config, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}; !slices.Equal(got.TrustedProxies, want) {
			t.Errorf("trusted_proxies %v", got.TrustedProxies)
		}
		if want := []string{"https://a.example", "https://b.example:8443"}; !slices.Equal(got.AllowedOrigins, want) {
			t.Errorf("allowed_origins %v", got.AllowedOrigins)
		}
		if got.Metrics.Enabled || got.Limits.BodyBytes != 2048 || got.Role != config.RoleShop || got.Checkout.HoldTTL != 90*time.Second {
			t.Errorf("got %+v", got)
		}
	}
	check(load(t, `
trusted_proxies: [10.0.0.0/8, "fd00::/8"]
allowed_origins: [https://a.example, https://b.example:8443]
metrics: {enabled: false}
limits: {body_bytes: 2048}
role: shop
checkout: {hold_ttl: 90s}
`, nil, nil))
	check(load(t, "", []string{
		"ONSALE_TRUSTED_PROXIES=10.0.0.0/8,fd00::/8", "ONSALE_ALLOWED_ORIGINS=https://a.example,https://b.example:8443",
		"ONSALE_METRICS_ENABLED=false", "ONSALE_LIMITS_BODY_BYTES=2048", "ONSALE_ROLE=shop", "ONSALE_CHECKOUT_HOLD_TTL=90s",
	}, nil))
	check(load(t, "", nil, map[string]string{
		"trusted-proxies": "10.0.0.0/8,fd00::/8", "allowed-origins": "https://a.example,https://b.example:8443",
		"metrics-enabled": "false", "limits-body-bytes": "2048", "role": "shop", "checkout-hold-ttl": "90s",
	}))
}

// Names and tags follow one rule, so that a setting's name tells its variable.
func TestEverySettingCanBeSetByItsVariable(t *testing.T) {
	t.Parallel()
	examples := map[string]string{
		"addr": "127.0.0.1:9", "public_url": "https://x.example", "role": "worker", "redis_url": "redis://h:1/0",
		"database_url": "postgres://h/d", "admin_token": "0123456789abcdef", "payment_gateway": "sandbox", "accounts.sign_in": "off",
		"allowed_origins": "https://x.example", "image_origins": "https://images.example", "trusted_proxies": "10.0.0.0/8", "log.level": "warn", "mail.from": "tickets@example.org", "mail.reply_to": "help@example.org", "webhooks.allow_private": "true", "log.format": "json",
		"metrics.addr": "127.0.0.1:9", "metrics.enabled": "false", "limits.body_bytes": "4096", "data_dir": "/d", "checkout.gateway_timeout": "7s",
		"waitroom.challenge_bits": "9", "sandbox.fault_share": "0.25", "sandbox.webhooks": "false", "checkout.taxes": "DE 7 included VAT",
		"signing_key": base64.RawURLEncoding.EncodeToString(make([]byte, 32)),
	}
	for _, setting := range config.Settings() {
		t.Run(setting.Name, func(t *testing.T) {
			t.Parallel()
			if setting.Doc == "" {
				t.Error("has no description")
			}
			value := examples[setting.Name]
			switch {
			case value != "":
			case setting.Name == "database_read_url", setting.Name == "mail.smtp_url", strings.HasPrefix(setting.Name, "identity."),
				strings.HasPrefix(setting.Name, "stripe."):
				return // only together with others; identity and stripe have tests of their own
			case strings.HasSuffix(setting.Default, "s"), strings.HasSuffix(setting.Default, "m"):
				value = "33s"
			default:
				value = "77"
			}
			if value == setting.Default && setting.Name != "payment_gateway" {
				t.Fatalf("the example %q is the default", value)
			}
			var before, after bytes.Buffer
			unset, err := load(t, "", nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			set, err := load(t, "", []string{setting.Env + "=" + value}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(unset.Write(&before), set.Write(&after)); err != nil {
				t.Fatal(err)
			}
			if before.String() == after.String() && setting.Name != "payment_gateway" {
				t.Errorf("%s=%s changes nothing", setting.Env, value)
			}
		})
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := load(t, `
adr: 1.2.3.4:80
waitroom:
  leese: 10m
  burst: many
checkout: {hold_ttl: 10}
lease: 3m
log: {level: loud}
`,
		[]string{"ONSALE_WAITROOM_RATE_PER_MIN=3", "ONSALE_CHECKOUT_MAX_PER_BUYER=lots", "ONSALE_TEST_REDIS_URL=x", "ONSALE_SCREENSHOTS=1"},
		map[string]string{"shutdown-grace": "soon", "role": "boss"})
	var problems config.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("error %v, want Problems", err)
	}
	for _, want := range []string{
		"line 2: adr is not a setting; did you mean addr?",
		"line 4: waitroom.leese is not a setting; did you mean waitroom.lease?",
		"line 5: cannot unmarshal !!str `many` into int",
		"line 6: cannot unmarshal !!int `10` into time.Duration",
		"line 7: lease is not a setting; did you mean waitroom.lease?",
		`log.level: "loud" is not one of: debug, info, warn, error`,
		"ONSALE_WAITROOM_RATE_PER_MIN is not a setting; did you mean ONSALE_WAITROOM_RATE_PER_MINUTE?",
		"ONSALE_CHECKOUT_MAX_PER_BUYER: ",
		"--shutdown-grace: ",
		`role: "boss" is not one of: all, waitroom, shop, worker`,
	} {
		if !slices.ContainsFunc(problems, func(problem string) bool { return strings.Contains(problem, want) }) {
			t.Errorf("no problem says %q", want)
		}
	}
	if len(problems) != 10 {
		t.Errorf("%d problems, want 10:\n%v", len(problems), err)
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	shortKey := base64.RawURLEncoding.EncodeToString(make([]byte, 31))
	for name, test := range map[string]struct {
		file    string
		environ []string
		want    string
	}{
		"port":                 {file: "addr: 127.0.0.1:99999", want: "addr: "},
		"no port":              {file: "addr: localhost", want: "addr: "},
		"public url":           {file: "public_url: ftp://x", want: "public_url: "},
		"origin with path":     {file: "allowed_origins: [https://x.example/shop]", want: "allowed_origins: "},
		"pictures with path":   {file: "image_origins: [https://x.example/shop]", want: "image_origins: "},
		"pictures over http":   {file: "image_origins: [http://x.example]", want: "image_origins: "},
		"a directive":          {file: "image_origins: [\"https://x.example;script-src\"]", want: "image_origins: "},
		"bad network":          {file: "trusted_proxies: [10.0.0.0/64]", want: "10.0.0.0/64"},
		"redis scheme":         {environ: []string{"ONSALE_REDIS_URL=http://x"}, want: "redis_url: "},
		"database scheme":      {environ: []string{"ONSALE_DATABASE_URL=mysql://x"}, want: "database_url: "},
		"replica alone":        {environ: []string{"ONSALE_DATABASE_READ_URL=postgres://x/y"}, want: "needs its primary"},
		"short token":          {environ: []string{"ONSALE_ADMIN_TOKEN=short"}, want: "admin_token: shorter than 16"},
		"short key":            {environ: []string{"ONSALE_SIGNING_KEY=" + shortKey}, want: "signing_key: key 1 has 31 bytes"},
		"bad second key":       {environ: []string{"ONSALE_SIGNING_KEY=" + base64.RawURLEncoding.EncodeToString(make([]byte, 32)) + ",%%"}, want: "signing_key: key 2 is not base64url"},
		"no secrets":           {environ: []string{"ONSALE_REDIS_URL=redis://x:1", "ONSALE_DATABASE_URL=postgres://x/y"}, want: "ONSALE_ADMIN_TOKEN"},
		"mail without sender":  {environ: []string{"ONSALE_MAIL_SMTP_URL=smtp://mail.example"}, want: "mail.from: is missing"},
		"mail scheme":          {environ: []string{"ONSALE_MAIL_SMTP_URL=imap://mail.example", "ONSALE_MAIL_FROM=a@b.example"}, want: "mail.smtp_url: not an address"},
		"mail sender":          {environ: []string{"ONSALE_MAIL_FROM=tickets"}, want: "mail.from: "},
		"no lease":             {file: "waitroom: {lease: 0s}", want: "waitroom.lease: 0s is not between"},
		"endless":              {file: "waitroom: {lease: -1s}", want: "waitroom.lease"},
		"key twice":            {file: "addr: 127.0.0.1:1\naddr: 127.0.0.1:2", want: "already defined"},
		"list":                 {file: "- addr", want: "a list of settings is expected"},
		"group without values": {file: "waitroom: fast", want: "cannot unmarshal"},
		"no yaml":              {file: "addr: [", want: "yaml"},
		"two documents":        {file: "addr: 127.0.0.1:1\n---\nadr: x", want: "only one document"},
		"missing file":         {environ: []string{"ONSALE_CONFIG=/nonexistent/onsale.yaml"}, want: "/nonexistent/onsale.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := load(t, test.file, test.environ, nil); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestAccepted(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]string{
		"empty": " ", "comments only": "# nothing\n", "document mark": "---\n", "ipv6": "addr: '[::1]:0'", "all interfaces": "addr: ':80'",
	} {
		if _, err := load(t, file, nil, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What Kubernetes and Docker set for services named onsale and onsale-redis.
	_, err := load(t, "", []string{
		"ONSALE_SERVICE_HOST=10.0.0.1", "ONSALE_SERVICE_PORT=80", "ONSALE_SERVICE_PORT_HTTP=80", "ONSALE_PORT=tcp://10.0.0.1:80",
		"ONSALE_PORT_80_TCP=tcp://10.0.0.1:80", "ONSALE_PORT_80_TCP_ADDR=10.0.0.1", "ONSALE_REDIS_SERVICE_HOST=10.0.0.2", "ONSALE_ADDR=",
	}, nil)
	if err != nil {
		t.Error(err)
	}
	for _, address := range []string{
		"postgres://u:p@a:5432,b:5432/d?target_session_attrs=read-write", "host=a,b user=u dbname=d", "postgresql://h/d",
	} {
		if _, err := load(t, "", []string{"ONSALE_DATABASE_URL=" + address}, nil); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	t.Parallel()
	const value = "hunter2-hunter2-hunter2"
	loaded, err := load(t, "", []string{"ONSALE_ADMIN_TOKEN=" + value, "ONSALE_REDIS_URL=redis://:" + value + "@h:1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if loaded.AdminToken.Reveal() != value {
		t.Fatalf("Reveal: %q", loaded.AdminToken.Reveal())
	}
	hidden := struct{ inner config.Config }{loaded} // fmt cannot call methods in here
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+verb+verb, loaded, loaded.AdminToken, hidden)
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "token", loaded.AdminToken, "config", loaded)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "token", loaded.AdminToken, "config", loaded)
	asJSON, jsonErr := json.Marshal(loaded)
	asYAML, yamlErr := yaml.Marshal(loaded)
	if err := errors.Join(jsonErr, yamlErr, loaded.Write(&out)); err != nil {
		t.Fatal(err)
	}
	out.Write(asJSON)
	out.Write(asYAML)
	for _, leak := range []string{value, fmt.Sprintf("%x", value), fmt.Sprintf("%X", value)} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("%q shows in:\n%s", leak, out.String())
		}
	}
	if !strings.Contains(out.String(), "admin_token: '[set]'") {
		t.Errorf("Write does not say that the token is set:\n%s", out.String())
	}
}

// A problem with a secret is told without the secret.
func TestProblemsDoNotShowSecrets(t *testing.T) {
	t.Parallel()
	const value = "hunter2!"
	_, err := load(t, "", []string{
		"ONSALE_REDIS_URL=http://" + value, "ONSALE_DATABASE_URL=" + value, "ONSALE_ADMIN_TOKEN=" + value, "ONSALE_SIGNING_KEY=" + value,
	}, nil)
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error %v", err)
	}
}

func TestSigningSeeds(t *testing.T) {
	t.Parallel()
	first, second := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{0xff}, 32)
	loaded, err := load(t, "", []string{"ONSALE_SIGNING_KEY=" + base64.RawURLEncoding.EncodeToString(first) + ", " + base64.URLEncoding.EncodeToString(second)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	seeds, err := loaded.SigningSeeds()
	if err != nil || len(seeds) != 2 || !bytes.Equal(seeds[0], first) || !bytes.Equal(seeds[1], second) {
		t.Errorf("seeds %x, %v", seeds, err)
	}
}

// The example file is what checkconfig --print-defaults prints, and loads as the defaults.
func TestExampleFile(t *testing.T) {
	t.Parallel()
	const path = "onsale.example.yaml"
	var want bytes.Buffer
	if err := config.WriteDefaults(&want); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s differs from the defaults; go test ./config -update rewrites it", path)
	}
	fromFile, err := config.Load(config.Source{File: path})
	if err != nil {
		t.Fatal(err)
	}
	var inForce, unset bytes.Buffer
	defaults, err := config.Load(config.Source{})
	if err := errors.Join(err, fromFile.Write(&inForce), defaults.Write(&unset)); err != nil {
		t.Fatal(err)
	}
	if inForce.String() != unset.String() {
		t.Errorf("the example file sets\n%s\nnot the defaults\n%s", inForce.String(), unset.String())
	}
	for _, setting := range config.Settings() {
		if !strings.Contains(string(got), "# "+setting.Env+"\n") {
			t.Errorf("%s is missing", setting.Env)
		}
	}
}

func TestDataFolder(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		set     string
		goos    string
		root    bool
		environ map[string]string
		want    string
	}{
		"set":    {set: "/d", goos: "linux", root: true, want: "/d"},
		"root":   {goos: "linux", root: true, environ: map[string]string{"HOME": "/root"}, want: "/var/lib/onsale/demo"},
		"xdg":    {goos: "linux", environ: map[string]string{"HOME": "/h", "XDG_DATA_HOME": "/x"}, want: "/x/onsale/demo"},
		"home":   {goos: "linux", environ: map[string]string{"HOME": "/h", "XDG_DATA_HOME": "relative"}, want: "/h/.local/share/onsale/demo"},
		"darwin": {goos: "darwin", environ: map[string]string{"HOME": "/h"}, want: "/h/Library/Application Support/onsale/demo"},
		"none":   {goos: "linux"},
	} {
		loaded := config.Config{DataDir: test.set}
		got, err := loaded.DataFolder("demo", test.goos, test.root, func(name string) string { return test.environ[name] })
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestURLFor(t *testing.T) {
	t.Parallel()
	loaded := config.Default()
	for addr, want := range map[string]string{
		"127.0.0.1:80": "http://127.0.0.1:80", ":80": "http://127.0.0.1:80", "0.0.0.0:80": "http://127.0.0.1:80",
		"[::]:80": "http://127.0.0.1:80", "[::1]:80": "http://[::1]:80", "shop.example:80": "http://shop.example:80",
	} {
		if got := loaded.URLFor(addr); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

// An issuer of user tokens is set as a whole, or not at all.
func TestIdentityIsSetAsAWhole(t *testing.T) {
	t.Parallel()
	whole := []string{
		"ONSALE_IDENTITY_ISSUER=https://login.example", "ONSALE_IDENTITY_AUDIENCE=onsale",
		"ONSALE_IDENTITY_JWKS_URL=https://login.example/keys", "ONSALE_IDENTITY_REQUIRED=true",
		"ONSALE_IDENTITY_CLIENT_SECRET=no-one-must-see-this", "ONSALE_IDENTITY_LABEL=Example account",
	}
	c, err := load(t, "", whole, nil)
	if secret := c.Identity.ClientSecret.Reveal(); err != nil || secret != "no-one-must-see-this" {
		t.Errorf("client_secret %q, %v", secret, err)
	}
	if text := fmt.Sprintf("%+v %#v", c.Identity, c); strings.Contains(text, "no-one-must-see-this") {
		t.Errorf("the secret is printed: %s", text)
	}
	c.Identity.ClientSecret = config.Secret{}
	want := config.Identity{
		Issuer: "https://login.example", Audience: "onsale", JWKSURL: "https://login.example/keys", Required: true, Label: "Example account",
	}
	if c.Identity != want {
		t.Errorf("identity %+v; want %+v", c.Identity, want)
	}
	for _, c := range []struct {
		environ []string
		names   string
	}{
		{whole[1:], "identity.issuer"}, {whole[:1], "identity.audience"},
		{[]string{"ONSALE_IDENTITY_ISSUER=login", whole[1]}, "identity.issuer"},
		{[]string{whole[0], whole[1], "ONSALE_IDENTITY_JWKS_URL=file:///keys"}, "identity.jwks_url"},
		{whole[4:5], "identity.issuer"}, {whole[5:], "identity.issuer"},
		{[]string{whole[0], whole[1], "ONSALE_IDENTITY_LABEL=a\tb"}, "identity.label"},
		{[]string{whole[0], whole[1], "ONSALE_IDENTITY_LABEL=" + strings.Repeat("ä", 41)}, "identity.label"},
	} {
		if _, err := load(t, "", c.environ, nil); err == nil || !strings.Contains(err.Error(), c.names) {
			t.Errorf("%v: %v; want a problem with %s", c.environ, err, c.names)
		}
	}
}

func TestStripeIsConfiguredAsAWhole(t *testing.T) {
	t.Parallel()
	whole := map[string]string{
		"PAYMENT_GATEWAY": "stripe", "STRIPE_SECRET_KEY": "sk_test_1", "STRIPE_PUBLISHABLE_KEY": "pk_test_1", "STRIPE_WEBHOOK_SECRET": "whsec_1",
	}
	with := func(changes map[string]string) (environ []string) {
		all := maps.Clone(whole)
		maps.Copy(all, changes)
		for name, value := range all {
			if value != "" {
				environ = append(environ, "ONSALE_"+name+"="+value)
			}
		}
		return environ
	}
	for name, changes := range map[string]map[string]string{
		"test mode":        nil,
		"a restricted key": {"STRIPE_SECRET_KEY": "rk_test_1"},
		"a stand-in":       {"STRIPE_API_URL": "http://127.0.0.1:12111"},
		"live mode":        {"STRIPE_SECRET_KEY": "sk_live_1", "STRIPE_PUBLISHABLE_KEY": "pk_live_1", "PUBLIC_URL": "https://tickets.example"},
		"not in use":       {"PAYMENT_GATEWAY": "sandbox", "STRIPE_SECRET_KEY": ""},
	} {
		if _, err := load(t, "", with(changes), nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, test := range map[string]struct {
		changes map[string]string
		want    string
	}{
		"no secret key":         {map[string]string{"STRIPE_SECRET_KEY": ""}, "stripe.secret_key"},
		"no publishable key":    {map[string]string{"STRIPE_PUBLISHABLE_KEY": ""}, "stripe.publishable_key"},
		"no webhook secret":     {map[string]string{"STRIPE_WEBHOOK_SECRET": ""}, "stripe.webhook_secret"},
		"the keys exchanged":    {map[string]string{"STRIPE_SECRET_KEY": "pk_test_1"}, "stripe.secret_key"},
		"keys of two modes":     {map[string]string{"STRIPE_SECRET_KEY": "sk_live_1", "PUBLIC_URL": "https://tickets.example"}, "same mode"},
		"live without TLS":      {map[string]string{"STRIPE_SECRET_KEY": "sk_live_1", "STRIPE_PUBLISHABLE_KEY": "pk_live_1"}, "https://"},
		"an address of nothing": {map[string]string{"STRIPE_API_URL": "localhost:12111"}, "stripe.api_url"},
		"another gateway":       {map[string]string{"PAYMENT_GATEWAY": "cash"}, "sandbox, stripe"},
		"too many faults":       {map[string]string{"SANDBOX_FAULT_SHARE": "1.5"}, "sandbox.fault_share"},
		"no number of faults":   {map[string]string{"SANDBOX_FAULT_SHARE": "NaN"}, "sandbox.fault_share"},
	} {
		_, err := load(t, "", with(test.changes), nil)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v; want %q named", name, err, test.want)
		} else if strings.Contains(err.Error(), "sk_live_1") || strings.Contains(err.Error(), "whsec_1") {
			t.Errorf("%s: the message shows a secret: %v", name, err)
		}
	}
}
