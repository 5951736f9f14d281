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
	checkoutpg "onsale/checkout/pgstore"
	"onsale/config"
	"onsale/internal/fault"
	"onsale/web"
)

// mostFileBytes bounds the files that are read, like catalog does.
const mostFileBytes = 64 << 20

const databaseHelp = `

The database is the configured one (ONSALE_DATABASE_URL), else the embedded one
in the data folder of "onsale demo", which may be running.`

func newImportCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import",
		Short: "Bring seating plans, events and tickets into the database",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newImportPlanCommand(environ), newImportEventCommand(environ), newImportTicketsCommand(environ), newImportDemoCommand(environ))
	return cmd
}

func newImportPlanCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plan FILE",
		Short: "Import a seating plan: pretix seating-plan JSON, or seats as CSV",
		Long: "Import a seating plan in pretix' JSON format, or a table of seats (FILE.csv) whose first\n" +
			"line names its columns: section,row,seat and perhaps category,x,y (\"-\" reads standard\n" +
			"input).\n\n" +
			"What is odd but harmless is noted; what could sell one seat twice is refused,\n" +
			"all problems at once, each with its place in the file." + databaseHelp,
		Args: oneFile,
	}
	onDatabase(cmd, environ, func(ctx context.Context, _ config.Config, databaseURL string, args []string) error {
		began, path := time.Now(), args[0]
		plan, err := readPlan(cmd, path)
		if err != nil {
			return err
		}
		return withStore(ctx, cmd, databaseURL, func(store *pgstore.Store) error {
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
	})
	return cmd
}

func newImportEventCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "event FILE",
		Short: "Create an event, or change it, as a JSON or YAML file says",
		Long: "Create an event on a plan, with prices per category, general-admission areas and a\n" +
			"waiting room, from a JSON or YAML file (\"-\" reads standard input).\n\n" +
			"Its \"plan\" is a seating-plan file beside it, the id or name of an imported plan, or\n" +
			"the plan itself. Several \"dates\", or a rule that \"repeat\"s it, make a series: an event\n" +
			"for each of them.\n\n" +
			"Where the event exists already (this venue, start and name, or the file's \"id\"), what\n" +
			"the file says otherwise is listed and changed, all of it or nothing. Everybody who has\n" +
			"tickets is told by e-mail when an event on sale takes place at another time." + databaseHelp,
		Args: oneFile,
	}
	dryRun := cmd.Flags().Bool("dry-run", false, "say what would be done, and do nothing")
	quiet := cmd.Flags().Bool("quiet", false, "tell no ticket holders that an event takes place at another time")
	onDatabase(cmd, environ, func(ctx context.Context, cfg config.Config, databaseURL string, args []string) error {
		path := args[0]
		event, err := readEvent(cmd, path, eventDefaults(cfg))
		if err != nil {
			return err
		}
		how := pgstore.Revising{DryRun: *dryRun, HoldsLast: holdsLast(cfg.Checkout), Actor: "onsale import", Quiet: *quiet}
		return withStore(ctx, cmd, databaseURL, func(store *pgstore.Store) error {
			if event.Dates != nil {
				return explain(path, withReviser(ctx, cmd, cfg, databaseURL, store, func(v web.Reviser) error {
					return importSeries(ctx, cmd, v, event, how)
				}))
			}
			id, exists, err := store.FindEvent(ctx, event)
			switch {
			case err != nil:
			case exists:
				err = withReviser(ctx, cmd, cfg, databaseURL, store, func(v web.Reviser) error {
					return reviseEvent(ctx, cmd, v, id, event, how)
				})
			case *dryRun:
				err = tryEvent(ctx, cmd, store, event)
			default:
				err = createEvent(ctx, cmd, store, event)
			}
			return explain(path, err)
		})
	})
	return cmd
}

// holdsLast is how long a hold may live, that of a page which asks again and again.
func holdsLast(c config.Checkout) time.Duration {
	return c.HoldTTL*time.Duration(1+c.MaxExtensions) + time.Minute
}

func createEvent(ctx context.Context, cmd *cobra.Command, store *pgstore.Store, event catalog.NewEvent) error {
	began := time.Now()
	created, err := store.CreateEvent(ctx, event)
	if err != nil {
		return err
	}
	printEvent(cmd.OutOrStdout(), created)
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "imported in %.1f s\nevent: %s\n", time.Since(began).Seconds(), created.ID)
	return err
}

// tryEvent says whether a new event could be created.
func tryEvent(ctx context.Context, cmd *cobra.Command, store *pgstore.Store, event catalog.NewEvent) error {
	event, err := store.LookUpPlan(ctx, event)
	if err != nil {
		return err
	}
	layout, _, err := catalog.Compose(event, func() string { return "" })
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is not there yet and would be created, with %d tickets\n", event.Name, len(layout.Seats))
	return err
}

func reviseEvent(ctx context.Context, cmd *cobra.Command, v web.Reviser, id string, event catalog.NewEvent, how pgstore.Revising) error {
	r, err := v.Event(ctx, id, event, how)
	if err != nil {
		return err
	}
	for _, n := range r.Notes {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "note: %s\n", n)
	}
	var b strings.Builder
	for _, c := range r.Changes {
		fmt.Fprintln(&b, c)
	}
	done := "changed"
	switch {
	case len(r.Changes) == 0:
		done = "nothing is different"
	case how.DryRun:
		done = "would be changed"
	}
	if r.Told > 0 {
		fmt.Fprintf(&b, "%d e-mails tell that it takes place at another time\n", r.Told)
	}
	fmt.Fprintf(&b, "%s\nevent: %s\n", done, id)
	_, err = io.WriteString(cmd.OutOrStdout(), b.String())
	return err
}

func newImportDemoCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Create the demo's theatre, arena, club and series, as far as they are missing",
		Long: "Create the demo's theatre, arena, club and series, as far as they are missing. Their pictures come\n" +
			"from public_url." + databaseHelp,
		Args: noArgs,
	}
	onDatabase(cmd, environ, func(ctx context.Context, cfg config.Config, databaseURL string, _ []string) error {
		return withStore(ctx, cmd, databaseURL, func(store *pgstore.Store) error {
			events, created, err := catalog.SeedDemo(ctx, store, time.Now(), cfg.PublicURL)
			if err != nil {
				return err
			}
			for _, e := range events {
				printEvent(cmd.OutOrStdout(), e)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d created, %d were there\n", created, len(events)-created)
			return err
		})
	})
	return cmd
}

// oneFile wants exactly one argument.
func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{"import " + cmd.Name(), fmt.Errorf("one file is expected, not %d arguments", len(args))}
	}
	return nil
}

func readPlan(cmd *cobra.Command, path string) (*catalog.Plan, error) {
	doc, err := readFile(cmd, path)
	if err != nil {
		return nil, err
	}
	parse := catalog.ParsePlan
	if isTable(path, doc) {
		parse = func(doc []byte) (*catalog.Plan, []catalog.Notice, error) {
			return catalog.ParseSeats(doc, planName(path))
		}
	}
	plan, notices, err := parse(doc)
	printNotices(cmd.ErrOrStderr(), path, notices)
	if err != nil {
		return nil, explain(path, err)
	}
	return plan, nil
}

// isTable reports whether a plan is a table of seats: by its name, or without one by
// not being JSON.
func isTable(path string, doc []byte) bool {
	if path == "-" {
		return !bytes.HasPrefix(bytes.TrimLeft(doc, "\ufeff \t\r\n"), []byte("{"))
	}
	return strings.EqualFold(filepath.Ext(path), ".csv")
}

// planName is what a table is called, which has no name inside.
func planName(path string) string {
	if path == "-" {
		return ""
	}
	return strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
}

// readEvent reads an event and the plan it names, when that is a file beside it.
func readEvent(cmd *cobra.Command, path string, defaults catalog.Defaults) (catalog.NewEvent, error) {
	doc, err := readFile(cmd, path)
	if err != nil {
		return catalog.NewEvent{}, err
	}
	if doc, err = toJSON(doc); err != nil {
		return catalog.NewEvent{}, fmt.Errorf("%s: %w", path, err)
	}
	event, notices, err := defaults.ParseEvent(doc)
	printNotices(cmd.ErrOrStderr(), path, notices)
	if err != nil {
		return event, explain(path, err)
	}
	if event.PlanRef == "" {
		return event, nil
	}
	file := event.PlanRef
	if !filepath.IsAbs(file) {
		file = filepath.Join(filepath.Dir(path), file)
	}
	plan, err := readPlan(cmd, file)
	if errors.Is(err, os.ErrNotExist) {
		return event, nil // the name or id of an imported plan
	}
	event.Plan = plan
	return event, err
}

// withStore migrates the database and runs f on its catalog. Who has tickets of what is
// moved there is told by a worker, which knows whether there is a mail server.
func withStore(ctx context.Context, cmd *cobra.Command, databaseURL string, f func(*pgstore.Store) error) error {
	if err := pgstore.Migrate(ctx, databaseURL, logTo(cmd)); err != nil {
		return err
	}
	pool, err := pgxpool.New(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer pool.Close()
	orders, err := checkoutpg.New(pool)
	if err != nil {
		return err
	}
	orders.Mailing(true)
	store := pgstore.New(pool, nil)
	store.OnMoved(orders.TellMoved)
	if onTerminal(cmd.ErrOrStderr()) {
		store.OnProgress(func(written, total int) {
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "\r%d of %d tickets\x1b[K", written, total)
			if written > total-pgstore.ProgressStep {
				_, _ = fmt.Fprint(cmd.ErrOrStderr(), "\r\x1b[K")
			}
		})
		store.OnDates(func(done, total int) {
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "\r%d of %d dates\x1b[K", done, total)
			if done == total {
				_, _ = fmt.Fprint(cmd.ErrOrStderr(), "\r\x1b[K")
			}
		})
	}
	return f(store)
}

// onTerminal reports whether somebody watches w.
func onTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func logTo(cmd *cobra.Command) *slog.Logger {
	return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
}

func readFile(cmd *cobra.Command, path string) ([]byte, error) {
	in := cmd.InOrStdin()
	if path != "-" {
		file, err := os.Open(path)
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
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: interrupted: %w", path, err)
	}
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
	sections, rows, areas, seats := 0, 0, 0, make(map[string]int)
	for _, z := range p.Zones {
		if len(z.Rows) > 0 {
			sections++
		}
		rows, areas = rows+len(z.Rows), areas+len(z.Areas)
		for _, row := range z.Rows {
			for _, s := range row.Seats {
				seats[s.Category]++
			}
		}
	}
	_, _ = fmt.Fprintf(w, "%s: %d seats in %d sections and %d rows, %d drawn areas\n", p.Name, p.Seats, sections, rows, areas)
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
