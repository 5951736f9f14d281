package payment

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"time"
)

// Faults are what goes wrong at the sandbox by chance: the chance, from 0 to 1,
// that a call meets each of them. The zero value is a gateway that always works.
//
// What happens to a call is a function of the seed, the key, the name of the call
// and how often it was tried before, and of nothing else: the same seed and keys
// give the same faults in every run.
type Faults struct {
	Seed uint64

	Decline      float64 // an authorisation is declined
	LoseRequest  float64 // the call is lost before it has any effect
	LoseReply    float64 // it has its effect, and the answer is lost
	Slow         float64 // the answer takes its time
	ServerError  float64 // it fails without an effect, and says so
	LoseWebhook  float64 // a webhook is never sent
	TwiceWebhook float64 // it is sent twice
	LateWebhook  float64 // it is sent up to LateBy later, after others that happened later
	LateBy       time.Duration
}

// SpreadFaults makes a share of all calls and webhooks go wrong, in all the ways
// there are. A twentieth of the faults are declines: most buyers can pay.
func SpreadFaults(seed uint64, share float64) Faults {
	share = min(max(share, 0), 1)
	return Faults{
		Seed:    seed,
		Decline: share * 0.05, LoseRequest: share * 0.25, LoseReply: share * 0.3, Slow: share * 0.1, ServerError: share * 0.3,
		LoseWebhook: share * 0.4, TwiceWebhook: share * 0.3, LateWebhook: share * 0.3, LateBy: 10 * time.Second,
	}
}

func (f Faults) any() bool {
	return f.Decline > 0 || f.LoseRequest > 0 || f.LoseReply > 0 || f.Slow > 0 || f.ServerError > 0
}

// mishap is what happens to one call.
type mishap int

const (
	noMishap mishap = iota
	declined
	requestLost
	replyLost
	slowed
	serverError
	webhookLost
	webhookTwice
	webhookLate
)

// chance is a number from 0 to just below 1 that belongs to one try of a call.
func (f Faults) chance(key, call string, try int, more string) float64 {
	h := sha256.New()
	var n [8]byte
	for _, part := range []string{key, call, more} { // with lengths: no two lists read the same
		binary.BigEndian.PutUint64(n[:], uint64(len(part)))
		h.Write(n[:])
		h.Write([]byte(part))
	}
	binary.BigEndian.PutUint64(n[:], f.Seed)
	h.Write(n[:])
	binary.BigEndian.PutUint64(n[:], uint64(try))
	h.Write(n[:])
	return float64(binary.BigEndian.Uint64(h.Sum(nil))>>11) / (1 << 53)
}

// of decides what happens to a try, counted from 1, of a call.
func (f Faults) of(key, call string, try int) mishap {
	if call == "authorise" && f.chance(key, call, try, "decline") < f.Decline {
		return declined
	}
	return draw(f.chance(key, call, try, ""), []float64{f.LoseRequest, f.LoseReply, f.Slow, f.ServerError},
		[]mishap{requestLost, replyLost, slowed, serverError})
}

// webhook decides what happens to a webhook, and how late it is.
func (f Faults) webhook(key, kind string) (m mishap, late time.Duration) {
	m = draw(f.chance(key, "webhook", 1, kind), []float64{f.LoseWebhook, f.TwiceWebhook, f.LateWebhook},
		[]mishap{webhookLost, webhookTwice, webhookLate})
	if m == webhookLate {
		late = time.Duration(math.Ceil(f.chance(key, "webhook", 1, kind+" late") * float64(f.LateBy)))
	}
	return m, late
}

// draw finds the part of the unit interval that x falls into.
func draw(x float64, parts []float64, mishaps []mishap) mishap {
	for i, part := range parts {
		if x < part {
			return mishaps[i]
		}
		x -= part
	}
	return noMishap
}
