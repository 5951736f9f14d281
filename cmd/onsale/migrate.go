package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"onsale/catalog/pgstore"
)

func newMigrateCommand(open openDatabase) *cobra.Command {
	var check bool
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database to this program's schema",
		Long: "Bring the database to this program's schema.\n\n" +
			"Any number of processes may do this at once; a database that is up to date is left alone.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), importTimeout)
			defer cancel()
			databaseURL, release, err := open(cmd)
			if err != nil {
				return err
			}
			defer release()
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
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "the database is up to date (%d migrations applied now)\n", pending)
			return err
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "only say whether migrations are pending: exit status 1 if so")
	return cmd
}
