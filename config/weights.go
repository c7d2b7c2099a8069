package config

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// maxWeights is how many clients and networks may have a share of their own.
const maxWeights = 256

// Map is the weights by name.
func (w Weights) Map() map[string]int {
	m := make(map[string]int, len(w))
	for _, one := range w {
		m[one.Of] = one.Weight
	}
	return m
}

// String is the form of flags and the environment: 10.0.0.7=2,10.1.0.0/16=1.
func (w Weights) String() string {
	parts := make([]string, len(w))
	for i, one := range w {
		parts[i] = one.Of + "=" + strconv.Itoa(one.Weight)
	}
	return strings.Join(parts, ",")
}

// MarshalJSON gives an object, as in the file.
func (w Weights) MarshalJSON() ([]byte, error) { return json.Marshal(w.Map()) }

// literal is an inline table of TOML.
func (w Weights) literal() string {
	if len(w) == 0 {
		return "{}"
	}
	parts := make([]string, len(w))
	for i, one := range w {
		parts[i] = strconv.Quote(one.Of) + " = " + strconv.Itoa(one.Weight)
	}
	return "{ " + strings.Join(parts, ", ") + " }"
}

func (w Weights) ordered() Weights {
	slices.SortFunc(w, func(a, b Weight) int { return strings.Compare(a.Of, b.Of) })
	return w
}

func weightsFromText(s string) (Weights, bool) {
	var all Weights
	for _, part := range splitList(s) {
		of, n, ok := strings.Cut(part, "=")
		weight, err := strconv.Atoi(strings.TrimSpace(n))
		if !ok || err != nil || !clean(part) {
			return nil, false
		}
		all = append(all, Weight{strings.TrimSpace(of), weight})
	}
	return all.ordered(), true
}

func weightsFromTOML(table map[string]any) (Weights, bool) {
	var all Weights
	for of, v := range table {
		n, ok := v.(int64)
		if !ok || !clean(of) {
			return nil, false
		}
		all = append(all, Weight{of, int(n)})
	}
	return all.ordered(), true
}

// checkWeights holds each weight against the bounds of its key.
func (k Key) checkWeights(all Weights) (msg, hint string) {
	if len(all) > maxWeights {
		return fmt.Sprintf("has %d entries", len(all)), fmt.Sprintf("at most %d; name networks instead of addresses", maxWeights)
	}
	seen := map[netip.Prefix]bool{}
	for _, w := range all {
		p, ok := network(w.Of)
		switch {
		case !ok:
			return "names " + quoted(w.Of) + ", which is neither an IP address nor a CIDR", "write it as 10.0.0.7 or 10.1.0.0/16"
		case seen[p]:
			return "names " + quoted(w.Of) + " twice", "give each network one weight"
		case int64(w.Weight) < k.Min, int64(w.Weight) > k.Max:
			return fmt.Sprintf("gives %s the weight %d", quoted(w.Of), w.Weight), fmt.Sprintf("use %d to %d", k.Min, k.Max)
		}
		seen[p] = true
	}
	return "", ""
}

// network reads an IP address or a CIDR.
func network(s string) (netip.Prefix, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), a.Zone() == ""
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err == nil
}
