"""Runs the image's root: its size, its commands, and a webhook that it delivers.   image.py ROOT"""

import json
import os
import pathlib
import subprocess
import sys

import processes

# Of the image, uncompressed.
MAX_BYTES = 25_000_000
USER = "65532"

root = pathlib.Path(sys.argv[1]).resolve()
size = sum(file.stat().st_size for file in root.rglob("*") if file.is_file())
binary = (root / "hookferry").stat().st_size
print(f"image: {size / 1e6:.1f} MB, of which the binary is {binary / 1e6:.1f} MB")
assert size < MAX_BYTES, f"over {MAX_BYTES / 1e6:.0f} MB"

# What a container's runtime puts there; names are looked up by these.
for name in ("resolv.conf", "hosts"):
    (root / "etc" / name).write_bytes(pathlib.Path("/etc", name).read_bytes())
os.chmod(root, 0o755)
# As in the task definitions: another user, another root that nobody can write to, no capabilities, no environment but
# the container's. /proc and /dev are the runtime's too; hookferry has to do without them here.
confined = ["unshare", "--mount", "--", "sh", "-ec",
            'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0"'
            ' && exec setpriv --no-new-privs'
            f' chroot --userspec={USER}:{USER} "$0" "$@"', str(root)]


def inside(*arguments, **environment):
    everything = {"PATH": os.environ["PATH"], "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    ended = subprocess.run([*confined, "/hookferry", *arguments], env=everything | environment, text=True,
                           capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
    assert ended.returncode == 0, (arguments, ended)
    return ended.stdout


print(inside("--version").strip())
processes.HOOKFERRY = "/hookferry"
path = {"PATH": os.environ["PATH"]}
port, ops = processes.free_port(), processes.free_port()
endpoint = f"http://localhost:{port}"
with processes.process(["local-queue", "--listen", f"127.0.0.1:{port}", "--queue", "webhooks.fifo", "--dead-letter"],
                       path, confined), processes.receiver("app-secret") as (address, arrived):
    processes.until(lambda: processes.get(f"http://127.0.0.1:{port}"), "the local queue answers")
    settings = path | {
        "QUEUE_SQS_URL": f"{endpoint}/000000000000/webhooks.fifo",
        "QUEUE_SQS_ENDPOINT": endpoint,
        "DEFAULT_APP_WEBHOOKS": json.dumps([{"url": f"{address}/200/"}]),
        "WEBHOOKS_ALLOWED_NETWORKS": "127.0.0.0/8",
        "LOG_FORMAT": "json",
        "METRICS_PORT": str(ops),
    }
    inside("enqueue", "--event", "client_event", **settings)
    with processes.process(["run"], settings, confined) as (worker, lines):
        _, headers, _ = arrived.get(timeout=processes.PATIENCE)
        inside("healthcheck", **settings)
        worker.terminate()
        assert worker.wait(40) == 0, lines
    print(f"delivered as {headers['user-agent']}, and drained")
print("test result: ok. 1 passed; 0 failed")
