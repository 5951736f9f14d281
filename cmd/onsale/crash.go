//go:build !crashtest

package main

// crashStep does nothing; binaries built with the tag crashtest have another.
func crashStep(string) {}
