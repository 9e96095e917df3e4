package link

import (
	"strings"
	"time"
)

// Region is a place that a gateway or a host can say it stands in.
type Region struct {
	Code string // IATA code of the nearest large airport, lower case: "fra"
	City string // for people: "Frankfurt"
}

// table holds the round trips in milliseconds, each row to the rows above it, in their order.
//
// Source: Microsoft, "Azure network round-trip latency statistics",
// https://learn.microsoft.com/en-us/azure/networking/azure-network-latency, data set of
// 2026-07-30 (30 days up to that day), as kept in the page's source on GitHub
// (mbender-ms/azure-docs at 5b3e2055, articles/networking/azure-network-latency.md).
//
// The page gives the 95th percentile of probes sent every minute between Azure regions over
// Azure's own backbone, one figure per direction. An entry here is the mean of the two
// directions, rounded up; they mostly differ by a few milliseconds, at most by 50 (sin-arn:
// 256 and 206). So these are measurements, of one provider, on a slow minute: the public
// internet and other providers differ.
//
// A code names the airport nearest to the Azure region, which is not always in that city:
// Central India is Pune (120 km from Mumbai), Sweden Central Gävle (150 km from Stockholm),
// East US, West US and West US 2 are known only as Virginia, California and Washington.
var table = []struct {
	code, city string
	azure      string // the region's name in the source
	ms         []int
}{
	{"fra", "Frankfurt", "Germany West Central", nil},
	{"lhr", "London", "UK South", []int{20}},
	{"cdg", "Paris", "France Central", []int{14, 13}},
	{"ams", "Amsterdam", "West Europe", []int{14, 13, 15}},
	{"dub", "Dublin", "North Europe", []int{29, 15, 21, 20}},
	{"mad", "Madrid", "Spain Central", []int{31, 27, 22, 30, 35}},
	{"arn", "Stockholm", "Sweden Central", []int{33, 35, 42, 31, 39, 56}},
	{"iad", "Washington", "East US", []int{97, 80, 90, 90, 75, 84, 109}},
	{"ord", "Chicago", "North Central US", []int{115, 101, 109, 106, 95, 100, 132, 25}},
	{"yyz", "Toronto", "Canada Central", []int{101, 84, 92, 93, 79, 93, 114, 22, 23}},
	{"sjc", "San Jose", "West US", []int{158, 144, 152, 152, 138, 141, 169, 73, 54, 71}},
	{"sea", "Seattle", "West US 2", []int{160, 145, 153, 150, 136, 143, 165, 76, 54, 69, 26}},
	{"gru", "São Paulo", "Brazil South", []int{200, 184, 193, 190, 176, 185, 207, 120, 142, 133, 171, 179}},
	{"nrt", "Tokyo", "Japan East", []int{248, 236, 243, 241, 232, 233, 259, 165, 151, 165, 110, 103, 270}},
	{"icn", "Seoul", "Korea Central", []int{272, 262, 267, 267, 255, 262, 285, 192, 175, 190, 134, 128, 293, 36}},
	{"hkg", "Hong Kong", "East Asia", []int{244, 274, 279, 279, 266, 236, 262, 208, 192, 205, 152, 145, 315, 52, 42}},
	{"sin", "Singapore", "Southeast Asia", []int{179, 183, 176, 182, 236, 228, 231, 229, 214, 226, 172, 165, 337, 74, 72, 41}},
	{"bom", "Mumbai", "Central India", []int{151, 151, 147, 153, 160, 149, 177, 216, 233, 216, 224, 218, 320, 129, 127, 96, 59}},
	{"dxb", "Dubai", "UAE North", []int{122, 122, 117, 124, 131, 118, 149, 191, 204, 187, 253, 256, 291, 155, 153, 120, 89, 35}},
	{"jnb", "Johannesburg", "South Africa North", []int{173, 169, 165, 171, 178, 151, 198, 226, 241, 236, 279, 285, 327, 255, 253, 272, 201, 134, 105}},
	{"syd", "Sydney", "Australia East", []int{291, 277, 280, 282, 272, 269, 305, 207, 190, 207, 142, 180, 298, 105, 135, 128, 98, 152, 181, 348}},
	{"akl", "Auckland", "New Zealand North", []int{295, 279, 270, 274, 268, 279, 300, 199, 184, 195, 150, 143, 310, 131, 157, 151, 125, 179, 206, 338, 31}},
}

// index finds a region's row.
var index = func() map[string]int {
	rows := make(map[string]int, len(table))
	for i, row := range table {
		rows[row.code] = i
	}
	return rows
}()

// Regions returns the regions of the table: Europe, the Americas, Asia, Africa, Oceania.
// The slice is the caller's.
func Regions() []Region {
	all := make([]Region, len(table))
	for i, row := range table {
		all[i] = Region{Code: row.code, City: row.city}
	}
	return all
}

// City returns the city of a region of the table; "" of another.
func City(code string) string {
	if i, ok := index[code]; ok {
		return table[i].city
	}
	return ""
}

// Known reports whether the table has the region. Codes are lower case.
func Known(code string) bool {
	_, ok := index[code]
	return ok
}

// RTT returns the round trip between two regions of the table, the same both ways and 0
// from a region to itself. It is false if either is unknown.
//
// The figures are Microsoft's published 95th percentiles between Azure regions, July 2026.
func RTT(a, b string) (time.Duration, bool) {
	i, okA := index[a]
	j, okB := index[b]
	switch {
	case !okA || !okB:
		return 0, false
	case i == j:
		return 0, true
	case i < j:
		i, j = j, i
	}
	return time.Duration(table[i].ms[j]) * time.Millisecond, true
}

// codes lists the known regions for an error message.
func codes() string {
	all := make([]string, len(table))
	for i, row := range table {
		all[i] = row.code
	}
	return strings.Join(all, ", ")
}
