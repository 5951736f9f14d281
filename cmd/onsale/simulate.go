package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"onsale/internal/fault"
	"onsale/internal/redisconn"
	"onsale/internal/simulate"
	"onsale/internal/stack"
	"onsale/waitroom"
)

func newSimulateCommand() *cobra.Command {
	o := simulate.Default()
	var order, file string
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Play a sale in virtual time: how long will it take, and how long will people wait?",
		Long: `Play a sale in virtual time, before the real one: hours within seconds, and crowds
of millions. The waiting room is the program's own, with its scripts in a private
Redis that is gone afterwards: throttle, draw and wait estimate are the real ones.
Only the clock is virtual, and people are modelled by what the flags say of them.

It prints the course of the sale, how long people waited, how good the waits were
that their pages showed, and whether the room kept what it promises. A promise
that is not kept makes the command fail. The same flags give the same sale.`,
		Example: `  onsale simulate --visitors 500000 --tickets 40000 --rate 1200 --shoppers 4000`,
		Args:    noArgs,
	}
	flags := cmd.Flags()
	flags.IntVar(&o.Visitors, "visitors", o.Visitors, "how many people come")
	flags.Float64Var(&o.Early, "early", o.Early, "share of them who are there before the opening")
	flags.DurationVar(&o.Lobby, "lobby", o.Lobby, "for how long before the opening they come, evenly")
	flags.DurationVar(&o.Arrive, "arrive", o.Arrive, "within what time after the opening the others come, fewer and fewer")
	flags.StringVar(&order, "order", string(o.Order), "places of those who come early: draw or fifo")
	flags.IntVar(&o.Throttle.RatePerMinute, "rate", o.Throttle.RatePerMinute, "how many people a minute the room lets in")
	flags.IntVar(&o.Throttle.Burst, "burst", o.Throttle.Burst, "how many it lets in at once")
	flags.IntVar(&o.Throttle.MaxShoppers, "shoppers", o.Throttle.MaxShoppers, "how many may shop at the same time")
	flags.DurationVar(&o.Throttle.Lease, "lease", o.Throttle.Lease, "how long they may")
	flags.DurationVar(&o.Throttle.ClaimWindow, "claim-window", o.Throttle.ClaimWindow, "how long a turn waits to be claimed")
	flags.Float64Var(&o.NoShow, "no-show", o.NoShow, "share of turns that nobody claims")
	flags.DurationVar(&o.ShopTime, "shop-time", o.ShopTime, "how long shoppers take on average")
	flags.Float64Var(&o.Buy, "buy", o.Buy, "share of shoppers who buy, if there are tickets")
	flags.IntVar(&o.Tickets, "tickets", o.Tickets, "how many tickets there are")
	flags.IntVar(&o.PerOrder, "per-order", o.PerOrder, "how many of them one buyer takes")
	flags.IntVar(&o.PerBuyer, "per-buyer", o.PerBuyer, "how many one buyer may have: who has fewer keeps their slot for a while")
	flags.Uint64Var(&o.Seed, "seed", o.Seed, "of everything that is by chance")
	flags.StringVar(&file, "json", "", "also write the results to this file")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		o.Order = waitroom.Order(order)
		if wrong, ok := fault.Of(o.Validate()); ok {
			return usageError{cmd.Name(), errors.New(wrong.Detail)}
		}
		return runSimulation(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr(), file)
	}
	return cmd
}

func runSimulation(ctx context.Context, o simulate.Options, stdout, stderr io.Writer, file string) (err error) {
	server, err := stack.StartRedis(ctx, stack.RedisOptions{Logger: slog.New(slog.NewTextHandler(stderr, nil))})
	if err != nil {
		return err
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), embeddedStopTimeout)
		defer cancel()
		err = errors.Join(err, server.Stop(stop))
	}()
	rdb, err := redisconn.Open(server.URL())
	if err != nil {
		return err
	}
	defer rdb.Close()
	said := time.Now()
	report, err := simulate.Run(ctx, rdb, o, func(m simulate.Minute) {
		if time.Since(said) < 5*time.Second {
			return
		}
		said = time.Now()
		fmt.Fprintf(stderr, "minute %d: %d waiting, %d let in, %d tickets sold\n", m.At/60, m.Waiting, m.Admitted, m.Sold)
	})
	if err != nil {
		return err
	}
	return errors.Join(report.Write(stdout), writeReport(file, report.WriteJSON), report.Err())
}
