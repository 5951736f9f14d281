package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"onsale/catalog"
	"onsale/catalog/pgstore"
	"onsale/internal/fault"
)

// openDatabase finds the database that a command works on, starting the embedded
// one when none is configured. release undoes that.
type openDatabase func(cmd *cobra.Command) (databaseURL string, release func(), err error)

// importTimeout bounds an import, the migration before it included.
const importTimeout = 5 * time.Minute

// mostFileBytes bounds the files that are read, like catalog does.
const mostFileBytes = 64 << 20

func newImportCommand(open openDatabase) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import",
		Short: "Bring seating plans and events into the database",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(
		&cobra.Command{
			Use:   "plan FILE",
			Short: "Import a seating plan (pretix seating-plan JSON; - reads standard input)",
			Args:  cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				return importPlan(cmd, open, args[0])
			},
		},
		&cobra.Command{
			Use:   "event FILE",
			Short: "Create an event on a plan, with prices and a waiting room (JSON or YAML)",
			Args:  cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				return importEvent(cmd, open, args[0])
			},
		},
		&cobra.Command{
			Use:   "demo",
			Short: "Create the demo's theatre, arena and club, as far as they are missing",
			Args:  cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return withStore(cmd, open, func(ctx context.Context, store *pgstore.Store) error {
					events, created, err := catalog.SeedDemo(ctx, store, time.Now())
					if err != nil {
						return err
					}
					for _, e := range events {
						printEvent(cmd.OutOrStdout(), e)
					}
					_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d created, %d were there\n", created, len(events)-created)
					return err
				})
			},
		},
	)
	return cmd
}

func importPlan(cmd *cobra.Command, open openDatabase, path string) error {
	began := time.Now()
	doc, err := readFile(cmd, path)
	if err != nil {
		return err
	}
	plan, notices, err := catalog.ParsePlan(doc)
	printNotices(cmd.ErrOrStderr(), path, notices)
	if err != nil {
		return explain(path, err)
	}
	return withStore(cmd, open, func(ctx context.Context, store *pgstore.Store) error {
		id, isNew, err := store.ImportPlan(ctx, plan)
		if err != nil {
			return explain(path, err)
		}
		printPlan(cmd.OutOrStdout(), plan)
		state := "imported"
		if !isNew {
			state = "was there before"
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s in %.1f s\nplan: %s\n", state, time.Since(began).Seconds(), id)
		return err
	})
}

func importEvent(cmd *cobra.Command, open openDatabase, path string) error {
	began := time.Now()
	doc, err := readFile(cmd, path)
	if err != nil {
		return err
	}
	if doc, err = toJSON(doc); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	event, notices, err := catalog.ParseEvent(doc)
	printNotices(cmd.ErrOrStderr(), path, notices)
	if err != nil {
		return explain(path, err)
	}
	// A plan may be a file beside the event's; else it is the name or id of an
	// imported one.
	if event.Plan == nil && event.PlanRef != "" {
		file := event.PlanRef
		if !filepath.IsAbs(file) {
			file = filepath.Join(filepath.Dir(path), file)
		}
		planDoc, err := readFile(cmd, file)
		switch {
		case err == nil:
			event.Plan, notices, err = catalog.ParsePlan(planDoc)
			printNotices(cmd.ErrOrStderr(), file, notices)
			if err != nil {
				return explain(file, err)
			}
		case !errors.Is(err, os.ErrNotExist):
			return err
		}
	}
	return withStore(cmd, open, func(ctx context.Context, store *pgstore.Store) error {
		created, err := store.CreateEvent(ctx, event)
		if err != nil {
			return explain(path, err)
		}
		printEvent(cmd.OutOrStdout(), created)
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "imported in %.1f s\nevent: %s\n", time.Since(began).Seconds(), created.ID)
		return err
	})
}

// withStore migrates the database and runs f on its catalog.
func withStore(cmd *cobra.Command, open openDatabase, f func(context.Context, *pgstore.Store) error) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), importTimeout)
	defer cancel()
	databaseURL, release, err := open(cmd)
	if err != nil {
		return err
	}
	defer release()
	if err := pgstore.Migrate(ctx, databaseURL, logTo(cmd)); err != nil {
		return err
	}
	pool, err := pgxpool.New(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer pool.Close()
	return f(ctx, pgstore.New(pool, nil))
}

func logTo(cmd *cobra.Command) *slog.Logger {
	return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
}

func readFile(cmd *cobra.Command, path string) ([]byte, error) {
	in := cmd.InOrStdin()
	if path != "-" {
		file, err := os.Open(path) //nolint:gosec // the file the operator named
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }()
		in = file
	}
	doc, err := io.ReadAll(io.LimitReader(in, mostFileBytes+1))
	if err == nil && len(doc) > mostFileBytes {
		err = fmt.Errorf("%s is larger than %d MB", path, mostFileBytes>>20)
	}
	return doc, err
}

// explain lists all problems that an error carries, one a line.
func explain(path string, err error) error {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return fmt.Errorf("%s: %w", path, err)
	}
	problems, _ := f.Members["problems"].([]catalog.Problem)
	if len(problems) == 0 {
		return fmt.Errorf("%s: %s", path, f.Detail)
	}
	var b strings.Builder
	for _, p := range problems {
		fmt.Fprintf(&b, "\n  %s", p)
	}
	return fmt.Errorf("%s cannot be imported:%s", path, b.String())
}

func printNotices(w io.Writer, path string, notices []catalog.Notice) {
	for _, n := range notices {
		_, _ = fmt.Fprintf(w, "%s: notice: %s\n", path, n)
	}
}

func printPlan(w io.Writer, p *catalog.Plan) {
	rows, areas, seats := 0, 0, make(map[string]int)
	for _, z := range p.Zones {
		rows, areas = rows+len(z.Rows), areas+len(z.Areas)
		for _, row := range z.Rows {
			for _, s := range row.Seats {
				seats[s.Category]++
			}
		}
	}
	_, _ = fmt.Fprintf(w, "%s: %d seats in %d sections and %d rows, %d drawn areas\n", p.Name, p.Seats, len(p.Zones), rows, areas)
	for _, c := range p.Categories {
		_, _ = fmt.Fprintf(w, "  %-30s %6d seats\n", c.Name, seats[c.Name])
		delete(seats, c.Name)
	}
	for name, n := range seats {
		_, _ = fmt.Fprintf(w, "  %-30s %6d seats (not listed)\n", name, n)
	}
}

func printEvent(w io.Writer, e catalog.Event) {
	_, _ = fmt.Fprintf(w, "%s: %s, %s, %s: %d tickets\n", e.ID, e.Name, e.Venue.Name, e.StartsAt.Format(time.RFC3339), e.Tickets)
	for _, t := range e.Tiers {
		_, _ = fmt.Fprintf(w, "  %-30s %6d × %d %s (minor units)\n", t.Name, t.Total, t.Price.Amount, t.Price.Currency)
	}
}

// toJSON turns a YAML document into JSON, which is the same document for
// everything that follows. JSON passes as it is, so that its errors name lines.
func toJSON(doc []byte) ([]byte, error) {
	if first := bytes.TrimLeft(doc, "\ufeff \t\r\n"); len(first) > 0 && first[0] == '{' {
		return doc, nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(doc))
	var root yaml.Node
	if err := decoder.Decode(&root); err != nil {
		return nil, fmt.Errorf("not valid YAML: %w", err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("one YAML document is expected")
	}
	c := yamlConverter{budget: 1_000_000}
	if err := c.value(&root, 0); err != nil {
		return nil, err
	}
	return c.out.Bytes(), nil
}

// yamlConverter writes YAML as JSON with the keys in their order, which a map
// would lose. The budget keeps aliases from multiplying without end.
type yamlConverter struct {
	out    bytes.Buffer
	budget int
}

func (c *yamlConverter) value(n *yaml.Node, depth int) error {
	if c.budget--; c.budget < 0 || depth > 64 {
		return fmt.Errorf("line %d: the document is too large or too deep", n.Line)
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return c.value(n.Content[0], depth+1)
	case yaml.AliasNode:
		return c.value(n.Alias, depth+1)
	case yaml.SequenceNode:
		c.out.WriteByte('[')
		for i, item := range n.Content {
			if i > 0 {
				c.out.WriteByte(',')
			}
			if err := c.value(item, depth+1); err != nil {
				return err
			}
		}
		c.out.WriteByte(']')
		return nil
	case yaml.MappingNode:
		c.out.WriteByte('{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				c.out.WriteByte(',')
			}
			if n.Content[i].Kind != yaml.ScalarNode {
				return fmt.Errorf("line %d: a plain key is expected", n.Content[i].Line)
			}
			if err := c.plain(n.Content[i].Value); err != nil {
				return err
			}
			c.out.WriteByte(':')
			if err := c.value(n.Content[i+1], depth+1); err != nil {
				return err
			}
		}
		c.out.WriteByte('}')
		return nil
	default:
		return c.scalar(n)
	}
}

func (c *yamlConverter) scalar(n *yaml.Node) error {
	var v any = n.Value
	switch n.Tag {
	case "!!null", "!!bool", "!!int", "!!float":
		v = nil
		if err := n.Decode(&v); err != nil {
			return fmt.Errorf("line %d: %w", n.Line, err)
		}
	}
	if err := c.plain(v); err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	return nil
}

func (c *yamlConverter) plain(v any) error {
	b, err := json.Marshal(v)
	c.out.Write(b)
	return err
}
