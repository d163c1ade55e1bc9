// Kstatus reads one Kubernetes object (JSON or YAML) on stdin and prints, as one line of JSON, what the kstatus library
// thinks of it: the verdict that Flux, Helm and cli-utils act on.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "kstatus:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	manifest, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("cannot read stdin: %w", err)
	}
	asJSON, err := yaml.YAMLToJSON(manifest)
	if err != nil {
		return fmt.Errorf("stdin holds neither JSON nor YAML: %w", err)
	}
	object := &unstructured.Unstructured{}
	// Not a plain json.Unmarshal: this one keeps whole numbers whole, and the library compares generations as int64.
	if err := object.UnmarshalJSON(asJSON); err != nil {
		return fmt.Errorf("stdin holds no Kubernetes object: %w", err)
	}
	result, err := status.Compute(object)
	if err != nil {
		return fmt.Errorf("the library cannot judge this object: %w", err)
	}
	return json.NewEncoder(out).Encode(map[string]string{
		"status":  result.Status.String(),
		"message": result.Message,
	})
}
