package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"onsale/catalog"
	"onsale/catalog/pgstore"
	"onsale/web"
)

// importSeries makes a series what its document says, and tells each of its dates.
func importSeries(ctx context.Context, cmd *cobra.Command, v web.Reviser, doc catalog.NewEvent, how pgstore.Revising) error {
	began := time.Now()
	done, err := v.Series(ctx, doc, how)
	if err != nil {
		return err
	}
	place, err := time.LoadLocation(doc.Timezone)
	if err != nil {
		return err
	}
	notes := slices.Clone(done.Notes)
	for _, d := range done.Dates {
		for _, n := range d.Revision.Notes { // the same for all dates
			if !slices.Contains(notes, n) {
				notes = append(notes, n)
			}
		}
	}
	for _, n := range notes {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "note: %s\n", n)
	}
	var b strings.Builder
	for _, c := range done.Changes {
		fmt.Fprintln(&b, c)
	}
	created, changed := 0, 0
	for _, d := range done.Dates {
		fmt.Fprintf(&b, "%s  %s\n", d.StartsAt.In(place).Format("Mon 2006-01-02 15:04 MST"), dateState(d, how.DryRun))
		for _, c := range d.Revision.Changes {
			fmt.Fprintf(&b, "  %s\n", c)
		}
		if d.Revision.Told > 0 {
			fmt.Fprintf(&b, "  %d e-mails tell that it takes place at another time\n", d.Revision.Told)
		}
		switch {
		case d.IsNew:
			created++
		case d.Joined || len(d.Revision.Changes) > 0:
			changed++
		}
	}
	would, series := "", done.Series.ID
	if how.DryRun {
		would = "would be "
	}
	if series == "" {
		series = "a new one"
	}
	fmt.Fprintf(&b, "%s: %d dates %screated, %d %schanged, %d as they were, in %.1f s\nseries: %s\n", doc.Name, created, would, changed, would,
		len(done.Dates)-created-changed, time.Since(began).Seconds(), series)
	_, err = io.WriteString(cmd.OutOrStdout(), b.String())
	return err
}

// dateState is what became of a date.
func dateState(d pgstore.ImportedDate, dry bool) string {
	switch {
	case d.IsNew && dry:
		return fmt.Sprintf("would be created, with %d tickets", d.Tickets)
	case d.IsNew:
		return fmt.Sprintf("%s created, with %d tickets", d.ID, d.Tickets)
	case d.Joined && dry:
		return d.ID + " is there, and would be one of the series"
	case d.Joined:
		return d.ID + " was there, and is one of the series now"
	case len(d.Revision.Changes) > 0 && dry:
		return d.ID + " would be changed"
	case len(d.Revision.Changes) > 0:
		return d.ID + " changed"
	}
	return d.ID + " is the same"
}

func newExportSeriesCommand(environ []string) *cobra.Command {
	return newExport(environ, "series", &cobra.Command{
		Short: "Write a series as the document that \"import event\" takes: YAML or JSON",
		Long: "Write a series, all dates with their ids, as the document that \"onsale import event\"\n" +
			"takes. What is not said date by date is as the first of them has it; \"import event\n" +
			"--dry-run\" lists where others differ.\n\n" +
			"The plan is named by its id, which only this database knows. --plan puts it inside." + databaseHelp,
	}, (*pgstore.Store).SeriesDocument)
}
