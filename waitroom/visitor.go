package waitroom

import (
	"encoding/json"
	"strconv"
	"time"
)

// VisitorState is where a visitor stands.
type VisitorState string

// The states of a visitor. A visitor who waits in a room that closed is told
// "closed"; the store does not know that state.
const (
	Unknown  VisitorState = ""
	InLobby  VisitorState = "lobby"
	Waiting  VisitorState = "waiting"
	Ready    VisitorState = "ready"
	Shopping VisitorState = "shopping"
	Done     VisitorState = "done"
	Left     VisitorState = "left"
	Expired  VisitorState = "expired"
	ShutOut  VisitorState = "closed"

	// Away is who was skipped because nobody was there. Visitors are never told:
	// whoever asks is there, and has their place back.
	Away VisitorState = "away"
)

// Visitor is one visitor as the store knows them. Times are on its clock.
type Visitor struct {
	ID       string
	State    VisitorState
	Lane     Lane
	Place    int64     // 0 when they have none
	Index    int64     // join index, in the lobby; else 0
	Score    int64     // by lane and place: who has less goes first
	Ahead    int       // how many are before them; 0 unless waiting
	Missed   int       // turns of this place that they did not claim
	Admitted time.Time // when their turn came
	Claimed  time.Time // when they claimed it
	Until    time.Time // end of the claim window or of the lease
	Gone     time.Time // when their last connection dropped; zero while one is there
	Epoch    int64     // of the room's line
	AsOf     time.Time

	// Receipt and Pass are signed when they are asked for and not there.
	Receipt string
	Pass    string
}

// Me is what a visitor is told about themselves and their room.
type Me struct {
	Visitor   string       `json:"visitor"`
	State     VisitorState `json:"state"`
	Lane      *string      `json:"lane"`
	Index     *int64       `json:"index"`
	Place     *int64       `json:"place"`
	Ahead     *int         `json:"ahead"`
	Wait      *Wait        `json:"wait"`
	Chance    *string      `json:"chance"`
	Room      RoomInfo     `json:"room"`
	Receipt   *string      `json:"receipt"`
	ClaimBy   *time.Time   `json:"claim_by"`
	LeaseEnds *time.Time   `json:"lease_ends"`
	Pass      *string      `json:"pass"`
	PollAfter int          `json:"poll_after_ms"`
	AsOf      time.Time    `json:"as_of"`
}

// Joined is the answer to a join.
type Joined struct {
	Me

	// VisitorToken proves from now on who the visitor is. It is there only when
	// the visitor was made by this join.
	VisitorToken string `json:"visitor_token,omitempty"`
}

// AppendJSON appends what json.Marshal(j) gives.
func (j *Joined) AppendJSON(dst []byte) []byte {
	var room [512]byte
	dst = j.Me.AppendJSON(dst, j.Room.AppendJSON(room[:0]))
	if j.VisitorToken != "" {
		dst = appendText(append(dst[:len(dst)-1], `,"visitor_token":`...), j.VisitorToken)
		dst = append(dst, '}')
	}
	return dst
}

// AppendJSON appends what json.Marshal(r) gives.
func (r *RoomInfo) AppendJSON(dst []byte) []byte {
	dst = appendText(append(dst, `{"name":`...), r.Name)
	dst = appendText(append(dst, `,"state":`...), string(r.State))
	dst = appendText(append(dst, `,"order":`...), string(r.Order))
	dst = appendOptional(append(dst, `,"reason":`...), (*string)(r.Reason))
	dst = appendOptional(append(dst, `,"closed_reason":`...), r.ClosedReason)
	dst = strconv.AppendInt(append(dst, `,"waiting":`...), int64(r.Waiting), 10)
	dst = strconv.AppendInt(append(dst, `,"admitting_per_minute":`...), int64(r.AdmittingPerMinute), 10)
	dst = appendOptional(append(dst, `,"message":`...), r.Message)
	dst = appendTime(append(dst, `,"opens_at":`...), r.OpensAt)
	dst = appendTime(append(dst, `,"lobby_opens_at":`...), r.LobbyOpensAt)
	dst = append(dst, `,"stock_left":`...)
	if r.StockLeft == nil {
		dst = append(dst, "null"...)
	} else {
		dst = strconv.AppendInt(dst, int64(*r.StockLeft), 10)
	}
	return append(dst, '}')
}

// AppendJSON appends what json.Marshal(m) gives, with room standing for the
// encoded m.Room, which all visitors of a room have in common.
func (m *Me) AppendJSON(dst, room []byte) []byte {
	dst = appendText(append(dst, `{"visitor":`...), m.Visitor)
	dst = appendText(append(dst, `,"state":`...), string(m.State))
	dst = appendOptional(append(dst, `,"lane":`...), m.Lane)
	dst = appendNumber(append(dst, `,"index":`...), m.Index)
	dst = appendNumber(append(dst, `,"place":`...), m.Place)
	dst = append(dst, `,"ahead":`...)
	if m.Ahead == nil {
		dst = append(dst, "null"...)
	} else {
		dst = strconv.AppendInt(dst, int64(*m.Ahead), 10)
	}
	dst = append(dst, `,"wait":`...)
	if m.Wait == nil {
		dst = append(dst, "null"...)
	} else {
		dst = strconv.AppendInt(append(dst, `{"low_s":`...), int64(m.Wait.Low), 10)
		dst = strconv.AppendInt(append(dst, `,"high_s":`...), int64(m.Wait.High), 10)
		dst = append(dst, '}')
	}
	dst = appendOptional(append(dst, `,"chance":`...), m.Chance)
	dst = append(append(dst, `,"room":`...), room...)
	dst = appendOptional(append(dst, `,"receipt":`...), m.Receipt)
	dst = appendTime(append(dst, `,"claim_by":`...), m.ClaimBy)
	dst = appendTime(append(dst, `,"lease_ends":`...), m.LeaseEnds)
	dst = appendOptional(append(dst, `,"pass":`...), m.Pass)
	dst = strconv.AppendInt(append(dst, `,"poll_after_ms":`...), int64(m.PollAfter), 10)
	dst = appendTime(append(dst, `,"as_of":`...), &m.AsOf)
	return append(dst, '}')
}

func appendTime(dst []byte, t *time.Time) []byte {
	if t == nil {
		return append(dst, "null"...)
	}
	dst = t.AppendFormat(append(dst, '"'), time.RFC3339Nano)
	return append(dst, '"')
}

func appendNumber(dst []byte, n *int64) []byte {
	if n == nil {
		return append(dst, "null"...)
	}
	return strconv.AppendInt(dst, *n, 10)
}

func appendOptional(dst []byte, s *string) []byte {
	if s == nil {
		return append(dst, "null"...)
	}
	return appendText(dst, *s)
}

// appendText appends a JSON string. Ids and tokens need no escaping; anything
// else takes the long way.
func appendText(dst []byte, s string) []byte {
	for i := range len(s) {
		if !plain[s[i]] {
			text, err := json.Marshal(s)
			if err != nil {
				panic(err) // a string can always be encoded
			}
			return append(dst, text...)
		}
	}
	dst = append(append(dst, '"'), s...)
	return append(dst, '"')
}

// plain are the bytes that stand for themselves in a JSON string, as
// encoding/json writes it.
var plain = func() (table [256]bool) {
	for c := ' '; c <= '~'; c++ {
		table[c] = c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
	}
	return table
}()
