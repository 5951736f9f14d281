package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"onsale/config"
)

func newCheckConfigCommand(environ []string) *cobra.Command {
	var file string
	var printDefaults bool
	cmd := &cobra.Command{
		Use:   "checkconfig",
		Short: "Check the configuration, and print what would be in force",
		Long: `Check the configuration from file, environment and flags as onsale serve would
read it: print what would be in force, or everything that is wrong with it.
Secrets are not printed.`,
		Args: noArgs,
	}
	flags := settingFlags(cmd)
	cmd.Flags().StringVar(&file, "config", "", "YAML file with settings (ONSALE_CONFIG)")
	cmd.Flags().BoolVar(&printDefaults, "print-defaults", false, "print every setting with its default, variable and description, as a YAML file")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if printDefaults {
			return config.WriteDefaults(cmd.OutOrStdout())
		}
		cfg, err := config.Load(config.Source{File: file, Environ: environ, Flags: flags()})
		if err != nil {
			return err
		}
		if err := cfg.Write(cmd.OutOrStdout()); err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.ErrOrStderr(), "The configuration is valid.")
		return err
	}
	return cmd
}
