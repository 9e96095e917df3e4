package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

// stateSizes lists the sizes of objects at which commits are measured, in KiB.
var stateSizes = []int{1, 64, 500, 1 << 10, 10 << 10, 100 << 10, 1 << 20}

func stateCommand() *cobra.Command {
	var replicas, commits int
	var sizes []int
	c := &cobra.Command{
		Use:   "state",
		Short: "Measure a commit of one key of 100 bytes against the size of the object, with and without 256 remembered answers",
		Long: "Measure a commit of one key of 100 bytes against the size of the object, with and\n" +
			"without 256 remembered answers to clients' keys: the puts that a host makes, on a\n" +
			"server of its own for each size, beside those of the layout in which the record has\n" +
			"everything. Commits of an object of one kilobyte take turns with them. Sizes are in\n" +
			"KiB. Filling a gigabyte takes a minute or more.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return measureState(c.Context(), replicas, commits, sizes)
		},
	}
	c.Flags().IntVar(&replicas, "replicas", 1, "of the store: 1 or 3")
	c.Flags().IntSliceVar(&sizes, "sizes", stateSizes, "which of these")
	c.Flags().IntVar(&commits, "commits", 3000, "how many are made at each size")
	return c
}

// measureState runs BenchmarkLargeCommit of the package that knows how objects are stored, one size after the other.
func measureState(ctx context.Context, replicas, commits int, sizes []int) error {
	if replicas != 1 && replicas != 3 || commits < 100 {
		return errors.New("want 1 or 3 replicas, and at least 100 commits")
	}
	mod, err := output(ctx, "go", "env", "GOMOD")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-state-")
	if err != nil {
		return fmt.Errorf("make a folder for the benchmark: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // a folder that is left over is no error of the measurement
	binary := filepath.Join(dir, "host.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, "./objects/host")
	build.Dir = filepath.Dir(strings.TrimSpace(mod))
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the benchmark: %w: %s", err, out)
	}
	t := table{head: []string{"object", "layout", "answers", "p50", "of a kilobyte's beside it", "p99", "sent a commit", "merged a commit"}}
	for _, size := range sizes {
		if !slices.Contains(stateSizes, size) {
			return fmt.Errorf("%d KiB is none of the sizes %v", size, stateSizes)
		}
		run := exec.CommandContext(ctx, binary, "-test.run", "^$", "-test.bench", fmt.Sprintf("^BenchmarkLargeCommit$/^R%d$/./^%dKiB$", replicas, size),
			"-test.benchtime", strconv.Itoa(commits)+"x", "-test.timeout", "20m")
		out, err := run.CombinedOutput()
		if err != nil {
			return fmt.Errorf("measure %d KiB: %w: %s", size, err, out)
		}
		rows := stateRows(out)
		slices.SortFunc(rows, func(a, b []string) int { return strings.Compare(b[1]+a[2], a[1]+b[2]) })
		for _, row := range rows {
			say("%s", strings.Join(row, "  "))
			t.add(row...)
		}
	}
	fmt.Print(t.markdown())
	return nil
}

var (
	stateName   = regexp.MustCompile(`/(record|parts)/(\d+)KiB/answers=(\d+)`)
	stateFigure = regexp.MustCompile(`([\d.]+(?:e[+-]\d+)?) (p50-us|p99-us|sent-B/op|merged-B/op|x-1KiB)`)
)

// stateRows reads what the benchmark has printed: a row for each measurement.
func stateRows(out []byte) (rows [][]string) {
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		name := stateName.FindStringSubmatch(lines.Text())
		figures := make(map[string]float64)
		for _, f := range stateFigure.FindAllStringSubmatch(lines.Text(), -1) {
			figures[f[2]], _ = strconv.ParseFloat(f[1], 64) // the expression takes numbers only
		}
		if name == nil || len(figures) == 0 {
			continue
		}
		size, _ := strconv.ParseUint(name[2], 10, 64) // likewise
		layout := map[string]string{"record": "record alone", "parts": "with parts"}[name[1]]
		rows = append(rows, []string{
			humanize.IBytes(size << 10), layout, name[3], showFine(figures["p50-us"]), fmt.Sprintf("%.1fx", figures["x-1KiB"]), showFine(figures["p99-us"]),
			humanize.Bytes(uint64(figures["sent-B/op"])), humanize.Bytes(uint64(figures["merged-B/op"])),
		})
	}
	return rows
}
