package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"onsale/catalog/pgstore"
	"onsale/config"
)

func newExportCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write events as the files that import reads, and their tickets",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newExportEventCommand(environ), newExportSeriesCommand(environ), newExportTicketsCommand(environ))
	return cmd
}

func newExportEventCommand(environ []string) *cobra.Command {
	return newExport(environ, "event", &cobra.Command{
		Short: "Write an event as the document that \"import event\" takes: YAML or JSON",
		Long: "Write an event as the document that \"onsale import event\" takes. Edited and imported\n" +
			"again, it changes this event; without its \"id\" it creates another one.\n\n" +
			"The plan is named by its id, which only this database knows. --plan puts it inside." + databaseHelp,
	}, (*pgstore.Store).EventDocument)
}

// newExport completes a command that writes a document by its id.
func newExport(environ []string, what string, cmd *cobra.Command, read func(s *pgstore.Store, ctx context.Context, id string, withPlan bool) ([]byte, error)) *cobra.Command {
	cmd.Use = what + " ID"
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usageError{"export " + what, fmt.Errorf("one %s's id is expected, not %d arguments", what, len(args))}
		}
		return nil
	}
	format := cmd.Flags().String("format", "yaml", "yaml or json")
	withPlan := cmd.Flags().Bool("plan", false, "put the seating plan inside")
	out := cmd.Flags().StringP("output", "o", "-", "the file to write, - for standard output")
	onDatabase(cmd, environ, func(ctx context.Context, _ config.Config, databaseURL string, args []string) error {
		return withStore(ctx, cmd, databaseURL, func(store *pgstore.Store) error {
			doc, err := read(store, ctx, args[0], *withPlan)
			if err != nil {
				return err
			}
			if *format == "yaml" {
				doc, err = toYAML(doc)
			} else {
				doc, err = indented(doc)
			}
			if err != nil {
				return err
			}
			return writeFile(cmd, *out, doc)
		})
	})
	cmd.PreRunE = func(*cobra.Command, []string) error { // before a database is looked for
		if *format != "yaml" && *format != "json" {
			return usageError{"export " + what, fmt.Errorf("--format is %q, not yaml or json", *format)}
		}
		return nil
	}
	return cmd
}

// writeFile writes all of doc or leaves the file as it was.
func writeFile(cmd *cobra.Command, path string, doc []byte) (err error) {
	if path == "-" {
		_, err := cmd.OutOrStdout().Write(doc)
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".onsale-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = file.Write(doc)
	if err = errors.Join(err, file.Chmod(0o644), file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

func indented(doc []byte) ([]byte, error) {
	var b bytes.Buffer
	if err := json.Indent(&b, doc, "", "  "); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// toYAML turns a JSON document into YAML, keys in their order.
func toYAML(doc []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	root, err := yamlNode(d)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	err = errors.Join(enc.Encode(root), enc.Close())
	return b.Bytes(), err
}

// yamlNode reads the next value. What holds only plain values is written on one
// line if it is short.
func yamlNode(d *json.Decoder) (*yaml.Node, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case json.Delim:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		if t == '{' {
			n.Kind = yaml.MappingNode
		}
		short := 0
		for d.More() {
			item, err := yamlNode(d) // a key is a string like any other
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, item)
			short += len(item.Value) + 3
			if item.Kind != yaml.ScalarNode {
				short = oneLine + 1
			}
		}
		if short <= oneLine {
			n.Style = yaml.FlowStyle
		}
		_, err := d.Token() // the closing bracket
		return n, err
	case string:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: t}, nil
	case json.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: numberTag(t), Value: t.String()}, nil
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: fmt.Sprint(t)}, nil
	case nil:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}, nil
	}
	return nil, io.ErrUnexpectedEOF
}

// oneLine is how long a collection of plain values on one line may be.
const oneLine = 100

func numberTag(n json.Number) string {
	if _, err := n.Int64(); err == nil {
		return "!!int"
	}
	return "!!float"
}
