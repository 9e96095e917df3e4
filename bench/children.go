package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"

	"github.com/spf13/cobra"

	"holdfast/app"
	"holdfast/bench/raw"
)

// rawCommand runs a raw limit, as a process of its own that rounds start.
func rawCommand() *cobra.Command {
	return &cobra.Command{
		Use:       "raw fiber|nats",
		Short:     "Serve what the machine can do without Holdfast",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"fiber", "nats"},
		RunE:      func(c *cobra.Command, args []string) error { return serveRaw(c.Context(), args[0]) },
	}
}

func serveRaw(ctx context.Context, kind string) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	serve := raw.Fiber
	if kind == "nats" {
		serve = raw.NATS
	}
	return serve(ctx, ln, func() error {
		return json.NewEncoder(os.Stdout).Encode(map[string]string{"url": "http://" + ln.Addr().String()})
	})
}

// serveCommand runs Holdfast with the classes that the comparison of sizes needs.
func serveCommand() *cobra.Command {
	return &cobra.Command{
		Use:                "serve",
		Short:              "Run a command of Holdfast with the class shelf besides, as serve dev",
		DisableFlagParsing: true, // they are the other program's
		RunE: func(c *cobra.Command, args []string) error {
			if err := showProfiles(); err != nil {
				return err
			}
			if code := app.Run(c.Context(), shelved, args, os.Stdout, os.Stderr); code != 0 {
				os.Exit(code) // it has said why
			}
			return nil
		},
	}
}
