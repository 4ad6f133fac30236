// Mkimage writes a container image as a docker-archive tar without a Docker engine, from files that are already built.
//
// The image has one layer that holds the given files and their parent directories, owned by root. All times are the
// Unix epoch and entries are sorted, so equal input gives an equal tar, byte for byte. The result is what
// `docker load`, `ctr images import` and `skopeo copy docker-archive:` take. From another folder of the repository:
//
//	go run -C hack/tools ./mkimage -tag example/app:v1 -o /tmp/app.tar -entrypoint /app bin/app:/app
//
// A relative host path is relative to the caller's directory, also under `go run -C`, which changes the working
// directory but leaves $PWD alone; -dir overrides that.
package main
