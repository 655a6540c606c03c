# The Label Studio backend. Weights are kept in /data: mount a volume there.
FROM python:3.12-slim

RUN useradd --create-home maskbridge && mkdir /data && chown maskbridge /data
WORKDIR /app
COPY . .
RUN pip install --no-cache-dir ".[labelstudio,train]"

USER maskbridge
ENV MASKBRIDGE_HOST=0.0.0.0 MASKBRIDGE_HOME=/data PYTHONUNBUFFERED=1
VOLUME /data
EXPOSE 9090
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ.get(\"MASKBRIDGE_PORT\", 9090)}/health', timeout=2)"]
STOPSIGNAL SIGTERM
CMD ["maskbridge", "serve"]
