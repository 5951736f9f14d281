package waitroom_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"onsale/internal/fault"
	"onsale/waitroom"
)

func counting() (seed [sha256.Size]byte) {
	for i := range seed {
		seed[i] = byte(i)
	}
	return seed
}

// The pages compute the same; these were computed by a third program.
func TestPermuteVectors(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64][]int64{
		1: {0}, 2: {0, 1}, 10: {6, 9, 7, 1, 3, 2, 5, 8, 0, 4},
		1000: {601, 708, 262, 905, 685, 896, 505, 638, 426, 142}, 1_000_000: {586403, 29011, 718401, 721731, 775182},
	} {
		for i, at := range want {
			if got := waitroom.Permute(counting(), int64(i), n); got != at {
				t.Errorf("Permute(%d of %d) = %d, want %d", i, n, got, at)
			}
		}
	}
}

// It is a permutation for every n: of all small ones, and of random large ones.
func TestPermuteIsAPermutation(t *testing.T) {
	t.Parallel()
	check := func(t interface{ Fatalf(string, ...any) }, seed [sha256.Size]byte, n int64) {
		seen := make([]bool, n)
		for i := range n {
			at := waitroom.Permute(seed, i, n)
			if at < 0 || at >= n || seen[at] {
				t.Fatalf("n = %d: %d goes to %d, out of bounds or twice", n, i, at)
			}
			seen[at] = true
		}
	}
	for n := int64(1); n <= 600; n++ {
		check(t, sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(n))), n)
	}
	rapid.Check(t, func(rt *rapid.T) {
		var seed [sha256.Size]byte
		copy(seed[:], rapid.SliceOfN(rapid.Byte(), len(seed), len(seed)).Draw(rt, "seed"))
		check(rt, seed, rapid.Int64Range(1, 20_000).Draw(rt, "n"))
	})
}

// chiSquare is the statistic of counts that should all be equal, as standard
// deviations from its mean.
func chiSquare(counts []int) float64 {
	total := 0
	for _, c := range counts {
		total += c
	}
	want := float64(total) / float64(len(counts))
	x := 0.0
	for _, c := range counts {
		x += (float64(c) - want) * (float64(c) - want) / want
	}
	free := float64(len(counts) - 1)
	return (x - free) / math.Sqrt(2*free)
}

func seeds(n int, f func([sha256.Size]byte)) {
	for i := range n {
		f(sha256.Sum256(binary.BigEndian.AppendUint64([]byte("seed"), uint64(i))))
	}
}

// Everybody has the same chance of every place, over many seeds. The bounds are
// five standard deviations; the seeds are fixed, so this passes or it does not.
func TestDrawIsUniform(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{2, 3, 5, 16, 50} {
		counts := make([][]int, n) // by index and place
		for i := range counts {
			counts[i] = make([]int, n)
		}
		seeds(20_000, func(seed [sha256.Size]byte) {
			for i := range n {
				counts[i][waitroom.Permute(seed, i, n)]++
			}
		})
		for i := range counts {
			if x := chiSquare(counts[i]); math.Abs(x) > 5 {
				t.Errorf("n = %d: the places of index %d are %.1f standard deviations from even: %v", n, i, x, counts[i])
			}
		}
	}
	// Two neighbours are as likely in one order as in the other, and all orders of
	// three are equally likely.
	orders := make([]int, 6)
	ranks := map[[3]bool]int{}
	seeds(30_000, func(seed [sha256.Size]byte) {
		a, b, c := waitroom.Permute(seed, 10, 1000), waitroom.Permute(seed, 11, 1000), waitroom.Permute(seed, 12, 1000)
		key := [3]bool{a < b, b < c, a < c}
		if _, ok := ranks[key]; !ok {
			ranks[key] = len(ranks)
		}
		orders[ranks[key]]++
	})
	if x := chiSquare(orders); math.Abs(x) > 5 {
		t.Errorf("the orders of three neighbours are %.1f standard deviations from even: %v", x, orders)
	}
}

// Arriving early is no advantage: place and join index do not correlate.
func TestDrawIgnoresArrival(t *testing.T) {
	t.Parallel()
	const n, draws = 2000, 50
	sum := 0.0
	seeds(draws, func(seed [sha256.Size]byte) {
		var xy, xx float64
		mean := float64(n-1) / 2
		for i := range int64(n) {
			x, y := float64(i)-mean, float64(waitroom.Permute(seed, i, n))-mean
			xy += x * y
			xx += x * x
		}
		r := xy / xx // both are 0 … n-1
		if math.Abs(r) > 5/math.Sqrt(n) {
			t.Errorf("correlation %.3f in one draw", r)
		}
		sum += r
	})
	if mean := sum / draws; math.Abs(mean) > 5/math.Sqrt(n*draws) {
		t.Errorf("the correlation over all draws is %.4f", mean)
	}
}

func drawnRoom() *waitroom.Room {
	secret := "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9e8e7e6e5e4e3e2e1e0"
	return &waitroom.Room{Settings: waitroom.Settings{
		Event: event, State: waitroom.Open, Order: waitroom.DrawOrder, Draw: waitroom.Draw{
			Secret: secret, PublicSource: "the lottery", PublicValue: "4 8 15 16 23 42", N: 100, Base: 7,
			Digest: "000102030405060708090a0b0c0d0e0f10111213", At: time.Unix(1_900_000_000, 0).UTC(),
		},
	}}
}

func TestProofTellsNothingTooEarly(t *testing.T) {
	t.Parallel()
	r := drawnRoom()
	full := r.Proof()
	if full.Status != "drawn" || full.Secret == nil || full.Seed == nil || *full.N != 100 || *full.PublicValue == "" {
		t.Errorf("drawn: %+v", full)
	}
	secret, _ := hex.DecodeString(r.Draw.Secret)
	if sum := sha256.Sum256(secret); full.Commitment != hex.EncodeToString(sum[:]) {
		t.Errorf("commitment %s", full.Commitment)
	}
	r.Draw.PublicValue = ""
	if p := r.Proof(); p.Status != "frozen" || p.Secret != nil || p.Seed != nil || *p.N != 100 || *p.Digest == "" || p.Commitment != full.Commitment {
		t.Errorf("frozen: %+v", p)
	}
	r.Draw.N, r.Draw.Digest = 0, ""
	if p := r.Proof(); p.Status != "committed" || p.Secret != nil || p.Seed != nil || p.N != nil || p.Digest != nil || p.Commitment != full.Commitment || *p.PublicSource != "the lottery" {
		t.Errorf("committed: %+v", p)
	}
}

// Whoever was in the lobby finds their index by their place, and the other way
// round.
func TestProofOfOneVisitor(t *testing.T) {
	t.Parallel()
	r := drawnRoom()
	seed, err := r.Draw.Seed()
	if err != nil {
		t.Fatal(err)
	}
	for index := int64(1); index <= r.Draw.N; index++ {
		place := r.Draw.Base + waitroom.Permute(seed, index-1, r.Draw.N) + 1
		you := r.Drawn(&waitroom.Visitor{State: waitroom.Waiting, Place: place})
		if you == nil || you.Index != index || *you.Place != place {
			t.Fatalf("place %d: %+v, want index %d", place, you, index)
		}
		early := r.Drawn(&waitroom.Visitor{State: waitroom.InLobby, Index: index})
		if early == nil || early.Index != index || *early.Place != place {
			t.Fatalf("index %d: %+v, want place %d", index, early, place)
		}
	}
	if you := r.Drawn(&waitroom.Visitor{State: waitroom.Waiting, Place: r.Draw.Base + r.Draw.N + 1}); you != nil {
		t.Errorf("somebody who came after the draw: %+v", you)
	}
}

func TestVerifyFindsEveryLie(t *testing.T) {
	t.Parallel()
	proof := func() *waitroom.DrawProof {
		r := drawnRoom()
		p := r.Proof()
		seed, _ := r.Draw.Seed()
		place := r.Draw.Base + waitroom.Permute(seed, 41, r.Draw.N) + 1
		p.You = &waitroom.DrawnYou{Index: 42, Place: &place}
		return &p
	}
	if err := proof().Verify(); err != nil {
		t.Errorf("the truth: %v", err)
	}
	text := func(p **string, to string) { *p = &to }
	number := func(p **int64, to int64) { *p = &to }
	for name, lie := range map[string]func(*waitroom.DrawProof){
		"another secret":                 func(p *waitroom.DrawProof) { text(&p.Secret, waitroom.NewSecret()) },
		"a secret that is none":          func(p *waitroom.DrawProof) { text(&p.Secret, "abc") },
		"another commitment":             func(p *waitroom.DrawProof) { p.Commitment = p.Commitment[1:] + "0" },
		"one more in the lobby":          func(p *waitroom.DrawProof) { number(&p.N, *p.N+1) },
		"no lobby":                       func(p *waitroom.DrawProof) { number(&p.N, 0) },
		"a lobby beyond bounds":          func(p *waitroom.DrawProof) { number(&p.N, 1<<50) },
		"another lobby":                  func(p *waitroom.DrawProof) { text(&p.Digest, (*p.Digest)[2:]+"00") },
		"a digest that is none":          func(p *waitroom.DrawProof) { text(&p.Digest, "x") },
		"another public value":           func(p *waitroom.DrawProof) { text(&p.PublicValue, "1 2 3") },
		"no public value":                func(p *waitroom.DrawProof) { p.PublicValue = nil },
		"another seed":                   func(p *waitroom.DrawProof) { text(&p.Seed, p.Commitment) },
		"another place":                  func(p *waitroom.DrawProof) { number(&p.You.Place, *p.You.Place%100+1) },
		"another index":                  func(p *waitroom.DrawProof) { p.You.Index++ },
		"an index that is out of it":     func(p *waitroom.DrawProof) { p.You.Index = 101 },
		"another beginning":              func(p *waitroom.DrawProof) { number(&p.Base, *p.Base+1) },
		"another algorithm":              func(p *waitroom.DrawProof) { p.Algorithm = "onsale-draw-2" },
		"nothing is drawn":               func(p *waitroom.DrawProof) { p.Status = "frozen" },
		"a seed that was kept to itself": func(p *waitroom.DrawProof) { p.Seed = nil },
	} {
		p := proof()
		lie(p)
		if err := p.Verify(); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkPermute(b *testing.B) {
	seed := counting()
	i := int64(0)
	for b.Loop() {
		waitroom.Permute(seed, i%1_000_000, 1_000_000)
		i++
	}
}

// drawDoor is a door whose lobby has n visitors, in the order they joined.
func drawDoor(t *testing.T, n int, change func(*waitroom.Settings)) (d *door, ids []string) {
	t.Helper()
	s := settings()
	s.State, s.Order = waitroom.Lobby, waitroom.DrawOrder
	if change != nil {
		change(&s)
	}
	d = newDoor(t, s, waitroom.Options{})
	if _, err := d.Seed(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	for range n {
		ids = append(ids, d.join(waitroom.JoinRequest{}).Visitor)
	}
	return d, ids
}

func (d *door) room() waitroom.Room {
	d.t.Helper()
	r, err := d.Store.Room(d.t.Context(), event)
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

// The whole of a draw: committed before, fixed in one step, verifiable by anybody,
// late arrivals behind it.
func TestDrawOfALobby(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	d, ids := drawDoor(t, 40, nil)
	before := d.room()
	commitment := before.Proof().Commitment
	if len(commitment) != 64 {
		t.Fatalf("the commitment is %q", commitment)
	}
	if secret, err := d.archive.Secret(ctx, event, ""); err != nil || secret != before.Draw.Secret {
		t.Errorf("the secret is not kept outside the store: %q, %v", secret, err)
	}
	if _, err := d.Leave(ctx, event, ids[3]); err != nil {
		t.Fatal(err)
	}
	if err := d.Draw(ctx, event, ""); err != nil {
		t.Fatal(err)
	}
	late := d.join(waitroom.JoinRequest{})
	if late.State != waitroom.Waiting || *late.Place != 41 {
		t.Errorf("a late arrival: %+v", late)
	}
	d.tick()
	room := d.room()
	proof := room.Proof()
	if err := proof.Verify(); err != nil || proof.Commitment != commitment || *proof.N != 40 {
		t.Fatalf("the proof %+v: %v", proof, err)
	}
	var places []int64
	for i, id := range ids {
		if i == 3 {
			continue
		}
		v, err := d.LookUp(ctx, event, id)
		if err != nil {
			t.Fatal(err)
		}
		you := room.Drawn(&v)
		if you == nil || you.Index != int64(i+1) {
			t.Fatalf("visitor %d: %+v of %+v", i, you, v)
		}
		proof.You = you
		if err := proof.Verify(); err != nil {
			t.Errorf("visitor %d: %v", i, err)
		}
		places = append(places, v.Place)
	}
	if slices.IsSorted(places) {
		t.Error("the lobby was not drawn: places follow arrival")
	}
	if v, err := d.LookUp(ctx, event, late.Visitor); err != nil || v.Ahead != 39 {
		t.Errorf("the late arrival: %+v, %v", v, err)
	}
	wantFault(t, d.Draw(ctx, event, "x"), fault.Conflict)
}

// The move of a lobby is resumable: many nodes at once, each in small chunks, and
// some stopping in the middle, give the same order as one.
func TestDrawMovesTheSameWhoeverMovesIt(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	d, ids := drawDoor(t, 60, nil)
	if err := d.Open(ctx, event); err != nil {
		t.Fatal(err)
	}
	room, err := d.Store.Room(ctx, event)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := room.Draw.Seed()
	if err != nil {
		t.Fatal(err)
	}
	for moved := 0; moved < 30; moved += 7 { // one that stops halfway
		list, err := d.Store.Gathered(ctx, event, 7)
		if err != nil {
			t.Fatal(err)
		}
		for i := range list {
			list[i].Place = room.Draw.Base + waitroom.Permute(seed, list[i].Index-1, room.Draw.N) + 1
		}
		for range 2 { // and says everything twice
			if err := d.Store.Place(ctx, event, list); err != nil {
				t.Fatal(err)
			}
		}
	}
	if again, err := d.Store.Room(ctx, event); err != nil || !again.Moving {
		t.Fatalf("the move is over too soon: %+v, %v", again, err)
	}
	d.tick() // another node goes on
	for i, id := range ids {
		v, err := d.LookUp(ctx, event, id)
		if want := room.Draw.Base + waitroom.Permute(seed, int64(i), room.Draw.N) + 1; err != nil || v.Place != want || v.State != waitroom.Waiting {
			t.Errorf("visitor %d: %+v, %v; want place %d", i, v, err, want)
		}
	}
}

// Where a public value was announced, not even the operator can steer the draw:
// the lobby is fixed before the value is taken, and the value is taken once.
func TestDrawAwaitsThePublicValue(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	d, ids := drawDoor(t, 10, func(s *waitroom.Settings) { s.Draw.PublicSource = "the lottery of 1 March" })
	wantFault(t, d.Draw(ctx, event, "too early"), fault.Conflict)
	d.shopOK()
	if err := d.Open(ctx, event); err != nil {
		t.Fatal(err)
	}
	d.tick()
	room := d.room()
	if p := room.Proof(); p.Status != "frozen" || p.Secret != nil || *p.N != 10 {
		t.Errorf("before the value is known: %+v", p)
	}
	if !room.Awaiting || room.Standstill() != waitroom.ReasonDraw || room.Admitted != 0 {
		t.Errorf("room %+v stands for %q", room, room.Standstill())
	}
	late := d.join(waitroom.JoinRequest{})
	if *late.Place != 11 {
		t.Errorf("a late arrival: %+v", late)
	}
	if err := d.Draw(ctx, event, "4 8 15"); err != nil {
		t.Fatal(err)
	}
	if err := d.Draw(ctx, event, "4 8 15"); err != nil {
		t.Errorf("saying it again: %v", err)
	}
	wantFault(t, d.Draw(ctx, event, "16 23 42"), fault.Conflict)
	d.tick()
	proof := d.room()
	if p := proof.Proof(); p.Status != "drawn" || *p.PublicValue != "4 8 15" || p.Verify() != nil {
		t.Errorf("proof %+v: %v", p, p.Verify())
	}
	for _, id := range append(ids, late.Visitor) {
		if state := d.state(id); state != waitroom.Ready {
			t.Errorf("%s is %q", id, state)
		}
	}
}

// In a random room a place tells nothing of the time of joining.
func TestRandomOrderIgnoresArrival(t *testing.T) {
	t.Parallel()
	s := settings()
	s.Order = waitroom.Random
	d := newDoor(t, s, waitroom.Options{})
	if _, err := d.Seed(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	const n = 1500
	var ids []string
	for range n {
		ids = append(ids, d.join(waitroom.JoinRequest{}).Visitor)
	}
	// Newcomers may stand anywhere: the last hundred are spread over the whole line.
	behind := 0.0
	for _, id := range ids[n-100:] {
		v, err := d.LookUp(t.Context(), event, id)
		if err != nil {
			t.Fatal(err)
		}
		behind += float64(v.Ahead) / n
	}
	// The mean of a hundred even numbers in 0 … 1 is 0.5 ± 5 · 0.029.
	if mean := behind / 100; mean < 0.35 || mean > 0.65 {
		t.Errorf("the last to join have %.2f of the line ahead on average", mean)
	}
}
