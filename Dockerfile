# segwatch's images, from one file; docs/containers.md says how each is run.
#
#   docker build -t segwatch .                            everything: coordinator, commands, agent
#   docker build -t segwatch-agent --target agent .       an agent and its commands alone
#   docker build -t segwatch --build-arg BASE=registry.example/python:3.11-slim .
#
# BASE is any Debian (or derivative) with Python 3.11 or later and its venv. Where no index is reached, put wheels into
# wheels/ (pip download -r requirements.lock -r requirements.build.lock -d wheels --only-binary :all:): nothing else is
# asked for then, and they do for both images. What an agent's image does not need stands behind it: a builder that makes
# every stage up to its target makes no more than that.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
COPY . .
# Dependencies by their hashes; segwatch itself from this directory, by a build tool that stays behind.
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python3 -m venv /opt/segwatch && python3 -m venv /tmp/tool \
 && if [ -n "$(ls wheels 2>/dev/null)" ]; then printf '[install]\nno-index = true\nfind-links = /src/wheels\n' >/etc/pip.conf; fi \
 && /opt/segwatch/bin/pip install --no-compile --only-binary :all: --require-hashes -r requirements.agent.lock \
 && /tmp/tool/bin/pip install --no-compile --require-hashes -r requirements.build.lock \
 && /tmp/tool/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/made . \
 && /opt/segwatch/bin/pip install --no-compile --no-index --no-deps /tmp/made/*.whl
COPY deploy/container/segwatch-start deploy/container/segwatch-health /opt/segwatch/bin/
RUN chmod 0755 /opt/segwatch/bin/segwatch-start /opt/segwatch/bin/segwatch-health

FROM build AS agent-parts
RUN /opt/segwatch/bin/python -m compileall -q /opt/segwatch/lib && /opt/segwatch/bin/pip uninstall -q -y pip setuptools

FROM ${BASE} AS host
LABEL org.opencontainers.image.title="segwatch" \
      org.opencontainers.image.description="Proves that environments are sealed from each other: a green cell is proof, silence is inconclusive." \
      org.opencontainers.image.licenses="Apache-2.0"
# A user of its own, and no program that makes anybody more than he is.
RUN groupadd --gid 10001 segwatch && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/segwatch --shell /usr/sbin/nologin segwatch \
 && install -d -m 0700 -o segwatch -g segwatch /var/lib/segwatch /etc/segwatch /etc/segwatch/pki \
 && find / -xdev -type f -perm /6000 -exec chmod a-s {} +
# Who is not root gets no capability from the runtime: this one program takes CAP_NET_RAW where the container has it, and
# hands it on as an ambient one, as systemd does. A set of capabilities is 20 bytes (linux/capability.h): version 2, permitted.
RUN install -d /opt/segwatch/bin \
 && install -m 0750 -g segwatch /usr/bin/setpriv /opt/segwatch/bin/segwatch-raw \
 && python3 -c "import os, struct; os.setxattr('/opt/segwatch/bin/segwatch-raw', 'security.capability', struct.pack('<5I', 0x02000000, 1 << 13, 0, 0, 0))"
ENV PATH=/opt/segwatch/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /var/lib/segwatch
VOLUME ["/var/lib/segwatch"]
HEALTHCHECK --interval=60s --timeout=20s --start-period=30s --retries=3 CMD ["segwatch-health"]
ENTRYPOINT ["segwatch-start"]
CMD ["--help"]

FROM host AS agent
COPY --from=agent-parts /opt/segwatch /opt/segwatch

FROM build AS all-parts
RUN /opt/segwatch/bin/pip install --no-compile --only-binary :all: --require-hashes -r requirements.lock \
 && /opt/segwatch/bin/python -m compileall -q /opt/segwatch/lib && /opt/segwatch/bin/pip uninstall -q -y pip setuptools

FROM host AS all
COPY --from=all-parts /opt/segwatch /opt/segwatch
