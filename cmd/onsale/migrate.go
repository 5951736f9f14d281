package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"onsale/catalog/pgstore"
	"onsale/config"
)

func newMigrateCommand(environ []string) *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database to this program's schema",
		Long: "Bring the database to this program's schema.\n\n" +
			"Any number of processes may do this at once; a database that is up to date is left alone." + databaseHelp,
		Args: noArgs,
	}
	cmd.Flags().BoolVar(&check, "check", false, "change nothing; exit status 1 when migrations are pending")
	onDatabase(cmd, environ, func(ctx context.Context, _ config.Config, databaseURL string, _ []string) error {
		pending, err := pgstore.Pending(ctx, databaseURL)
		if err != nil {
			return err
		}
		if check && pending > 0 {
			return fmt.Errorf("%d migrations are pending", pending)
		}
		if err := pgstore.Migrate(ctx, databaseURL, logTo(cmd)); err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "the database is up to date; migrations applied now: %d\n", pending)
		return err
	})
	return cmd
}
