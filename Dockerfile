# The gear's image: CPU only, no network at run time, no key. Tag it with the version in manifest.json.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
RUN python -m venv /opt/venv
COPY requirements.lock /tmp/
RUN /opt/venv/bin/python -m pip install --no-deps --no-compile -r /tmp/requirements.lock
COPY pyproject.toml README.md LICENSE /src/
COPY fw_gear_hndeface /src/fw_gear_hndeface
RUN /opt/venv/bin/python -m pip install --no-deps --no-compile /src \
    && /opt/venv/bin/python -m pip uninstall --yes --quiet pip setuptools \
    && find /opt/venv -type d \( -name tests -o -name __pycache__ \) -prune -exec rm -rf {} + \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="hndeface" \
      org.opencontainers.image.description="Defaces head-and-neck CT and leaves the medicine untouched" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/venv /opt/venv
COPY run.py manifest.json LICENSE /flywheel/v0/
# The platform passes on none of these: its manifest has them again. They are for `docker run` on a laptop.
ENV FLYWHEEL=/flywheel/v0 PATH=/opt/venv/bin:$PATH LANG=C.UTF-8 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN mkdir -p /flywheel/v0/input /flywheel/v0/output /flywheel/v0/work \
    && chmod 1777 /flywheel/v0/output /flywheel/v0/work \
    && hndeface --version
WORKDIR /flywheel/v0
CMD ["python", "/flywheel/v0/run.py"]
