package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"github.com/spf13/cobra"
)

// newSigningKey returns a random Ed25519 seed as ONSALE_SIGNING_KEY has it.
func newSigningKey() string {
	seed := make([]byte, ed25519.SeedSize)
	_, _ = rand.Read(seed) // never fails: it ends the process instead
	return base64.RawURLEncoding.EncodeToString(seed)
}

func newKeygenCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "keygen",
		Short: "Print a new key for ONSALE_SIGNING_KEY",
		Long: `Print a new key for ONSALE_SIGNING_KEY.

To change keys without sending anyone away: put the new key behind the old one
(OLD,NEW) on all nodes, then before it (NEW,OLD), and drop the old one when the
longest lease and all receipts signed with it have run out.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), newSigningKey())
			return err
		},
	}
}
