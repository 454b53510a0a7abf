package main

import (
	"fmt"
	"math"
	"strings"
)

// bars of the chart, with a colour for each peer.
var bars = [...]struct{ peer, label, colour string }{
	{ours, "checkpointctl", "#1b6ca8"},
	{bare, "criu dump", "#7fb2d6"},
	{runc, "runc", "#c9a227"},
	{podman, "Podman", "#8d6a9f"},
	{docker, "Docker", "#b5442e"},
}

const (
	barHeight = 11
	labelEnd  = 130
	plotWidth = 520
)

// chart is an SVG of the times and gaps of checkpoints, and of how times grow, on
// logarithmic scales.
func chart(r Results) string {
	var b strings.Builder
	y := 40
	for _, part := range [...]struct {
		title  string
		figure figure
	}{{"Time of a checkpoint", total}, {"Gap seen by the program", gap}} {
		y = plot(&b, r.Cases, part.title, part.figure, y) + 30
	}
	y = growthPlots(&b, r.Cases, y)
	legend := ""
	for i, p := range bars {
		legend += fmt.Sprintf(`<rect x="%d" y="10" width="10" height="10" fill="%s"/><text x="%d" y="19">%s</text>`+"\n", 10+130*i, p.colour, 24+130*i, p.label)
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11">
<rect width="100%%" height="100%%" fill="white"/>
%s%s</svg>
`, labelEnd+plotWidth+70, y, legend, b.String())
}

func plot(b *strings.Builder, cases []Case, title string, f figure, y int) int {
	fmt.Fprintf(b, `<text x="10" y="%d" font-size="14">%s, medians, logarithmic</text>`+"\n", y+10, title)
	y += 20
	top := y
	for _, c := range cases {
		if c.median("checkpoint", ours, f) == 0 {
			continue
		}
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", labelEnd-6, y+barHeight, c.Name)
		for _, p := range bars {
			n := c.median("checkpoint", p.peer, f)
			if n == 0 {
				continue
			}
			fmt.Fprintf(b, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/><text x="%d" y="%d" font-size="9">%s</text>`+"\n",
				labelEnd, y, width(n), barHeight-1, p.colour, labelEnd+width(n)+4, y+barHeight-2, ms(n))
			y += barHeight
		}
		y += 6
	}
	for n := int64(10_000); n <= 100_000_000; n *= 10 {
		x := labelEnd + width(n)
		fmt.Fprintf(b, `<path d="M%d %dV%d" stroke="#ccc"/><text x="%d" y="%d" text-anchor="middle" fill="#666">%s</text>`+"\n", x, top, y, x, y+12, ms(n))
	}
	return y + 12
}

// width goes from 1 ms to 100 s.
func width(us int64) int {
	return max(1, int(math.Log10(float64(us)/1e3)/5*plotWidth))
}

const curveHeight = 150

// growthPlots draws the time of each case of growth against the size.
func growthPlots(b *strings.Builder, cases []Case, y int) int {
	for _, c := range cases {
		if isGrowth(c) {
			y = growthPlot(b, c, y) + 30
		}
	}
	return y
}

func growthPlot(b *strings.Builder, c Case, y int) int {
	fmt.Fprintf(b, `<text x="10" y="%d" font-size="14">Time as the work grows: %s</text>`+"\n", y+10, c.About)
	sizes, _ := c.grown(ours, total)
	if len(sizes) < 2 {
		return y + 20
	}
	top := y + 20
	across := math.Log(float64(sizes[len(sizes)-1]) / float64(sizes[0]))
	x := func(size int) int {
		return labelEnd + int(math.Log(float64(size)/float64(sizes[0]))/across*plotWidth)
	}
	high := func(us int64) int { return top + curveHeight - width(us)*curveHeight/plotWidth }
	for n := int64(10_000); n <= 100_000_000; n *= 10 {
		fmt.Fprintf(b, `<path d="M%d %dH%d" stroke="#ccc"/><text x="%d" y="%d" text-anchor="end" fill="#666">%s</text>`+"\n",
			labelEnd, high(n), labelEnd+plotWidth, labelEnd-6, high(n)+4, ms(n))
	}
	for _, size := range sizes {
		fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle" fill="#666">%d</text>`+"\n", x(size), top+curveHeight+14, size)
	}
	for _, p := range bars {
		sizes, medians := c.grown(p.peer, total)
		if len(sizes) == 0 {
			continue
		}
		points := ""
		for i, size := range sizes {
			points += fmt.Sprintf("%d,%d ", x(size), high(medians[i]))
		}
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.TrimSpace(points), p.colour)
	}
	return top + curveHeight + 20
}
