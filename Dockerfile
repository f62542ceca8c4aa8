# syntax=docker/dockerfile:1
# Two stages: the first installs into a virtual environment, the second takes it along without pip's leftovers.

FROM python:3.12-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/smdp-flex
COPY requirements.txt .
RUN /opt/smdp-flex/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.txt
COPY . .
RUN /opt/smdp-flex/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps .

FROM python:3.12-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /var/lib/smdp-flex --create-home smdp
COPY --from=build /opt/smdp-flex /opt/smdp-flex
ENV PATH=/opt/smdp-flex/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SMDP_FLEX_DATA_DIR=/var/lib/smdp-flex \
    SMDP_FLEX_ES9_HOST=0.0.0.0 \
    SMDP_FLEX_ES2_HOST=0.0.0.0 \
    SMDP_FLEX_EIM_HOST=0.0.0.0 \
    SMDP_FLEX_API_HOST=0.0.0.0 \
    SMDP_FLEX_OPS_HOST=0.0.0.0
USER smdp
WORKDIR /var/lib/smdp-flex
VOLUME /var/lib/smdp-flex
EXPOSE 8443 8444 8445 8446 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9464/healthz', timeout=2)"]
ENTRYPOINT ["smdp"]
CMD ["serve"]
