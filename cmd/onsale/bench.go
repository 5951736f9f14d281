package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"onsale/config"
	"onsale/internal/bench"
	"onsale/internal/stack"
)

func newBenchCommand(environ []string) *cobra.Command {
	var (
		short          bool
		runs           int
		rows           []string
		scenario, file string
		dataDir        string
		journey        bench.Journey
	)
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure the program against its goals, or send a crowd through it",
		Long: `Measure the program against its goals: each row starts the program itself with a
Redis and a PostgreSQL of its own, and measures it and a reference in turns. It
prints one table: figure, reference, ratio, goal, met or not.

With --scenario journey, send a crowd of virtual visitors through the whole
journey (join, wait, claim, hold, order, pay) and check afterwards that no ticket
was sold twice, that what was sold is what was paid, and that nobody was let in
faster than the throttle allows. An invariant that does not hold makes the
command fail. The crowd visits the program at --url, such as a running onsale
demo, or one that is started for it.

Load goes to loopback addresses only.`,
		Args: noArgs,
	}
	flags := cmd.Flags()
	flags.BoolVar(&short, "short", false, "fewer and shorter runs, done within two minutes")
	flags.IntVar(&runs, "runs", 0, "how often each row is measured (5 times, most 3 times with --short)")
	flags.StringSliceVar(&rows, "rows", nil, "measure only these rows: "+strings.Join(rowNames(), ", "))
	flags.StringVar(&file, "json", "", "also write the results to this file")
	flags.StringVar(&scenario, "scenario", "", "journey: send a crowd through the program instead")
	flags.IntVar(&journey.Visitors, "visitors", 2000, "how many visitors the crowd has")
	flags.DurationVar(&journey.Arrive, "arrive", 5*time.Second, "within what time they all come")
	flags.IntVar(&journey.Seats, "seats", 500, "how many seats the event that is created has")
	flags.IntVar(&journey.Throttle.RatePerMinute, "rate", 1200, "how many visitors a minute its room lets in")
	flags.IntVar(&journey.Throttle.Burst, "burst", 50, "how many it lets in at once")
	flags.IntVar(&journey.Throttle.MaxShoppers, "shoppers", 200, "how many may shop at the same time")
	flags.DurationVar(&journey.Limit, "limit", 10*time.Minute, "how long the journey may take")
	flags.StringVar(&journey.Event, "event", "", "id of the event to visit instead of a created one")
	flags.StringVar(&journey.URL, "url", "", "address of a running program, such as http://127.0.0.1:8080")
	flags.StringVar(&journey.AdminToken, "admin-token", "", "its admin token (ONSALE_ADMIN_TOKEN; else the one kept in --data-dir)")
	flags.StringVar(&journey.DatabaseURL, "database-url", "", "its database, to be checked too (ONSALE_DATABASE_URL; else the one in --data-dir)")
	flags.StringVar(&dataDir, "data-dir", "", "data folder of the program at --url; the default is that of onsale demo")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		program, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find the program itself: %w", err)
		}
		options := bench.Options{
			Program: []string{program}, Environ: environ, Short: short, Runs: runs, Progress: bench.NewProgress(cmd.ErrOrStderr()),
		}
		switch scenario {
		case "":
			return runRows(cmd.Context(), rows, options, cmd.OutOrStdout(), file)
		case "journey":
			journey.Options = options
			journey.Throttle.LeaseS, journey.Throttle.ClaimWindowS = 300, 30
			if journey.URL != "" {
				if err := knowRunning(&journey, dataDir, environ); err != nil {
					return err
				}
			}
			return runJourney(cmd.Context(), &journey, cmd.OutOrStdout(), file)
		default:
			return usageError{cmd.Name(), fmt.Errorf("there is no scenario %q; there is journey", scenario)}
		}
	}
	cmd.AddCommand(newReferenceCommand())
	return cmd
}

func rowNames() []string {
	var names []string
	for _, row := range bench.Rows() {
		names = append(names, row.Name)
	}
	return names
}

func runRows(ctx context.Context, names []string, o bench.Options, stdout io.Writer, file string) error {
	rows, err := bench.Select(bench.Rows(), names)
	if err != nil {
		return usageError{"bench", err}
	}
	results, err := bench.Run(ctx, rows, o)
	if err != nil {
		return err
	}
	if err := bench.WriteTable(stdout, results); err != nil {
		return err
	}
	err = writeReport(file, func(w io.Writer) error {
		return bench.WriteJSON(w, results, bench.ThisMachine(time.Now()), o.Short)
	})
	for i := range results {
		if results[i].Err != nil {
			err = errors.Join(err, fmt.Errorf("row %s: %w", results[i].Row.Name, results[i].Err))
		}
	}
	return err
}

func runJourney(ctx context.Context, j *bench.Journey, stdout io.Writer, file string) error {
	report, err := j.Run(ctx)
	if report == nil {
		return err
	}
	return errors.Join(
		report.Write(stdout),
		writeReport(file, func(w io.Writer) error { return report.WriteJSON(w, bench.ThisMachine(time.Now())) }),
		err)
}

// writeReport writes a file unless its name is empty.
func writeReport(name string, write func(w io.Writer) error) error {
	if name == "" {
		return nil
	}
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(out), out.Close())
}

// knowRunning completes what is not said about the running program from the
// environment, or from its data folder.
func knowRunning(j *bench.Journey, dataDir string, environ []string) error {
	get := func(name string) string {
		for _, variable := range environ {
			if key, value, _ := strings.Cut(variable, "="); key == config.EnvPrefix+name {
				return value
			}
		}
		return ""
	}
	given := dataDir != ""
	if !given {
		cfg := config.Default()
		dataDir, _ = cfg.DataFolder("demo", runtime.GOOS, os.Geteuid() == 0, os.Getenv) // none is no default
	}
	if j.AdminToken == "" {
		j.AdminToken = get("ADMIN_TOKEN")
	}
	kept, err := os.ReadFile(filepath.Join(dataDir, "admin-token"))
	token := strings.TrimSpace(string(kept))
	switch {
	case err != nil && given:
		return fmt.Errorf("data folder: %w", err)
	case j.AdminToken == "":
		j.AdminToken = token
	}
	if j.DatabaseURL == "" {
		j.DatabaseURL = get("DATABASE_URL")
	}
	// The default folder may be another program's: the token tells.
	if j.DatabaseURL == "" && dataDir != "" && token == j.AdminToken {
		address, err := stack.RunningPostgres(dataDir)
		if err != nil && given {
			return fmt.Errorf("data folder %s: %w", dataDir, err)
		}
		j.DatabaseURL = address
	}
	return nil
}

// newReferenceCommand is the child that rows about WebSockets are measured
// against.
func newReferenceCommand() *cobra.Command {
	return &cobra.Command{
		Use:    bench.ReferenceCommand,
		Short:  "Hold WebSockets and do nothing else, to be measured against",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return bench.ServePlain(cmd.Context(), cmd.OutOrStdout())
		},
	}
}
