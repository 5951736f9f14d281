package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"onsale/waitroom"
)

func newVerifyDrawCommand() *cobra.Command {
	var index int64
	cmd := &cobra.Command{
		Use:   "verify-draw FILE|URL",
		Short: "Recompute a draw from its published proof",
		Long: `Recompute a draw from its published proof: a file, "-" for standard input, or the
address of GET /v1/rooms/{event}/draw. It checks that the secret fits what was
committed before the lobby opened, that the seed follows from the published
values, and that the places are a permutation. It needs nothing of the server.

With --index, it also says which place the visitor with that join index got.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{cmd.Name(), errors.New("name one file or URL")}
			}
			return nil
		},
	}
	cmd.Flags().Int64Var(&index, "index", 0, "join index of a visitor, from 1 on, as their page shows it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		text, err := readProof(cmd.Context(), args[0], cmd.InOrStdin())
		if err != nil {
			return err
		}
		var p waitroom.DrawProof
		if err := json.Unmarshal(text, &p); err != nil {
			return fmt.Errorf("%s is not the proof of a draw: %w", args[0], err)
		}
		if err := p.Verify(); err != nil {
			return fmt.Errorf("the draw does not hold: %w", err)
		}
		out := cmd.OutOrStdout()
		fmt.Fprintf(out, "The draw holds: %d join indexes, drawn at %s.\n", *p.N, p.DrawnAt.Format(time.RFC3339))
		fmt.Fprintf(out, "commitment: %s\nseed:       %s\n", p.Commitment, *p.Seed)
		if p.PublicSource != nil {
			fmt.Fprintf(out, "public:     %q (%s)\n", *p.PublicValue, *p.PublicSource)
		}
		if index == 0 {
			return nil
		}
		place, err := p.PlaceOf(index)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "join index %d has place %d\n", index, place)
		return nil
	}
	return cmd
}

const mostProof = 1 << 20 // bytes

// readProof reads a proof from a file, standard input or the web.
func readProof(ctx context.Context, from string, stdin io.Reader) ([]byte, error) {
	var in io.Reader
	switch {
	case from == "-":
		in = stdin
	case strings.HasPrefix(from, "http://"), strings.HasPrefix(from, "https://"):
		ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
		if err != nil {
			return nil, err
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return nil, err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("%s answers %s: is it the draw of a room?", from, answer.Status)
		}
		in = answer.Body
	default:
		f, err := os.Open(from)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, mostProof+1))
	if err == nil && len(text) > mostProof {
		err = fmt.Errorf("%s is larger than %d bytes", from, mostProof)
	}
	return text, err
}
