package web

import (
	"context"
	"encoding/csv"
	"io"

	"onsale/checkout"
)

// Exporter reads tables; *checkout.Service is one.
type Exporter interface {
	Export(ctx context.Context, q checkout.ExportQuery, row func(cells []string) error) error
}

// WriteExport writes a table as the CSV that GET /v1/admin/exports answers with.
func WriteExport(ctx context.Context, from Exporter, q checkout.ExportQuery, to io.Writer) error {
	out := csv.NewWriter(to)
	err := from.Export(ctx, q, exportRow(out))
	out.Flush()
	if err == nil {
		err = out.Error()
	}
	return err
}

// exportRow writes what a spreadsheet takes for nothing but text and numbers.
func exportRow(out *csv.Writer) func(cells []string) error {
	return func(cells []string) error {
		for i := range cells {
			cells[i] = harmless(cells[i])
		}
		return out.Write(cells)
	}
}
