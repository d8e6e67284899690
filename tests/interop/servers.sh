#!/usr/bin/env bash
# The app sources and Lambda against real servers: PostgreSQL and MariaDB of Debian's packages, DynamoDB
# and Lambda of ministack.   tests/interop/servers.sh [WORK_DIR [TEST…]]
# Installs what it needs: ministack into WORK_DIR, the databases by apt where they are missing. They run
# on loopback, on free ports, as users without privileges. Their data lies in a directory of its own:
# WORK_DIR may be where those users cannot get to.
# Fails, with 77, where something cannot be had.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
work=${1:-$(mktemp -d)}
shift $(($# > 0 ? 1 : 0))
mkdir -p "$work"
work=$(cd "$work" && pwd)
data=$(mktemp -d)
chmod 711 "$data"
trap 'rm -rf "$data"' EXIT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
postgres_bin() { ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1; }

. "$here/../get.sh"
[ -n "$(postgres_bin)" ] || get_packages postgresql-server:postgresql
get_packages mariadbd:mariadb-server openssl:openssl
[ -x "$work/venv/bin/ministack" ] || {
  python3 -m venv "$work/venv"
  get ministack "$work/venv/bin/pip" install -q --disable-pip-version-check ministack==1.5.33
}

# An authority, and the servers' certificate for 127.0.0.1 by it.
tls=$work/tls
mkdir -p "$tls"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout "$tls/ca.key" -out "$tls/ca.pem" 2>/dev/null
openssl req -newkey rsa:2048 -nodes -subj /CN=server -keyout "$tls/server.key" -out "$tls/server.csr" 2>/dev/null
openssl x509 -req -in "$tls/server.csr" -CA "$tls/ca.pem" -CAkey "$tls/ca.key" -CAcreateserial -days 2 \
  -extfile <(echo subjectAltName=IP:127.0.0.1) -out "$tls/server.pem" 2>/dev/null

# as USER COMMAND…: root hands over to the database's own user, anyone else is it already.
as() {
  local user=$1
  shift
  if [ "$(id -u)" = 0 ]; then runuser -u "$user" -- "$@"; else "$@"; fi
}
# gone PID: waits for the end of a process that may be nobody's child by now.
gone() { while [ -e "/proc/$1" ] && ! grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; do sleep 0.05; done; }
# mine USER PATH: gives a directory of its own with the certificate to a database's user.
mine() {
  rm -rf "$2" && mkdir -p "$2"
  cp "$tls/server.key" "$tls/server.pem" "$2/"
  chmod 600 "$2/server.key"
  if [ "$(id -u)" = 0 ]; then chown -R "$1" "$2"; fi
}

# Each server has a script "SERVER start|stop"; the tests take servers down and up by it.
pg=$data/postgres
mine postgres "$pg"
as postgres "$(postgres_bin)/initdb" -D "$pg/data" -U hookferry --auth=trust --no-sync >"$work/initdb.log"
pg_port=$(free_port)
cat >>"$pg/data/postgresql.conf" <<EOF
listen_addresses = '127.0.0.1'
port = $pg_port
unix_socket_directories = '$pg'
fsync = off
password_encryption = 'scram-sha-256'
ssl = on
ssl_cert_file = '$pg/server.pem'
ssl_key_file = '$pg/server.key'
EOF
# The user encrypted gets in by TLS alone, the user plain without it alone.
cat >"$pg/data/pg_hba.conf" <<EOF
local all all trust
hostssl all encrypted 127.0.0.1/32 scram-sha-256
hostnossl all plain 127.0.0.1/32 scram-sha-256
EOF
declare -f as gone >"$work/functions.sh"
cat >"$work/postgres.sh" <<EOF
#!/usr/bin/env bash
set -euo pipefail
. "$work/functions.sh"
case \$1 in
start) as postgres "$(postgres_bin)/pg_ctl" -D "$pg/data" -l "$pg/log" -w -s start ;;
stop) as postgres "$(postgres_bin)/pg_ctl" -D "$pg/data" -m immediate -w -s stop ;;
esac
EOF

my=$data/mariadb
mine mysql "$my"
my_user=()
if [ "$(id -u)" = 0 ]; then my_user=(--user=mysql); fi
mariadb-install-db --no-defaults "${my_user[@]}" --datadir="$my/data" --auth-root-authentication-method=normal \
  --skip-test-db >"$work/mariadb-install.log" 2>&1
my_port=$(free_port)
cat >"$work/mariadb.sh" <<EOF
#!/usr/bin/env bash
set -euo pipefail
. "$work/functions.sh"
case \$1 in
start)
  mariadbd --no-defaults ${my_user[*]} --datadir="$my/data" --socket="$my/socket" --pid-file="$my/pid" \\
    --bind-address=127.0.0.1 --port=$my_port --skip-name-resolve --innodb-flush-log-at-trx-commit=2 \\
    --ssl-cert="$my/server.pem" --ssl-key="$my/server.key" \${2:-} >>"$my/log" 2>&1 &
  for _ in \$(seq 600); do mariadb-admin --no-defaults --socket="$my/socket" -u root ping >/dev/null 2>&1 && exit 0; sleep 0.1; done
  tail "$my/log" >&2; exit 1 ;;
stop)
  pid=\$(cat "$my/pid")
  kill -KILL "\$pid"
  gone "\$pid"
  rm -f "$my/pid" "$my/socket" ;;
esac
EOF

ms_port=$(free_port)
cat >"$work/ministack.sh" <<EOF
#!/usr/bin/env bash
set -euo pipefail
. "$work/functions.sh"
case \$1 in
start)
  mkdir -p "$work/ministack"
  cd "$work/ministack"
  PERSIST_STATE=1 STATE_DIR="$work/ministack/state" GATEWAY_PORT=$ms_port BIND_HOST=127.0.0.1 \\
    "$work/venv/bin/ministack" >>"$work/ministack.log" 2>&1 &
  echo \$! >"$work/ministack.pid"
  for _ in \$(seq 600); do curl -s -o /dev/null "http://127.0.0.1:$ms_port/" && exit 0; sleep 0.1; done
  tail "$work/ministack.log" >&2; exit 1 ;;
stop)
  # It writes its state down at its end.
  pid=\$(cat "$work/ministack.pid")
  kill -TERM "\$pid"
  gone "\$pid" ;;
esac
EOF

rm -rf "$work/ministack"
servers=(postgres mariadb ministack)
chmod 755 "$work"/{postgres,mariadb,ministack}.sh
trap 'for server in "${servers[@]}"; do "$work/$server.sh" stop >/dev/null 2>&1 || true; done; rm -rf "$data"' EXIT
for server in "${servers[@]}"; do "$work/$server.sh" start; done

as postgres "$(postgres_bin)/psql" -q -h "$pg" -p "$pg_port" -U hookferry postgres <<'EOF'
CREATE ROLE encrypted LOGIN SUPERUSER PASSWORD 'p@ss:word/1';
CREATE ROLE plain LOGIN SUPERUSER PASSWORD 'p@ss:word/1';
CREATE DATABASE main;
EOF
mariadb --no-defaults --socket="$my/socket" -u root <<'EOF'
CREATE DATABASE main;
CREATE USER encrypted@'127.0.0.1' IDENTIFIED BY 'p@ss:word/1' REQUIRE SSL;
CREATE USER plain@'127.0.0.1' IDENTIFIED BY 'p@ss:word/1';
GRANT ALL ON *.* TO encrypted@'127.0.0.1', plain@'127.0.0.1';
EOF

cd "$root"
# One at a time: they take servers down.
HOOKFERRY_TEST_AUTHORITY=$tls/ca.pem \
HOOKFERRY_TEST_POSTGRES=127.0.0.1:$pg_port HOOKFERRY_TEST_POSTGRES_CONTROL=$work/postgres.sh \
HOOKFERRY_TEST_MARIADB=127.0.0.1:$my_port HOOKFERRY_TEST_MARIADB_CONTROL=$work/mariadb.sh \
HOOKFERRY_TEST_AWS=http://127.0.0.1:$ms_port HOOKFERRY_TEST_AWS_CONTROL=$work/ministack.sh \
AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local \
  cargo test --test servers -- --test-threads=1 "$@"
