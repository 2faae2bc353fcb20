# Postern alone in an image: a static program, no shell, no libc, no user database; uid 65532.
#
#   docker build -t postern .          (or podman, or buildah)
#   docker run --read-only --cap-drop all -p 5432:5432 \
#       -v ./certs:/etc/postern:ro -v /var/run/postgresql:/var/run/postgresql postern
#
# It serves /etc/postern/postern.yaml. The key must be readable by uid 65532 and by nobody else, and names of users are unknown in
# the image: write `require_peer` as a number. Other commands follow the image's name: `docker run --rm postern --version`.
#
# Where no image registry can be reached, Debian makes the builder. As root, with Rust and this repository at hand:
#
#   apt-get install buildah debootstrap
#   debootstrap --variant=minbase --include=gcc,libc6-dev,make bookworm /var/tmp/builder
#   container="$(buildah from scratch)"
#   buildah add "$container" /var/tmp/builder / && buildah commit --rm "$container" localhost/builder
#   cargo fetch --locked
#   unshare --net buildah build --isolation chroot --build-arg BUILDER=localhost/builder --tag postern \
#       --volume "$(rustc --print sysroot):/usr/local/rust:ro" --volume "${CARGO_HOME:-$HOME/.cargo}/registry:/usr/local/cargo/registry" .
#
# and, where not even containers can be started, this runs it as its user, with the files of the first lines:
#
#   buildah run --isolation chroot --user 65532:65532 --volume "$PWD/certs:/etc/postern:ro" \
#       --volume /var/run/postgresql:/var/run/postgresql "$(buildah from localhost/postern)" -- /postern serve

ARG BUILDER=docker.io/library/rust:1-bookworm

FROM ${BUILDER} AS build
ENV PATH=/usr/local/rust/bin:/usr/local/cargo/bin:/usr/sbin:/usr/bin:/sbin:/bin CARGO_HOME=/usr/local/cargo
WORKDIR /src
COPY . .
# glibc, statically: the one thing of it that could look for files at run time is the user database, which is not there.
# The target is named although it is the machine's own, so that the flags do not reach macros and build scripts.
RUN target="$(rustc -vV | sed -n 's/^host: //p')" \
    && RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --target "$target" --bin postern \
    && cp "target/$target/release/postern" /postern

FROM scratch
COPY --from=build /postern /postern
USER 65532:65532
EXPOSE 5432
ENTRYPOINT ["/postern"]
CMD ["serve"]
