// Command onsale is a waiting room, seat holds and checkout for the minute when
// tickets go on sale: one program, several subcommands.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"onsale/config"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
}

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// run is the whole program with everything it touches as an argument, so that
// tests can run it. It ends when ctx does, or at the first SIGINT or SIGTERM; a
// second one ends the process at once.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, environ []string) int {
	ctx, restore := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer restore()
	context.AfterFunc(ctx, restore)

	root := newRootCommand(environ)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(stderr, "onsale: %v\n", err)
	if wrong, ok := errors.AsType[usageError](err); ok {
		fmt.Fprintf(stderr, "See onsale %s.\n", strings.TrimSpace(wrong.command+" --help"))
		return exitUsage
	}
	return exitFailed
}

// usageError is a command line that cannot be understood.
type usageError struct {
	command string
	err     error
}

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func newRootCommand(environ []string) *cobra.Command {
	root := &cobra.Command{
		Use:           "onsale",
		Short:         "Waiting room, seat holds and checkout for the minute when tickets go on sale",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError{cmd.Name(), err} })
	root.AddCommand(commands(environ)...)
	return root
}

// noArgs refuses arguments, naming an unknown subcommand as such.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if !cmd.HasParent() {
		return usageError{"", fmt.Errorf("unknown command %q", args[0])}
	}
	return usageError{cmd.Name(), fmt.Errorf("unexpected argument %q", args[0])}
}

// settingFlags gives cmd a flag for every setting that is no secret, hidden
// unless named in shown (none: all are shown), and returns what reads the given
// ones for config.Load.
func settingFlags(cmd *cobra.Command, shown ...string) func() map[string]string {
	flags := cmd.Flags()
	names := make([]string, 0, 40)
	for _, setting := range config.Settings() {
		if setting.Flag == "" {
			continue
		}
		names = append(names, setting.Flag)
		doc := setting.Doc
		if setting.Default != "" {
			doc = fmt.Sprintf("%s (default %s)", doc, setting.Default)
		}
		flags.String(setting.Flag, "", doc)
		if len(shown) > 0 && !slices.Contains(shown, setting.Flag) {
			_ = flags.MarkHidden(setting.Flag) // fails only for flags that do not exist
		}
	}
	return func() map[string]string {
		given := make(map[string]string)
		for _, name := range names {
			if flag := flags.Lookup(name); flag.Changed {
				given[name] = flag.Value.String()
			}
		}
		return given
	}
}

// newLogger returns the logger that the configuration asks for.
func newLogger(cfg config.Log, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo // config.Load has refused all other names
	}
	options := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
