# syntax=docker/dockerfile:1
# `make image` makes the same image without a Docker engine.
FROM --platform=$BUILDPLATFORM golang:1.26.8 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY hack/tools hack/tools
COPY cmd cmd
COPY pkg pkg
ARG VERSION=v0.1.0
ARG TARGETOS=linux
ARG TARGETARCH
RUN mkdir /out && CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -buildvcs=false -trimpath \
    -ldflags "-s -w -X github.com/invar-lb/invar/pkg/daemon.Version=$VERSION" -o /out/ ./cmd/controller ./cmd/speaker
COPY LICENSE /out/
RUN go run -C hack/tools ./licences -dir /src -texts /out/THIRD_PARTY.txt

FROM scratch
ARG VERSION=v0.1.0
LABEL org.opencontainers.image.title="invar"
LABEL org.opencontainers.image.description="A Layer 2 load balancer for bare-metal Kubernetes"
LABEL org.opencontainers.image.source="https://github.com/invar-lb/invar"
LABEL org.opencontainers.image.licenses="Apache-2.0"
LABEL org.opencontainers.image.version="$VERSION"
COPY --from=build /out/ /
# The controller needs no more; the speaker's manifest asks for root, which alone gets NET_RAW.
USER 65534:65534
