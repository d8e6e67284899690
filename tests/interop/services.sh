# Sourced by the suites here: ports, and services in the background that end with the suite.
. "$(dirname "${BASH_SOURCE[0]}")/../get.sh"
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait' EXIT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

wait_for() {
  for _ in $(seq 300); do
    if curl -s -o /dev/null "$1"; then return; fi
    sleep 0.1
  done
  echo "nothing answers at $1" >&2
  return 1
}

# start_local_queue HOOKFERRY   sets local_queue to its endpoint
start_local_queue() {
  local port
  port=$(free_port)
  "$1" local-queue --listen "127.0.0.1:$port" >/dev/null &
  pids+=($!)
  local_queue=http://127.0.0.1:$port
  wait_for "$local_queue/"
}

# start_ministack WORK_DIR   installs and starts it, and sets ministack to its endpoint
start_ministack() {
  local port
  # An environment of its own: it needs an older botocore than AWS' SDK of today.
  python3 -m venv "$1/ministack"
  get ministack "$1/ministack/bin/pip" install -q --disable-pip-version-check ministack==1.5.33
  port=$(free_port)
  GATEWAY_PORT=$port BIND_HOST=127.0.0.1 "$1/ministack/bin/ministack" >"$1/ministack.log" 2>&1 &
  pids+=($!)
  ministack=http://127.0.0.1:$port
  wait_for "$ministack/"
}
