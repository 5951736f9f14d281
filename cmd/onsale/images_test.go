package main

import (
	"slices"
	"testing"

	"onsale/config"
)

// TestOwnPicturesAreShown: pages show what the program serves itself, if that may be
// the address of a picture at all.
func TestOwnPicturesAreShown(t *testing.T) {
	t.Parallel()
	for public, want := range map[string][]string{
		"https://tickets.example/shop": {"https://images.example", "https://tickets.example"},
		"http://127.0.0.1:8080":        {"https://images.example", "http://127.0.0.1:8080"},
		"https://images.example":       {"https://images.example"},
		"http://10.0.0.7:8080":         {"https://images.example"},
	} {
		listed := []string{"https://images.example"}
		got := eventDefaults(config.Config{PublicURL: public, ImageOrigins: listed}).ImageOrigins
		if !slices.Equal(got, want) || len(listed) != 1 {
			t.Errorf("at %s pictures come from %v, want %v", public, got, want)
		}
	}
}
