# The hosts of the compose test and the router between them: what a Debian host has, and which route it takes.
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}
RUN for need in nft ip redis-server nginx openssl; do command -v $need >/dev/null || missing=1; done; \
    if [ -n "${missing:-}" ]; then \
      apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        nftables iproute2 redis-server nginx-light openssl && rm -rf /var/lib/apt/lists/*; \
    fi
COPY host router close-leak declared.nft leak.nft /estate/
ENV PATH=/estate:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
