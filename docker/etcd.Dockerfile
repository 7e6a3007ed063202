# SPDX-License-Identifier: Apache-2.0
#
#   docker build -f docker/etcd.Dockerfile -t dmad-etcd .
#
# Debian's etcd, for a fleet. With --build-arg DEBIAN_IMAGE= the same from elsewhere. It keeps its data in
# /var/lib/etcd, as user 1000.
ARG DEBIAN_IMAGE=debian:trixie-slim

FROM ${DEBIAN_IMAGE}
RUN apt-get update \
    && apt-get install --yes --no-install-recommends etcd-server \
    && rm -rf /var/lib/apt/lists/* \
    && install --directory --mode 700 --owner 1000 --group 1000 /var/lib/etcd
USER 1000:1000
CMD ["etcd"]
