# SPDX-License-Identifier: Apache-2.0
#
# One static binary and nothing else. From the sources, or with `--target prebuilt` from binaries that `make build` made:
#
#   docker build --build-arg REVISION="$(git rev-parse --short=12 HEAD)" --tag flowgauge:0.1.0 .
#
#   mkdir -p dist && cp target/x86_64-unknown-linux-gnu/release/flowgauge dist/flowgauge-amd64
#   docker build --target prebuilt --tag flowgauge:0.1.0 .
#
# For several architectures: one binary of each in dist (flowgauge-amd64, flowgauge-arm64; `make build` on a machine of each), then
#
#   docker buildx build --platform linux/amd64,linux/arm64 --target prebuilt --tag REGISTRY/flowgauge:0.1.0 --push .
#
# which runs nothing and so needs no emulation. Without --target, buildx compiles below qemu-user, which takes long. arm64 is
# prepared for, not tested.

ARG RUST=1.95
FROM rust:${RUST}-bookworm AS build
WORKDIR /src
COPY packages packages
RUN packages/install.sh packages/build.txt
COPY . .
# The sources come without .git, which else tells.
ARG REVISION=unknown
ENV FLOWGAUGE_REVISION=$REVISION
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    make build && cp "target/$(rustc -vV | sed -n 's/^host: //p')/release/flowgauge" /flowgauge && /flowgauge --version

FROM scratch AS prebuilt
ARG TARGETARCH
COPY --chmod=0755 dist/flowgauge-${TARGETARCH} /flowgauge
ENTRYPOINT ["/flowgauge"]

# The kubelet gives added capabilities to user 0 only, so that no other is set here.
FROM scratch
COPY --from=build /flowgauge /flowgauge
ENTRYPOINT ["/flowgauge"]
