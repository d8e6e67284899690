// Forty destinations of forty apps on loopback addresses of their own, a local queue and one worker.

import { spawn } from "node:child_process";
import { createHmac, createHash } from "node:crypto";
import { mkdtempSync, writeFileSync } from "node:fs";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

export const APPS = 40;
export const HOSTILE = `<img src=x onerror="document.title='taken'">`;
export const LONG = "0f8fad5bd9cb469f".repeat(12);
/** Marks upon a letter, higher than some rows. */
export const STACKED = `a${"\u0301".repeat(60)}`;
/** What a warning names, without a place to break it. */
export const MEMBER = "a_member_of_a_webhook_that_nobody_knows_".repeat(2);
const SECRET = "page-secret";

export class World {
  answers = new Map();
  children = [];
  sent = 0;

  static async start() {
    const world = new World();
    world.receiver = http.createServer((request, response) => {
      request.resume();
      request.on("end", () => (world.answers.get(request.url) ?? ((r) => r.writeHead(200).end()))(response));
    });
    await new Promise((resolve) => world.receiver.listen(0, "0.0.0.0", resolve));
    const port = world.receiver.address().port;
    const apps = Array.from({ length: APPS }, (_, n) => ({
      id: world.app(n), key: `key-${n}`, secret: SECRET,
      webhooks: [{ url: `http://127.0.1.${n + 1}:${port}/${n}?token=never-shown`, ...(n === 6 && { [MEMBER]: 1 }) }],
    }));
    const file = join(mkdtempSync(join(tmpdir(), "page-")), "apps.json");
    writeFileSync(file, JSON.stringify(apps));
    const queue = world.spawn(["local-queue", "--listen", "127.0.0.1:0", "--queue", "webhooks.fifo", "--dead-letter"], {});
    const url = await line(queue, /(http:\S+webhooks\.fifo)/);
    world.environment = {
      QUEUE_SQS_URL: url, QUEUE_SQS_ENDPOINT: new URL(url).origin, QUEUE_SQS_WAIT_TIME_SECONDS: "1",
      AWS_ACCESS_KEY_ID: "local", AWS_SECRET_ACCESS_KEY: "local", APPS_FILE: file,
      WEBHOOKS_ALLOWED_NETWORKS: "127.0.0.0/8", WEBHOOKS_TIMEOUT_MS: "2000", WEBHOOKS_RETRY_MAX_MS: "6000",
      WEBHOOKS_RETRY_WINDOW_SECONDS: "60", DEFAULT_APP_ID: "first", DEFAULT_APP_KEY: "first", DEFAULT_APP_SECRET: SECRET,
    };
    const free = http.createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => free.once("listening", resolve));
    const ops = free.address().port;
    await new Promise((resolve) => free.close(resolve));
    world.worker = world.spawn(["run"], { ...world.environment, METRICS_PORT: String(ops), LOG_LEVEL: "error" });
    world.page = `http://127.0.0.1:${ops}/`;
    await until(async () => (await fetch(`${world.page}readyz`)).ok, "the worker is ready");
    return world;
  }

  /** The page as a proxy shows it below a path; once `astray`, everything there answers 404. */
  async prefixed() {
    this.proxy = http.createServer(async (request, response) => {
      const path = /^\/ops\/(.*)$/.exec(request.url)?.[1];
      if (path === undefined || this.astray) return void response.writeHead(404).end();
      const answer = await fetch(this.page + path);
      response.writeHead(answer.status, { "content-type": answer.headers.get("content-type") }).end(await answer.text());
    });
    await new Promise((resolve) => this.proxy.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${this.proxy.address().port}/ops/`;
  }

  app(n) {
    return n === 5 ? HOSTILE : n === 6 ? LONG : n === 8 ? STACKED : `tenant-${String(n).padStart(2, "0")}`;
  }

  /** How app `n`'s endpoint answers: a status, "hang", or a delay in ms before 200. */
  answer(n, how) {
    this.answers.set(`/${n}?token=never-shown`, (response) => {
      if (how === "hang") return;
      if (typeof how === "object") return void setTimeout(() => response.writeHead(200).end(), how.after);
      response.writeHead(how).end();
    });
  }

  heal(n) {
    this.answers.delete(`/${n}?token=never-shown`);
  }

  /** One job of each of these apps, `rounds` times, in order. */
  async send(apps, rounds) {
    const enqueue = this.spawn(["enqueue"], this.environment, "pipe");
    const ended = new Promise((resolve, reject) => enqueue.on("exit", (code) => code === 0 ? resolve() : reject(new Error(`enqueue: ${code}`))));
    enqueue.stdout.resume();
    for (let round = 0; round < rounds; round++) {
      for (const n of apps) {
        const payload = JSON.stringify({ time_ms: Date.now(), events: [{ name: "client_event", channel: "private-a", n: this.sent++ }] });
        const signature = createHmac("sha256", SECRET).update(payload).digest("hex");
        const body = `{"appKey":"key-${n}","appId":${JSON.stringify(this.app(n))},"payload":${payload},"originalPusherSignature":"${signature}"}`;
        const dedup = createHash("sha256").update(body).digest("hex");
        const group = n === 5 || n === 6 || n === 8 ? `odd-${n}_client_event_webhooks` : `${this.app(n)}_client_event_webhooks`;
        enqueue.stdin.write(JSON.stringify({ group, dedup, body }) + "\n");
      }
    }
    enqueue.stdin.end();
    await ended;
  }

  spawn(args, environment, stdin = "ignore") {
    const env = { PATH: process.env.PATH, ...environment };
    const child = spawn(process.env.HOOKFERRY, args, { env, stdio: [stdin, "pipe", "inherit"] });
    this.children.push(child);
    return child;
  }

  async end() {
    for (const child of this.children) child.kill("SIGKILL");
    this.proxy?.closeAllConnections();
    this.proxy?.close();
    this.receiver.closeAllConnections();
    await new Promise((resolve) => this.receiver.close(resolve));
  }
}

export async function until(condition, what, seconds = 60) {
  const end = Date.now() + seconds * 1000;
  let last;
  while (Date.now() < end) {
    try {
      if (await condition()) return;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`it never happened: ${what}${last ? ` (${last.message})` : ""}`);
}

function line(child, pattern) {
  return new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (text) => {
      const found = pattern.exec(text);
      if (found) resolve(found[1]);
    });
    child.on("exit", (code) => reject(new Error(`ended with ${code}`)));
  });
}
