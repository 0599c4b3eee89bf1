# The image of the gate: one binary on a base of libc and CA certificates, without a shell.
#
#     docker build --tag lychgate .        (podman and buildah take the same arguments)
#
# Nothing here names an architecture: `--platform` builds for whatever both base images exist for.
# Both can be replaced by mirrors. A builder image (or a volume) that holds a vendored directory and a
# /.cargo/config.toml that points to it builds without a network; tests/container/run does.
# The first version number is rust-toolchain.toml's.
ARG BUILD_IMAGE=docker.io/library/rust:1.95.0-bookworm
ARG BASE_IMAGE=gcr.io/distroless/cc-debian12:nonroot

FROM ${BUILD_IMAGE} AS build
WORKDIR /src
ARG PROFILE=dist
# Packed relocations (from glibc 2.36 on) are 0.4 MB less to load, in the file and in memory.
ENV RUSTFLAGS="-C link-arg=-Wl,-z,pack-relative-relocs"
# The dependencies change seldom: a layer of their own, built for an empty program.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src && echo 'fn main() {}' >src/main.rs && : >src/lib.rs \
    && cargo build --locked --profile "$PROFILE" --no-default-features --bin lychgate
COPY src src
# cargo goes by the time of a file, and the copied ones are older than the empty program.
# The commit, for --version; without it none is named.
ARG REVISION=
RUN touch src/main.rs src/lib.rs \
    && LYCHGATE_COMMIT="$REVISION" cargo build --locked --profile "$PROFILE" --no-default-features --bin lychgate \
    && cp "target/$PROFILE/lychgate" /lychgate

FROM ${BASE_IMAGE}
ARG VERSION=unknown
ARG REVISION=
LABEL org.opencontainers.image.title="lychgate" \
      org.opencontainers.image.description="A policy-enforcing gateway for deleting Huawei Cloud ModelArts training jobs" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION:-unknown}"
COPY --from=build --chmod=0555 /lychgate /usr/local/bin/lychgate
# A number, so that Kubernetes can see that it is not root. It owns nothing in the image.
USER 65532:65532
EXPOSE 8480 8481
# For container engines; Kubernetes has the probes of the chart.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/usr/local/bin/lychgate", "health"]
ENTRYPOINT ["/usr/local/bin/lychgate"]
CMD ["serve", "--config", "/etc/lychgate/config/lychgate.yaml"]
