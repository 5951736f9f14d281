package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
)

// plainView is a drawn plan of which only the tiers matter.
type plainView struct {
	Event    json.RawMessage `json:"event"`
	Version  string          `json:"version"`
	Revision int             `json:"revision,omitempty"`
	Width    json.RawMessage `json:"width"`
	Height   json.RawMessage `json:"height"`
	Unit     json.RawMessage `json:"unit"`
	Tiers    []viewTier      `json:"tiers"`
	Sections json.RawMessage `json:"sections"`
	Areas    json.RawMessage `json:"areas"`
}

// WithTiers is a drawn plan with these tiers, and its version, which changes with
// them. The same plan and tiers make the same version, whoever does it.
func WithTiers(view []byte, tiers []Tier) (doc []byte, version string, err error) {
	var v plainView
	if err := json.Unmarshal(view, &v); err != nil {
		return nil, "", err
	}
	to := viewTiers(tiers)
	if slices.Equal(v.Tiers, to) {
		return view, v.Version, nil
	}
	v.Tiers = to
	return versioned(&v, &v.Version)
}

// versioned encodes a drawn plan; its version, which is part of it, is a digest of
// everything else.
func versioned(view any, version *string) (doc []byte, _ string, err error) {
	*version = ""
	blank, err := json.Marshal(view)
	if err != nil {
		return nil, "", err
	}
	sum := sha256.Sum256(blank)
	*version = hex.EncodeToString(sum[:12])
	doc, err = json.Marshal(view)
	return doc, *version, err
}

// tiersOf reads the tiers of a drawn plan and the revision of its event.
func tiersOf(view []byte) (tiers []viewTier, revision int, err error) {
	var v struct {
		Revision int        `json:"revision"`
		Tiers    []viewTier `json:"tiers"`
	}
	err = json.Unmarshal(view, &v)
	return v.Tiers, v.Revision, err
}

func viewTiers(tiers []Tier) []viewTier {
	out := make([]viewTier, 0, len(tiers))
	for _, t := range tiers {
		out = append(out, viewTier{t.ID, t.Name, t.Type, t.Color, t.Price})
	}
	return out
}

// sameTiers compares without making anything: a crowd asks for plans.
func sameTiers(view []viewTier, tiers []Tier) bool {
	return slices.EqualFunc(view, tiers, func(v viewTier, t Tier) bool { return v == viewTier{t.ID, t.Name, t.Type, t.Color, t.Price} })
}
