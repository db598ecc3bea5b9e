FROM python:3.13-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOST=0.0.0.0 PORT=8000
WORKDIR /app

# docker build --build-arg OTEL=1 adds the export of traces
ARG OTEL=""
COPY requirements.txt requirements-otel.txt ./
RUN pip install --no-cache-dir -r requirements.txt ${OTEL:+-r requirements-otel.txt}

COPY *.py ./
COPY configuration configuration
COPY middleware middleware
COPY pages pages
COPY routers routers
COPY server server
COPY services services

# docker build --build-arg COMMIT=$(git rev-parse --short HEAD)
ARG COMMIT=""
ENV BUILD_COMMIT=$COMMIT

RUN useradd --system --no-create-home service
USER service

EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=3s --start-period=5s \
    CMD ["python", "-c", "import os, sys, http.client as h; c = h.HTTPConnection(os.environ.get('HOST', '').strip(' []') or '127.0.0.1', os.environ.get('PORT') or 8000, timeout=2); c.request('GET', '/health/live'); sys.exit(c.getresponse().status != 200)"]

# SIGTERM lets open streams finish for SHUTDOWN_GRACE seconds: give `docker stop` more than that.
CMD ["python", "main.py"]
