package config

// Change is one key whose value differs between two configurations.
type Change struct {
	Key  string `json:"key"`
	Old  string `json:"old"` // in text form; of a secret nothing is told
	New  string `json:"new"`
	Live bool   `json:"-"` // it takes effect without a restart
}

// Diff lists the keys that differ, in the order of the table.
func Diff(old, next Config) (changes []Change) {
	for _, k := range honoured() {
		before, after := text(k.get(&old)), text(k.get(&next))
		if before == after {
			continue
		}
		if k.Secret {
			before, after = "[redacted]", "[redacted]"
		}
		changes = append(changes, Change{Key: k.Name, Old: before, New: after, Live: k.Live})
	}
	return changes
}
