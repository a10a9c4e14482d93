# A small image of fanjet: one static binary, the certificates of public
# authorities, and a user who is not root.
#
#   docker build -t fanjet --build-arg VERSION=$(git describe --tags --always) .
#   docker run --network host -v ./fanjet.yaml:/etc/fanjet/fanjet.yaml:ro -v fanjet:/data fanjet
#
# The user 65532 must be able to read the file: `chmod a+r fanjet.yaml`. With the network
# of the host, producers on this machine reach the embedded NATS server; for others,
# see "Docker" in docs/getting-started.md.

ARG GO_VERSION=1.26.10
FROM golang:${GO_VERSION} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/fanjet ./cmd/fanjet
RUN mkdir /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/fanjet /usr/local/bin/fanjet
# The streams of the embedded NATS server: a relative store_dir is in here, since nothing
# can be written beside the configuration.
COPY --from=build --chown=65532:65532 /out/data /data
ENV FANJET_DATA_DIR=/data
USER 65532:65532
WORKDIR /data
VOLUME /data
ENTRYPOINT ["/usr/local/bin/fanjet"]
CMD ["serve", "--config", "/etc/fanjet/fanjet.yaml"]
