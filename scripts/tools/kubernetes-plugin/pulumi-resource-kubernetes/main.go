// The Kubernetes resource plugin: the provider's own library, served by a main of ours, since no
// registry carries the finished program.
package main

import (
	_ "embed"

	"github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/provider"
)

// Stamped by the linker; equals the version of the Python package that speaks to this plugin.
var version string

// Both are copied from the provider's module beside this file before the build, and not committed.

//go:embed schema.json
var schema []byte

//go:embed terraform-mapping.json
var terraformMapping []byte

func main() {
	provider.Serve("kubernetes", version, schema, terraformMapping)
}
