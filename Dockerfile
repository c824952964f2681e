# rvos-fusion with the environments of all programs. docs/docker.md says how to build and run it.
#
#   docker build -t rvos-fusion .                                                                # NVIDIA GPUs
#   docker build -t rvos-fusion --build-arg BASE=debian:trixie-slim --build-arg KERNELS=cpu .    # processors only
ARG BASE=nvidia/cuda:13.0.2-base-ubuntu24.04
FROM ghcr.io/astral-sh/uv:0.13.9 AS uv

FROM ${BASE}
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
COPY --from=uv /uv /usr/local/bin/

# The fonts are for expressions in overlays; g++ builds the kernels of msda-ops.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates fonts-dejavu-core g++ \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home --uid 10001 rvos \
    && install --directory --owner=10001 /opt/rvos-fusion /weights /runs
USER 10001
WORKDIR /opt/rvos-fusion
COPY --chown=10001 . .

# `cuda` compiles kernels for all GPUs, which takes some ten minutes; `cpu` leaves them out.
ARG KERNELS=cuda
ENV MSDA_OPS_BUILD=${KERNELS} \
    RVOS_WEIGHTS=/weights \
    UV_COMPILE_BYTECODE=1 \
    UV_FROZEN=1
RUN uv sync --no-dev \
    && for package in aot_deaot cutie grounded_sam2 mutr referformer rvos_synthetic soc uninext; do \
        UV_PROJECT_ENVIRONMENT=".venvs/${package}" uv sync --no-default-groups --package "$(echo "${package}" | tr _ -)" || exit 1; \
    done \
    && uv cache clean

VOLUME ["/weights", "/runs"]
WORKDIR /runs
ENTRYPOINT ["uv", "run", "--project", "/opt/rvos-fusion", "--no-sync", "fusion-core"]
CMD ["--help"]
