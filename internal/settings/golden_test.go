//go:build !nextschema

package settings_test

const goldenDir = "testdata/migrate"
