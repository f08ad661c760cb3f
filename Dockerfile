# The gear's image: no network at run time, no key. Tag it with the version in manifest.json.
#   docker build -t hndeface:0.1.0 .                                                    the default chain, on the CPU
#   docker build -t hndeface:0.1.0-gpu --build-arg NETWORKS="head_glands_cavities craniofacial_structures" .
#                                                                                       with TotalSegmentator on torch, and its weights
# To freeze the base as well, name it by digest: --build-arg BASE=python@sha256:...
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
# Tasks of TotalSegmentator, by blanks; none for the default image. Weights come first: without them the build ends here, in words.
ARG NETWORKS=""
ARG WEIGHTS_SOURCE=""
COPY scripts/fetch_weights /tmp/
RUN mkdir -p /opt/totalsegmentator/nnunet/results \
    && if [ -n "$NETWORKS" ]; then python /tmp/fetch_weights /opt/totalsegmentator/nnunet/results $NETWORKS; fi
RUN python -m venv /opt/venv
COPY requirements.lock requirements-networks.txt requirements-networks.lock /tmp/
RUN /opt/venv/bin/python -m pip install --no-deps --no-compile -r /tmp/requirements.lock
# torch names the CUDA libraries of its build exactly; everything else comes from the lock
RUN if [ -n "$NETWORKS" ]; then \
      /opt/venv/bin/python -m pip install --no-compile -c /tmp/requirements.lock -c /tmp/requirements-networks.lock -r /tmp/requirements-networks.txt; fi
COPY pyproject.toml README.md LICENSE /src/
COPY fw_gear_hndeface /src/fw_gear_hndeface
# rfc3987 is GPL and wanted only by a part of the toolkit that no job calls; torch's own tests hold words of later Pythons
RUN /opt/venv/bin/python -m pip install --no-deps --no-compile /src \
    && /opt/venv/bin/python -m pip uninstall --yes --quiet pip rfc3987 $(if [ -z "$NETWORKS" ]; then echo setuptools; fi) \
    && find /opt/venv -type d \( -name tests -o -name __pycache__ \) -not -path '*/torch/*' -prune -exec rm -rf {} + \
    && python -m compileall -q -j 0 -x torch/testing/_internal --invalidation-mode unchecked-hash /opt/venv

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG NETWORKS=""
LABEL org.opencontainers.image.title="hndeface" \
      org.opencontainers.image.description="Defaces head-and-neck CT and leaves the medicine untouched" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      hndeface.networks="${NETWORKS}"
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/totalsegmentator /opt/totalsegmentator
COPY run.py manifest.json LICENSE sbom.cdx.json docs/licences.md /flywheel/v0/
# The platform passes on none of these: its manifest has them again. They are for `docker run` on a laptop.
ENV FLYWHEEL=/flywheel/v0 HOME=/tmp PATH=/opt/venv/bin:$PATH LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    TOTALSEG_HOME_DIR=/opt/totalsegmentator
RUN mkdir -p /flywheel/v0/input /flywheel/v0/output /flywheel/v0/work \
    && chmod 1777 /flywheel/v0/output /flywheel/v0/work \
    && hndeface --version
WORKDIR /flywheel/v0
CMD ["python", "/flywheel/v0/run.py"]
