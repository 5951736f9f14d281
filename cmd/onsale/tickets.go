package main

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"onsale/catalog"
	"onsale/catalog/pgstore"
	"onsale/checkout"
	checkoutpg "onsale/checkout/pgstore"
	"onsale/config"
	"onsale/internal/audit"
	"onsale/web"
)

func newImportTicketsCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tickets EVENT FILE",
		Short: "Bring in tickets that were sold elsewhere, from a CSV file",
		Long: "Bring in tickets that were sold or given elsewhere, from a CSV file (\"-\" reads standard\n" +
			"input) whose first line names its columns: section and name, for seats row and seat, for\n" +
			"standing areas quantity, and perhaps email and reference. They get codes of their own and\n" +
			"cost nothing by the books here. All of the file is done or nothing; rows that were brought\n" +
			"in before are left as they are.\n\n" +
			"That is for an event that is not on sale, when every hold on its tickets has ended. While\n" +
			"it is on sale, POST /v1/admin/events/EVENT/tickets does it." + databaseHelp,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usageError{"import " + cmd.Name(), fmt.Errorf("an event's id and a file are expected, not %d arguments", len(args))}
			}
			return nil
		},
	}
	dryRun := cmd.Flags().Bool("dry-run", false, "say what would be done, and do nothing")
	onDatabase(cmd, environ, func(ctx context.Context, cfg config.Config, databaseURL string, args []string) error {
		doc, err := readFile(cmd, args[1])
		if err != nil {
			return err
		}
		return withOrders(ctx, cmd, databaseURL, func(store *pgstore.Store, orders *checkoutpg.Store, db *pgxpool.Pool) error {
			if _, err := store.Event(ctx, args[0]); err != nil {
				return err
			}
			if !*dryRun {
				err := audit.New(db).Record(ctx, audit.Entry{At: time.Now(), Actor: "onsale import", Action: "tickets.import", Subject: args[0], Detail: []byte(`{}`)})
				if err != nil {
					return err
				}
			}
			done, err := checkout.ImportTicketsOffline(ctx, orders, catalog.NewCache(store, time.Now), holdsLast(cfg.Checkout),
				checkout.OutsideImport{Event: args[0], File: doc, DryRun: *dryRun})
			if err != nil {
				return explain(args[1], err)
			}
			for _, n := range done.Notes {
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "note: %s\n", n)
			}
			verb := "brought in"
			if done.DryRun {
				verb = "would be brought in"
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d tickets in %d orders %s, %d rows were there\n", done.Tickets, done.Orders, verb, done.Left)
			return err
		})
	})
	return cmd
}

func newExportTicketsCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tickets EVENT",
		Short: "Write the tickets that an event has sold as CSV",
		Long:  "Write the tickets that an event has sold as CSV: the file of GET /v1/admin/exports/tickets.csv." + databaseHelp,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || !catalog.IsID(args[0]) {
				return usageError{"export tickets", fmt.Errorf("one event's id is expected, not %q", args)}
			}
			return nil
		},
	}
	out := cmd.Flags().StringP("output", "o", "-", "the file to write, - for standard output")
	onDatabase(cmd, environ, func(ctx context.Context, _ config.Config, databaseURL string, args []string) error {
		return withOrders(ctx, cmd, databaseURL, func(store *pgstore.Store, orders *checkoutpg.Store, _ *pgxpool.Pool) error {
			if _, err := store.Event(ctx, args[0]); err != nil {
				return err
			}
			var file bytes.Buffer
			to := cmd.OutOrStdout()
			if *out != "-" {
				to = &file
			}
			if err := web.WriteExport(ctx, orders, checkout.ExportQuery{Table: checkout.ExportTickets, Event: args[0]}, to); err != nil {
				return err
			}
			if *out == "-" {
				return nil
			}
			return writeFile(cmd, *out, file.Bytes())
		})
	})
	return cmd
}

// withOrders is withStore with the orders of the same database.
func withOrders(ctx context.Context, cmd *cobra.Command, databaseURL string, f func(*pgstore.Store, *checkoutpg.Store, *pgxpool.Pool) error) error {
	if err := pgstore.Migrate(ctx, databaseURL, logTo(cmd)); err != nil {
		return err
	}
	db, err := pgxpool.New(ctx, databaseURL)
	if err != nil {
		return err
	}
	defer db.Close()
	orders, err := checkoutpg.New(db)
	if err != nil {
		return err
	}
	return f(pgstore.New(db, nil), orders, db)
}
