package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"

	"github.com/invar-lb/invar/pkg/kube"
	"github.com/invar-lb/invar/pkg/migrate"
)

// metallbGroup is the API group of MetalLB's custom resources.
const metallbGroup = "metallb.io"

// migration is the answer of invar migrate.
type migration struct {
	Config string         `json:"config"` // the text of the ConfigMap's key "config"
	Losses []migrate.Loss `json:"losses"`
}

func newMigrateCommand(t *tool) *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Turn the custom resources of MetalLB 0.13 or later into Invar's ConfigMap",
		Long: `Turn the custom resources of MetalLB 0.13 or later into Invar's ConfigMap, which is printed. What can't be carried over is
named on standard error, and the exit code is 3 then. The resources are read from the cluster, or from files. Nothing is changed.`,
		Example: "  invar migrate > config.yaml && invar validate config.yaml\n  invar migrate -f metallb.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			collect := t.clusterResources
			if len(files) > 0 {
				collect = func(context.Context) ([]json.RawMessage, error) { return t.fileResources(files) }
			}
			objects, err := collect(cmd.Context())
			if err != nil {
				return err
			}
			return t.migrate(objects)
		},
	}
	cmd.Flags().StringArrayVarP(&files, "filename", "f", nil, "file with the resources, - for standard input; may be given again")
	return cmd
}

// migrate prints what becomes of objects.
func (t *tool) migrate(objects []json.RawMessage) error {
	r, err := migrate.Convert(objects)
	if err != nil {
		return fmt.Errorf("convert MetalLB's resources: %w", err)
	}
	if r.Resources == 0 {
		return t.nothingToMigrate(objects)
	}
	for _, l := range r.Losses {
		fmt.Fprintln(t.ErrOut, l)
	}
	m := migration{Config: r.Text(), Losses: append([]migrate.Loss{}, r.Losses...)}
	if err := t.print(m, func(p *page) { p.WriteString(configMapManifest(t.home, m.Config)) }); err != nil {
		return err
	}
	if len(r.Losses) > 0 {
		return errNo
	}
	return nil
}

// nothingToMigrate says whether there is a ConfigMap, which needs no migration.
func (t *tool) nothingToMigrate(objects []json.RawMessage) error {
	for _, text := range objects {
		var cm struct {
			Kind     string
			Metadata metav1.ObjectMeta
			Data     map[string]string
		}
		if json.Unmarshal(text, &cm) != nil || cm.Kind != "ConfigMap" {
			continue
		}
		if _, ok := cm.Data[kube.ConfigKey]; ok {
			fmt.Fprintf(t.ErrOut, "nothing to migrate: ConfigMap %s/%s is the configuration of MetalLB 0.8 to 0.12, which Invar reads "+
				"as it is; check it with invar validate\n", cm.Metadata.Namespace, cm.Metadata.Name)
			return nil
		}
	}
	return errors.New("no custom resources of MetalLB, and no ConfigMap with a key config either")
}

// configMapManifest returns the manifest of the ConfigMap with a text.
func configMapManifest(namespace, text string) string {
	lines := strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n    ")
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  namespace: %s\n  name: config\ndata:\n  config: |\n    %s\n",
		namespace, lines)
}

// fileResources returns the objects of files.
func (t *tool) fileResources(files []string) ([]json.RawMessage, error) {
	var out []json.RawMessage
	for _, name := range files {
		in := t.In
		if name != "-" {
			f, err := os.Open(name)
			if err != nil {
				return nil, fmt.Errorf("read resources: %w", err)
			}
			defer f.Close()
			in = f
		}
		decoder := utilyaml.NewYAMLOrJSONDecoder(in, 4096)
		for n := 1; ; n++ {
			var object json.RawMessage
			err := decoder.Decode(&object)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("read resources in %s: %w", name, err)
			}
			switch text := bytes.TrimSpace(object); {
			case len(text) == 0 || string(text) == "null":
				n-- // nothing between two separators
			case text[0] != '{':
				return nil, fmt.Errorf("read resources in %s: document %d is no object of Kubernetes", name, n)
			default:
				out = append(out, object)
			}
		}
	}
	return out, nil
}

// clusterResources returns the custom resources of MetalLB in the cluster and the ConfigMap, if there is one.
func (t *tool) clusterResources(ctx context.Context) ([]json.RawMessage, error) {
	client, kinds, err := t.customResources(metallbGroup)
	if err != nil {
		return nil, err
	}
	var out []json.RawMessage
	var namespaces []string
	for _, r := range kinds {
		list, err := client.Resource(r).Namespace(*t.flags.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", r.Resource, err)
		}
		for i := range list.Items {
			text, err := list.Items[i].MarshalJSON()
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", r.Resource, err)
			}
			out = append(out, text)
			namespaces = append(namespaces, list.Items[i].GetNamespace())
		}
	}
	slices.Sort(namespaces)
	if namespaces = slices.Compact(namespaces); len(namespaces) > 1 {
		return nil, fmt.Errorf("MetalLB's resources are in the namespaces %s; say with --namespace which ones count", strings.Join(namespaces, ", "))
	}
	return t.addConfigMap(ctx, client, out)
}

// addConfigMap appends the ConfigMap that Invar reads, if there is one.
func (t *tool) addConfigMap(ctx context.Context, client dynamic.Interface, objects []json.RawMessage) ([]json.RawMessage, error) {
	configMaps := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"})
	cm, err := configMaps.Namespace(t.home).Get(ctx, "config", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return objects, nil
	}
	if err != nil {
		return nil, fmt.Errorf("get ConfigMap %s/config: %w", t.home, err)
	}
	if len(objects) > 0 {
		fmt.Fprintf(t.ErrOut, "ConfigMap %s/config exists; what is printed here would replace it\n", t.home)
	}
	text, err := cm.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("read ConfigMap %s/config: %w", t.home, err)
	}
	return append(objects, text), nil
}

// customResources returns a client for kinds that this tool has no types for, and those that the cluster has of a group.
func (t *tool) customResources(group string) (dynamic.Interface, []schema.GroupVersionResource, error) {
	cfg, err := t.flags.ToRESTConfig()
	if err != nil {
		return nil, nil, fmt.Errorf("find the cluster: %w", err)
	}
	disco, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("create discovery client: %w", err)
	}
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, nil, fmt.Errorf("create dynamic client: %w", err)
	}
	kinds, err := resourcesOf(disco, group)
	return client, kinds, err
}

// resourcesOf returns the kinds of a group that can be listed, each in the version that the API server prefers.
func resourcesOf(client discovery.DiscoveryInterface, group string) ([]schema.GroupVersionResource, error) {
	groups, err := client.ServerGroups()
	if err != nil {
		return nil, fmt.Errorf("ask the API server for its groups: %w", err)
	}
	i := slices.IndexFunc(groups.Groups, func(g metav1.APIGroup) bool { return g.Name == group })
	if i < 0 {
		return nil, nil
	}
	var out []schema.GroupVersionResource
	for _, v := range groups.Groups[i].Versions {
		list, err := client.ServerResourcesForGroupVersion(v.GroupVersion)
		if err != nil {
			return nil, fmt.Errorf("ask the API server for the resources of %s: %w", v.GroupVersion, err)
		}
		for _, r := range list.APIResources {
			known := slices.ContainsFunc(out, func(o schema.GroupVersionResource) bool { return o.Resource == r.Name })
			if !known && !strings.Contains(r.Name, "/") && slices.Contains(r.Verbs, "list") {
				out = append(out, schema.GroupVersionResource{Group: group, Version: v.Version, Resource: r.Name})
			}
		}
	}
	return out, nil
}
