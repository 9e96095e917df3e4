package main

import (
	"fmt"
	"math"
	"strings"
)

// scale puts values on a line of pixels, each power of ten at the same distance.
type scale struct {
	low, high float64 // powers of ten at the ends
	from, to  float64 // pixels
}

// scaleOf returns a scale that holds all values and ends at whole powers of ten. Values are
// above zero.
func scaleOf(values []float64, from, to float64) scale {
	s := scale{low: math.Inf(1), high: math.Inf(-1), from: from, to: to}
	for _, v := range values {
		s.low = min(s.low, math.Floor(math.Log10(v)))
		s.high = max(s.high, math.Ceil(math.Log10(v)))
	}
	if len(values) == 0 {
		s.low, s.high = 0, 1
	}
	if s.low == s.high {
		s.high++
	}
	return s
}

func (s scale) at(v float64) float64 {
	return s.from + (math.Log10(v)-s.low)/(s.high-s.low)*(s.to-s.from)
}

// ticks returns the powers of ten.
func (s scale) ticks() []float64 {
	var all []float64
	for power := s.low; power <= s.high; power++ {
		all = append(all, math.Pow(10, power))
	}
	return all
}

// Pixels. Panels stand two in a row; inside each, the plot fills the space between the margins.
const (
	panelWidth, panelHeight                     = 420, 300
	marginLeft, marginRight, marginTop, marginX = 62, 20, 52, 48
	inset                                       = 26 // the values at the ends stand free of the axis
)

const style = `<style>
svg { color: #1f2328; background: #ffffff; font: 12px system-ui, sans-serif; }
text { fill: currentColor; }
.title { font-size: 14px; font-weight: 600; }
.faint { opacity: .7; }
.grid { stroke: currentColor; opacity: .14; }
.line { stroke: #0b6bcb; fill: none; stroke-width: 2; }
.dot { fill: #0b6bcb; }
.value { text-anchor: middle; font-weight: 600; stroke: #ffffff; stroke-width: 4; paint-order: stroke; }
@media (prefers-color-scheme: dark) {
  svg { color: #e6edf3; background: #0d1117; }
  .line { stroke: #58a6ff; }
  .dot { fill: #58a6ff; }
  .value { stroke: #0d1117; }
}
</style>
`

// draw returns the plot of all panels.
func draw(measured []panel) string {
	var out strings.Builder
	rows := (len(measured) + 1) / 2
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="Cost of one operation against size">`+"\n",
		2*panelWidth, rows*panelHeight)
	out.WriteString(style)
	for i, p := range measured {
		fmt.Fprintf(&out, `<g transform="translate(%d %d)">`+"\n", i%2*panelWidth, i/2*panelHeight)
		p.draw(&out)
		out.WriteString("</g>\n")
	}
	out.WriteString("</svg>\n")
	return out.String()
}

func (p panel) draw(out *strings.Builder) {
	var sizes, costs []float64
	for _, pt := range p.Point {
		if cost := pt.Figures[operation]; cost > 0 {
			sizes, costs = append(sizes, float64(pt.Size)), append(costs, cost)
		}
	}
	x := scaleOf(sizes, marginLeft+inset, panelWidth-marginRight-inset)
	y := scaleOf(costs, panelHeight-marginX, marginTop)
	fmt.Fprintf(out, `<text class="title" x="%d" y="22">%s</text>`+"\n", marginLeft, p.Title)
	fmt.Fprintf(out, `<text class="faint" x="%d" y="38">processor time of one operation</text>`+"\n", marginLeft)
	for _, v := range x.ticks() {
		fmt.Fprintf(out, `<line class="grid" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`+"\n", x.at(v), marginTop, x.at(v), panelHeight-marginX)
		fmt.Fprintf(out, `<text class="faint" text-anchor="middle" x="%.1f" y="%d">%s</text>`+"\n", x.at(v), panelHeight-marginX+18, power(v))
	}
	for _, v := range y.ticks() {
		fmt.Fprintf(out, `<line class="grid" x1="%d" y1="%.1f" x2="%d" y2="%.1f"/>`+"\n", marginLeft, y.at(v), panelWidth-marginRight, y.at(v))
		fmt.Fprintf(out, `<text class="faint" text-anchor="end" x="%d" y="%.1f">%s</text>`+"\n", marginLeft-8, y.at(v)+4, powerOfTime(v))
	}
	fmt.Fprintf(out, `<text class="faint" text-anchor="middle" x="%d" y="%d">%s</text>`+"\n",
		(marginLeft+panelWidth-marginRight)/2, panelHeight-marginX+36, p.Size)
	var points []string
	for i := range sizes {
		points = append(points, fmt.Sprintf("%.1f,%.1f", x.at(sizes[i]), y.at(costs[i])))
	}
	fmt.Fprintf(out, `<polyline class="line" points="%s"/>`+"\n", strings.Join(points, " "))
	for i := range sizes { // after the line, so that the value stays readable
		fmt.Fprintf(out, `<circle class="dot" cx="%.1f" cy="%.1f" r="3.5"/>`+"\n", x.at(sizes[i]), y.at(costs[i]))
		fmt.Fprintf(out, `<text class="value" x="%.1f" y="%.1f">%s</text>`+"\n", x.at(sizes[i]), y.at(costs[i])-9, showFine(costs[i]))
	}
}

// power formats a power of ten briefly: 100, 1k, 10k, 1M.
func power(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%gM", v/1e6)
	case v >= 1e3:
		return fmt.Sprintf("%gk", v/1e3)
	default:
		return fmt.Sprintf("%g", v)
	}
}

// powerOfTime formats a power of ten of microseconds.
func powerOfTime(us float64) string {
	switch {
	case us >= 1e6:
		return fmt.Sprintf("%g s", us/1e6)
	case us >= 1e3:
		return fmt.Sprintf("%g ms", us/1e3)
	default:
		return fmt.Sprintf("%g us", us)
	}
}
