package main

import "github.com/spf13/cobra"

// commands returns all subcommands.
func commands(environ []string) []*cobra.Command {
	return []*cobra.Command{
		newDemoCommand(environ),
		newServeCommand(environ),
		newCheckConfigCommand(environ),
		newMigrateCommand(environ),
		newImportCommand(environ),
		newExportCommand(environ),
		newGateCommand(),
		newVerifyDrawCommand(),
		newHealthCommand(environ),
		newBenchCommand(environ),
		newSimulateCommand(),
		newKeygenCommand(),
		newVersionCommand(),
	}
}
