# GPU training image of acl-tf. CUDA comes with TensorFlow's wheels; the host needs the NVIDIA driver and container toolkit.
# docs/docker.md says how to build and run it.
ARG PYTHON=python:3.12-slim-bookworm

FROM ${PYTHON} AS base
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONDONTWRITEBYTECODE=1

# The dependencies make a layer of their own (some 6 GB), which changes with setup.cfg only.
FROM base AS dependencies
WORKDIR /build
COPY setup.cfg ./
RUN python -c "from configparser import ConfigParser as C; c = C(); c.read('setup.cfg'); \
        print(c['options']['install_requires'], c['options.extras_require']['gpu'])" > requirements.txt \
    && python -m venv /opt/acl-tf
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/acl-tf/bin/pip install --requirement requirements.txt

FROM base AS wheel
WORKDIR /build
COPY . .
RUN --mount=type=cache,target=/root/.cache/pip \
    pip wheel --no-deps --wheel-dir /wheels .

FROM base AS runtime
ARG VERSION=0.2.0.dev0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="acl-tf" \
      org.opencontainers.image.description="Adversarial contrastive pre-training of robust image encoders" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

COPY --from=dependencies /opt/acl-tf /opt/acl-tf
RUN --mount=type=bind,from=wheel,source=/wheels,target=/wheels \
    /opt/acl-tf/bin/pip install --no-cache-dir --no-deps /wheels/*.whl

# /data: TFDS data sets. /work: run folders; mount both, or the work is gone with the container.
RUN useradd --create-home --uid 1000 --user-group acl \
    && install --directory --owner=acl --group=acl /data /work
ENV PATH=/opt/acl-tf/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TFDS_DATA_DIR=/data \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 1000:1000
WORKDIR /work
VOLUME ["/data", "/work"]
ENTRYPOINT ["acl-tf"]
CMD ["--help"]
