# SPDX-License-Identifier: Apache-2.0
# docker build -t dt2it .            docker run --rm dt2it doctor
# docker run --rm -p 8000:8000 -v $PWD/MODEL:/model:ro dt2it serve --model /model --host 0.0.0.0
# With CUDA: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 --build-arg TORCH=torch==2.13.0, and docker run --gpus all.
FROM debian:bookworm AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG TORCH=torch==2.13.0+cpu
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates git npm python3 python3-venv && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/torch && /opt/torch/bin/pip install --no-cache-dir --no-compile "$TORCH" --index-url "$TORCH_INDEX"
COPY . /src
WORKDIR /src
RUN export LIBTORCH_ROOT=$(ls -d /opt/torch/lib/python3*/site-packages/torch) && ./dev setup && ./dev build release && \
    cmake --install build/release --prefix /opt/dt2it && \
    find /opt/dt2it -name '*.so*' -o -path '*/bin/*' -type f | xargs ldd 2>/dev/null | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p' | sort -u | \
      xargs -n1 readlink -f | xargs -n1 dpkg -S 2>/dev/null | cut -d: -f1 | sort -u >/opt/dt2it/packages

FROM debian:bookworm-slim
COPY --from=build /opt/dt2it /opt/dt2it
RUN apt-get update && xargs -a /opt/dt2it/packages apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home dt2it && mkdir /work && chown dt2it /work
USER dt2it
WORKDIR /work
ENV PATH=/opt/dt2it/bin:$PATH
EXPOSE 8000
ENTRYPOINT ["dt2it"]
CMD ["--help"]
