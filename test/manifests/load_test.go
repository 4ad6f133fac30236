package manifests

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

const root = "../.."

// decode reads all objects of a YAML file strictly: an unknown or repeated field is an error.
func decode(text []byte) ([]runtime.Object, error) {
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	reader := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(text)))
	defer reader.Close()
	var objects []runtime.Object
	for doc := make([]byte, len(text)+1); ; {
		n, err := reader.Read(doc)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		obj, _, err := decoder.Decode(doc[:n], nil, nil)
		if err != nil {
			return nil, err
		}
		objects = append(objects, obj)
	}
}

// load decodes a file of the repository.
func load(t *testing.T, path string) []runtime.Object {
	t.Helper()
	objects, err := decode(read(t, path))
	if err != nil {
		t.Fatalf("decode %s: %v", path, err)
	}
	return objects
}

// read is a file of the repository.
func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// only is the single object of type T among those of manifests/invar.yaml.
func only[T runtime.Object](t *testing.T) T {
	t.Helper()
	var found []T
	for _, obj := range load(t, "manifests/invar.yaml") {
		if obj, ok := obj.(T); ok {
			found = append(found, obj)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d objects of type %T, want 1", len(found), *new(T))
	}
	return found[0]
}

// TestDecodeIsStrict shows that the checks below can fail.
func TestDecodeIsStrict(t *testing.T) {
	const namespace = "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: x\n"
	for _, tt := range []struct {
		name, text string
		want       int // objects, -1 for an error
	}{
		{"two documents", namespace + "---\n" + namespace, 2},
		{"unknown field", namespace + "  nmae: x\n", -1},
		{"repeated field", namespace + "  name: y\n", -1},
		{"unknown kind", "apiVersion: v1\nkind: Nmaespace\n", -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			objects, err := decode([]byte(tt.text))
			if got := len(objects); (err != nil) != (tt.want < 0) || err == nil && got != tt.want {
				t.Errorf("got %d objects, error %v; want %d", got, err, tt.want)
			}
		})
	}
}
