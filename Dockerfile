# The Python of the tests: the first in the matrix of .github/workflows/ci.yml.
FROM python:3.13-slim-bookworm

# tini as PID 1 passes on signals from the first instant. The kernel drops a SIGTERM for a PID 1 that has no handler
# yet, as Python has none while it starts.
RUN apt-get update && apt-get install -y --no-install-recommends tini && rm -rf /var/lib/apt/lists/*

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOST=0.0.0.0 PORT=8000
WORKDIR /app

# docker build --build-arg OTEL=1 adds the export of traces
ARG OTEL=""
# Exact versions and hashes of all packages, also of those that requirements.txt leads to: `make lock`.
COPY requirements.lock requirements-otel.lock ./
RUN pip install --no-cache-dir --require-hashes --only-binary :all: -r requirements${OTEL:+-otel}.lock

COPY *.py ./
COPY configuration configuration
COPY middleware middleware
COPY pages pages
COPY routers routers
COPY server server
COPY services services
# Compiled here, as the file system may be read-only; readable for any user, whatever the umask of the checkout.
RUN python -m compileall -q . && chmod -R a+rX .

# docker build --build-arg VERSION=0.1.0 --build-arg COMMIT=$(git rev-parse --short HEAD)
ARG VERSION=""
ARG COMMIT=""
ENV BUILD_COMMIT=$COMMIT
LABEL org.opencontainers.image.title="ollama-service" \
    org.opencontainers.image.version=$VERSION \
    org.opencontainers.image.revision=$COMMIT

# A number, so that Kubernetes can tell that it is not root. Any other works too: nothing is written but to /tmp, and
# that only with WEB_CONCURRENCY above 1.
USER 10001:0

EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=3s --start-period=5s \
    CMD ["python", "-c", "import os, sys, http.client as h; c = h.HTTPConnection(os.environ.get('HOST', '').strip(' []') or '127.0.0.1', os.environ.get('PORT') or 8000, timeout=2); c.request('GET', '/health/live'); sys.exit(c.getresponse().status != 200)"]

# SIGTERM lets open streams finish for SHUTDOWN_DELAY and SHUTDOWN_GRACE seconds: give `docker stop -t` more than both.
ENTRYPOINT ["tini", "--"]
CMD ["python", "main.py"]
