//go:build !race

package inflate_test

const raced = false
