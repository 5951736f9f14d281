package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"onsale/config"
)

func newHealthCommand(environ []string) *cobra.Command {
	var ready bool
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask the node on this machine how it is, for container health checks",
		Long: `Ask the node that listens on the configured address of this machine whether it
is alive or, with --ready, whether everything it needs answers. The exit code is
0 for yes.`,
		Args: noArgs,
	}
	flags := settingFlags(cmd, "addr")
	cmd.Flags().BoolVar(&ready, "ready", false, "ask for its dependencies too")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Load(config.Source{Environ: environ, Flags: flags()})
		if err != nil {
			return err
		}
		path := "/healthz"
		if ready {
			path = "/readyz"
		}
		return askHealth(cmd.Context(), cfg.URLFor(cfg.Addr)+path)
	}
	return cmd
}

func askHealth(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}
