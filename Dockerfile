# The image of every pod of the chart: head, gateways, workers. Built for the GPU of `docker build`'s platform, with a
# driver of the CUDA 13 family (580 or later) on the nodes. Weights are no part of it: they are mounted or fetched.

# --- what is installed, in an environment of its own

FROM nvidia/cuda:13.0.2-base-ubuntu24.04 AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3.12 python3.12-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
RUN python3.12 -m venv /opt/longlive

# Dependencies first, as they change less often: the versions that the tests have passed with.
COPY pyproject.toml constraints.txt ./
RUN /opt/longlive/bin/python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; print(*p["dependencies"], *p["optional-dependencies"]["s3"], *p["optional-dependencies"]["gpu"], *p["optional-dependencies"]["otlp"], sep="\n")' >requirements.txt \
    && /opt/longlive/bin/python -m pip install --no-cache-dir -c constraints.txt -r requirements.txt

COPY README.md LICENSE ./
COPY wire wire
COPY models models
COPY wan wan
COPY longlive longlive
COPY cluster cluster
COPY gateway gateway
COPY cli cli
RUN /opt/longlive/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation .

# --- a list of what is in it

FROM build AS sbom
RUN python3.12 -m venv /opt/sbom \
    && /opt/sbom/bin/python -m pip install --no-cache-dir cyclonedx-bom==7.5.0 \
    && /opt/sbom/bin/cyclonedx-py environment --pyproject pyproject.toml --output-file /sbom.json /opt/longlive/bin/python

# --- the image

FROM nvidia/cuda:13.0.2-base-ubuntu24.04
LABEL org.opencontainers.image.title="longlive-cluster" \
    org.opencontainers.image.licenses="Apache-2.0"
# The compiler and Python's headers are for kernels, which are compiled where they run.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates g++ python3.12 python3.12-dev \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home longlive \
    && echo "export PATH=/opt/longlive/bin:\$PATH" >/etc/profile.d/longlive.sh
COPY --from=build /opt/longlive /opt/longlive
COPY --from=sbom /sbom.json /usr/share/longlive-cluster/sbom.json
# The load test, which the chart can run: no part of the package, started in its folder.
COPY benchmarks /opt/longlive-load/benchmarks
COPY tests/support /opt/longlive-load/tests/support
ENV PATH=/opt/longlive/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RAY_worker_niceness=0 \
    RAY_USAGE_STATS_ENABLED=0
USER 10001:10001
WORKDIR /home/longlive
EXPOSE 8080
CMD ["longlive-cluster", "serve"]
