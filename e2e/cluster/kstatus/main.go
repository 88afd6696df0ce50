// Reads an object as JSON from the standard input and prints what kstatus makes of it:
// its status on the first line, its message after that.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

func main() {
	if err := judge(); err != nil {
		fmt.Fprintln(os.Stderr, "kstatus:", err)
		os.Exit(1)
	}
}

func judge() error {
	// Through its own decoder: numbers have to be int64, as clients of Kubernetes read them.
	object := &unstructured.Unstructured{}
	if err := json.NewDecoder(os.Stdin).Decode(object); err != nil {
		return fmt.Errorf("the standard input is no Kubernetes object: %w", err)
	}
	result, err := status.Compute(object)
	if err != nil {
		return err
	}
	fmt.Printf("%s\n%s\n", result.Status, result.Message)
	return nil
}
