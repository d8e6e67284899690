import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { APPS, HOSTILE, LONG, MEMBER, World, until } from "./world.mjs";

let world, browser, page;
const complaints = [], requests = [];

before(async () => {
  world = await World.start();
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
  page = await (await browser.newContext({ viewport: { width: 1240, height: 900 } })).newPage();
  page.on("console", (message) => complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => requests.push(new URL(request.url()).pathname));
  await page.goto(world.page);
});

after(async () => {
  await browser?.close();
  await world?.end();
});

const shot = (name, target = page) => target.screenshot({ path: join(process.env.SCREENSHOTS, `${name}.png`), fullPage: true });
const text = (selector) => page.locator(selector).innerText();
const reads = (selector, pattern) => until(async () => pattern.test(await text(selector)), `${selector} reads ${pattern}`);
const rows = async (id) => (await page.locator(`#${id} tbody tr`).allInnerTexts()).map((row) => row.replaceAll(/\s+/g, " "));
const everyone = Array.from({ length: APPS }, (_, n) => n);

test("at rest it says that it delivers, and that nothing is blocked", async () => {
  await reads("#state", /delivering/i);
  assert.match(await text("#about"), /hookferry \d+\.\d+\.\d+ · up .+ · queue webhooks\.fifo in us-east-1 · replica .+ \(this replica only\)/);
  assert.match(await text("#blocked"), /No group is blocked/);
  assert.match(await text("#destinations"), /Nothing was attempted yet/);
  assert.match(await text("#letters"), /None by this replica since it started/);
  const order = await page.locator("h2").allInnerTexts();
  assert.deepEqual(order.map((heading) => heading.split(" ")[0]), ["Blocked", "Destinations", "Last", "Apps", "Queue", "Configuration"]);
  await shot("rest");
});

test("under load it shows the rate, the lag and every destination as ok", async () => {
  await world.send(everyone, 25);
  await until(async () => (await rows("destinations")).length === APPS, "forty destinations");
  assert.ok((await rows("destinations")).every((row) => /✓ ok/.test(row) && /100 %/.test(row)), await text("#destinations"));
  assert.match(await text("#tiles"), /Deliveries\s+[1-9][\d,.]* \/ s/);
  assert.match(await text("#tiles"), /Lag, p99\s+(<1|[\d.]+) (ms|s)/);
  assert.match(await text("#tiles"), /In flight\s+\d+ of 2,000/);
  assert.match(await text("#state"), /delivering/i);
  await shot("load");
});

test("when three of forty fail it says which app, which endpoint, since when, why and what comes next", async () => {
  world.answer(3, 500);
  world.answer(7, "hang");
  world.answer(11, 410);
  world.answer(20, { after: 1200 });
  await world.send(everyone, 3);
  await until(async () => (await rows("blocked")).length === 2, "two blocked groups");
  await reads("#state", /degraded – .*destinations? (is|are) failing.*2 groups wait for a retry/i);
  await until(async () => (await rows("letters")).length >= 3, "three dead letters");
  const blocked = await rows("blocked");
  assert.match(blocked.find((row) => row.includes("tenant-03")), /tenant-03 client event (\d+ s|\d+ min).* status 500 127\.0\.1\.4 \d+ received \d+ times (in \d+ s|due) ≥ \d/);
  // What is left of the 2,000 ms when the request begins.
  assert.match(blocked.find((row) => row.includes("tenant-07")), /no complete answer within (2000|19\d\d) ms 127\.0\.1\.8/);
  const first = (await rows("destinations")).slice(0, 3).join("\n");
  for (const failing of ["127.0.1.4", "127.0.1.8", "127.0.1.12"]) assert.ok(first.includes(failing), first);
  assert.match(first, /▲ failing for \d+ s/);
  assert.match((await rows("destinations")).find((row) => row.includes("127.0.1.21 ")), /◔ slow/);
  assert.match((await rows("letters"))[0], /tenant-11 127\.0\.1\.12 · webhook \S+ \d+ s ago status 410.* hookferry dlq show \S+ Copy/);
  await reads("#tiles", /In the dead-letter queue\s+[1-9]\d*\s+as sampled; \d+ given up here/);
  const lines = await page.$$eval("#tiles svg", (all) => all.map((svg) => svg.getAttribute("aria-label")));
  assert.match(lines.at(-1), /^Given up here(, last 15 minutes: at most |: no history)/);
  assert.match(await text("#tiles"), /\d+ visible, \d+ hidden in the queue, as sampled/);
  await shot("failure");
});

test("what is selected or focused stays so while the numbers around it change, without a clipboard too", async () => {
  const tab = await (await browser.newContext({ viewport: { width: 1240, height: 900 } })).newPage();
  const errors = [];
  tab.on("pageerror", (error) => errors.push(String(error)));
  // As on plain HTTP at an address that is not a loopback one.
  await tab.addInitScript(() => Object.defineProperty(navigator, "clipboard", { value: undefined }));
  await tab.goto(world.page);
  const first = tab.locator("#letters tbody tr").first();
  const command = await first.locator("code").innerText(), when = await first.locator("td").nth(1).innerText();
  await first.locator("button").click();
  const state = () => tab.evaluate(() => [String(getSelection()), document.activeElement.textContent]);
  assert.deepEqual(await state(), [command, "Selected: copy it"]);
  await world.send([11], 1);
  const row = tab.locator("#letters tbody tr").filter({ hasText: command });
  await until(async () => (await row.locator("td").nth(1).innerText()) !== when, "time goes on in that row");
  await until(async () => (await tab.locator("#letters code").first().innerText()) !== command, "another letter comes before it");
  assert.deepEqual(await state(), [command, "Selected: copy it"]);
  assert.deepEqual(errors, []);
  await tab.context().close();
});

test("behind a path prefix it works, and says what an address answers that is none of the worker's", async () => {
  const tab = await browser.newPage();
  await tab.goto(await world.prefixed());
  await until(async () => /degraded/i.test(await tab.locator("#state").innerText()), "the status by the prefix");
  for (const [link, name] of [["status", "JSON"], ["metrics", "metrics"]]) {
    const href = await tab.locator("footer a", { hasText: name }).evaluate((a) => a.href);
    assert.equal((await fetch(href)).status, 200, link);
  }
  world.astray = true;
  await until(async () => /no answer – this address answered 404; the last status came \d+ s ago/i.test(await tab.locator("#state").innerText()), "a 404 is told");
  await tab.close();
});

test("marks that a tenant stacks do not paint over what stands around them", async () => {
  const clipped = await page.evaluate(() => [...document.querySelectorAll("td, li")].filter((e) => getComputedStyle(e).overflow !== "clip").length);
  assert.equal(clipped, 0);
});

test("a tenant's name is text, whatever it holds, and no URL's secrets are shown", async () => {
  const all = await page.locator("body").innerText();
  assert.ok(all.includes(HOSTILE));
  assert.equal(await page.locator("img").count(), 0);
  assert.doesNotMatch(await page.title(), /taken/);
  const status = await (await fetch(`${world.page}status`)).text();
  for (const shown of [all, status]) assert.ok(!shown.includes("never-shown") && !shown.includes("page-secret"));
  assert.ok(Buffer.byteLength(status) <= 64 * 1024, `${status.length} bytes`);
});

test("on a phone nothing has to be scrolled sideways, and each value says what it is", async () => {
  const phone = await (await browser.newContext({ viewport: { width: 360, height: 740 }, isMobile: true, deviceScaleFactor: 2 })).newPage();
  await phone.goto(world.page);
  await phone.locator("#blocked tbody tr").first().waitFor();
  await until(async () => (await phone.locator("#warnings li").allInnerTexts()).some((warning) => warning.includes(MEMBER.slice(0, 40))), "a warning");
  assert.ok((await phone.locator("#apps").innerText()).includes(LONG.slice(0, 100)));
  assert.equal(await phone.evaluate(() => document.scrollingElement.scrollWidth), 360);
  const outside = await phone.evaluate(() => [...document.querySelectorAll("main *:not(thead *)")].filter((e) => e.getBoundingClientRect().right > 361).map((e) => e.outerHTML.slice(0, 90)));
  assert.deepEqual(outside, []);
  const label = await phone.evaluate(() => getComputedStyle(document.querySelector("#blocked td:nth-child(5)"), "::before").content);
  assert.equal(label, '"Next retry"');
  await shot("phone", phone);
  await phone.context().close();
});

test("text can be read in the light and in the dark", async () => {
  for (const colorScheme of ["light", "dark"]) {
    const tab = await (await browser.newContext({ viewport: { width: 1240, height: 900 }, colorScheme })).newPage();
    await tab.goto(world.page);
    await tab.locator("#destinations .badge").first().waitFor();
    const faint = await tab.evaluate(contrasts);
    assert.deepEqual(faint, [], colorScheme);
    await shot(colorScheme, tab);
    await tab.context().close();
  }
});

test("it recovers before one's eyes", async () => {
  for (const n of [3, 7, 20]) world.heal(n);
  await reads("#blocked", /No group is blocked/);
  const row = (await rows("destinations")).find((row) => row.includes("127.0.1.4 "));
  assert.match(row, /✓ ok/);
});

test("hidden it asks nothing, and shown again it asks at once", async () => {
  const hide = (hidden) => page.evaluate((hidden) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
  await hide(true);
  await page.waitForTimeout(2500);
  const before = requests.length;
  await page.waitForTimeout(5000);
  assert.equal(requests.length, before);
  await hide(false);
  await until(() => requests.length > before, "it asks again");
});

test("it asks for nothing but itself and its numbers, breaks no rule of its policy, and sets no cookie", async () => {
  assert.deepEqual([...new Set(requests)].sort(), ["/", "/status"]);
  assert.deepEqual(complaints, []);
  const answer = await fetch(world.page);
  const policy = answer.headers.get("content-security-policy");
  assert.match(policy, /default-src 'none'/);
  assert.doesNotMatch(policy, /unsafe|\*/);
  assert.equal(answer.headers.get("set-cookie"), null);
  for (const method of ["POST", "PUT", "DELETE"]) assert.equal((await fetch(world.page, { method })).status, 405);
});

test("when the worker is gone it says so", async () => {
  world.worker.kill("SIGKILL");
  await reads("#state", /no answer – the worker has not answered for \d+ s/i);
  complaints.length = 0;
});

/** Texts whose contrast with what is behind them is under 4.5. */
function contrasts() {
  const channel = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const parse = (text) => text.match(/[\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.getClientRects().length || ["SCRIPT", "STYLE"].includes(node.tagName)) continue;
    const [a, b] = [luminance(parse(getComputedStyle(node).color)), luminance(ground(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) faint.push(`${ratio.toFixed(2)}: ${node.textContent.slice(0, 60)}`);
  }
  return faint;
}
