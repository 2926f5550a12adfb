FROM docker.io/library/postgres:15
COPY . /usr/src/wallet_projection
RUN apt-get update && apt-get install -y --no-install-recommends gcc make libc6-dev libuuid1 uuid-dev postgresql-server-dev-$PG_MAJOR && rm -rf /var/lib/apt/lists/*
RUN make -s -j"$(nproc)" -C /usr/src/wallet_projection install PG_CONFIG=/usr/lib/postgresql/$PG_MAJOR/bin/pg_config
RUN mkdir -p /docker-entrypoint-initdb.d && echo 'CREATE EXTENSION wallet_projection;' >/docker-entrypoint-initdb.d/wallet_projection.sql
CMD ["postgres", "-c", "shared_preload_libraries=wallet_projection"]
