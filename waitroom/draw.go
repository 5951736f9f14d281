package waitroom

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
	"time"

	"onsale/internal/fault"
)

// DrawAlgorithm names how seed and places follow from the published values:
//
//	commitment = SHA-256(secret)
//	seed       = SHA-256(secret ‖ n ‖ digest ‖ public value)
//	place      = base + permute(seed, index-1, n) + 1
//
// with the secret's 32 bytes, n as 8 bytes big endian, the digest's 20 bytes and
// the public value as UTF-8 (empty when none was announced). n is the highest
// join index of the lobby; indexes count from 1, and those of people who left
// stay unused.
//
// permute is a Feistel network of ten rounds on the smallest square domain that
// holds n (Luby and Rackoff, 1988), whose round function is SHA-256(seed ‖ round
// ‖ half), walked along its cycle until it falls below n (Black and Rogaway,
// 2002). It is a permutation of 0 … n-1 for every seed.
const DrawAlgorithm = "onsale-draw-1"

const (
	drawRounds   = 10
	secretBytes  = 32
	digestBytes  = 20
	mostDrawn    = 1 << 40
	mostVerified = 20_000_000 // for which VerifyDraw checks every place
)

// Draw is what decides the order of a lobby. It is fixed in three steps: the
// secret before the lobby opens, N, Base and Digest at the opening, in one step
// of the store, and the public value, if one was announced, after that.
type Draw struct {
	Secret       string // hex; not told before the draw
	PublicSource string // where the public value will come from, announced before
	PublicValue  string
	N            int64  // highest join index; 0 before the opening
	Base         int64  // the place before the first of the block
	Digest       string // hex, of everybody who joined the lobby, in order
	At           time.Time
}

// NewSecret makes the secret of a draw.
func NewSecret() string {
	var b [secretBytes]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// Commitment is what is published before the lobby opens; "" without a secret.
func (d *Draw) Commitment() string {
	secret, err := hex.DecodeString(d.Secret)
	if err != nil || len(secret) != secretBytes {
		return ""
	}
	sum := sha256.Sum256(secret)
	return hex.EncodeToString(sum[:])
}

// Frozen reports whether the lobby is fixed.
func (d *Draw) Frozen() bool { return d.N > 0 }

// Drawn reports whether everything that decides the order is there.
func (d *Draw) Drawn() bool { return d.N > 0 && (d.PublicSource == "" || d.PublicValue != "") }

// Seed is the seed of the permutation of a draw that is drawn. The error says
// which value is malformed.
func (d *Draw) Seed() (seed [sha256.Size]byte, err error) {
	secret, err := hex.DecodeString(d.Secret)
	if err != nil || len(secret) != secretBytes {
		return seed, fmt.Errorf("the secret is not %d bytes in hex", secretBytes)
	}
	digest, err := hex.DecodeString(d.Digest)
	if err != nil || len(digest) != digestBytes {
		return seed, fmt.Errorf("the digest of the lobby is not %d bytes in hex", digestBytes)
	}
	text := binary.BigEndian.AppendUint64(secret, uint64(d.N))
	text = append(append(text, digest...), d.PublicValue...)
	return sha256.Sum256(text), nil
}

// Permute is the place of i, 0 ≤ i < n, in the permutation of 0 … n-1 that seed
// stands for. n is at most 2^40. See DrawAlgorithm.
func Permute(seed [sha256.Size]byte, i, n int64) int64 {
	half := max(1, (bits.Len64(uint64(n-1))+1)/2)
	mask := uint64(1)<<half - 1
	x := uint64(i)
	for {
		left, right := x>>half, x&mask
		for round := range byte(drawRounds) {
			left, right = right, left^mix(&seed, round, right)&mask
		}
		x = left<<half | right
		if x < uint64(n) {
			return int64(x)
		}
	}
}

// unpermute is the i of which at is the Permute.
func unpermute(seed [sha256.Size]byte, at, n int64) int64 {
	half := max(1, (bits.Len64(uint64(n-1))+1)/2)
	mask := uint64(1)<<half - 1
	x := uint64(at)
	for {
		left, right := x>>half, x&mask
		for round := drawRounds - 1; round >= 0; round-- {
			left, right = right^mix(&seed, byte(round), left)&mask, left
		}
		x = left<<half | right
		if x < uint64(n) {
			return int64(x)
		}
	}
}

// mix is the round function, before it is cut to half the domain.
func mix(seed *[sha256.Size]byte, round byte, half uint64) uint64 {
	var block [sha256.Size + 9]byte
	copy(block[:], seed[:])
	block[sha256.Size] = round
	binary.BigEndian.PutUint64(block[sha256.Size+1:], half)
	sum := sha256.Sum256(block[:])
	return binary.BigEndian.Uint64(sum[:8])
}

// placing makes the function from a join index to its place.
func (d *Draw) placing(order Order) (func(index int64) int64, error) {
	if order != DrawOrder {
		return func(index int64) int64 { return d.Base + index }, nil
	}
	seed, err := d.Seed()
	if err != nil {
		return nil, err
	}
	return func(index int64) int64 { return d.Base + Permute(seed, index-1, d.N) + 1 }, nil
}

// DrawProof is what GET /v1/rooms/{event}/draw answers. Values that are not
// fixed yet are null; the secret and the seed are told when the draw is drawn.
type DrawProof struct {
	Event        string     `json:"event"`
	Order        Order      `json:"order"`
	Algorithm    string     `json:"algorithm"`
	Status       string     `json:"status"` // committed, frozen or drawn
	Commitment   string     `json:"commitment"`
	PublicSource *string    `json:"public_source"`
	PublicValue  *string    `json:"public_value"`
	N            *int64     `json:"n"`
	Digest       *string    `json:"digest"`
	Base         *int64     `json:"base"`
	Secret       *string    `json:"secret"`
	Seed         *string    `json:"seed"`
	DrawnAt      *time.Time `json:"drawn_at"`
	You          *DrawnYou  `json:"you"`
}

// DrawnYou is the asking visitor's part of a proof.
type DrawnYou struct {
	Index int64  `json:"index"`
	Place *int64 `json:"place"`
}

// Proof is what is public of the room's draw by now.
func (r *Room) Proof() DrawProof {
	d := &r.Draw
	p := DrawProof{
		Event: r.Event, Order: r.Order, Algorithm: DrawAlgorithm, Status: "committed", Commitment: d.Commitment(),
		PublicSource: said(d.PublicSource),
	}
	if !d.Frozen() {
		return p
	}
	p.Status, p.N, p.Base, p.Digest, p.DrawnAt = "frozen", &d.N, &d.Base, &d.Digest, known(d.At)
	if !d.Drawn() {
		return p
	}
	p.Status, p.PublicValue, p.Secret = "drawn", said(d.PublicValue), &d.Secret
	if seed, err := d.Seed(); err == nil {
		text := hex.EncodeToString(seed[:])
		p.Seed = &text
	}
	return p
}

// Drawn is v's part of the proof of the room's draw; nil for who was not in its
// lobby.
func (r *Room) Drawn(v *Visitor) *DrawnYou {
	d := &r.Draw
	switch {
	case v.State == InLobby:
		you := &DrawnYou{Index: v.Index}
		if place, err := d.placing(r.Order); err == nil && d.Drawn() && v.Index <= d.N {
			at := place(v.Index)
			you.Place = &at
		}
		return you
	case d.Drawn() && v.Place > d.Base && v.Place <= d.Base+d.N:
		seed, err := d.Seed()
		if err != nil {
			return nil
		}
		return &DrawnYou{Index: unpermute(seed, v.Place-d.Base-1, d.N) + 1, Place: &v.Place}
	}
	return nil
}

func said(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// Verify recomputes a proof: the commitment, the seed, that the places are a
// permutation (of up to twenty million), and the place of the proof's own
// visitor if it has one. It returns fault.Invalid that names what does not hold.
func (p *DrawProof) Verify() error {
	wrong := func(format string, args ...any) error { return fault.New(fault.Invalid, format, args...) }
	switch {
	case p.Algorithm != DrawAlgorithm:
		return wrong("the algorithm %q is unknown; known is %s", p.Algorithm, DrawAlgorithm)
	case p.Status != "drawn" || p.N == nil || p.Base == nil || p.Digest == nil || p.Secret == nil || p.Seed == nil:
		return wrong("nothing is drawn yet (status %q); the commitment is %s", p.Status, p.Commitment)
	case *p.N < 1 || *p.N > mostDrawn:
		return wrong("n is %d, not from 1 to %d", *p.N, int64(mostDrawn))
	case p.PublicSource != nil && p.PublicValue == nil:
		return wrong("the value of the announced public source is missing")
	}
	d := Draw{Secret: *p.Secret, N: *p.N, Base: *p.Base, Digest: *p.Digest}
	if p.PublicValue != nil {
		d.PublicValue = *p.PublicValue
	}
	if commitment := d.Commitment(); subtle.ConstantTimeCompare([]byte(commitment), []byte(p.Commitment)) != 1 {
		return wrong("the secret does not fit the commitment: SHA-256 of it is %q, committed was %q", commitment, p.Commitment)
	}
	seed, err := d.Seed()
	if err != nil {
		return wrong("%v", err)
	}
	if text := hex.EncodeToString(seed[:]); text != *p.Seed {
		return wrong("the seed is %s, but follows from the values as %s", *p.Seed, text)
	}
	if err := checkPermutation(seed, d.N); err != nil {
		return err
	}
	if p.You != nil && p.You.Place != nil {
		if p.You.Index < 1 || p.You.Index > d.N {
			return wrong("the join index %d is not from 1 to %d", p.You.Index, d.N)
		}
		if place := d.Base + Permute(seed, p.You.Index-1, d.N) + 1; place != *p.You.Place {
			return wrong("index %d has place %d by the draw, but stands at %d", p.You.Index, place, *p.You.Place)
		}
	}
	return nil
}

// PlaceOf is the place that a verified proof gives a join index. It returns
// fault.Invalid for an index that is not in it.
func (p *DrawProof) PlaceOf(index int64) (int64, error) {
	if p.N == nil || p.Base == nil || p.Seed == nil || index < 1 || index > *p.N {
		return 0, fault.New(fault.Invalid, "the draw has no join index %d", index)
	}
	raw, err := hex.DecodeString(*p.Seed)
	if err != nil || len(raw) != sha256.Size {
		return 0, fault.New(fault.Invalid, "the seed is not %d bytes in hex", sha256.Size)
	}
	seed := [sha256.Size]byte(raw)
	return *p.Base + Permute(seed, index-1, *p.N) + 1, nil
}

func checkPermutation(seed [sha256.Size]byte, n int64) error {
	if n > mostVerified {
		return nil // follows from the construction
	}
	seen := make([]bool, n)
	for i := range n {
		at := Permute(seed, i, n)
		if at < 0 || at >= n || seen[at] {
			return fault.New(fault.Invalid, "two join indexes have one place")
		}
		seen[at] = true
	}
	return nil
}
