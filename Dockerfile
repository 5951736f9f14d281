# syntax=docker/dockerfile:1

# The pages. Built on the builder's own platform: the result is the same everywhere.
FROM --platform=$BUILDPLATFORM node:22-bookworm-slim AS ui
WORKDIR /src/web/ui
COPY web/ui/package.json web/ui/package-lock.json web/ui/.npmrc ./
RUN --mount=type=cache,target=/root/.npm npm ci --no-audit --no-fund
COPY web/ui ./
RUN npm run build

# The program, cross-compiled: without cgo it needs no emulation.
FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
COPY --from=ui /src/web/ui/dist web/ui/dist
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
ARG COMMIT=
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION -X main.commit=$COMMIT" \
    -o /out/onsale ./cmd/onsale

# Nothing but the program, certificates and time zones: no shell, no package manager.
FROM gcr.io/distroless/static-debian12:nonroot
LABEL org.opencontainers.image.title="onsale" \
      org.opencontainers.image.description="Waiting room, seat holds and checkout for the minute when tickets go on sale" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/onsale /usr/local/bin/onsale
ENV ONSALE_ADDR=:8080 \
    ONSALE_LOG_FORMAT=json
EXPOSE 8080
USER 65532:65532
# Liveness of the process; whether its servers are reachable is /readyz.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/usr/local/bin/onsale", "health"]
ENTRYPOINT ["/usr/local/bin/onsale"]
CMD ["serve"]
