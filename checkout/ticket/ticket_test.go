package ticket_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/boombuler/barcode/qr"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"onsale/checkout/ticket"
	"onsale/waitroom/pass"
)

// testKeys are of the seed 00 01 … 1f.
func testKeys(t testing.TB) *pass.KeySet {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	for i := range seed {
		seed[i] = byte(i)
	}
	keys, err := pass.ParseKeySet(base64.RawURLEncoding.EncodeToString(seed))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func vector() ticket.Ticket {
	return ticket.Ticket{
		Event: uuid.MustParse("0190b0a0-8c3e-7a41-9d5e-3f1f6f1f0001"), Ticket: uuid.MustParse("0190b0a0-8c3e-7a41-9d5e-3f1f6f1f0002"),
		Admission: uuid.MustParse("0190b0a0-8c3e-7a41-9d5e-3f1f6f1f0003"), Issued: time.Date(2031, 2, 1, 8, 0, 0, 0, time.UTC),
	}
}

// vectorText stands in docs/tickets.md, too.
const vectorText = "T1068B184C7SX437AY7WFPY7R0040S1C50HGZ7MGCXBRZHYVRZ0010345GM263WYJ1KNF3Y7VF3W006WQ6BC0AJQJSHYD17ZTMQ27MT6GJFM34ZNDPVWM56D28F4J27P9DK9YWKY3BS5KW343NZDMM706TN4Y1WQCTPCGCSBPV82P3Z59V2NW9C71YCEQBK9GB"

func TestVector(t *testing.T) {
	t.Parallel()
	keys := testKeys(t)
	text := ticket.Sign(keys, vector())
	if text != vectorText {
		t.Fatalf("signed: %s", text)
	}
	public, err := pass.ParseJWKS(keys.JWKS())
	if err != nil {
		t.Fatal(err)
	}
	p, err := ticket.Verify(text, public)
	if err != nil || p.Ticket != vector() {
		t.Errorf("verified: %+v, %v", p, err)
	}
	// The format by hand, as somebody else would write it.
	raw, err := decode(text)
	if err != nil || len(raw) != 120 {
		t.Fatalf("%d bytes, %v", len(raw), err)
	}
	private := ed25519.NewKeyFromSeed(mustHex(t, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"))
	if !ed25519.Verify(private.Public().(ed25519.PublicKey), append([]byte("onsale ticket 1\n"), raw[:56]...), raw[56:]) {
		t.Error("the signature is not over what the format says")
	}
	rotating := ticket.Rotate(text, make([]byte, ticket.SecretSize), vector().Issued)
	for _, s := range []string{text, rotating} {
		code, err := qr.Encode(s, qr.M, qr.AlphaNumeric)
		if err != nil || code.Bounds().Dx() != 49 {
			t.Errorf("QR code of %d characters: %v, %v", len(s), code.Bounds(), err)
		}
	}
}

func mustHex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// decode is base32 by Crockford, five bits at a time.
func decode(text string) (raw []byte, err error) {
	const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	bits, n := 0, 0
	for _, c := range strings.TrimPrefix(text, "T1") {
		bits, n = bits<<5|strings.IndexRune(alphabet, c), n+5
		if n >= 8 {
			raw, n = append(raw, byte(bits>>(n-8))), n-8
			bits &= 1<<n - 1
		}
	}
	return raw, nil
}

// TestOneTimeCodes has the vectors of RFC 6238, appendix B, whose steps are of 30
// seconds: the same count of ours comes at half the time.
func TestOneTimeCodes(t *testing.T) {
	t.Parallel()
	secret := []byte("12345678901234567890123456789012")
	for _, v := range []struct {
		step int64
		code string
	}{
		{0x1, "46119246"}, {0x23523EC, "68084774"}, {0x23523ED, "67062674"},
		{0x273EF07, "91819424"}, {0x3F940AA, "90698825"}, {0x27BC86AA, "77737706"},
	} {
		at := time.Unix(v.step*15, 0)
		if got := ticket.Rotate("", secret, at); got != "."+v.code {
			t.Errorf("step %x: %s, want %s", v.step, got, v.code)
		}
		for seconds, right := range map[int64]bool{-16: false, -15: true, 0: true, 14: true, 29: true, 30: false} {
			if at.Unix() > 15 && ticket.Current(secret, v.code, time.Unix(at.Unix()+seconds, 0)) != right {
				t.Errorf("step %x, %ds: %t", v.step, seconds, !right)
			}
		}
	}
}

func anyTicket(t *rapid.T) ticket.Ticket {
	id := rapid.Custom(func(t *rapid.T) uuid.UUID {
		return uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
	})
	return ticket.Ticket{
		Event: id.Draw(t, "event"), Ticket: id.Draw(t, "ticket"), Admission: id.Draw(t, "admission"),
		Issued: time.Unix(int64(rapid.Uint32().Draw(t, "issued")), 0).UTC(),
	}
}

// TestSignedTextsAreKnownAgain, and not after any change of theirs.
func TestSignedTextsAreKnownAgain(t *testing.T) {
	t.Parallel()
	keys, other := testKeys(t), pass.Generate()
	rapid.Check(t, func(t *rapid.T) {
		want := anyTicket(t)
		text := ticket.Sign(keys, want)
		if len(text) != ticket.Length || text != ticket.Sign(keys, want) {
			t.Fatalf("%d characters: %s", len(text), text)
		}
		shown := text
		if rapid.Bool().Draw(t, "rotating") {
			shown = ticket.Rotate(text, ticket.NewSecret(), want.Issued)
		}
		if rapid.Bool().Draw(t, "lower case") {
			shown = strings.ToLower(shown)
		}
		p, err := ticket.Verify(" "+shown+"\n", keys)
		if err != nil || p.Ticket != want || !p.Signed() || (p.Digits != "") != strings.Contains(shown, ".") {
			t.Fatalf("%+v, %v", p, err)
		}
		if _, err := ticket.Verify(shown, other); err != ticket.ErrForged { //nolint:errorlint // as it is documented
			t.Fatalf("by other keys: %v", err)
		}
		changed := []byte(text)
		at := rapid.IntRange(0, len(changed)-1).Draw(t, "at")
		changed[at] = rapid.SampledFrom([]byte("0123456789ABCDEFGHJKMNPQRSTVWXYZILOU.\n ")).Filter(func(c byte) bool { return c != text[at] }).Draw(t, "character")
		if p, err := ticket.Verify(string(changed), keys); err == nil {
			t.Fatalf("%q is still genuine: %+v", changed, p)
		}
	})
}

// TestPassesAreNoTickets and tickets are no passes, although the keys are the same.
func TestPassesAreNoTickets(t *testing.T) {
	t.Parallel()
	keys, now := testKeys(t), time.Unix(2_000_000_000, 0)
	v := vector()
	text := ticket.Sign(keys, v)
	order := keys.SignOrder(v.Event.String(), now.Add(time.Hour))
	holder := keys.SignHolder(v.Admission.String(), now.Add(time.Hour))
	for _, token := range []string{order, holder, keys.SignVisitor(pass.NewVisitor(), now.Add(time.Hour))} {
		if _, err := ticket.Verify(token, keys); err == nil {
			t.Errorf("%q is a ticket", token)
		}
	}
	if _, err := keys.Order(text, now); err == nil {
		t.Error("a ticket is an order's token")
	}
	// A token's signature over its own text is none of a ticket.
	dot := strings.LastIndexByte(holder, '.')
	signature, err := base64.RawURLEncoding.DecodeString(holder[dot+1:])
	if err != nil || keys.VerifyTicket(keys.TicketKey(), []byte(holder[:dot]), signature) {
		t.Errorf("a token's signature counts for a ticket (%v)", err)
	}
	if _, err := keys.Order(holder, now); err == nil {
		t.Error("a holder's token is an order's")
	}
	if _, err := keys.Holder(order, now); err == nil {
		t.Error("an order's token is a holder's")
	}
	if id, err := keys.Holder(holder, now); err != nil || id != v.Admission.String() {
		t.Errorf("holder: %q, %v", id, err)
	}
	if _, err := keys.Holder(holder, now.Add(time.Hour)); err == nil {
		t.Error("a holder's token outlives its time")
	}
	sum := sha256.Sum256([]byte(keys.String()[len("signing keys "):]))
	if key := keys.TicketKey(); string(key[:]) != string(sum[:4]) {
		t.Errorf("the key is called %x, its kid has %x", key, sum[:4])
	}
}

// TestRotatedKeysKnowOldTickets: a new key in front signs, the old one verifies.
func TestRotatedKeysKnowOldTickets(t *testing.T) {
	t.Parallel()
	old := testKeys(t)
	both, err := pass.ParseKeySet(pass.Generate().Secret() + "," + old.Secret())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ticket.Verify(ticket.Sign(old, vector()), both); err != nil {
		t.Error(err)
	}
	if _, err := ticket.Verify(ticket.Sign(both, vector()), old); err == nil {
		t.Error("the old key knows what the new one signed")
	}
}

func TestTextCodes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		code := ticket.NewCode()
		typed := code
		if rapid.Bool().Draw(t, "plain") {
			typed = strings.ReplaceAll(code, "-", "")
		}
		if rapid.Bool().Draw(t, "lower case") {
			typed = strings.ToLower(typed)
		}
		p, err := ticket.Parse(" " + typed + " ")
		if err != nil || p.Code != code || p.Signed() {
			t.Fatalf("%q: %+v, %v", typed, p, err)
		}
		misread := strings.NewReplacer("0", "o", "1", rapid.SampledFrom([]string{"l", "I"}).Draw(t, "one")).Replace(typed)
		if p, err = ticket.Parse(misread); err != nil || ticket.Reread(p.Code) != code {
			t.Fatalf("%q: %+v, %v", misread, p, err)
		}
	})
	for _, bad := range []string{"", "ABCD", "ABCD-EFGH-JKMN-PQR", "ABCD-EFGH-JKMN-PQRST", "ABCD-EFGH-JKMN-PQR\x00", strings.Repeat("-", 70) + "ABCDEFGHJKMNPQRS", "ÄBCD-EFGH-JKMN-PQR"} {
		if p, err := ticket.Parse(bad); err == nil {
			t.Errorf("%q: %+v", bad, p)
		}
	}
}

func FuzzParse(f *testing.F) {
	keys := testKeys(f)
	f.Add(ticket.Sign(keys, vector()))
	f.Add(ticket.Rotate(ticket.Sign(keys, vector()), ticket.NewSecret(), vector().Issued))
	f.Add("0123-4567-89ab-cdef")
	f.Add("T1" + strings.Repeat("\n", 192))
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ticket.Parse(text)
		if err != nil {
			if p.Signed() || p.Code != "" {
				t.Fatalf("refused, and %+v", p)
			}
			return
		}
		if p.Signed() == (p.Code != "") {
			t.Fatalf("%q is both or neither: %+v", text, p)
		}
		if p.Signed() && p.Genuine(keys) {
			// One spelling of a genuine text, but for letter case and space around it.
			if plain, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(text)), "."); plain != ticket.Sign(keys, p.Ticket) {
				t.Fatalf("%q is another spelling of %+v", text, p.Ticket)
			}
		}
		if again, err := ticket.Parse(p.Code); p.Code != "" && (err != nil || again.Code != p.Code) {
			t.Fatalf("%q: %+v, %v", p.Code, again, err)
		}
	})
}
