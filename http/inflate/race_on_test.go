//go:build race

package inflate_test

// raced: the race detector keeps books of its own in memory.
const raced = true
